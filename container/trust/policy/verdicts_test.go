//go:build containers_image_openpgp

package policy_test

import (
	"fmt"
	"testing"

	cimage "go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
)

// libraryAccepts reports whether the library, which reads everything itself, accepts a document of an image.
func libraryAccepts(t *testing.T, ref imgref.ImageReference, requirement object, doc oci.Document) bool {
	t.Helper()
	parsed, err := cimage.ParseReference("//" + ref.Name)
	if err != nil {
		t.Fatal(err)
	}
	src, err := parsed.NewImageSource(t.Context(), &types.SystemContext{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	c, err := signature.NewPolicyContext(libraryPolicy(t, object{"default": []object{requirement}}))
	if err != nil {
		t.Fatal(err)
	}
	ok, _ := c.IsRunningImageAllowed(t.Context(), image.UnparsedInstance(src, &doc.Digest))
	if err := c.Destroy(); err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestTheLibraryAloneGivesTheSameVerdicts(t *testing.T) {
	fixture(t)
	for _, v := range sigstorefixture.Verdicts(t) {
		if v.Bundles {
			continue
		}
		name := sigstorefixture.Name(v.Image)
		ref := docker(name + ":latest")
		for _, q := range []object{
			sigstoreSigned(t, exactRepository(name), v.Keys...),
			sigstoreSigned(t, object{"type": "matchRepoDigestOrExact"}, v.Keys...),
		} {
			for _, doc := range documents(t, ref) {
				_, err := evaluateAlone(t, ref, rule(t, q).Rule, doc)
				if theirs := libraryAccepts(t, ref, q, doc); theirs != (err == nil) {
					t.Errorf("%s, %s: the library accepts is %v, and: %v", v, doc.MediaType, theirs, err)
				}
			}
		}
	}
}

// Of the sections of registries.d that cover an image, each says something, not the most specific alone. And the name
// of the place counts, not that of the image.
func TestTheLibraryReadsRegistriesDInTheSameWay(t *testing.T) {
	r := fixture(t)
	name := sigstorefixture.Name("att1")
	ref := docker(name + ":latest")
	doc := documents(t, ref)[0]
	q := sigstoreSigned(t, exactRepository(name), 1)
	section := func(scope, content string) string { return fmt.Sprintf("docker: {%q: {%s}}\n", scope, content) }
	const on, off = "use-sigstore-attachments: true", "use-sigstore-attachments: false"
	for conf, accept := range map[string]bool{
		attachmentsOn: true,
		attachmentsOn + section(r.Host+"/os/att1", "lookaside: \"file:///nowhere\""): true,
		attachmentsOn + section(r.Host+"/os/att1", off):                              false,
		attachmentsOn + section("registry.example", off):                             true,
		section(r.Host, on):                    true,
		section("registry.example/os", on):     false,
		section(r.Host+"/os/att1:latest", on):  true,
		section(r.Host+"/os/att1:another", on): false,
		"docker: {}":                           false,
	} {
		configure(t, map[string]string{"registries.d/0.yaml": conf})
		_, err := evaluate(t, ref, rule(t, q), doc)
		theirs := libraryAccepts(t, ref, q, doc)
		if (err == nil) != accept || theirs != accept {
			t.Errorf("%s: ours %v, the library's %v, and it has to be %v", conf, err == nil, theirs, accept)
		}
	}
}
