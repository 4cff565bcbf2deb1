package container_test

import (
	"archive/tar"
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// check opens an image and checks it.
func check(t *testing.T, ref imgref.OstreeImageReference, opts container.CheckOptions) (*container.Findings, error) {
	t.Helper()
	img, err := source.Open(t.Context(), ref, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	return container.Check(t.Context(), img, opts)
}

// readInfo opens an image and returns its description.
func readInfo(t *testing.T, ref imgref.OstreeImageReference, opts source.Options) (*container.ImageInfo, error) {
	t.Helper()
	img, err := source.Open(t.Context(), ref, opts)
	if err != nil {
		return nil, err
	}
	return container.Info(ref, img), img.Close()
}

// archive returns a layer of ordinary entries.
func archive(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// onTop adds a layer on top of the others.
func (img *testImage) onTop(layer []byte) {
	img.diffIDs = append(img.diffIDs, "")
	img.manifest.Layers = append(img.manifest.Layers, ocispec.Descriptor{})
	img.setTar(len(img.diffIDs)-1, layer)
}

// ordinary replaces the layers by a single one of ordinary files.
func (img *testImage) ordinary(layer []byte) {
	img.labels, img.diffIDs, img.manifest.Layers = nil, nil, nil
	img.onTop(layer)
}

func TestVerifySaysWhatIsWrongWithAnImage(t *testing.T) {
	file := tar.Header{Name: "usr/file", Typeflag: tar.TypeReg, Mode: 0o644}
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *testImage)
		want   []string // parts of the problems, in order; none if the image is good
	}{
		{"a commit", func(*testing.T, *testImage) {}, nil},
		{"a commit without its label", func(_ *testing.T, img *testImage) { delete(img.labels, "ostree.commit") }, nil},
		{"a layer on top of a commit", func(t *testing.T, img *testImage) { img.onTop(archive(t, file)) }, nil},
		{"an ordinary image", func(t *testing.T, img *testImage) { img.ordinary(archive(t, file)) }, nil},
		{
			"a gzip stream of two members in an ordinary image",
			func(t *testing.T, img *testImage) {
				layer := archive(t, file)
				img.ordinary(layer)
				img.setBlob(0, ocispec.MediaTypeImageLayerGzip, append(gzipped(layer[:512]), gzipped(layer[512:])...))
			}, nil,
		},
		{
			"a layer that is not to be distributed in an ordinary image",
			func(t *testing.T, img *testImage) {
				layer := archive(t, file)
				img.ordinary(layer)
				img.setBlob(0, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", gzipped(layer))
			}, nil,
		},
		{
			"a layer of a commit that is not to be distributed",
			func(_ *testing.T, img *testImage) {
				img.manifest.Layers[1].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
			}, []string{"layer 2 of 3 has the media type application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"},
		},
		{
			"a label of another layer",
			func(_ *testing.T, img *testImage) {
				img.labels["ostree.final-diffid"] = digest.FromString("x").String()
			},
			[]string{"label ostree.final-diffid names"},
		},
		{
			"no label of the layers of a commit",
			func(_ *testing.T, img *testImage) { delete(img.labels, "ostree.final-diffid") },
			[]string{"label ostree.commit is there, but not ostree.final-diffid"},
		},
		{
			"a label of another commit", func(_ *testing.T, img *testImage) {
				img.labels["ostree.commit"] = strings.Repeat("0", 64)
			},
			[]string{"the image holds commit"},
		},
		{
			"two diff-ids of other layers",
			func(_ *testing.T, img *testImage) {
				img.diffIDs[0], img.diffIDs[1] = digest.FromString("x"), digest.FromString("y")
			},
			[]string{"layer 1 of 3", "layer 2 of 3"},
		},
		{
			"fewer diff-ids than layers", func(_ *testing.T, img *testImage) { img.diffIDs = img.diffIDs[:2]; img.labels = nil },
			[]string{"the manifest has 3 layers, the configuration diff-ids of 2"},
		},
		{
			"a blob that is cut",
			func(_ *testing.T, img *testImage) {
				d := img.manifest.Layers[1].Digest
				img.blobs[d] = img.blobs[d][:100]
			}, []string{"layer 2 of 3"},
		},
		{
			"a blob with another byte",
			func(_ *testing.T, img *testImage) {
				d := img.manifest.Layers[2].Digest
				img.blobs[d] = bytes.Clone(img.blobs[d])
				img.blobs[d][len(img.blobs[d])-1] ^= 1
			}, []string{"layer 3 of 3"},
		},
		{
			"a chunk without its objects", func(t *testing.T, img *testImage) { img.setTar(1, archive(t)) },
			[]string{"commit "},
		},
		{
			"a plan that is none", func(_ *testing.T, img *testImage) { img.labels["ostree-ext.plan"] = "{" },
			[]string{"label ostree-ext.plan"},
		},
		{
			"a layer on top in eStargz format",
			func(t *testing.T, img *testImage) {
				img.onTop(archive(t, file))
				img.manifest.Layers[3].Annotations = map[string]string{"containerd.io/snapshot/stargz/toc.digest": "x"}
			}, []string{"eStargz"},
		},
		{
			"a FIFO on top of a commit",
			func(t *testing.T, img *testImage) {
				img.onTop(archive(t, tar.Header{Name: "usr/pipe", Typeflag: tar.TypeFifo, Mode: 0o644}))
			}, []string{"/usr/pipe"},
		},
		{
			"a FIFO in an ordinary image",
			func(t *testing.T, img *testImage) {
				img.ordinary(archive(t, tar.Header{Name: "usr/pipe", Typeflag: tar.TypeFifo, Mode: 0o644}))
			}, nil,
		},
		{
			"a path that leads upwards",
			func(t *testing.T, img *testImage) {
				img.ordinary(archive(t, tar.Header{Name: "../file", Typeflag: tar.TypeReg, Mode: 0o644}))
			}, []string{"leads upwards"},
		},
		{
			"a hard link to nothing",
			func(t *testing.T, img *testImage) {
				img.ordinary(archive(t, tar.Header{Name: "usr/link", Linkname: "usr/absent", Typeflag: tar.TypeLink}))
			}, []string{"layer 1: "},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			img := newTestImage(t)
			tt.change(t, img)
			temp := t.TempDir()
			v, err := check(t, img.write(t), container.CheckOptions{TempDir: temp})
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Problems) != len(tt.want) {
				t.Fatalf("problems are %q, want %q", v.Problems, tt.want)
			}
			for i, want := range tt.want {
				if !strings.Contains(v.Problems[i], want) {
					t.Errorf("problem %q does not say %q", v.Problems[i], want)
				}
			}
			if names, err := readNames(temp); err != nil || len(names) > 0 {
				t.Errorf("left behind: %q, %v", names, err)
			}
		})
	}
}

func TestVerifyFindsTheCommitAndWhatIsOnTop(t *testing.T) {
	img := newTestImage(t)
	img.onTop(archive(t))
	v, err := check(t, img.write(t), container.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v.Layers != 4 || v.Derived != 1 || v.Commit != img.commit.String() || v.Digest == "" {
		t.Errorf("got %+v", v)
	}
}

// Only the label shows that the layers hold the complete commit of another image.
func TestVerifyReadsACommitThatIsWhole(t *testing.T) {
	img := newTestImage(t)
	other := newRepo(t, repo.ModeArchive)
	commit := commitFiles(t, other, "one")
	var b bytes.Buffer
	content, err := repo.CommitContent(t.Context(), other, commit)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarfmt.ExportFinal(t.Context(), &b, other, commit, content, tarfmt.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	img.setTar(0, b.Bytes())
	v, err := check(t, img.write(t), container.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Problems) != 1 || !strings.Contains(v.Problems[0], img.commit.String()) || v.Commit != commit.String() {
		t.Errorf("got %+v", v)
	}
}

func readNames(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}
