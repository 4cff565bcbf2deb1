package programs_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
)

// describe returns the description of an image with a file of each kind.
func describe(arch string) programs.Image {
	return programs.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: arch},
		Layers: []programs.Layer{
			{Name: "directories", Files: []programs.File{{Path: "/tmp", Mode: 0o1777, Dir: true}}},
			{Name: "programs", Files: []programs.File{
				{Path: "/usr/bin/zero", Mode: 0o755, Content: []byte("program of " + arch)},
				{Path: "/usr/bin/other", SameAs: "/usr/bin/zero"},
			}},
		},
		Config:      ocispec.ImageConfig{Entrypoint: []string{"/usr/bin/zero"}, Labels: map[string]string{"a": "label"}},
		Annotations: map[string]string{"an": "annotation"},
		Created:     time.Unix(1_700_000_000, 0),
	}
}

// files lists the entries of all layers.
func files(t *testing.T, img v1.Image) (list []string) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		in := tar.NewReader(r)
		for {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, strings.TrimRight(fmt.Sprintf("%c %04o %d:%d %s %s%s",
				h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.Name, h.Linkname, content), " "))
		}
	}
	return list
}

func TestAnImageHasTheFilesAndTheirDirectories(t *testing.T) {
	t.Parallel()
	img, err := programs.New(t.Context(), describe("amd64"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	want := []string{
		"5 0755 0:0 ./", "5 1777 0:0 tmp/",
		"5 0755 0:0 ./", "5 0755 0:0 usr/", "5 0755 0:0 usr/bin/",
		"0 0755 0:0 usr/bin/other program of amd64", "1 0755 0:0 usr/bin/zero usr/bin/other",
	}
	if diff := cmp.Diff(want, files(t, img)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.Labels["a"]; got != "label" || !config.Created.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("label %q, time %s", got, config.Created)
	}
}

func TestEqualDescriptionsGiveAnEqualIndexThatNamesEveryPlatform(t *testing.T) {
	t.Parallel()
	var digests []string
	for range 2 {
		index, err := programs.Index(t.Context(), []programs.Image{describe("amd64"), describe("riscv64")},
			map[string]string{"of": "the index"})
		if err != nil {
			t.Fatal(err)
		}
		to := programs.Destination{Layout: t.TempDir()}
		digest, err := to.Write(t.Context(), index)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
		dir, err := layout.ImageIndexFromPath(to.Layout)
		if err != nil {
			t.Fatal(err)
		}
		written, err := dir.ImageIndex(digest)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(written); err != nil {
			t.Error(err)
		}
		m, err := written.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		var platforms []string
		for _, d := range m.Manifests {
			platforms = append(platforms, d.Platform.OS+"/"+d.Platform.Architecture)
		}
		if diff := cmp.Diff([]string{"linux/amd64", "linux/riscv64"}, platforms); diff != "" {
			t.Errorf("platforms (-want +got):\n%s", diff)
		}
		if m.Annotations["of"] != "the index" {
			t.Errorf("annotations of the index: %v", m.Annotations)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds differ: %s", digests)
	}
}

func TestWhatCannotBeInAnImageIsAnError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, want string }{
		{"usr/bin/zero", `"usr/bin/zero" is not an absolute, clean path`},
		{"/usr/../zero", `"/usr/../zero" is not an absolute, clean path`},
	} {
		layers := []programs.Layer{{Files: []programs.File{{Path: tt.name}}}}
		_, err := programs.New(t.Context(), programs.Image{Layers: layers})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
	_, err := programs.New(t.Context(), programs.Image{Layers: []programs.Layer{{
		Files: []programs.File{{Path: "/a", SameAs: "/b"}},
	}}})
	if err == nil || !strings.Contains(err.Error(), "/a is another name of /b, which is not a file of the layer") {
		t.Errorf("a link to nothing: error %v", err)
	}
	if err := (&programs.Destination{}).Check(); err == nil {
		t.Error("no destination is accepted")
	}
	if err := (&programs.Destination{Image: "UPPER"}).Check(); err == nil {
		t.Error("a wrong name of an image is accepted")
	}
}
