package container_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// testImage is an image in memory. A test changes it before it is written as an OCI layout.
type testImage struct {
	commit   object.Checksum
	tars     [][]byte // uncompressed layers, the commit layer first
	blobs    map[digest.Digest][]byte
	manifest ocispec.Manifest
	labels   map[string]string
	diffIDs  []digest.Digest
}

// newTestImage encapsulates a commit with four files in a commit layer and two chunks.
func newTestImage(t *testing.T) *testImage {
	t.Helper()
	r := newRepo(t, repo.ModeArchive)
	return encapsulated(t, r, commitFiles(t, r, "one", "two", "three", "four"))
}

// encapsulated returns the image of a commit with four files.
func encapsulated(t *testing.T, r *repo.Repo, commit object.Checksum) *testImage {
	t.Helper()
	img := &testImage{commit: commit, blobs: map[digest.Digest][]byte{}}
	content, err := repo.CommitContent(t.Context(), r, img.commit)
	if err != nil {
		t.Fatal(err)
	}
	export := func(f func(w *bytes.Buffer) error) {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatal(err)
		}
		img.tars = append(img.tars, b.Bytes())
	}
	export(func(w *bytes.Buffer) error {
		return tarfmt.ExportFinal(t.Context(), w, r, img.commit, content[:2], tarfmt.ExportOptions{})
	})
	for _, c := range []repo.Content{content[2:3], content[3:]} {
		export(func(w *bytes.Buffer) error {
			return tarfmt.ExportChunk(t.Context(), w, r, img.commit, c, tarfmt.ExportOptions{})
		})
	}
	img.manifest = ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}}
	for range img.tars {
		img.manifest.Layers = append(img.manifest.Layers, ocispec.Descriptor{})
		img.diffIDs = append(img.diffIDs, "")
	}
	for i := range img.tars {
		img.setTar(i, img.tars[i])
	}
	img.labels = map[string]string{"ostree.commit": img.commit.String(), "ostree.final-diffid": img.diffIDs[2].String()}
	return img
}

func commitFiles(t *testing.T, r *repo.Repo, names ...string) object.Checksum {
	t.Helper()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	must := func(c object.Checksum, err error) object.Checksum {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var tree object.DirTree
	for _, n := range names {
		content := strings.Repeat(n+"\n", 500)
		c := must(txn.WriteFile(t.Context(), &object.FileHeader{Mode: object.ModeRegular | 0o644}, int64(len(content)),
			strings.NewReader(content)))
		tree.Files = append(tree.Files, object.FileEntry{Name: n, Checksum: c})
	}
	sortFiles(&tree)
	data, err := object.EncodeDirTree(&tree)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := object.EncodeDirMeta(&object.DirMeta{Mode: object.ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	commit := must(txn.WriteCommit(t.Context(), &object.Commit{
		Subject: "test", Tree: must(txn.WriteMetadata(t.Context(), object.TypeDirTree, data)),
		Meta: must(txn.WriteMetadata(t.Context(), object.TypeDirMeta, meta)),
	}))
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return commit
}

func sortFiles(tree *object.DirTree) {
	for i := range tree.Files {
		for j := i; j > 0 && tree.Files[j].Name < tree.Files[j-1].Name; j-- {
			tree.Files[j], tree.Files[j-1] = tree.Files[j-1], tree.Files[j]
		}
	}
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

// setTar replaces layer i by a tar stream, and adapts sizes, digests and diff-ids.
func (img *testImage) setTar(i int, tar []byte) {
	img.diffIDs[i] = digest.FromBytes(tar)
	if img.labels != nil && i == 2 {
		img.labels["ostree.final-diffid"] = img.diffIDs[i].String()
	}
	img.setBlob(i, ocispec.MediaTypeImageLayerGzip, gzipped(tar))
}

func (img *testImage) setBlob(i int, mediaType string, blob []byte) {
	d := digest.FromBytes(blob)
	img.blobs[d] = blob
	img.manifest.Layers[i] = ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(blob))}
}

// write writes the image as an OCI layout.
func (img *testImage) write(t *testing.T) imgref.OstreeImageReference {
	t.Helper()
	dir := t.TempDir()
	save := func(name string, data []byte) {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(v any) ocispec.Descriptor {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		d := digest.FromBytes(data)
		save("blobs/sha256/"+d.Encoded(), data)
		return ocispec.Descriptor{Digest: d, Size: int64(len(data))}
	}
	for d, data := range img.blobs {
		save("blobs/sha256/"+d.Encoded(), data)
	}
	img.manifest.Config = blob(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Labels": img.labels},
		"rootfs": map[string]any{"type": "layers", "diff_ids": img.diffIDs},
	})
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
		Manifests: []ocispec.Descriptor{blob(img.manifest)}}
	data, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	save("index.json", data)
	return unverified(imgref.OCIDir, dir)
}

// files lists every file of a repository except its lock.
func files(t *testing.T, r *repo.Repo) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(r.Path(), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != ".lock" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestLayersOfEveryCompressionAreRead(t *testing.T) {
	t.Parallel()
	for name, pack := range map[string]func([]byte) (string, []byte){
		"gzip": func(b []byte) (string, []byte) { return ocispec.MediaTypeImageLayerGzip, gzipped(b) },
		"none": func(b []byte) (string, []byte) { return ocispec.MediaTypeImageLayer, b },
		"zstd": func(b []byte) (string, []byte) {
			z, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return ocispec.MediaTypeImageLayerZstd, z.EncodeAll(b, nil)
		},
		"gzip, not to be distributed": func(b []byte) (string, []byte) {
			return "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", gzipped(b)
		},
		"Docker's gzip": func(b []byte) (string, []byte) { return ocispec.MediaTypeImageLayerGzip, gzipped(b) },
		"gzip, then other bytes": func(b []byte) (string, []byte) {
			return ocispec.MediaTypeImageLayerGzip, append(gzipped(b), gzipped([]byte("ignored"))...)
		},
	} {
		img := newTestImage(t)
		for i, tar := range img.tars {
			mediaType, blob := pack(tar)
			img.setBlob(i, mediaType, blob)
		}
		res, err := container.Unencapsulate(t.Context(), newRepo(t, repo.ModeBareUser), img.write(t), source.Options{},
			container.ImportOptions{})
		if err != nil || res.Commit != img.commit {
			t.Errorf("%s: got %v, %v", name, res, err)
		}
	}
}

func TestHostileImagesAreRefusedAndLeaveNothing(t *testing.T) {
	t.Parallel()
	anything := errors.New("")
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, img *testImage)
		want   error
		says   string
	}{
		{"layer of another digest", func(_ *testing.T, img *testImage) {
			img.blobs[img.manifest.Layers[1].Digest] = gzipped(img.tars[2])
		}, oci.ErrMismatch, "layer sha256:"},
		{"layer with a bit flipped", func(_ *testing.T, img *testImage) {
			b := img.blobs[img.manifest.Layers[0].Digest]
			b[len(b)/2] ^= 1
		}, oci.ErrMismatch, "layer sha256:"},
		{"layer cut short", func(_ *testing.T, img *testImage) {
			d := img.manifest.Layers[0].Digest
			img.blobs[d] = img.blobs[d][:len(img.blobs[d])/2]
		}, oci.ErrMismatch, "ends after"},
		{"layer larger than it says", func(_ *testing.T, img *testImage) { img.manifest.Layers[0].Size-- }, oci.ErrMismatch,
			"longer"},
		{"layer smaller than it says", func(_ *testing.T, img *testImage) { img.manifest.Layers[0].Size++ }, oci.ErrMismatch,
			"ends after"},
		{"layer absent", func(_ *testing.T, img *testImage) { delete(img.blobs, img.manifest.Layers[1].Digest) },
			os.ErrNotExist, "layer sha256:"},
		{"wrong diff-id of a chunk", func(_ *testing.T, img *testImage) { img.diffIDs[1] = digest.FromString("x") },
			oci.ErrLayerMismatch, "diff-id"},
		{"wrong diff-id of the commit layer", func(_ *testing.T, img *testImage) { img.diffIDs[0] = digest.FromString("x") },
			oci.ErrLayerMismatch, "diff-id"},
		{"too few diff-ids", func(_ *testing.T, img *testImage) { img.diffIDs = img.diffIDs[:2] }, oci.ErrNotEncapsulated,
			"ostree.final-diffid"},
		{"unknown media type", func(_ *testing.T, img *testImage) { img.manifest.Layers[1].MediaType = "text/html" },
			oci.ErrNotEncapsulated, "Unhandled layer type: text/html"},
		{"a layer that is not distributed", func(_ *testing.T, img *testImage) {
			l := &img.manifest.Layers[1]
			l.MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
			l.URLs = []string{"https://elsewhere.example/blob"}
			delete(img.blobs, l.Digest)
		}, source.ErrForeignLayer, `it is at "https://elsewhere.example/blob", from where it is not fetched`},
		{"gzip that is zstd by its name", func(_ *testing.T, img *testImage) {
			img.manifest.Layers[1].MediaType = ocispec.MediaTypeImageLayerZstd
		}, anything, "layer sha256:"},
		{"plain that is gzip by its name", func(_ *testing.T, img *testImage) {
			img.setBlob(1, ocispec.MediaTypeImageLayerGzip, img.tars[1])
		}, anything, "layer sha256:"},
		{"no label", func(_ *testing.T, img *testImage) { delete(img.labels, "ostree.final-diffid") }, oci.ErrNotEncapsulated,
			"No ostree.final-diffid label found, not an ostree encapsulated container"},
		{"label of no layer", func(_ *testing.T, img *testImage) { img.labels["ostree.final-diffid"] = "sha256:00" },
			oci.ErrNotEncapsulated, "Missing ostree.final-diffid sha256:00"},
		{"no layers", func(_ *testing.T, img *testImage) { img.manifest.Layers = nil }, oci.ErrNotEncapsulated,
			"No layers in manifest"},
		{"more diff-ids than layers", func(_ *testing.T, img *testImage) { img.manifest.Layers = img.manifest.Layers[:2] },
			oci.ErrNotEncapsulated, "diffid position 2 exceeds layer count 2"},
		{"two layers on top", func(_ *testing.T, img *testImage) {
			for _, s := range []string{"x", "y"} {
				img.manifest.Layers = append(img.manifest.Layers,
					ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(s), Size: 1})
				img.diffIDs = append(img.diffIDs, digest.FromString(s))
			}
		}, oci.ErrNotEncapsulated, "Image has 2 non-ostree layers"},
		{"the last chunk twice", func(_ *testing.T, img *testImage) {
			img.manifest.Layers = append(img.manifest.Layers, img.manifest.Layers[2])
			img.diffIDs = append(img.diffIDs, img.diffIDs[2])
		}, oci.ErrNotEncapsulated, "Multiple entries for sha256:"},
		{"another commit than the label says", func(_ *testing.T, img *testImage) {
			img.labels["ostree.commit"] = strings.Repeat("7", 64)
		}, oci.ErrLayerMismatch, "ostree.commit"},
		{"a chunk's objects are absent", func(_ *testing.T, img *testImage) {
			img.setTar(1, append(bytes.Clone(img.tars[2]), make([]byte, 512)...))
		}, repo.ErrObjectNotFound, ".file of \"/"},
		{"the commit layer is a chunk", func(_ *testing.T, img *testImage) { img.setTar(0, img.tars[1]) }, anything,
			"layer sha256:"},
		{"a chunk is the commit layer", func(_ *testing.T, img *testImage) { img.setTar(1, img.tars[0]) }, anything,
			"Found multiple commit objects"},
		{"an object with other content", func(t *testing.T, img *testImage) {
			for i, tar := range img.tars {
				if at := bytes.Index(tar, []byte("three\nthree\n")); at >= 0 {
					tar[at] = 'T'
					img.setTar(i, tar)
					return
				}
			}
			t.Fatal("no such content")
		}, object.ErrCorrupt, "layer sha256:"},
		{"a stream cut short inside an entry",
			func(_ *testing.T, img *testImage) { img.setTar(0, img.tars[0][:len(img.tars[0])-3000]) }, tarfmt.ErrInvalidStream,
			"the stream ends inside"},
		{"an empty stream", func(_ *testing.T, img *testImage) { img.setTar(0, nil) }, anything, "layer sha256:"},
		{"a bomb behind the archive", func(_ *testing.T, img *testImage) {
			img.setTar(1, append(bytes.Clone(img.tars[1]), make([]byte, 64<<20)...))
		}, oci.ErrLayerMismatch, "follow the end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			img := newTestImage(t)
			c.damage(t, img)
			r := newRepo(t, repo.ModeBareUser)
			before := files(t, r)
			_, err := container.Unencapsulate(t.Context(), r, img.write(t), source.Options{},
				container.ImportOptions{WriteRef: "a/b"})
			if err == nil || c.want != anything && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %v that says %q", err, c.want, c.says)
			}
			if after := files(t, r); strings.Join(after, "\n") != strings.Join(before, "\n") {
				t.Errorf("files are left behind:\n%s", strings.Join(after, "\n"))
			}
		})
	}
}

func TestEqualChunksInTheMiddleAreHarmless(t *testing.T) {
	t.Parallel()
	img := newTestImage(t)
	img.manifest.Layers = append(img.manifest.Layers[:2], img.manifest.Layers[1], img.manifest.Layers[2])
	img.diffIDs = append(img.diffIDs[:2], img.diffIDs[1], img.diffIDs[2])
	res, err := container.Unencapsulate(t.Context(), newRepo(t, repo.ModeArchive), img.write(t), source.Options{},
		container.ImportOptions{})
	if err != nil || res.Commit != img.commit {
		t.Errorf("got %v, %v", res, err)
	}
}

func TestACommitThatIsThereStaysWhenItsImageIsBad(t *testing.T) {
	t.Parallel()
	img := newTestImage(t)
	r := newRepo(t, repo.ModeArchive)
	opts := container.ImportOptions{WriteRef: "a/b"}
	if _, err := container.Unencapsulate(t.Context(), r, img.write(t), source.Options{}, opts); err != nil {
		t.Fatal(err)
	}
	before := files(t, r)
	img.diffIDs[1] = digest.FromString("x")
	if _, err := container.Unencapsulate(t.Context(), r, img.write(t), source.Options{}, opts); err == nil {
		t.Fatal("no error")
	}
	if after := files(t, r); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("got %q, want %q", after, before)
	}
	if state, err := r.IsPartial(img.commit); err != nil || state != repo.CommitComplete {
		t.Errorf("the commit's state is %v, %v", state, err)
	}
}

func TestARefThatIsNoneIsRefusedBeforeAnythingIsFetched(t *testing.T) {
	t.Parallel()
	_, err := container.Unencapsulate(t.Context(), newRepo(t, repo.ModeArchive), unverified(imgref.OCIDir, "/nowhere"),
		source.Options{}, container.ImportOptions{WriteRef: "../x"})
	if !errors.Is(err, repo.ErrInvalidRef) {
		t.Errorf("got %v", err)
	}
}
