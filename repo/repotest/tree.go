// Package repotest has trees for tests and a suite of checks that repositories of every mode must pass.
//
// [Release] returns the two trees of upstream's fixtures, and [Vectors] that of the format document; all have known
// checksums. [Write] stores a tree in a repository, and [MakeDir] writes it to disk.
package repotest

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

//go:embed testdata
var testdata embed.FS

// Entry is a directory, file or symlink of a tree.
type Entry struct {
	// Path has no leading slash; that of the root is empty.
	Path     string
	UID, GID uint32
	// Mode has the type of the entry and its permissions, as in [object.FileHeader].
	Mode    uint32
	Xattrs  object.Xattrs
	Target  string
	Content []byte
	// HardLink is the path of the file that this one shares an inode with on disk, or empty. Content and metadata
	// are set alike.
	HardLink string
}

// Header returns the header of the entry's file object.
func (e *Entry) Header() *object.FileHeader {
	return &object.FileHeader{UID: e.UID, GID: e.GID, Mode: e.Mode, Target: e.Target, Xattrs: e.Xattrs}
}

// IsDir reports whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Mode&object.ModeTypeMask == object.ModeDir }

// Release returns the source tree of upstream's fixtures, the first or the second. The entries are sorted so that
// directories come before what is in them, and complete: the root comes first.
func Release(n int) []Entry {
	var list []listEntry
	decode(fmt.Sprintf("tree%d.json", n), &list)
	b := builder{byPath: map[string]*Entry{}}
	for _, e := range list {
		b.add(e)
	}
	return b.sorted()
}

// ReleaseCommit returns the id of the commit that upstream made of a release.
func ReleaseCommit(n int) object.Checksum {
	c, err := object.ParseChecksum(strings.TrimSpace(string(read(fmt.Sprintf("rev%d", n)))))
	if err != nil {
		panic(err)
	}
	return c
}

// ReleaseListing returns what `ostree ls -RXC` prints for a release.
func ReleaseListing(n int) string { return string(read(fmt.Sprintf("ls%d.txt", n))) }

func read(name string) []byte {
	data, err := testdata.ReadFile(path.Join("testdata", name))
	if err != nil {
		panic(err)
	}
	return data
}

func decode(name string, v any) {
	if err := json.Unmarshal(read(name), v); err != nil {
		panic(fmt.Errorf("%s: %w", name, err))
	}
}

// listEntry is an entry of the lists in testdata.
type listEntry struct {
	Type, Path, Target string
	Mode, UID, GID     uint32
	Xattrs             map[string]string
	Content            listContent
}

type listContent struct {
	Hex    *string
	Zeros  *int
	Stream string
	Size   int
	Text   bool
}

func (c *listContent) bytes() []byte {
	switch {
	case c.Hex != nil:
		return unhex(*c.Hex)
	case c.Zeros != nil:
		return make([]byte, *c.Zeros)
	}
	words := [...]string{"alpha ", "beta ", "gamma ", "delta ", "epsilon ", "zeta ", "\n "}
	out := make([]byte, 0, c.Size+sha256.Size)
	for i := 0; len(out) < c.Size; i++ {
		for _, b := range sha256.Sum256(fmt.Appendf(nil, "%s/%d", c.Stream, i)) {
			if c.Text {
				out = append(out, words[b%7]...)
			} else {
				out = append(out, b)
			}
		}
	}
	return out[:c.Size]
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// builder completes a list of entries.
type builder struct{ byPath map[string]*Entry }

func (b *builder) add(l listEntry) {
	b.parents(l.Path)
	e := &Entry{Path: l.Path, UID: l.UID, GID: l.GID, Mode: l.Mode}
	for name, value := range l.Xattrs {
		e.Xattrs = append(e.Xattrs, object.Xattr{Name: name, Value: unhex(value)})
	}
	slices.SortFunc(e.Xattrs, func(a, b object.Xattr) int { return strings.Compare(a.Name, b.Name) })
	switch l.Type {
	case "dir":
		e.Mode |= object.ModeDir
	case "file":
		e.Mode |= object.ModeRegular
		e.Content = l.Content.bytes()
	case "symlink":
		e.Mode, e.Target = object.ModeSymlink|0o777, l.Target
	case "hardlink":
		same := *b.byPath[l.Target]
		e = &same
		e.Path, e.HardLink = l.Path, l.Target
	default:
		panic("entry of type " + l.Type)
	}
	b.byPath[l.Path] = e
}

// parents adds the directories that the list leaves out.
func (b *builder) parents(name string) {
	for name != "" {
		if name = path.Dir(name); name == "." {
			name = ""
		}
		if b.byPath[name] == nil {
			b.byPath[name] = &Entry{Path: name, Mode: object.ModeDir | 0o755}
		}
	}
}

func (b *builder) sorted() []Entry {
	var all []Entry
	for _, e := range b.byPath {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b Entry) int { return slices.Compare(parts(a.Path), parts(b.Path)) })
	return all
}

func parts(p string) []string {
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

// Vectors returns the tree of the format document, whose checksums are those of [VectorTree] and [VectorMeta].
func Vectors() []Entry {
	dir := func(p string, perm uint32) listEntry { return listEntry{Type: "dir", Path: p, Mode: perm} }
	file := func(p string, perm uint32, text string) listEntry {
		content := hex.EncodeToString([]byte(text))
		return listEntry{Type: "file", Path: p, Mode: perm, Content: listContent{Hex: &content}}
	}
	empty, hello, xattr := dir("empty", 0o755), file("etc/hello", 0o644, "hello world\n"), file("etc/xattr", 0o640, "x")
	empty.Xattrs = map[string]string{"user.dirattr": "6431"}
	hello.UID, hello.GID = 1000, 1001
	xattr.Xattrs = map[string]string{"user.a": "6176616c", "user.b": "6276616c"}
	b := builder{byPath: map[string]*Entry{}}
	for _, l := range []listEntry{
		empty, hello, file("etc/run", 0o4755, "#!/bin/sh\nexit 0\n"), xattr, file("etc/zero", 0o600, ""),
		{Type: "symlink", Path: "link", Target: "../etc/hello"}, dir("tmp", 0o1777),
	} {
		b.add(l)
	}
	return b.sorted()
}

// The dirtree and dirmeta ids of the root of [Vectors].
const (
	VectorTree = "ad86fa6f7af99a1f317635e6cab796eddfcffa63b9a465a463ff4fd316deaa60"
	VectorMeta = "446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488"
)

// Canonical returns the tree as mode bare-user-only can hold it: owned by root, without xattrs, permissions 0755 at
// most. If an ordinary user runs the test, everything is made readable by its owner, since the user could not read it
// back otherwise.
func Canonical(tree []Entry) []Entry {
	tree = slices.Clone(tree)
	for i := range tree {
		e := &tree[i]
		e.UID, e.GID, e.Xattrs = 0, 0, nil
		if e.Mode&object.ModeTypeMask != object.ModeSymlink {
			e.Mode &= object.ModeTypeMask | 0o755
			if os.Geteuid() != 0 {
				e.Mode |= 0o400
			}
		}
	}
	return tree
}

// For returns the tree as a repository of the mode can hold it.
func For(mode repo.Mode, tree []Entry) []Entry {
	if mode == repo.ModeBareUserOnly {
		return Canonical(tree)
	}
	return tree
}
