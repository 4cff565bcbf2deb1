package dpkg

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/mail"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

const (
	// maxChangelog is how many bytes of a changelog are read, compressed or not: the newest entries come first.
	maxChangelog = 4 << 20
	// maxChanges is how many entries are read.
	maxChanges = 2000
	// maxChangelogs is how many bytes of all changelogs are read, uncompressed.
	maxChangelogs = 1 << 30
)

// changelogs reads changelogs within a budget. Packages of one source have one in common.
type changelogs struct {
	x      *rootfs.Index
	known  map[int]dates // by the index of the file
	budget int64
}

type dates []time.Time

// add reads the dates of a package's changes. A changelog that is missing or makes no sense tells nothing: many
// images have none.
func (c *changelogs) add(ctx context.Context, r *pkgdb.Reader, pkg *pkgdb.Package) error {
	names := []string{"changelog.Debian.gz", "changelog.gz", "changelog.Debian", "changelog"}
	for _, name := range names {
		dates, err := c.dates(ctx, pkg.Name, name)
		if err != nil {
			return err
		}
		if len(dates) > 0 {
			if err := r.AddChanges(pkg, dates...); err != nil {
				return err
			}
			break
		}
	}
	// A package that was built again without a change of its source has an entry of its own.
	again, err := c.dates(ctx, pkg.Name, "changelog.Debian."+pkg.Arch+".gz")
	if err != nil {
		return err
	}
	if err := r.AddChanges(pkg, again...); err != nil {
		return err
	}
	pkg.Built = newest(pkg.Changes)
	return nil
}

// dates returns the dates of a changelog of a package, none if there is none.
func (c *changelogs) dates(ctx context.Context, pkg, name string) (dates, error) {
	i, err := c.x.Resolve("/usr/share/doc/" + pkg + "/" + name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, repo.ErrTooManySymlinks) {
		return nil, nil
	}
	if err != nil || !c.x.Entry(i).IsRegular() {
		return nil, err
	}
	list, ok := c.known[i]
	if !ok {
		if c.budget <= 0 {
			return nil, fmt.Errorf("%w: its changelogs have more than %d MiB", pkgdb.ErrTooLarge, maxChangelogs>>20)
		}
		f, _, err := c.x.Open(ctx, c.x.Entry(i).Path())
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(f, maxChangelog))
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		var read int
		list, read = changes(data)
		c.budget -= int64(read)
		c.known[i] = list
	}
	return list, nil
}

// changes returns the dates of the trailer lines (" -- Name <mail>  date"), and how many bytes were looked at.
func changes(data []byte) (list dates, read int) {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, len(data)
		}
		data, _ = io.ReadAll(io.LimitReader(z, maxChangelog)) // use the entries that could be read
	}
	for line := range bytes.Lines(data) {
		rest, ok := bytes.CutPrefix(line, []byte(" -- "))
		if !ok {
			continue
		}
		i := bytes.LastIndex(rest, []byte(">  "))
		if i < 0 {
			continue
		}
		date, err := mail.ParseDate(strings.TrimSpace(string(rest[i+1:])))
		if err != nil || date.Year() < 1990 || date.Year() > 2200 {
			continue
		}
		if list = append(list, date.UTC()); len(list) == maxChanges {
			break
		}
	}
	return list, len(data)
}

func newest(dates []time.Time) time.Time {
	var n time.Time
	for _, d := range dates {
		if d.After(n) {
			n = d
		}
	}
	return n
}
