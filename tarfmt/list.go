package tarfmt

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ListObjectSet reads a layer of file objects, as [ExportChunk] writes it, and yields its objects with their paths, in
// its order. It stops after an error. It skips content without verifying it: a caller that relies on the list must
// compare the layer's digest with that of the layer that it would write.
func ListObjectSet(ctx context.Context, r io.Reader) iter.Seq2[repo.ObjectPath, error] {
	return func(yield func(repo.ObjectPath, error) bool) {
		l := objectLister{in: tar.NewReader(r)}
		for {
			f, err := l.next(ctx)
			if errors.Is(err, io.EOF) || !yield(f, err) || err != nil {
				return
			}
		}
	}
}

type objectLister struct {
	in    *tar.Reader
	last  object.Checksum // the previous object
	paths int
}

// next returns the next path, or [io.EOF].
func (l *objectLister) next(ctx context.Context) (repo.ObjectPath, error) {
	for {
		if err := ctx.Err(); err != nil {
			return repo.ObjectPath{}, err
		}
		h, err := l.in.Next()
		if errors.Is(err, io.EOF) {
			return repo.ObjectPath{}, io.EOF
		}
		if err != nil {
			return repo.ObjectPath{}, invalid(err, "reading the archive")
		}
		f, err := l.entry(h)
		if err != nil || f.Path != "" {
			return f, err
		}
	}
}

// entry returns the path of a visible file, and reports false for an entry that is not one.
func (l *objectLister) entry(h *tar.Header) (f repo.ObjectPath, err error) {
	if rest, ok := repoPath(h.Name); ok {
		if h.Typeflag != tar.TypeDir && strings.HasPrefix(rest, "objects/") && strings.HasSuffix(rest, "."+string(kindFile)) {
			l.last, _, err = parseObjectPath(rest)
		}
		return f, err
	}
	switch h.Typeflag {
	case tar.TypeLink:
		rest, ok := repoPath(h.Linkname)
		if !ok {
			return f, invalidf("%s is a link to %s, which is not an object", shown(h.Name), shown(h.Linkname))
		}
		c, _, err := parseObjectPath(rest)
		if err != nil {
			return f, err
		}
		return l.at(c, h.Name)
	case tar.TypeReg, tar.TypeSymlink:
		// Files without content and symlinks are not links. They follow their object.
		return l.at(l.last, h.Name)
	}
	return f, nil
}

func (l *objectLister) at(c object.Checksum, name string) (f repo.ObjectPath, err error) {
	if c.IsZero() {
		return f, invalidf("%s comes before any object", shown(name))
	}
	if l.paths++; l.paths > object.MaxTreeEntries {
		return f, object.ErrTooMany
	}
	p := path.Join("/", name)
	if p == "/etc" || strings.HasPrefix(p, "/etc/") {
		p = "/usr" + p
	}
	return repo.ObjectPath{Checksum: c, Path: p}, nil
}
