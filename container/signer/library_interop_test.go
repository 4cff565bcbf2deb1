//go:build interop && containers_image_openpgp

package signer_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/container/signer"
)

// allowed has the library of the container tools decide about an image, or the one of an index for this machine.
func allowed(t *testing.T, p policies, source string, instance *digest.Digest) error {
	t.Helper()
	policy, err := signature.NewPolicyFromFile(p.policy)
	if err != nil {
		t.Fatal(err)
	}
	decide, err := signature.NewPolicyContext(policy)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = decide.Destroy() }()
	ref, err := docker.ParseReference("//" + source)
	if err != nil {
		t.Fatal(err)
	}
	src, err := ref.NewImageSource(t.Context(), &types.SystemContext{
		RegistriesDirPath: p.registries, DockerInsecureSkipTLSVerify: types.OptionalBoolTrue,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	_, err = decide.IsRunningImageAllowed(t.Context(), image.UnparsedInstance(src, instance))
	return err
}

func TestTheLibraryOfTheContainerToolsAcceptsWhatIsSigned(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"image", "index", "member"} {
		w, key := newWorld(t), newKey(t)
		push := map[string]func(string){"image": w.realImage, "index": w.realIndex, "member": w.realIndex}[kind]
		push("stable")
		push("unsigned")
		data := w.get("stable")
		if err := w.reg.Put(repository, "moved", mediaTypeOf(data), data); err != nil {
			t.Fatal(err)
		}
		o := options(signer.Both, key)
		o.Names = []string{w.ref(":also").Name}
		if err := w.reg.Put(repository, "also", mediaTypeOf(data), data); err != nil {
			t.Fatal(err)
		}
		r := w.sign(w.ref(":stable"), o)
		var instance *digest.Digest
		if kind == "member" {
			instance = &r.Signed[0].Digest
		}
		for _, c := range append(policyCases, policyCase{name: "a second tag", ref: ":also", accept: true}) {
			if kind == "member" && c.ref == ":unsigned" {
				continue // its members are others
			}
			t.Run(kind+", "+c.name, func(t *testing.T) {
				t.Parallel()
				trusted := key
				if c.other {
					trusted = newKey(t)
				}
				ref := w.ref(strings.Replace(c.ref, "@", "@"+digest.FromBytes(data).String(), 1)).Name
				if err := allowed(t, w.trust(trusted, c.identity), ref, instance); (err == nil) != c.accept {
					t.Errorf("accepted: %t, want %t: %v", err == nil, c.accept, err)
				}
			})
		}
	}
}
