package flatten_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/flatten"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// item is an entry of a layer with its content.
type item struct {
	tar.Header
	content string
}

func file(name, content string) item {
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content}
}

func dir(name string) item {
	return item{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func symlink(name, target string) item {
	return item{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}, ""}
}

func link(name, target string) item {
	return item{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}, ""}
}

func layer(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := i.Header
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(i.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// blob is a layer as stored.
type blob struct {
	mediaType    string
	data, stream []byte
}

const (
	typeTar  = "application/vnd.oci.image.layer.v1.tar"
	typeGzip = typeTar + "+gzip"
	typeZstd = typeTar + "+zstd"
)

func plainBlobs(layers ...[]byte) []blob {
	var blobs []blob
	for _, l := range layers {
		blobs = append(blobs, blob{typeTar, l, l})
	}
	return blobs
}

// stored maps digests to blobs.
type stored map[digest.Digest][]byte

func (b stored) Blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b[d.Digest])), nil
}
func (b stored) Parallel() bool { return true }
func (b stored) Close() error   { return nil }

func image(t testing.TB, list []blob) *oci.Image {
	t.Helper()
	return labelled(t, nil, list)
}

func labelled(t testing.TB, labels map[string]string, list []blob) *oci.Image {
	t.Helper()
	var m ocispec.Manifest
	var diffIDs []string
	blobs := stored{}
	for _, b := range list {
		d := digest.FromBytes(b.data)
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: b.mediaType, Digest: d, Size: int64(len(b.data))})
		diffIDs = append(diffIDs, digest.FromBytes(b.stream).String())
		blobs[d] = b.data
	}
	config, err := json.Marshal(map[string]any{
		"config": map[string]any{"Labels": labels},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := oci.New(oci.Document{}, m, config, blobs)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// list returns a line for each path of a tree.
func list(t testing.TB, tree rootfs.Tree) []string {
	t.Helper()
	var out []string
	for i, e := range tree.Entries().All() {
		s := fmt.Sprintf("%s %o", e.Path(), e.Mode)
		if e.UID != 0 || e.GID != 0 {
			s += fmt.Sprintf(" %d:%d", e.UID, e.GID)
		}
		if e.IsSymlink() {
			s += " → " + e.Target
		}
		if e.Device != 0 {
			s += fmt.Sprintf(" device %#x", e.Device)
		}
		for _, x := range e.Xattrs {
			s += fmt.Sprintf(" %s=%q", x.Name, x.Value)
		}
		if e.IsRegular() {
			s += fmt.Sprintf(" %q", content(t, tree, i))
		}
		if e.Link != i {
			s += " = " + tree.Entries().At(e.Link).Path()
		}
		out = append(out, s)
	}
	return out
}

func content(t testing.TB, tree rootfs.Tree, i int) string {
	t.Helper()
	r, err := tree.Open(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != tree.Entries().At(i).Size {
		t.Errorf("%s has %d bytes, not %d", tree.Entries().At(i).Path(), len(data), tree.Entries().At(i).Size)
	}
	return string(data)
}

func open(t testing.TB, blobs []blob) (*flatten.Image, error) {
	t.Helper()
	img, err := flatten.Open(t.Context(), image(t, blobs), flatten.Options{TempDir: t.TempDir()})
	if err == nil {
		t.Cleanup(func() {
			if err := img.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return img, err
}

func TestLayersAreAppliedAsARuntimeUnpacksThem(t *testing.T) {
	t.Parallel()
	const root = "/ 40755"
	base := layer(t, dir("usr"), dir("usr/bin"), file("usr/bin/sh", "shell"), dir("etc"), file("etc/a", "A"),
		file("etc/b", "B"), symlink("bin", "usr/bin"))
	for name, test := range map[string]struct {
		layers [][]byte
		want   []string
	}{
		"an image without layers is an empty root": {nil, []string{root}},
		"the root has the owner and mode that it is given": {
			[][]byte{layer(t, item{tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o555, Uid: 3, Gid: 4}, ""})},
			[]string{"/ 40555 3:4"},
		},
		"missing directories are made": {
			[][]byte{layer(t, file("a/b/c", "x"))},
			[]string{root, "/a 40755", "/a/b 40755", `/a/b/c 100644 "x"`},
		},
		"names may begin with a slash or a dot": {
			[][]byte{layer(t, file("/a", "1"), file("./b", "2"), file(".//c", "3"))},
			[]string{root, `/a 100644 "1"`, `/b 100644 "2"`, `/c 100644 "3"`},
		},
		"paths are sorted by bytes": {
			[][]byte{layer(t, file("a/b", ""), file("a-b", ""), file("ä", ""), file("a.b", ""))},
			[]string{root, "/a 40755", `/a-b 100644 ""`, `/a.b 100644 ""`, `/a/b 100644 ""`, `/ä 100644 ""`},
		},
		"the last of two entries counts": {
			[][]byte{layer(t, file("a", "1"), file("a", "2"))},
			[]string{root, `/a 100644 "2"`},
		},
		"a file goes away by a whiteout": {
			[][]byte{base, layer(t, file("etc/.wh.a", ""))},
			[]string{root, "/bin 120777 → usr/bin", "/etc 40755", `/etc/b 100644 "B"`, "/usr 40755", "/usr/bin 40755",
				`/usr/bin/sh 100644 "shell"`},
		},
		"a directory goes away with all in it": {
			[][]byte{base, layer(t, file(".wh.usr", ""), file(".wh.etc", ""))},
			[]string{root, "/bin 120777 → usr/bin"},
		},
		"an opaque directory hides what is below, wherever the mark stands": {
			[][]byte{base, layer(t, dir("etc"), file("etc/c", "C"), file("etc/.wh..wh..opq", ""), file(".wh.usr", ""))},
			[]string{root, "/bin 120777 → usr/bin", "/etc 40755", `/etc/c 100644 "C"`},
		},
		"an opaque root hides everything": {
			[][]byte{base, layer(t, file(".wh..wh..opq", ""), file("x", ""))},
			[]string{root, `/x 100644 ""`},
		},
		"a whiteout does not hide what its own layer has": {
			[][]byte{base, layer(t, file("etc/a", "new"), file("etc/.wh.a", ""), file(".wh.usr", ""))},
			[]string{root, "/bin 120777 → usr/bin", "/etc 40755", `/etc/a 100644 "new"`, `/etc/b 100644 "B"`},
		},
		"a whiteout of nothing hides nothing": {
			[][]byte{layer(t, file("a", "")), layer(t, file(".wh.b", ""), file("no/such/.wh.dir", ""), file("a/.wh.b", ""))},
			[]string{root, `/a 100644 ""`},
		},
		"whiteouts of a directory itself and of marks hide nothing": {
			[][]byte{layer(t, file("d/a", "")), layer(t, file("d/.wh.", ""), file("d/.wh..", ""), file("d/.wh...", ""),
				file("d/.wh..wh.a", ""), file("d/.wh..wh..plnk/x", ""), file(".wh.d/a", ""))},
			[]string{root, "/d 40755", `/d/a 100644 ""`},
		},
		"directories keep what they have when their metadata changes": {
			[][]byte{layer(t, file("d/a", "")),
				layer(t, item{tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o1777, Uid: 1}, ""})},
			[]string{root, "/d 41777 1:0", `/d/a 100644 ""`},
		},
		"a file takes the place of a directory, and the other way round": {
			[][]byte{layer(t, file("d/a", ""), file("f", "")), layer(t, file("d", "x"), dir("f"), file("f/g", ""))},
			[]string{root, `/d 100644 "x"`, "/f 40755", `/f/g 100644 ""`},
		},
		"a directory takes the place of a symlink": {
			[][]byte{base, layer(t, dir("bin"), file("bin/x", ""), file(".wh.etc", ""))},
			[]string{root, "/bin 40755", `/bin/x 100644 ""`, "/usr 40755", "/usr/bin 40755", `/usr/bin/sh 100644 "shell"`},
		},
		"files go where a symlink leads, inside the tree": {
			[][]byte{layer(t, dir("d"), symlink("in", "/d"), symlink("out", "../../../d")),
				layer(t, file("in/a", "1"), file("out/b", "2"))},
			[]string{root, "/d 40755", `/d/a 100644 "1"`, `/d/b 100644 "2"`, "/in 120777 → /d", "/out 120777 → ../../../d"},
		},
		"hard links are one file, also across layers": {
			[][]byte{layer(t, file("b", "1"), link("a", "b")), layer(t, link("c", "/b"))},
			[]string{root, `/a 100644 "1"`, `/b 100644 "1" = /a`, `/c 100644 "1" = /a`},
		},
		"what is linked stays when its first name goes": {
			[][]byte{layer(t, file("a", "1"), link("b", "a")), layer(t, file(".wh.a", ""))},
			[]string{root, `/b 100644 "1"`},
		},
		"a link does not follow what replaces its target": {
			[][]byte{layer(t, file("a", "1"), link("b", "a")), layer(t, file("a", "2"))},
			[]string{root, `/a 100644 "2"`, `/b 100644 "1"`},
		},
		"the repository of a commit's image stays out, its files do not": {
			[][]byte{layer(t, dir("sysroot/ostree/repo/objects/ab"), file("sysroot/ostree/repo/objects/ab/c.file", "x"),
				link("usr/x", "sysroot/ostree/repo/objects/ab/c.file"),
				link("usr/y", "sysroot/ostree/repo/objects/ab/c.file"), symlink("ostree", "sysroot/ostree"))},
			[]string{
				root, "/ostree 120777 → sysroot/ostree", "/sysroot 40755", "/usr 40755", `/usr/x 100644 "x"`,
				`/usr/y 100644 "x" = /usr/x`,
			},
		},
		"a repository whose objects have no other name stays": {
			[][]byte{layer(t, dir("sysroot/ostree"), file("sysroot/ostree/c.file", "x"))},
			[]string{root, "/sysroot 40755", "/sysroot/ostree 40755", `/sysroot/ostree/c.file 100644 "x"`},
		},
		"special files, owners, modes and xattrs are kept": {
			[][]byte{layer(t,
				item{tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}, ""},
				item{tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Mode: 0o660, Devmajor: 259, Devminor: 70000, Gid: 6}, ""},
				item{tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o600}, ""},
				item{tar.Header{Typeflag: tar.TypeReg, Name: "su", Mode: 0o4755, Uid: 1, Gid: 4294967294,
					PAXRecords: map[string]string{"SCHILY.xattr.user.b": "\x00\xff", "SCHILY.xattr.user.a": "=\n"}}, ""})},
			[]string{root, "/null 20666 device 0x103", "/pipe 10600", "/sda 60660 0:6 device 0x11110370",
				`/su 104755 1:4294967294 user.a="=\n" user.b="\x00\xff" ""`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img, err := open(t, plainBlobs(test.layers...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, list(t, img)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestACommitWithoutFilesOutsideOfItsRepositoryIsNotAnEmptyImage(t *testing.T) {
	t.Parallel()
	objects := layer(t, dir("sysroot/ostree/repo/objects/ab"), file("sysroot/ostree/repo/objects/ab/c.file", "x"),
		file("sysroot/ostree/repo/objects/ab/d.file", "y"))
	final := digest.FromBytes(objects).String()
	for name, test := range map[string]struct {
		above []byte
		want  string
	}{
		"none":                     {layer(t, file("etc/x", "z")), "no file of its commit has a path"},
		"some were removed on top": {layer(t, link("usr/d", "sysroot/ostree/repo/objects/ab/d.file")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := labelled(t, map[string]string{oci.LabelDiffID: final}, plainBlobs(objects, test.above))
			tree, err := flatten.Open(t.Context(), img, flatten.Options{TempDir: t.TempDir()})
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			if got := list(t, tree); !slices.Contains(got, `/usr/d 100644 "y"`) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func compress(t testing.TB, newWriter func(io.Writer) io.WriteCloser, parts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range parts {
		w := newWriter(&b)
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func gzipped(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

func zstandard(w io.Writer) io.WriteCloser {
	z, err := zstd.NewWriter(w)
	if err != nil {
		panic(err) // it has no options
	}
	return z
}

func TestLayersMayBeCompressedInAnyWay(t *testing.T) {
	t.Parallel()
	l := layer(t, file("a", strings.Repeat("content ", 1000)))
	half := len(l) / 2
	for name, b := range map[string]blob{
		"not":                     {typeTar, l, l},
		"gzip":                    {typeGzip, compress(t, gzipped, l), l},
		"gzip of several members": {typeGzip, compress(t, gzipped, l[:half], l[half:]), l},
		"zstd":                    {typeZstd, compress(t, zstandard, l), l},
		"zstd of several frames":  {typeZstd, compress(t, zstandard, l[:half], l[half:]), l},
		"docker's gzip":           {"application/vnd.docker.image.rootfs.diff.tar.gzip", compress(t, gzipped, l), l},
		"padding after the stream": {typeTar, append(l[:len(l):len(l)], make([]byte, 10240)...),
			append(l[:len(l):len(l)], make([]byte, 10240)...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img, err := open(t, []blob{b})
			if err != nil {
				t.Fatal(err)
			}
			if n := img.Entries().Len(); n != 2 {
				t.Errorf("%d entries, want 2", n)
			}
		})
	}
}

func TestNothingIsLeftOnDisk(t *testing.T) {
	t.Parallel()
	good := layer(t, file("a", "content"))
	for name, blobs := range map[string][]blob{
		"of an image that was closed":     plainBlobs(good),
		"of an image that cannot be read": append(plainBlobs(good), blob{typeTar, good, []byte("something else")}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			img, err := flatten.Open(t.Context(), image(t, blobs), flatten.Options{TempDir: dir})
			if err == nil {
				err = img.Close()
			} else if !errors.Is(err, oci.ErrLayerMismatch) {
				t.Error(err)
			}
			left, globErr := filepath.Glob(filepath.Join(dir, "*"))
			if len(left) != 0 || globErr != nil {
				t.Errorf("%v, and there is %v (%v)", err, left, globErr)
			}
		})
	}
}

func TestReadingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := flatten.Open(ctx, image(t, plainBlobs(layer(t, file("a", "")))), flatten.Options{TempDir: t.TempDir()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAPlaceThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	absent := flatten.Options{TempDir: filepath.Join(t.TempDir(), "none")}
	if _, err := flatten.Open(t.Context(), image(t, nil), absent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
