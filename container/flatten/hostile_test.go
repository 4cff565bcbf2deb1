package flatten_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/flatten"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// sparse returns a file in GNU tar's sparse format that claims a size but has no data.
func sparse(name string, size int64) item {
	data := "0\n" + strings.Repeat("\x00", 510)
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)),
		PAXRecords: map[string]string{"comment": fmt.Sprint(size)}}, data}
}

// withSparse turns the comment of [sparse] into the record that archive/tar does not write.
func withSparse(stream []byte, size int64) []byte {
	old := fmt.Sprintf("%d comment=%d\n", len(fmt.Sprintf(" comment=%d\n", size))+2, size)
	records := "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
	record := fmt.Sprintf(" GNU.sparse.realsize=%d\n", size)
	records += fmt.Sprintf("%d%s", len(record)+2, record)
	i := bytes.Index(stream, []byte(old))
	out := bytes.Clone(stream)
	copy(out[i:], records)
	header := out[i-512 : i]
	copy(header[124:136], fmt.Sprintf("%011o\x00", len(records)))
	resum(header)
	return out
}

// resum corrects the checksum of a header.
func resum(header []byte) {
	copy(header[148:156], "        ")
	n := 0
	for _, b := range header {
		n += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", n))
}

// lying returns a layer with a file whose header claims another size than it has.
func lying(t testing.TB, size int64) []byte {
	t.Helper()
	stream := layer(t, file("a", "content"))
	copy(stream[124:136], fmt.Sprintf("%011o\x00", size))
	resum(stream[:512])
	return stream
}

func loop(n int) []item {
	var items []item
	for i := range n {
		items = append(items, symlink(fmt.Sprint("l", i), fmt.Sprint("l", (i+1)%n)))
	}
	return append(items, file("l0/x", ""))
}

func TestHostileLayersAreRefused(t *testing.T) {
	t.Parallel()
	deep := strings.TrimSuffix(strings.Repeat("d/", 1200), "/")
	for name, stream := range map[string][]byte{
		"a path upwards":                    layer(t, file("../etc/passwd", "")),
		"a path upwards in the middle":      layer(t, file("a/../../b", "")),
		"a hard link upwards":               layer(t, link("a", "../../etc/passwd")),
		"a hard link to nothing":            layer(t, link("a", "b")),
		"a hard link to itself":             layer(t, link("a", "a")),
		"a hard link to a directory":        layer(t, dir("d"), link("a", "d")),
		"a hard link to the host":           layer(t, link("a", "/etc/passwd")),
		"a hard link through a symlink out": layer(t, symlink("s", "/"), link("a", "s/etc/passwd")),
		"a hard link to a later file":       layer(t, link("a", "b"), file("b", "")),
		"symlinks in a circle":              layer(t, loop(2)...),
		"a symlink to itself":               layer(t, symlink("a", "a"), file("a/b", "")),
		"symlinks that multiply":            layer(t, loop(60)...),
		"a file as a directory":             layer(t, file("a", ""), file("a/b", "")),
		"a device as a directory": layer(t, item{tar.Header{Typeflag: tar.TypeChar, Name: "a"}, ""},
			file("a/b", "")),
		"a root that is a file":         layer(t, file(".", "")),
		"a root that is a symlink":      layer(t, symlink("/", "etc")),
		"a name that is too long":       layer(t, file(strings.Repeat("n", 256), "")),
		"a path that is too long":       layer(t, file(strings.Repeat("dir/", 1100)+"f", "")),
		"a target that is too long":     layer(t, symlink("a", strings.Repeat("dir/", 1100))),
		"a symlink to nothing":          layer(t, symlink("a", "")),
		"directories that are too deep": layer(t, symlink("s", deep), file("s/"+deep+"/f", "")),
		"a negative owner":              layer(t, item{tar.Header{Typeflag: tar.TypeReg, Name: "a", Uid: -1}, ""}),
		"an owner of more than 32 bits": layer(t,
			item{tar.Header{Typeflag: tar.TypeReg, Name: "a", Gid: 1 << 32}, ""}),
		"a negative device": layer(t,
			item{tar.Header{Typeflag: tar.TypeBlock, Name: "a", Devminor: -1}, ""}),
		"a type that is unknown":                 layer(t, item{tar.Header{Typeflag: 'Z', Name: "a"}, ""}),
		"a size that is larger than the archive": lying(t, 1<<32),
		"a size that hides the end":              lying(t, 2000),
		"a size that shows content as a header":  lying(t, 0),
		"half an archive":                        layer(t, file("a", strings.Repeat("x", 2000)))[:1300],
		"something else":                         []byte(strings.Repeat("something else ", 100)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := open(t, plainBlobs(stream)); !errors.Is(err, tarfmt.ErrInvalidStream) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := open(t, plainBlobs(append(layer(t), make([]byte, 65<<20)...))); !errors.Is(err, oci.ErrLayerMismatch) {
		t.Errorf("much after the archive: got %v", err)
	}
}

func TestWhiteoutsReachNothingOutside(t *testing.T) {
	t.Parallel()
	lower := layer(t, dir("d"), file("d/a", ""), file("a", ""), symlink("up", "../../.."))
	for name, upper := range map[string][]byte{
		"upwards":             layer(t, file("d/../.wh.a", "")),
		"through a file":      layer(t, file("a/.wh..wh..opq", "")),
		"through nothing":     layer(t, file("no/.wh..wh..opq", "")),
		"of dots":             layer(t, file("d/.wh..", ""), file("d/.wh...", "")),
		"below another":       layer(t, file(".wh.x/.wh.a", "")),
		"as a link to a file": layer(t, link(".wh.b", "/etc/passwd")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img, err := open(t, plainBlobs(lower, upper))
			if err != nil {
				if !errors.Is(err, tarfmt.ErrInvalidStream) {
					t.Error(err)
				}
				return
			}
			for _, p := range []string{"/a", "/d/a"} {
				if _, ok := rootfs.NewIndex(img).Find(p); !ok {
					t.Errorf("%s is gone", p)
				}
			}
		})
	}
	img, err := open(t, plainBlobs(lower, layer(t, file("up/up/.wh.a", ""))))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := rootfs.NewIndex(img).Find("/a"); ok {
		t.Error("a symlink upwards ends at the root, and there the file is hidden")
	}
}

func TestImagesThatNeedTooMuchAreRefused(t *testing.T) {
	t.Parallel()
	half := layer(t, file("a", strings.Repeat("x", 600)))
	const huge = 1 << 50
	for name, blobs := range map[string][]blob{
		"more bytes than allowed in one layer": plainBlobs(layer(t, file("a", strings.Repeat("x", 1001)))),
		"more bytes than allowed in two":       plainBlobs(half, half),
		"a sparse file of a petabyte":          plainBlobs(withSparse(layer(t, sparse("a", huge)), huge)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := flatten.Open(t.Context(), image(t, blobs), flatten.Options{TempDir: t.TempDir(), MaxSize: 1000})
			if !errors.Is(err, flatten.ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBlobsThatAreNotWhatTheyAreCalledAreErrors(t *testing.T) {
	t.Parallel()
	l := layer(t, file("a", ""))
	z := compress(t, gzipped, l)
	for name, b := range map[string]blob{
		"half a gzip":           {typeGzip, z[:len(z)/2], l},
		"garbage after gzip":    {typeGzip, append(z[:len(z):len(z)], "garbage"...), l},
		"another diff-id":       {typeGzip, z, []byte("another")},
		"an unknown media type": {"application/vnd.example", l, l},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := open(t, []blob{b}); err == nil {
				t.Error("no error")
			}
		})
	}
	if _, err := open(t, []blob{{"application/vnd.example", l, l}}); !errors.Is(err, oci.ErrLayerType) {
		t.Errorf("got %v", err)
	}
}

// Other programs write layers whose compression is not that of the media type. They are read, unless the blobs are to
// be kept.
func TestLayersOfAnotherCompressionThanTheirMediaTypeAreRead(t *testing.T) {
	t.Parallel()
	l := layer(t, file("a", "content"))
	z := compress(t, gzipped, l)
	for name, b := range map[string]blob{
		"a tar stream called gzip": {typeGzip, l, l}, "a tar stream called zstd": {typeZstd, l, l},
		"gzip called a tar stream": {typeTar, z, l}, "gzip called zstd": {typeZstd, z, l},
	} {
		img, err := open(t, []blob{b})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := list(t, img); len(got) != 2 {
			t.Errorf("%s: read %q", name, got)
		}
		_, err = flatten.Open(t.Context(), image(t, []blob{b}), flatten.Options{TempDir: t.TempDir(), Strict: true})
		if !errors.Is(err, oci.ErrLayerMismatch) {
			t.Errorf("%s, to be kept: %v", name, err)
		}
	}
}

// checkTree checks the properties of a tree that callers rely on.
func checkTree(t *testing.T, tree rootfs.Tree) {
	t.Helper()
	entries := tree.Entries()
	if entries.Len() == 0 || entries.At(0).Path() != "/" || !entries.At(0).IsDir() {
		t.Fatal("no root")
	}
	dirs := map[string]bool{}
	for i, e := range entries.All() {
		switch {
		case i > 0 && entries.At(i-1).Path() >= e.Path():
			t.Errorf("%q does not come after %q", e.Path(), entries.At(i-1).Path())
		case path.Clean(e.Path()) != e.Path() || !path.IsAbs(e.Path()):
			t.Errorf("the path %q is not clean", e.Path())
		case strings.Contains(e.Path(), "/.wh."):
			t.Errorf("the whiteout %q is there", e.Path())
		case i > 0 && !dirs[path.Dir(e.Path())]:
			t.Errorf("%q has no directory", e.Path())
		case e.Link > i || entries.At(e.Link).Link != e.Link || entries.At(e.Link).Size != e.Size ||
			entries.At(e.Link).Mode != e.Mode:
			t.Errorf("%q is a link to %q, which is another file", e.Path(), entries.At(e.Link).Path())
		}
		if e.IsDir() {
			dirs[e.Path()] = true
		}
		if e.IsRegular() {
			content(t, tree, i)
		}
	}
}

// realLayers lists layers written by GNU tar, by umoci, and by the program that made upstream's fixtures.
const realLayers = "testdata/layers/*.tar.gz"

func TestLayersOfOtherProgramsAreApplied(t *testing.T) {
	t.Parallel()
	for _, layer := range testfiles.Read(t, realLayers) {
		img, err := flatten.Open(t.Context(), image(t, plainBlobs(layer.Data)),
			flatten.Options{TempDir: t.TempDir(), MaxSize: 1 << 20})
		if err != nil {
			t.Errorf("%s: %v", layer.Name, err)
			continue
		}
		checkTree(t, img)
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	}
}

// unpadded removes the blocks of zeros after the end of a tar stream, on which a fuzzer would waste time.
func unpadded(stream []byte) []byte {
	const block = 512
	end := (len(bytes.TrimRight(stream, "\x00")) + block - 1) / block * block
	return append(bytes.Clone(stream[:end]), make([]byte, 2*block)...)
}

// FuzzLayers applies one layer to another.
func FuzzLayers(f *testing.F) {
	base := layer(f, dir("usr"), file("usr/a", "a"), link("usr/b", "usr/a"), symlink("bin", "usr"),
		item{tar.Header{Typeflag: tar.TypeChar, Name: "null", Devminor: 3, Devmajor: 1}, ""})
	f.Add(base, layer(f, file("usr/.wh.a", ""), file("bin/c", "c"), link("d", "/bin/c")))
	f.Add(base, layer(f, file("usr/.wh..wh..opq", ""), file("usr/new", strings.Repeat("new", 300))))
	f.Add(layer(f, loop(3)...), layer(f, file("../x", "")))
	f.Add(layer(f, symlink("s", "../../s/./t"), dir("s/t")), layer(f, file(".wh.", ""), dir(".wh.d"), file(".wh.d/x", "")))
	f.Add(base, layer(f, item{tar.Header{Typeflag: tar.TypeReg, Name: "x",
		PAXRecords: map[string]string{"SCHILY.xattr.user.a": "1"}}, ""}))
	seeds := testfiles.Read(f, realLayers)
	for i := range seeds {
		f.Add(unpadded(seeds[i].Data), unpadded(seeds[(i+1)%len(seeds)].Data))
	}
	f.Add(withSparse(layer(f, sparse("a", 1<<50)), 1<<50), base)
	temp := f.TempDir()
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		opts := flatten.Options{TempDir: temp, MaxSize: 1 << 20}
		img, err := flatten.Open(t.Context(), image(t, plainBlobs(lower, upper)), opts)
		if err != nil {
			return
		}
		checkTree(t, img)
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	})
}
