package component

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/bits"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

const (
	// bigFile is the size in bytes from which an unowned file is a component of its own.
	bigFile = 1 << 20
	// smallDir is the size in bytes up to which the unowned files of a directory are one component.
	smallDir = 4 << 20
	// tinyDir is the size in bytes below which a directory stays with its parent, since it is not worth a layer.
	tinyDir = 64 << 10
	// many is roughly how many components of a kind there may be. The sizes above are doubled until there are not more.
	many = 1000
	// hugeDir is the size in bytes from which the unowned files of one directory are divided by the hash of their names,
	// into parts of at least half that size.
	hugeDir = 64 << 20
)

// versions matches the parts of a path that change with a new version.
var versions = regexp.MustCompile(`[-_.]?v?[0-9]+(\.[0-9]+)+`)

// pathID returns an ID for a path, without versions and without characters that separate lists.
func pathID(p string) string {
	id := versions.ReplaceAllString(strings.TrimPrefix(shipped(p+"/"), "/"), "")
	id = strings.Trim(path.Clean("/"+id), "/")
	if id == "" {
		return "root"
	}
	return word(id)
}

// word replaces characters that names of components must not have.
func word(s string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' || c == ',' || c == 0x7f || c == utf8.RuneError {
			return '_'
		}
		return c
	}, s)
}

// bigFiles makes a component of each big unowned file, including its other names.
func (d *detection) bigFiles(context.Context, Options) error {
	limit := int64(bigFile)
	for d.unownedFrom(limit) > many {
		limit *= 2
	}
	for i, e := range d.entries.All() {
		if d.claims[i].Component < 0 && e.IsRegular() && e.Size >= limit {
			d.claim(i, "file/"+pathID(d.entries.At(e.Link).Path()), detectorBigFile, "a big file that no package owns")
		}
	}
	return nil
}

// unownedFrom counts the unowned files of at least the given size.
func (d *detection) unownedFrom(size int64) (n int) {
	for i, e := range d.entries.All() {
		if d.claims[i].Component < 0 && e.IsRegular() && e.Size >= size && e.Link == i {
			n++
		}
	}
	return n
}

// remainder divides the remaining files by directory: a small directory is one component, a larger one is divided
// further.
func (d *detection) remainder(context.Context, Options) error {
	r := &remains{sizes: map[string]int64{}, tiny: tinyDir}
	left := func(yield func(i int, e rootfs.Entry) bool) {
		for i, e := range d.entries.All() {
			if d.claims[i].Component < 0 && !e.IsDir() && !yield(i, e) {
				return
			}
		}
	}
	for _, e := range left {
		for dir := e.Dir; ; dir = path.Dir(dir) {
			r.sizes[dir] += e.Size
			if dir == "/" {
				break
			}
		}
	}
	for r.sizes["/"]/r.tiny > many {
		r.tiny *= 2
	}
	homes, counted := map[string]string{}, map[string]int64{} // caches home by directory
	for _, e := range left {
		home, ok := homes[e.Dir]
		if !ok {
			home = r.home(e.Dir)
			homes[e.Dir] = home
		}
		counted[home] += e.Size
	}
	for i, e := range left {
		home := homes[e.Dir]
		id := "unowned/" + pathID(home)
		if size := counted[home]; size >= hugeDir {
			id += part(size, d.entries.At(e.Link).Path(), home)
		}
		d.claim(i, id, detectorRemainder, "no package owns it")
	}
	return nil
}

// part returns the part of a directory that a path below it is in, given the directory's size. Files of one
// subdirectory stay together, and the parts are the same until the size doubles.
func part(size int64, p, home string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(p, home), "/"), "/")
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	parts := min(1<<(bits.Len64(uint64(size/hugeDir))), 256)
	return fmt.Sprintf("~%02x", int(h.Sum32()%256)*parts/256)
}

// remains has the sizes of unowned files.
type remains struct {
	sizes map[string]int64 // of unowned files below a directory, at any depth
	tiny  int64
}

// parents are directories that are not a component as a whole, however small they are.
var parents = map[string]bool{"/": true, "/usr": true, "/var": true}

// home returns the directory whose component gets the files of a directory: the highest one that is small enough. Tiny
// directories are never chosen, so their files go with a parent.
func (r *remains) home(in string) string {
	dir := "/"
	for rest := strings.Trim(in, "/"); rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := path.Join(dir, part)
		if !parents[dir] && r.sizes[next] < r.tiny {
			break
		}
		if dir = next; !parents[dir] && r.sizes[dir] <= smallDir {
			break
		}
	}
	return dir
}
