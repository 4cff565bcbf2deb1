//go:build containers_image_openpgp

package policy_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"go.podman.io/image/v5/directory"
	cimage "go.podman.io/image/v5/docker"
	dockerarchive "go.podman.io/image/v5/docker/archive"
	ociarchive "go.podman.io/image/v5/oci/archive"
	"go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
)

// unsigned is an image of which the library knows only the reference.
type unsigned struct{ ref types.ImageReference }

func (u unsigned) Reference() types.ImageReference                { return u.ref }
func (unsigned) Manifest(context.Context) ([]byte, string, error) { return nil, "", nil }
func (unsigned) Signatures(context.Context) ([][]byte, error)     { return nil, nil }
func (u unsigned) allowedBy(t *testing.T, p *signature.Policy) (ok bool) {
	t.Helper()
	c, err := signature.NewPolicyContext(p)
	if err != nil {
		t.Fatal(err)
	}
	ok, _ = c.IsRunningImageAllowed(t.Context(), u)
	if err := c.Destroy(); err != nil {
		t.Fatal(err)
	}
	return ok
}

// Each policy has a random choice of scopes. If only the rule that counts accepts images, the library accepts the
// image, and if all others do, it does not.
func TestTheRuleIsTheOneThatTheLibraryChooses(t *testing.T) {
	dir := t.TempDir()
	must := func(r types.ImageReference, err error) types.ImageReference {
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	archive := filepath.Join(dir, "a", "x.tar")
	write(t, archive, "")
	refs := map[imgref.ImageReference]types.ImageReference{
		docker("a.b.example:5000/c/d:1"):               must(cimage.ParseReference("//a.b.example:5000/c/d:1")),
		docker("a.b.example/c/d@sha256:" + zeroDigest): must(cimage.ParseReference("//a.b.example/c/d@sha256:" + zeroDigest)),
		docker("busybox"):                              must(cimage.ParseReference("//busybox")),
		{Transport: imgref.OCIDir, Name: filepath.Join(dir, "a") + ":t"}: must(layout.ParseReference(filepath.Join(dir,
			"a") + ":t")),
		{Transport: imgref.Dir, Name: filepath.Join(dir, "a")}: must(directory.NewReference(filepath.Join(dir,
			"a"))),
		{Transport: imgref.OCIArchive, Name: archive}:    must(ociarchive.ParseReference(archive)),
		{Transport: imgref.DockerArchive, Name: archive}: must(dockerarchive.ParseReference(archive)),
	}
	random := rand.New(rand.NewPCG(1, 2))
	for ref, parsed := range refs {
		transport := parsed.Transport().Name()
		scopes, err := policy.Scopes(ref)
		if err != nil {
			t.Fatal(err)
		}
		scopes = append(scopes, "")
		chosen := map[string]bool{}
		for range 100 {
			lists := map[string][]object{}
			for _, s := range scopes {
				if random.IntN(4) == 0 {
					lists[s] = []object{{"type": policyjson.Reject}}
				}
			}
			if transport == "docker" {
				lists["other.example"] = []object{{"type": policyjson.Reject}}
			}
			content := object{"default": []object{{"type": policyjson.Reject}}, "transports": object{transport: lists}}
			r, err := parsePolicy(t, content).Rule(ref)
			if err != nil {
				t.Fatal(err)
			}
			chosen[r.Scope] = true
			set := func(scope, kind string) {
				switch {
				case scope == "default":
					content["default"] = []object{{"type": kind}}
				default:
					_, s, _ := strings.Cut(scope, ": ")
					lists[s] = []object{{"type": kind}}
				}
			}
			set(r.Scope, policyjson.AcceptAnything)
			if !(unsigned{parsed}).allowedBy(t, libraryPolicy(t, content)) {
				t.Fatalf("%s: the rule is %q, and the library takes another: %v", ref, r.Scope, content)
			}
			set("default", policyjson.AcceptAnything)
			for s := range lists {
				lists[s] = []object{{"type": policyjson.AcceptAnything}}
			}
			set(r.Scope, policyjson.Reject)
			if (unsigned{parsed}).allowedBy(t, libraryPolicy(t, content)) {
				t.Fatalf("%s: the rule is %q, and the library takes another: %v", ref, r.Scope, content)
			}
		}
		if len(chosen) != len(scopes)+1 {
			t.Errorf("%s: only these rules were chosen: %v", ref, chosen)
		}
	}
}

const zeroDigest = "0000000000000000000000000000000000000000000000000000000000000000"

func parsePolicy(t *testing.T, content object) *policy.Policy {
	t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func libraryPolicy(t *testing.T, content object) *signature.Policy {
	t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	p, err := signature.NewPolicyFromBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheLibraryRefusesTheSamePolicies(t *testing.T) {
	t.Parallel()
	if _, err := signature.NewPolicyFromBytes([]byte(everything)); err != nil {
		t.Errorf("the one with everything: %v", err)
	}
	for _, c := range wrongPolicies(t) {
		text := c[1]
		if _, err := signature.NewPolicyFromBytes([]byte(text)); err == nil {
			t.Errorf("%s is a policy for the library", text)
		}
	}
	// These are refused by what the library knows of transports and references.
	const withIdentity = `{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":`
	for _, text := range []string{
		`{"default":[{"type":"reject"}],"transports":{"docker-archive":{"/x":[{"type":"reject"}]}}}`,
		`{"default":[{"type":"reject"}],"transports":{"dir":{"relative":[{"type":"reject"}]}}}`,
		`{"default":[{"type":"reject"}],"transports":{"oci":{"/a/../b":[{"type":"reject"}]}}}`,
		withIdentity + `{"type":"exactReference","dockerReference":"A B"}}]}`,
		withIdentity + `{"type":"exactReference","dockerReference":"a/b"}}]}`,
	} {
		if _, err := policy.Parse([]byte(text)); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// What the library takes for a policy is one, but for values that are empty; and what is one is one for the library.
func FuzzParseAgreesWithTheLibrary(f *testing.F) {
	f.Add([]byte(everything))
	for _, c := range wrongPolicies(f) {
		f.Add([]byte(c[1]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, ours := policy.Parse(data)
		_, theirs := signature.NewPolicyFromBytes(data)
		if ours != nil && theirs == nil && !strings.Contains(ours.Error(), "it is empty") {
			t.Errorf("the library takes this for a policy, and: %v", ours)
		}
		if ours == nil && theirs != nil {
			t.Errorf("this is accepted, and: %v", theirs)
		}
	})
}
