package component

import (
	"context"
	"path"
	"regexp"
	"strings"
)

const (
	// bigFile is the size in bytes from which an unowned file is a component of its own.
	bigFile = 1 << 20
	// smallDir is the size in bytes up to which the unowned files of a directory are one component.
	smallDir = 4 << 20
)

// versions are the parts of a path that a new version changes.
var versions = regexp.MustCompile(`[-_.]?v?[0-9]+(\.[0-9]+)+`)

// pathID names a path without the versions in it.
func pathID(p string) string {
	id := versions.ReplaceAllString(strings.TrimPrefix(p, "/"), "")
	if id = strings.Trim(path.Clean("/"+id), "/"); id == "" {
		return "root"
	}
	return id
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
	sizes := map[string]int64{} // of unowned files at any depth
	for i := range d.entries {
		if d.claims[i].Component >= 0 || d.entries[i].IsDir() {
			continue
		}
		for dir := path.Dir(d.entries[i].Path); ; dir = path.Dir(dir) {
			sizes[dir] += d.entries[i].Size
			if dir == "/" {
				break
			}
		}
	}
	for i := range d.entries {
		if d.claims[i].Component < 0 && !d.entries[i].IsDir() {
			d.claim(i, "unowned/"+pathID(remainderDir(d.entries[i].Path, sizes)), detectorRemainder, "no package owns it")
		}
	}
	return nil
}

// remainderDir is the highest directory above a path that is small enough. Below the directories of a system it is at least
// the second level.
func remainderDir(p string, sizes map[string]int64) string {
	parts := strings.Split(strings.Trim(path.Dir(p), "/"), "/")
	dir := "/"
	for n, part := range parts {
		if dir = path.Join(dir, part); sizes[dir] <= smallDir && (n > 0 || len(parts) == 1 || part != "usr" && part != "var") {
			return dir
		}
	}
	return dir
}
