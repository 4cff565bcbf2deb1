package tarfmt_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// Objects may have extended attributes that no file can have. The image of such a commit would be of no use on any
// host, so it is not made, and the error names the file or directory.
func TestExtendedAttributesThatNoFileCanHaveAreNotExported(t *testing.T) {
	t.Parallel()
	many := make([]object.Xattr, 5000)
	for i := range many {
		many[i] = object.Xattr{Name: fmt.Sprintf("user.attribute%04d", i), Value: []byte("x")}
	}
	for name, c := range map[string]struct {
		xattrs []object.Xattr
		ok     bool
	}{
		"the largest value":         {[]object.Xattr{{Name: "user.x", Value: make([]byte, 65536)}}, true},
		"a value that is too large": {[]object.Xattr{{Name: "user.x", Value: make([]byte, 65537)}}, false},
		"the longest name":          {[]object.Xattr{{Name: "user." + strings.Repeat("x", 250), Value: []byte("x")}}, true},
		"a name that is too long":   {[]object.Xattr{{Name: "user." + strings.Repeat("x", 251), Value: []byte("x")}}, false},
		"too many names":            {many, false},
	} {
		xattrs := object.NewXattrs(c.xattrs)
		for where, tree := range map[string]func(m *memSource) object.Checksum{
			"/": func(m *memSource) object.Checksum {
				return m.addCommit(t, object.Commit{}, object.DirMeta{Mode: object.ModeDir | 0o755, Xattrs: xattrs}, nil)
			},
			"/usr/file": func(m *memSource) object.Checksum {
				f := object.DirTree{Files: []object.FileEntry{{Name: "file", Checksum: m.addFile(t,
					object.FileHeader{Mode: object.ModeRegular | 0o644, Xattrs: xattrs}, nil)}}}
				return commitBelow(t, m, "usr", &f, object.DirMeta{Mode: object.ModeDir | 0o755})
			},
			"/usr": func(m *memSource) object.Checksum {
				return commitBelow(t, m, "usr", &object.DirTree{}, object.DirMeta{Mode: object.ModeDir | 0o755, Xattrs: xattrs})
			},
		} {
			src := newMemSource()
			err := tarfmt.ExportCommit(t.Context(), io.Discard, src, tree(src))
			switch {
			case c.ok && err != nil:
				t.Errorf("%s, %s: got %v", name, where, err)
			case !c.ok && (!errors.Is(err, tarfmt.ErrTooLarge) || !strings.Contains(err.Error(), where)):
				t.Errorf("%s, %s: got %v, want an error that names it", name, where, err)
			}
		}
	}
}

// commitBelow commits a tree whose root has one directory.
func commitBelow(t *testing.T, m *memSource, name string, d *object.DirTree, meta object.DirMeta) object.Checksum {
	t.Helper()
	return m.addFlatCommit(t, &object.DirTree{Dirs: []object.DirEntry{{
		Name: name, Tree: m.addMetadata(object.TypeDirTree, must(object.EncodeDirTree(d))),
		Meta: m.addMetadata(object.TypeDirMeta, must(object.EncodeDirMeta(&meta))),
	}}})
}

// A dirmeta that is too large is that of a directory, which the error names.
func TestADirmetaThatNoImporterTakesIsNamedByItsDirectory(t *testing.T) {
	t.Parallel()
	src := newMemSource()
	var xattrs []object.Xattr
	for i := range 170 {
		xattrs = append(xattrs, object.Xattr{Name: fmt.Sprintf("user.%03d", i), Value: make([]byte, 65000)})
	}
	c := commitBelow(t, src, "usr", &object.DirTree{},
		object.DirMeta{Mode: object.ModeDir | 0o755, Xattrs: object.NewXattrs(xattrs)})
	err := tarfmt.ExportCommit(t.Context(), io.Discard, src, c)
	if !errors.Is(err, tarfmt.ErrTooLarge) || !strings.Contains(err.Error(), "directory /usr: ") {
		t.Errorf("got %v", err)
	}
}
