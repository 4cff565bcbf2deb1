package image_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
	"github.com/ostree-ext/ostree-ext-go/frontend"
	"github.com/ostree-ext/ostree-ext-go/frontend/image"
)

func of() []programs.Image {
	var images []programs.Image
	for _, p := range []image.Platform{
		{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Program: []byte("one program")},
		{Platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}, Program: []byte("another")},
	} {
		images = append(images, image.Of(p, image.Options{}))
	}
	return images
}

func TestEqualProgramsGiveEqualImagesThatSayWhatBuildKitWantsToKnow(t *testing.T) {
	t.Parallel()
	var digests []string
	for range 2 {
		index, err := programs.Index(t.Context(), of(), nil)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("two images differ: %s", digests)
	}
	img, err := programs.New(t.Context(), of()[0])
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{image.Program}, config.Config.Entrypoint); diff != "" {
		t.Errorf("entrypoint (-want +got):\n%s", diff)
	}
	if got := config.Config.Labels["moby.buildkit.frontend.caps"]; got != frontend.Caps {
		t.Errorf("caps are %q, want %q", got, frontend.Caps)
	}
}

func TestTheLayoutNamesEveryPlatform(t *testing.T) {
	t.Parallel()
	index, err := programs.Index(t.Context(), of(), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	digest, err := (&programs.Destination{Layout: dir}).Write(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	written, err := all.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(written); err != nil {
		t.Error(err)
	}
	manifest, err := written.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range manifest.Manifests {
		got = append(got, m.Platform.Architecture)
	}
	if diff := cmp.Diff([]string{"amd64", "arm64"}, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}
