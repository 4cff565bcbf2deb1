package component

import (
	"context"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// bigFile is the size in bytes from which an unowned file is a component of its own.
	bigFile = 1 << 20
	// smallDir is the size in bytes up to which the unowned files of a directory are one component.
	smallDir = 4 << 20
	// tinyDir is the size in bytes below which a directory stays with the one above it: it would not be worth a layer.
	tinyDir = 64 << 10
	// manyDirs is about how many components the remainder may have: tinyDir is doubled until they are no more.
	manyDirs = 1000
)

// versions are the parts of a path that a new version changes.
var versions = regexp.MustCompile(`[-_.]?v?[0-9]+(\.[0-9]+)+`)

// pathID names a path without the versions in it, as a word that can stand in a list with commas.
func pathID(p string) string {
	id := versions.ReplaceAllString(strings.TrimPrefix(shipped(p+"/"), "/"), "")
	id = strings.Trim(path.Clean("/"+id), "/")
	if id == "" {
		return "root"
	}
	return word(id)
}

// word replaces what names of components must not have.
func word(s string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' || c == ',' || c == 0x7f || c == utf8.RuneError {
			return '_'
		}
		return c
	}, s)
}

// bigFiles makes a component of each big file that nobody owns. Its other names come along.
func (d *detection) bigFiles(context.Context, Options) error {
	for i := range d.entries {
		e := &d.entries[i]
		if d.claims[i].Component < 0 && e.IsRegular() && e.Size >= bigFile {
			d.claim(i, "file/"+pathID(d.entries[e.Link].Path), detectorBigFile, "a big file that no package owns")
		}
	}
	return nil
}

// remainder divides what is left by directories: one with little in it is a component, others are divided further.
func (d *detection) remainder(context.Context, Options) error {
	r := &remains{sizes: map[string]int64{}, tiny: tinyDir}
	for i := range d.entries {
		if d.claims[i].Component >= 0 || d.entries[i].IsDir() {
			continue
		}
		for dir := path.Dir(d.entries[i].Path); ; dir = path.Dir(dir) {
			r.sizes[dir] += d.entries[i].Size
			if dir == "/" {
				break
			}
		}
	}
	for r.sizes["/"]/r.tiny > manyDirs {
		r.tiny *= 2
	}
	for i := range d.entries {
		if d.claims[i].Component < 0 && !d.entries[i].IsDir() {
			d.claim(i, "unowned/"+pathID(r.home(d.entries[i].Path)), detectorRemainder, "no package owns it")
		}
	}
	return nil
}

// remains is what nobody owns.
type remains struct {
	sizes map[string]int64 // of files in a directory at any depth
	tiny  int64
}

// parents are directories that are not a component as a whole, however little there is below them.
var parents = map[string]bool{"/": true, "/usr": true, "/var": true}

// home is the directory that a path is counted to: the highest that is small enough, but no directory that is tiny inside one
// that is not.
func (r *remains) home(p string) string {
	dir := "/"
	for rest := strings.Trim(path.Dir(p), "/"); rest != ""; {
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
