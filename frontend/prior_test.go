package frontend

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestMembersOfAnIndexForAPlatform(t *testing.T) {
	t.Parallel()
	entry := func(name, mediaType, arch, variant string) ocispec.Descriptor {
		d := ocispec.Descriptor{Digest: digest.Digest(name), MediaType: mediaType}
		if arch != "" {
			d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch, Variant: variant}
		}
		return d
	}
	const image, list = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	got := members(ocispec.Index{Manifests: []ocispec.Descriptor{
		entry("unnamed", image, "", ""), entry("amd64", image, "amd64", ""), entry("nested", list, "", ""),
		entry("v6", image, "arm", "v6"), entry("sbom", "application/spdx+json", "", ""), entry("v7", image, "arm", "v7"),
		entry("nested amd64", list, "amd64", ""), entry("untyped", "", "", ""), entry("v8", image, "arm", "v8"),
	}}, ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"})
	want := []digest.Digest{"v7", "v6", "unnamed", "nested", "untyped"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
