package keyed_test

import (
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	podman "go.podman.io/image/v5/docker"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
)

const aDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestScopesAreThoseOfTheContainerTools(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"debian", "debian:bookworm", "quay.io/a/b/c:1", "registry.example.com:5000/os:latest", "localhost/x:y",
		"localhost:5000/x", "127.0.0.1:5000/a/b:c", "quay.io/a@" + aDigest, "a.b.c.d/e/f:g",
	} {
		n := name(t, s)
		ref, err := podman.ParseReference("//" + reference.TagNameOnly(n).String())
		if err != nil {
			t.Fatal(err)
		}
		want := append([]string{ref.PolicyConfigurationIdentity()}, ref.PolicyConfigurationNamespaces()...)
		if diff := cmp.Diff(want, keyed.Scopes(n)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s, diff)
		}
	}
	both := name(t, "quay.io/a:1@"+aDigest)
	if got, want := keyed.Scopes(both), keyed.Scopes(name(t, "quay.io/a@"+aDigest)); !slices.Equal(got, want) {
		t.Errorf("with a tag and a digest the scopes are %q, want %q", got, want)
	}
}

func TestTheMostSpecificScopeDecides(t *testing.T) {
	t.Parallel()
	const onlyKeys = `{
		"default": [{"type": "sigstoreSigned", "keyPath": "default"}],
		"transports": {
			"docker": {
				"quay.io/a/b:1": [{"type": "sigstoreSigned", "keyPath": "tag"}],
				"quay.io/a": [{"type": "sigstoreSigned", "keyPath": "parent"}],
				"quay.io": [{"type": "reject"}],
				"*.example": [{"type": "insecureAcceptAnything"}]
			},
			"oci": {"": [{"type": "insecureAcceptAnything"}]}
		}
	}`
	p, err := keyed.ParsePolicy([]byte(strings.Replace(onlyKeys, `"docker": {`, `"docker": {
		"gpg.io": [{"type": "sigstoreSigned", "keyPath": "k"}, {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "g"}],
		"fulcio.io": [{"type": "sigstoreSigned", "rekorPublicKeyPath": "r",
			"fulcio": {"caPath": "c", "oidcIssuer": "https://i", "subjectEmail": "a@b.example"}}],
		"pki.io": [{"type": "sigstoreSigned", "pki": {"caRootsPath": "c", "subjectEmail": "a@b.example"}}],
		"log.io": [{"type": "sigstoreSigned", "keyPath": "k", "rekorPublicKeyPath": "r"}],`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]any{
		"quay.io/a/b:1": "docker: quay.io/a/b:1", "quay.io/a/b:2": "docker: quay.io/a", "quay.io/ab:1": keyed.ErrRejects,
		"debian": "default", "registry.example/x": keyed.ErrAnything, "gpg.io/x": keyed.ErrUnsupported,
	} {
		rule, err := p.Rule(name(t, image))
		if sentinel, ok := want.(error); ok {
			if !errors.Is(err, sentinel) || !strings.Contains(err.Error(), "docker: ") {
				t.Errorf("%s: error %v, want %v with the scope", image, err, sentinel)
			}
		} else if err != nil || rule.Scope != want {
			t.Errorf("%s: %+v, %v, want %v", image, rule, err, want)
		} else {
			checkAgainstHosts(t, []byte(onlyKeys), name(t, image), rule)
		}
	}
	if _, err := p.Rule(name(t, "gpg.io/x")); !strings.Contains(fmt.Sprint(err), "signedBy") {
		t.Errorf("error %v does not name signedBy", err)
	}
	for _, image := range []string{"fulcio.io/x", "pki.io/x", "log.io/x"} {
		if rule, err := p.Rule(name(t, image)); err != nil || rule.Scope != "docker: "+strings.TrimSuffix(image, "/x") {
			t.Errorf("%s: %+v, %v", image, rule, err)
		}
	}
	if got, want := p.KeyFiles(), []string{"c", "default", "g", "k", "parent", "r", "tag"}; !slices.Equal(got, want) {
		t.Errorf("keys and certificates are in %q, want %q", got, want)
	}
	if !p.GPG() {
		t.Error("the policy does not ask for GPG")
	}
	all, err := keyed.ParsePolicy([]byte(`{"default": [{"type": "reject"}],
		"transports": {"docker": {"": [{"type": "sigstoreSigned", "keyPath": "k"}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if rule, err := all.Rule(name(t, "debian")); err != nil || rule.Scope != "docker" {
		t.Errorf("%+v, %v, want the rule of the transport", rule, err)
	}
}

func TestPoliciesWithMistakesAreRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	docker := func(requirement string) string {
		return `{"default":[{"type":"reject"}],"transports":{"docker":{"quay.io":[` + requirement + `]}}}`
	}
	identity := func(s string) string {
		return docker(`{"type":"sigstoreSigned","keyPath":"k","signedIdentity":` + s + `}`)
	}
	for _, tt := range []struct{ policy, want string }{
		{``, "this is not JSON"},
		{`{"default":[{"type":"reject"}]} x`, "more after the end"},
		{`{"default":[]}`, "an empty list"},
		{`{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}`, "there twice"},
		{`{"default":[{"type":"reject"}],"transports":{"oci":{"/":[]}}}`, "an empty list"},
		{docker(`{"type":"signedByTheMoon"}`), `no requirement of type "signedByTheMoon"`},
		{docker(`{"type":"signedBy","keyPath":"k"}`), "keyType"},
		{docker(`{"type":"sigstoreSigned","fulcio":{}}`), "caPath"},
		{docker(`{"type":"sigstoreSigned","keypath":"k"}`), `it is written "keyPath"`},
		{docker(`{"type":"sigstoreSigned","keyPaths":["k",""]}`), `"quay.io"[0]: a key is missing`},
		{docker(`{"type":"sigstoreSigned","keyDatas":[""]}`), "a key is missing"},
		{docker(`{"type":"sigstoreSigned","keyPaths":["k"` + strings.Repeat(`,"k"`, 100) + `]}`), "more than 100 keys"},
		{docker(`{"type":"reject"}` + strings.Repeat(`,{"type":"reject"}`, 100)), "has 101 requirements"},
		{identity(`{"type":"any"}`), `no identity rule of type "any"`},
		{identity(`{"type":"exactReference","dockerReference":"quay.io/a"}`), "neither a tag nor a digest"},
		{identity(`{"type":"exactRepository","dockerRepository":"UPPER"}`), "must be lowercase"},
		{strings.Repeat(" ", keyed.MaxPolicySize+1), "more than 1.0\u00a0MB"},
	} {
		if _, err := keyed.ParsePolicy([]byte(tt.policy)); !errors.Is(err, keyed.ErrInvalid) ||
			!strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.100s: error %v, want one that says %q", tt.policy, err, tt.want)
		}
	}
}

func TestSignedIdentitySaysForWhichReferencesASignatureIsGood(t *testing.T) {
	t.Parallel()
	k := newKey(t, elliptic.P256())
	files := map[string][]byte{"k": public(t, k)}
	const (
		byDefault = ``
		remap     = `{"type":"remapIdentity","prefix":"mirror.io/m","signedPrefix":"quay.io/a"}`
	)
	for _, tt := range []struct {
		identity, image, signed string
		want                    bool
	}{
		{byDefault, "quay.io/a:1", "quay.io/a:1", true},
		{byDefault, "quay.io/a:1", "quay.io/a:2", false},
		{byDefault, "quay.io/a:1", "quay.io/a", false},
		{byDefault, "quay.io/a", "quay.io/a:latest", true},
		{byDefault, "quay.io/a@" + aDigest, "quay.io/a:2", true},
		{byDefault, "quay.io/a@" + aDigest, "quay.io/a", false},
		{byDefault, "quay.io/a@" + aDigest, "quay.io/b:2", false},
		{byDefault, "quay.io/a:1@" + aDigest, "quay.io/a:2", true},
		{byDefault, "debian:1", "docker.io/library/debian:1", true},
		{byDefault, "debian:1", "debian:1", true},
		{byDefault, "debian:1", "not a reference", false},
		{`{"type":"matchRepoDigestOrExact"}`, "quay.io/a:1", "quay.io/a:2", false},
		{`{"type":"matchExact"}`, "quay.io/a:1", "quay.io/a:1", true},
		{`{"type":"matchExact"}`, "quay.io/a:1", "quay.io/a", false},
		{`{"type":"matchExact"}`, "quay.io/a@" + aDigest, "quay.io/a:1", false},
		{`{"type":"matchExact"}`, "quay.io/a@" + aDigest, "quay.io/a@" + aDigest, true},
		{`{"type":"matchRepository"}`, "quay.io/a:1", "quay.io/a", true},
		{`{"type":"matchRepository"}`, "quay.io/a:1", "quay.io/a:2", true},
		{`{"type":"matchRepository"}`, "quay.io/a:1", "quay.io/a/b:1", false},
		{`{"type":"exactReference","dockerReference":"quay.io/x:1"}`, "quay.io/a:1", "quay.io/x:1", true},
		{`{"type":"exactReference","dockerReference":"quay.io/x:1"}`, "quay.io/a:1", "quay.io/a:1", false},
		{`{"type":"exactReference","dockerReference":"quay.io/x:1"}`, "quay.io/a:1", "quay.io/x", false},
		{`{"type":"exactRepository","dockerRepository":"quay.io/x"}`, "quay.io/a:1", "quay.io/x:7", true},
		{`{"type":"exactRepository","dockerRepository":"quay.io/x"}`, "quay.io/a:1", "quay.io/a:1", false},
		{remap, "mirror.io/m:1", "quay.io/a:1", true},
		{remap, "mirror.io/m/b:1", "quay.io/a/b:1", true},
		{remap, "mirror.io/m:1", "mirror.io/m:1", false},
		{remap, "mirror.io/mm:1", "quay.io/am:1", false},
		{remap, "mirror.io/mm:1", "mirror.io/mm:1", true},
		{remap, "mirror.io/m@" + aDigest, "quay.io/a:9", true},
		{`{"type":"remapIdentity","prefix":"mirror.io/m","signedPrefix":"UPPER"}`, "mirror.io/m:1", "mirror.io/m:1", false},
	} {
		requirement := `{"type":"sigstoreSigned","keyPath":"k"}`
		if tt.identity != byDefault {
			requirement = strings.TrimSuffix(requirement, "}") + `,"signedIdentity":` + tt.identity + `}`
		}
		var s signing
		payload := payloadFor(tt.signed, image)
		s.add(payload, sign(t, k, payload))
		err := s.judge(t, name(t, tt.image), "["+requirement+"]", files)
		if (err == nil) != tt.want {
			t.Errorf("%s, signed for %s, identity %s: %v, want accepted: %t", tt.image, tt.signed, tt.identity, err, tt.want)
		}
		bare := !strings.ContainsAny(tt.signed, ":@") && tt.identity == byDefault && tt.signed == "quay.io/a"
		if bare && !strings.Contains(err.Error(), `{"type": "matchRepository"}`) {
			t.Errorf("%s, signed for %s: %v does not say what to write", tt.image, tt.signed, err)
		}
	}
}

// FuzzPolicy reads policies and looks up images in them.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{"default":[{"type":"sigstoreSigned","keyPath":"k","signedIdentity":{"type":"matchRepository"}}]}`),
		"quay.io/a:1")
	f.Add([]byte(`{"default":[{"type":"reject"}],"transports":{"docker":{"":[{"type":"signedBy"}]}}}`), "debian")
	f.Fuzz(func(t *testing.T, data []byte, image string) {
		p, err := keyed.ParsePolicy(data)
		if err != nil {
			if !errors.Is(err, keyed.ErrInvalid) {
				t.Errorf("%v does not wrap ErrInvalid", err)
			}
			return
		}
		n, err := reference.ParseNormalizedNamed(image)
		if err != nil {
			return
		}
		rule, err := p.Rule(n)
		if err != nil && !errors.Is(err, keyed.ErrUnsupported) && !errors.Is(err, keyed.ErrRejects) &&
			!errors.Is(err, keyed.ErrAnything) {
			t.Errorf("%v is none of the errors that a rule has", err)
		}
		if err == nil && !leavesOut(t, data) {
			checkAgainstHosts(t, data, n, rule)
		}
	})
}

// leavesOut reports whether a policy has requirements of which only the type is looked at. Hosts may refuse these.
func leavesOut(t *testing.T, data []byte) bool {
	t.Helper()
	var all any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	var walk func(any) bool
	walk = func(v any) bool {
		switch v := v.(type) {
		case []any:
			return slices.ContainsFunc(v, walk)
		case map[string]any:
			for key, value := range v {
				kind, isText := value.(string)
				if key == "fulcio" || key == "pki" || strings.HasPrefix(key, "rekor") || walk(value) ||
					key == "type" && isText && kind != "reject" && kind != "insecureAcceptAnything" &&
						kind != "sigstoreSigned" && !strings.HasPrefix(kind, "match") && !strings.HasPrefix(kind, "exact") {
					return true
				}
			}
		}
		return false
	}
	return walk(all)
}

// checkAgainstHosts checks that a policy which can be used here is one that hosts accept, with the same rule.
func checkAgainstHosts(t *testing.T, data []byte, image reference.Named, rule *keyed.Rule) {
	t.Helper()
	p, err := policy.Parse(data)
	if err != nil {
		t.Errorf("hosts refuse the policy: %v", err)
		return
	}
	if both, ok := image.(reference.Canonical); ok {
		if image, err = reference.WithDigest(reference.TrimNamed(image), both.Digest()); err != nil {
			t.Fatal(err)
		}
	}
	want, err := p.Rule(imgref.ImageReference{Transport: imgref.Registry, Name: image.String()})
	if err != nil || want.Scope != rule.Scope {
		t.Errorf("%s: hosts have the rule %v, %v, instead of %s", image, want, err, rule.Scope)
	}
}
