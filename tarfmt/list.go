package tarfmt

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// ListObjectSet reads a layer of file objects, as [ExportChunk] writes it, and returns which objects it has at which paths,
// sorted by checksum. Content is passed over and nothing of it is checked: who relies on the list compares the layer's
// digest with that of what it would write.
func ListObjectSet(ctx context.Context, r io.Reader) (Content, error) {
	var l objectLister
	in := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, invalid(err, "reading the archive")
		}
		if err := l.entry(h); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(l.content, func(a, b ObjectPath) int { return a.Checksum.Compare(b.Checksum) })
	return l.content, nil
}

type objectLister struct {
	content Content
	last    repo.Checksum // the object before
}

func (l *objectLister) entry(h *tar.Header) error {
	if rest, ok := repoPath(h.Name); ok {
		if h.Typeflag != tar.TypeDir && strings.HasPrefix(rest, "objects/") && strings.HasSuffix(rest, "."+string(kindFile)) {
			c, _, err := parseObjectPath(rest)
			l.last = c
			return err
		}
		return nil
	}
	switch h.Typeflag {
	case tar.TypeLink:
		rest, ok := repoPath(h.Linkname)
		if !ok {
			return invalidf("%s is a link to %s, which is no object", shown(h.Name), shown(h.Linkname))
		}
		c, _, err := parseObjectPath(rest)
		if err != nil {
			return err
		}
		return l.add(c, h.Name)
	case tar.TypeReg, tar.TypeSymlink:
		// Files without content and symlinks stand for themselves, after their object.
		return l.add(l.last, h.Name)
	}
	return nil
}

func (l *objectLister) add(c repo.Checksum, name string) error {
	if c.IsZero() {
		return invalidf("%s comes before any object", shown(name))
	}
	if len(l.content) >= maxEntries {
		return errTooManyEntries
	}
	p := path.Join("/", name)
	if p == "/etc" || strings.HasPrefix(p, "/etc/") {
		p = "/usr" + p
	}
	l.content = append(l.content, ObjectPath{c, p})
	return nil
}
