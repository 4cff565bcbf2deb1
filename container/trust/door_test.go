//go:build containers_image_openpgp

package trust_test

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// The manifest of the fixtures' image, and the index that lists it.
const (
	manifestDigest = "sha256:308cd94b08669b1dbb88c1ed018b49ecc563a98af4668e16afd7783d200712ea"
	indexDigest    = "sha256:3d9045b03298612ae86161ae6a9313bbecde759a37c593dd76084eb6abedd635"
)

// byKeys is a door whose policy refuses everything, and whose own rules accept bundles by keys of the fixtures.
func byKeys(t *testing.T, keys ...int) *trust.Door {
	t.Helper()
	rule := "docker:\n  " + sigstorefixture.Host + ":\n    signedBy:\n"
	for _, n := range keys {
		rule += "    - keyPath: " + sigstorefixture.PublicKey(t, n) + "\n"
	}
	return trust.New(trust.Options{
		Policy:   write(t, `{"default": [{"type": "reject"}]}`),
		RuleDirs: []string{rulesDir(t, map[string]string{"a.yaml": rule})},
	})
}

func TestAnImagePulledWithoutSignaturesIsNotAcceptedAsSignedLater(t *testing.T) {
	sigstorefixture.RegistriesConf(t, sigstorefixture.Load(t))
	for _, c := range []struct {
		image  string
		accept bool
	}{{"unsigned", false}, {"b2", false}, {"b-attestation", false}, {"idx-unsigned", false}, {"b1", true}} {
		r, door := trusttest.NewRepo(t), byKeys(t, 1)
		ref := signed(sigstorefixture.Name(c.image) + ":latest")
		if _, err := pull(t, r, imgref.Unverified(ref.Image), door); err != nil {
			t.Fatal(err)
		}
		before := trusttest.Content(t, r)
		p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: source.Options{Admission: door.Admit}})
		switch {
		case c.accept && (err != nil || !p.Present):
			t.Errorf("%s: got %v, want it to be there", c.image, err)
		case !c.accept && !errors.Is(err, trust.ErrRefused):
			t.Errorf("%s: got %v, want it refused", c.image, err)
		}
		img, err := store.Query(t.Context(), r, ref.Image)
		if err != nil {
			t.Fatal(err)
		}
		list, err := store.Signatures(t.Context(), r, img)
		if err != nil || (len(list) > 0) != c.accept {
			t.Errorf("%s: recorded are %v, %v", c.image, list, err)
		}
		if !c.accept {
			if diff := cmp.Diff(before, trusttest.Content(t, r)); diff != "" {
				t.Errorf("%s: the refused pull changed the repository (-before +after):\n%s", c.image, diff)
			}
		}
	}
}

// TestWhatAnUnsignedImageLeftDoesNotGetIntoASignedOne pulls an unsigned image that has the layer of a signed one, as
// another kind of layer, before it pulls the signed one.
func TestWhatAnUnsignedImageLeftDoesNotGetIntoASignedOne(t *testing.T) {
	reg := sigstorefixture.Load(t)
	sigstorefixture.RegistriesConf(t, reg)
	door := byKeys(t, 1)
	ref := signed(sigstorefixture.Name("b1") + ":latest")
	clean, err := pull(t, trusttest.NewRepo(t), ref, door)
	if err != nil {
		t.Fatal(err)
	}
	poisoned := poison(t, reg)
	r := trusttest.NewRepo(t)
	if _, err := pull(t, r, imgref.Unverified(poisoned), door); err != nil {
		t.Fatal(err)
	}
	got, err := pull(t, r, ref, door)
	if err != nil || got.Commit != clean.Commit || got.Base != clean.Base {
		t.Errorf("the signed image is %s, %v; in a new repository it is %s", got.Commit, err, clean.Commit)
	}
}

func TestASignatureOfAnIndexCoversOnlyWhatIsAskedForThroughIt(t *testing.T) {
	sigstorefixture.RegistriesConf(t, sigstorefixture.Load(t))
	for name, accept := range map[string]bool{
		"idx-index:latest": true, "idx-index@" + indexDigest: true, "idx-index@" + manifestDigest: false,
		"idx-member:latest": true, "idx-member@" + manifestDigest: true,
	} {
		_, err := pull(t, trusttest.NewRepo(t), signed(sigstorefixture.Name(name)), byKeys(t, 1))
		if accept && err != nil || !accept && !errors.Is(err, trust.ErrRefused) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestARefusalSaysWhatWasFoundAtIndexAndManifest(t *testing.T) {
	sigstorefixture.RegistriesConf(t, sigstorefixture.Load(t))
	_, err := pull(t, trusttest.NewRepo(t), signed(sigstorefixture.Name("idx-index")+":latest"), byKeys(t, 2))
	refused, ok := errors.AsType[*trust.RefusedError](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	var found []string
	for _, f := range refused.Findings {
		found = append(found, f.On+" "+f.Digest)
	}
	if diff := cmp.Diff([]string{"index " + indexDigest, "manifest " + manifestDigest}, found); diff != "" {
		t.Errorf("-want +found:\n%s", diff)
	}
	for _, want := range []string{"a.yaml (docker: registry.example)", "the signature is not by the key", "no bundle"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message lacks %q: %v", want, err)
		}
	}
}

// TestARuleThatAsksForNothingIsRefusedBeforeARequest also covers policies that were made weaker.
func TestARuleThatAsksForNothingIsRefusedBeforeARequest(t *testing.T) {
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer s.Close()
	name := strings.TrimPrefix(s.URL, "http://") + "/os"
	anything := `[{"type": "insecureAcceptAnything"}]`
	for what, c := range map[string]struct {
		policy string
		want   error
	}{
		"the default accepts":           {`{"default": ` + anything + `}`, trust.ErrAcceptsAnything},
		"the scope accepts":             {scoped(name, anything), trust.ErrAcceptsAnything},
		"the default refuses":           {`{"default": [{"type": "reject"}]}`, trust.ErrRefused},
		"the scope refuses":             {scoped(name, `[{"type": "reject"}]`), trust.ErrRefused},
		"the policy is damaged":         {`{"default": ` + anything, nil},
		"the policy has an unknown key": {`{"default": ` + anything + `, "extra": 1}`, nil},
		"the key is not there": {
			scoped(name, `[{"type": "sigstoreSigned", "keyPath": "/nowhere", "signedidentity": {}}]`), nil,
		},
	} {
		door := trust.New(trust.Options{
			Policy: write(t, c.policy), RuleDirs: []string{t.TempDir()}, Registry: access.Options{InsecureSkipTLSVerify: true},
		})
		_, err := pull(t, trusttest.NewRepo(t), signed(name), door)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if n := requests.Load(); n > 0 {
		t.Errorf("there were %d requests", n)
	}
}

// scoped is a policy that accepts anything by default, and has a list for one scope.
func scoped(scope, list string) string {
	return `{"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"` + scope + `": ` + list + `}}}`
}

// TestTheMostSpecificRuleDecides looks at an image that key 1 signed with a bundle, and not with an attachment.
func TestTheMostSpecificRuleDecides(t *testing.T) {
	sigstorefixture.RegistriesConf(t, sigstorefixture.Load(t))
	withAttachments(t)
	name := sigstorefixture.Name("b1")
	own := func(scope string, key int) string {
		return "docker:\n  " + scope + ":\n    signedBy: [{keyPath: " + sigstorefixture.PublicKey(t, key) + "}]\n"
	}
	attached := `[{"type": "sigstoreSigned", "keyPath": "` + sigstorefixture.PublicKey(t, 1) +
		`", "signedIdentity": {"type": "matchRepository"}}]`
	const reject, anything = `[{"type": "reject"}]`, `[{"type": "insecureAcceptAnything"}]`
	for what, c := range map[string]struct {
		policy, rules string
		accept        bool
	}{
		"ours, before the default":             {`{"default": ` + reject + `}`, own(name, 1), true},
		"ours, before a registry that refuses": {scoped("registry.example", reject), own(name, 1), true},
		"the policy, which refuses":            {scoped(name, reject), own("registry.example", 1), false},
		"the policy, which accepts anything":   {scoped(name, anything), own("registry.example", 1), false},
		"both, and one refuses":                {scoped(name, reject), own(name, 1), false},
		"both, and one asks for nothing":       {scoped(name, anything), own(name, 1), true},
		"both, and one is not fulfilled":       {scoped(name, attached), own(name, 1), false},
		"the more specific of ours": {
			`{"default": ` + reject + `}`, own("registry.example", 1) + own(name, 2)[8:], false,
		},
		"the tag's": {
			`{"default": ` + reject + `}`, own(name, 2) + own(name+":latest", 1)[8:], true,
		},
		"ours with another key":     {`{"default": ` + anything + `}`, own(name, 2), false},
		"a wildcard for the domain": {`{"default": ` + reject + `}`, own(`"*.example"`, 1), true},
		"the keys of the policy, too": {
			scoped(name, attached), "docker: {" + name + ": {bundlesByPolicyKeys: true}}\n", true,
		},
		"the keys of a policy that asks for a log": {
			scoped(name, strings.Replace(attached, `"signed`, `"rekorPublicKeyPath": "`+sigstorefixture.PublicKey(t, 2)+
				`", "signed`, 1)), "docker: {" + name + ": {bundlesByPolicyKeys: true}}\n", false,
		},
		"the keys of the policy, where it accepts anything": {
			scoped(name, anything), "docker: {" + name + ": {bundlesByPolicyKeys: true}}\n", false,
		},
	} {
		door := trust.New(trust.Options{
			Policy: write(t, c.policy), RuleDirs: []string{rulesDir(t, map[string]string{"a.yaml": c.rules})},
		})
		_, err := pull(t, trusttest.NewRepo(t), signed(name+":latest"), door)
		if (err == nil) != c.accept {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// TestATagThatMovesMeanwhileChangesNothing has the tag name an unsigned image from the time when signatures are asked
// for.
func TestATagThatMovesMeanwhileChangesNothing(t *testing.T) {
	reg := sigstorefixture.Load(t)
	var moved atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/referrers/") {
			moved.Store(true)
		}
		if moved.Load() && strings.HasSuffix(req.URL.Path, "/manifests/latest") {
			req.URL.Path = "/v2/os/other/manifests/latest"
		}
		reg.ServeHTTP(w, req)
	}))
	defer s.Close()
	sigstorefixture.RegistriesConf(t, &testreg.Registry{Host: strings.TrimPrefix(s.URL, "http://")})
	res, err := pull(t, trusttest.NewRepo(t), signed(sigstorefixture.Name("b1")+":latest"), byKeys(t, 1))
	if err != nil || res.ManifestDigest != manifestDigest || !moved.Load() {
		t.Errorf("stored is %v, %v; the tag moved: %v", res, err, moved.Load())
	}
	// And the other way round: the image that the tag names later is signed.
	moved.Store(false)
	unsigned := signed(sigstorefixture.Name("unsigned") + ":latest")
	if _, err := pull(t, trusttest.NewRepo(t), unsigned, byKeys(t, 1)); err == nil {
		t.Error("an unsigned image was accepted")
	}
}

func TestIdentitiesAreJudgedWithTheirAuthorities(t *testing.T) {
	const issuer = "https://token.actions.githubusercontent.com"
	const workflow = "https://github.com/exampleos/os/.github/workflows/build.yml@refs/heads/main"
	ca, other := testca.New(t), testca.New(t)
	root := write(t, string(ca.Root().JSON()))
	statement := testca.Statement(digest.Digest(manifestDigest).Encoded())
	elsewhere := ca.Bundle(testca.Signature{Identity: workflow, Issuer: issuer, Payload: statement})
	for what, c := range map[string]struct {
		sign   testca.Signature
		rule   string
		accept bool
	}{
		"the workflow": {
			testca.Signature{Identity: workflow, Issuer: issuer}, "identity: " + workflow, true,
		},
		"any branch": {
			testca.Signature{Identity: workflow, Issuer: issuer},
			`identityExpression: https://github\.com/exampleos/os/\.github/workflows/build\.yml@refs/heads/.+`, true,
		},
		"a part of the identity": {
			testca.Signature{Identity: workflow, Issuer: issuer}, `identityExpression: https://github\.com/exampleos/os`, false,
		},
		"another workflow": {
			testca.Signature{Identity: workflow + "2", Issuer: issuer}, "identity: " + workflow, false,
		},
		"another issuer": {
			testca.Signature{Identity: workflow, Issuer: "https://gitlab.com"}, "identity: " + workflow, false,
		},
		"another authority": {
			testca.Signature{Identity: workflow, Issuer: issuer, CA: other}, "identity: " + workflow, false,
		},
		"no log": {
			testca.Signature{Identity: workflow, Issuer: issuer, NoLog: true}, "identity: " + workflow, false,
		},
		"the log entry of another signature": {
			testca.Signature{Identity: workflow, Issuer: issuer, Change: func(b *testca.Bundle) {
				b.VerificationMaterial.TLogEntries = elsewhere.VerificationMaterial.TLogEntries
			}}, "identity: " + workflow, false,
		},
		"no certificate timestamp": {
			testca.Signature{Identity: workflow, Issuer: issuer, NoSCT: true}, "identity: " + workflow, false,
		},
		"a certificate that had expired": {
			testca.Signature{Identity: workflow, Issuer: issuer, Leaf: func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
			}}, "identity: " + workflow, false,
		},
	} {
		t.Run(what, func(t *testing.T) {
			reg := sigstorefixture.Load(t)
			sigstorefixture.RegistriesConf(t, reg)
			c.sign.Payload = statement
			trusttest.Attach(t, reg, "os/unsigned", manifestDigest, ca.Sign(c.sign))
			name := sigstorefixture.Name("unsigned")
			rule := "docker:\n  " + name + ":\n    signedBy:\n    - oidcIssuer: " + issuer + "\n      " + c.rule +
				"\n      trustedRoot: " + root + "\n"
			door := trust.New(trust.Options{
				Policy:   write(t, `{"default": [{"type": "reject"}]}`),
				RuleDirs: []string{rulesDir(t, map[string]string{"a.yaml": rule})},
			})
			r := trusttest.NewRepo(t)
			res, err := pull(t, r, signed(name+":latest"), door)
			if !c.accept {
				if !errors.Is(err, trust.ErrRefused) || len(trusttest.Content(t, r)) > 0 {
					t.Errorf("got %v, and the repository has %v", err, trusttest.Content(t, r))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			list, err := store.Signatures(t.Context(), r, res.Image)
			if err != nil || len(list) != 1 || list[0].Signer != workflow || list[0].Issuer != issuer ||
				list[0].Kind != oci.SignedBundle || list[0].Signed != manifestDigest {
				t.Errorf("recorded are %+v, %v", list, err)
			}
		})
	}
}
