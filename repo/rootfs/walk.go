package rootfs

import (
	"io/fs"
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// walker resolves a path. A hostile tree may have symlinks that lead through thousands of directories to the next
// symlink. So it looks up several elements of a path at once, and follows each symlink once for all paths.
type walker struct {
	x     *Index
	at    string // where the path has led to so far
	links int    // the number of symlinks that were followed
	depth int    // of symlinks whose targets have symlinks
}

// walk resolves a path from where the walker is. The last element is not followed unless last is set. The result need
// not exist: names below a missing directory are taken as they are. The error is [fs.ErrNotExist] if the path leads
// through a file, out of a missing directory, or through several symlinks to nothing, or [repo.ErrTooManySymlinks].
func (w *walker) walk(p string, last bool) error {
	for rest := strings.Trim(p, "/"); rest != ""; {
		run, behind := plainElements(rest)
		if run == "" {
			var name string
			if name, rest, _ = strings.Cut(behind, "/"); name == ".." {
				w.at = path.Dir(w.at) // that of the root is the root
			}
			continue
		}
		name := ""
		if behind == "" && !last {
			dir := strings.LastIndexByte(run, '/')
			if run, name = run[:max(dir, 0)], run[dir+1:]; run == "" {
				w.at = path.Join(w.at, name)
				return nil
			}
		}
		full := path.Join(w.at, run)
		i, found, ok := w.x.deepest(full)
		if i < 0 {
			return fs.ErrNotExist
		}
		e := w.x.entries.At(i)
		more := strings.Trim(full[len(found):], "/") // what the tree lacks, or what is behind a symlink
		switch {
		case e.IsSymlink():
			end := w.x.follow(i, w.depth)
			if w.links += int(end.links); w.links > maxSymlinks {
				return repo.ErrTooManySymlinks
			}
			if end.to < 0 {
				if !end.plain || behind != "" {
					return fs.ErrNotExist
				}
				w.at = path.Join(targetDir(e), e.Target, more, name)
				return nil
			}
			to := w.x.entries.At(int(end.to))
			w.at = to.Path()
			if rest = path.Join(more, name); behind != "" {
				rest += "/" + behind
			}
			if rest = strings.Trim(rest, "/"); rest != "" && !to.IsDir() {
				return fs.ErrNotExist
			}
			continue
		case (!ok || behind != "" || name != "") && !e.IsDir(), !ok && behind != "":
			return fs.ErrNotExist
		}
		w.at = path.Join(full, name)
		rest = behind
	}
	return nil
}

// plainElements returns the elements at the front of a path before the first empty element, "." or "..", and the rest
// of the path.
func plainElements(p string) (run, rest string) {
	for at := 0; ; {
		end := strings.IndexByte(p[at:], '/')
		if end < 0 {
			end = len(p) - at
		}
		switch p[at : at+end] {
		case "", ".", "..":
			return strings.TrimSuffix(p[:at], "/"), p[at:]
		}
		if at += end; at == len(p) {
			return p, ""
		}
		at++
	}
}

// deepest finds a clean path, or else the deepest directory above it that exists. It returns the index and path of what
// it found. The index is -1 if the tree is empty.
func (x *Index) deepest(p string) (i int, found string, ok bool) {
	if i, ok = x.Find(p); ok {
		return i, p, true
	}
	// The entry before the place of the path is below the parent of what is searched for, or is what is searched for.
	dir := "/"
	if i > 0 {
		dir = commonDir(p, x.entries.At(i-1).Path())
	}
	below := len(strings.TrimSuffix(dir, "/")) + 1
	if n := strings.IndexByte(p[min(below, len(p)):], '/'); n >= 0 {
		if i, ok := x.Find(p[:below+n]); ok {
			return i, p[:below+n], false
		}
	}
	for ; ; dir = path.Dir(dir) {
		if i, ok := x.Find(dir); ok {
			return i, dir, false
		}
		if dir == "/" {
			return -1, dir, false
		}
	}
}

// commonDir returns the longest path that begins both paths or is one of them.
func commonDir(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	if ends := (n == len(a) || a[n] == '/') && (n == len(b) || b[n] == '/'); !ends {
		n = strings.LastIndexByte(a[:n], '/')
	}
	if n == 0 {
		return "/"
	}
	return a[:n]
}

// end is where a symlink leads.
type end struct {
	to    int32 // the index of the entry, or -1 if there is none
	links uint8 // the number of symlinks that were followed; maxSymlinks+1 if there are more than maxSymlinks
	plain bool  // the target has neither symlinks nor ".."
}

// maxDepth is how deep symlinks are followed whose targets have symlinks. The ends of those that have more than
// maxSymlinks below them are then known.
const maxDepth = 1000

// targetDir returns the directory at which the target of a symlink begins.
func targetDir(e Entry) string {
	if strings.HasPrefix(e.Target, "/") {
		return "/"
	}
	return e.Dir
}

// follow returns where the symlink at an index leads. The depth is the number of symlinks whose targets led to it.
func (x *Index) follow(i, depth int) end {
	if depth >= maxDepth {
		return end{to: -1, links: maxSymlinks + 1}
	}
	// Symlinks with the same target in the same directory have the same end.
	key := x.entries.places[i]
	key.name = 0
	if known, ok := x.ends.Load(key); ok {
		return known.(end)
	}
	e := x.entries.At(i)
	w := walker{x: x, at: targetDir(e), depth: depth + 1}
	err := w.walk(e.Target, true)
	is := end{to: -1, links: uint8(min(w.links+1, maxSymlinks+1))}
	_, more := plainElements(strings.Trim(e.Target, "/"))
	is.plain = err == nil && w.links == 0 && more == ""
	if to, ok := x.Find(w.at); ok && err == nil {
		is.to = int32(to)
	}
	// Far below, what was not followed for its depth may be taken for a symlink too many.
	if is.links <= maxSymlinks || depth < maxDepth-maxSymlinks {
		x.ends.Store(key, is)
	}
	return is
}
