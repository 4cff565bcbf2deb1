//go:build interop

package flatten_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// layering makes the layers of an image at random. It uses few names, so that entries often collide.
type layering struct {
	random *rand.Rand
	files  []string        // paths that were made, for links
	linked map[string]bool // last names of symlinks, and of links to what may be one
}

// path returns a path. Directories share few names, and most other entries have different names. Otherwise umoci would
// refuse most images, since entries would be below files or symlinks would form circles.
func (l *layering) path() string {
	p := ""
	for range l.random.IntN(3) {
		p += string("abc"[l.random.IntN(3)]) + "/"
	}
	return p + string("abcdefdefdefdefdef"[l.random.IntN(18)])
}

func (l *layering) header(typ byte, name string) item {
	mode := []int64{0o755, 0o700, 0o644, 0o4711, 0o1777, 0o600, 0o2755}[l.random.IntN(7)]
	if typ == tar.TypeDir {
		// In a directory with the setgid bit, the kernel gives that bit to directories that umoci creates.
		mode &^= 0o2000
	}
	return item{Header: tar.Header{Typeflag: typ, Name: name, Mode: mode, Uid: l.random.IntN(3), Gid: l.random.IntN(3)}}
}

func (l *layering) entry(lowest bool) item {
	p := l.path()
	kind := l.random.IntN(20)
	if lowest {
		kind = l.random.IntN(14)
	}
	switch {
	case kind < 4:
		return l.header(tar.TypeDir, p+"/")
	case kind < 8:
		i := l.header(tar.TypeReg, p)
		i.content = fmt.Sprint(l.random.IntN(1000))
		i.Size = int64(len(i.content))
		l.files = append(l.files, p)
		return i
	case kind < 11:
		i := l.header(tar.TypeSymlink, p)
		i.Linkname = []string{"", "/", "../", "../../", "./", "f/../"}[l.random.IntN(6)] + path.Dir(l.path())
		l.linked[path.Base(p)] = true
		l.files = append(l.files, p)
		return i
	case kind < 13 && len(l.files) > 0:
		l.linked[path.Base(p)] = true
		target := l.files[l.random.IntN(len(l.files))]
		l.files = append(l.files, p)
		return link(p, target)
	case kind < 14:
		i := l.header([]byte{tar.TypeFifo, tar.TypeChar, tar.TypeBlock}[l.random.IntN(3)], p)
		if i.Typeflag != tar.TypeFifo {
			i.Devmajor, i.Devminor = 1, int64(l.random.IntN(600))
		}
		return i
	case kind < 18:
		dir, base := path.Split(p)
		return file(dir+".wh."+base, "")
	}
	dir := l.path()
	if l.random.IntN(8) == 0 {
		dir = "."
	}
	return file(dir+"/.wh..wh..opq", "")
}

func isWhiteout(i item) bool { return strings.HasPrefix(path.Base(i.Name), ".wh.") }

// sorted moves whiteouts below directories behind the last entry of their layer whose name is that of a symlink. If
// such a symlink is replaced after the whiteout, we differ from umoci on purpose; see package overlay. The order of
// other entries does not change.
func (l *layering) sorted(items []item) []item {
	last := -1
	for i, e := range items {
		if l.linked[strings.TrimPrefix(path.Base(e.Name), ".wh.")] {
			last = i
		}
	}
	var before, moved []item
	for i, e := range items[:last+1] {
		if i < last && isWhiteout(e) && strings.Contains(e.Name, "/") {
			moved = append(moved, e)
		} else {
			before = append(before, e)
		}
	}
	return slices.Concat(before, moved, items[last+1:])
}

func randomLayers(t *testing.T, seed uint64) [][]byte {
	l := &layering{random: rand.New(rand.NewPCG(seed, 0)), linked: map[string]bool{}}
	layers := make([][]byte, 2+l.random.IntN(3))
	for n := range layers {
		var items []item
		for range 2 + l.random.IntN(8) {
			items = append(items, l.entry(n == 0))
		}
		layers[n] = layer(t, l.sorted(items)...)
	}
	return layers
}

// writeLayout writes an image into an OCI layout.
func writeLayout(t *testing.T, dir string, blobs []blob) {
	t.Helper()
	type object = map[string]any
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put := func(mediaType string, data []byte) object {
		t.Helper()
		write("blobs/sha256/"+digest.FromBytes(data).Encoded(), data)
		return object{"mediaType": mediaType, "digest": digest.FromBytes(data), "size": len(data)}
	}
	encoded := func(v any) []byte {
		t.Helper()
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o700); err != nil {
		t.Fatal(err)
	}
	const oci = "application/vnd.oci.image."
	var layers []object
	var diffIDs []string
	for _, b := range blobs {
		layers = append(layers, put(b.mediaType, b.data))
		diffIDs = append(diffIDs, digest.FromBytes(b.stream).String())
	}
	config := put(oci+"config.v1+json", encoded(object{
		"architecture": "amd64", "os": "linux", "config": object{}, "rootfs": object{"type": "layers", "diff_ids": diffIDs},
	}))
	manifest := put(oci+"manifest.v1+json", encoded(object{"schemaVersion": 2, "config": config, "layers": layers}))
	manifest["annotations"] = object{"org.opencontainers.image.ref.name": "t"}
	write("index.json", encoded(object{"schemaVersion": 2, "manifests": []object{manifest}}))
	write("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

// listDir returns a line for each path of a directory, as [list] does for a tree.
func listDir(t *testing.T, root string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		paths = append(paths, path.Clean("/"+strings.TrimPrefix(p, root)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	var out []string
	first := map[uint64]string{} // by inode
	for _, p := range paths {
		var st syscall.Stat_t
		if err := syscall.Lstat(root+p, &st); err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("%s %o", p, st.Mode)
		if st.Uid != 0 || st.Gid != 0 {
			s += fmt.Sprintf(" %d:%d", st.Uid, st.Gid)
		}
		var data string
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFLNK:
			data, err = os.Readlink(root + p)
			s += " → " + data
		case syscall.S_IFREG:
			var content []byte
			content, err = os.ReadFile(root + p)
			s += fmt.Sprintf(" %q", content)
		case syscall.S_IFCHR, syscall.S_IFBLK:
			s += fmt.Sprintf(" device %#x", st.Rdev)
		}
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			if name, ok := first[st.Ino]; ok {
				s += " = " + name
			} else {
				first[st.Ino] = p
			}
		}
		out = append(out, s)
	}
	return out
}

// describe lists the entries of layers for the message of a failed test.
func describe(layers [][]byte) string {
	var b strings.Builder
	for i, l := range layers {
		fmt.Fprintf(&b, "layer %d:\n", i+1)
		in := tar.NewReader(bytes.NewReader(l))
		for h, err := in.Next(); err == nil; h, err = in.Next() {
			fmt.Fprintf(&b, "  %c %s %s\n", h.Typeflag, h.Name, h.Linkname)
		}
	}
	return b.String()
}

func TestRandomLayersAreFlattenedAsUmociUnpacksThem(t *testing.T) {
	t.Parallel()
	const images = 400
	var unpacked atomic.Int32
	t.Run("image", func(t *testing.T) {
		for seed := range uint64(images) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				if sameAsUmoci(t, randomLayers(t, seed)) {
					unpacked.Add(1)
				}
			})
		}
	})
	if n := unpacked.Load(); n < images/2 {
		t.Errorf("umoci unpacks %d of %d images, which says little", n, images)
	}
}

// sameAsUmoci reports whether umoci unpacks an image. If it does, our result must be the same.
func sameAsUmoci(t *testing.T, layers [][]byte) bool {
	t.Helper()
	dir := t.TempDir()
	writeLayout(t, filepath.Join(dir, "image"), plainBlobs(layers...))
	root := filepath.Join(dir, "root")
	umoci := exec.CommandContext(t.Context(), "umoci", "raw", "unpack", "--image", filepath.Join(dir, "image")+":t", root)
	said, refused := umoci.CombinedOutput()
	var exit *exec.ExitError
	if refused != nil && !errors.As(refused, &exit) {
		t.Fatal(refused)
	}
	img, err := open(t, plainBlobs(layers...))
	switch {
	case err != nil && (refused == nil || !errors.Is(err, tarfmt.ErrInvalidStream)):
		t.Fatalf("got %v, umoci says %v\n%s", err, refused, describe(layers))
	case err == nil && refused != nil:
		t.Fatalf("got no error, umoci says %s\n%s", said, describe(layers))
	case err != nil:
		return false
	}
	if diff := cmp.Diff(listDir(t, root), list(t, img)); diff != "" {
		t.Errorf("(-umoci +ours):\n%s%s", diff, describe(layers))
	}
	return true
}

func TestLayersThatProgramsDoNotWriteAreFlattenedAsUmociUnpacksThem(t *testing.T) {
	t.Parallel()
	base := layer(t, dir("d"), file("d/a", "1"), file("d/b", "2"), link("h", "d/a"), symlink("l", "d"),
		symlink("loop", "loop"))
	for name, upper := range map[string][]byte{
		"a whiteout in a directory instead of a symlink": layer(t, dir("l"), file("l/.wh.a", ""), file("l/c", "3")),
		"an opaque directory instead of a symlink":       layer(t, dir("l"), file("l/.wh..wh..opq", ""), file("l/c", "3")),
		"a whiteout through a symlink":                   layer(t, file("l/.wh.a", "")),
		"a directory instead of a loop":                  layer(t, dir("loop"), file("loop/.wh.x", ""), file("loop/f", "1")),
		"a whiteout before its name":                     layer(t, file("d/.wh.a", ""), file("d/a", "3")),
		"a whiteout after its name":                      layer(t, file("d/a", "3"), file("d/.wh.a", "")),
		"a whiteout of a directory after a file in it":   layer(t, file("d/c", "3"), file(".wh.d", "")),
		"an opaque mark after entries":                   layer(t, file("d/c", "3"), file("d/.wh..wh..opq", "")),
		"a link to what is hidden after it":              layer(t, link("k", "d/b"), file("d/.wh.b", "")),
		"a link to what is hidden before it":             layer(t, file("d/.wh.b", ""), link("k", "d/b")),
		"a link through a symlink":                       layer(t, link("k", "l/a")),
		"a link to what it replaces":                     layer(t, link("h", "h")),
		"a link instead of the directory of its target":  layer(t, link("d", "d/a")),
		"a file instead of a directory":                  layer(t, file("d", "3"), link("k", "h")),
		"a directory instead of a file":                  layer(t, dir("h"), file("h/x", "")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sameAsUmoci(t, [][]byte{base, upper})
		})
	}
}
