//go:build interop || cosign

package signer_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
)

// realImage pushes an image that programs can copy.
func (w *world) realImage(tag string) {
	w.t.Helper()
	if err := remote.Write(w.tag(tag), newRandom(w.t)); err != nil {
		w.t.Fatal(err)
	}
}

// realIndex pushes an index with an image for this machine and one for another.
func (w *world) realIndex(tag string) {
	w.t.Helper()
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: newRandom(w.t), Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}},
		mutate.IndexAddendum{Add: newRandom(w.t), Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}})
	if err := remote.WriteIndex(w.tag(tag), index); err != nil {
		w.t.Fatal(err)
	}
}

func newRandom(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func (w *world) tag(tag string) name.Tag {
	w.t.Helper()
	ref, err := name.NewTag(w.reg.Host + "/" + repository + ":" + tag)
	if err != nil {
		w.t.Fatal(err)
	}
	return ref
}

// policies are the files that say whom a host trusts.
type policies struct{ policy, registries string }

// trust writes a policy that demands a key for all images of the registry. identity is the signedIdentity, or empty.
func (w *world) trust(key crypto.Signer, identity map[string]string) policies {
	w.t.Helper()
	dir := w.t.TempDir()
	p := policies{filepath.Join(dir, "policy.json"), filepath.Join(dir, "registries.d")}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(dir, "key.pub")
	requirement := map[string]any{"type": "sigstoreSigned", "keyPath": file}
	if identity != nil {
		requirement["signedIdentity"] = identity
	}
	policy, err := json.Marshal(map[string]any{
		"default":    []any{map[string]any{"type": "reject"}},
		"transports": map[string]any{"docker": map[string]any{w.reg.Host + "/" + repository: []any{requirement}}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.Mkdir(p.registries, 0o755); err != nil {
		w.t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		file:     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		p.policy: policy,
		filepath.Join(p.registries, "loopback.yaml"): []byte(
			"docker:\n  " + w.reg.Host + ":\n    use-sigstore-attachments: true\n"),
	} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	return p
}

// policyCase is an image that a policy accepts or not.
type policyCase struct {
	name     string
	ref      string // what is pulled: a tag, or @ for the digest
	other    bool   // the policy has another key than the one that signed
	identity map[string]string
	accept   bool
}

// policyCases are those of an image that was signed as :stable, and is also at the tag :moved.
var policyCases = []policyCase{
	{name: "the tag that was signed", ref: ":stable", accept: true},
	{name: "the digest", ref: "@", accept: true},
	{name: "another tag of the same image", ref: ":moved"},
	{name: "another tag, if any is good", ref: ":moved", identity: anyTag, accept: true},
	{name: "exactly the tag", ref: ":stable", identity: map[string]string{"type": "matchExact"}, accept: true},
	{name: "another key", ref: ":stable", other: true},
	{name: "another key, by digest", ref: "@", other: true},
	{name: "an image that is not signed", ref: ":unsigned", identity: anyTag},
}

// anyTag is the identity of a policy that accepts signatures of all references in the repository.
var anyTag = map[string]string{"type": "matchRepository"}

// cosignsKey is a key that cosign made, as it encrypts it.
func cosignsKey(t *testing.T, n int) *signer.Key {
	t.Helper()
	data, err := os.ReadFile(sigstorefixture.PrivateKey(t, n))
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.ReadKey(data, passphrase(""))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
