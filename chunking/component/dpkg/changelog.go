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
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

const (
	// maxChangelog is the number of bytes that are read of a changelog, both before and after decompression. The newest
	// entries come first.
	maxChangelog = 4 << 20
	// maxChanges is the number of entries that are read of a changelog.
	maxChanges = 2000
	// maxChangelogs is the number of bytes that are read of all changelogs, after decompression.
	maxChangelogs = 1 << 30
)

// changelogs reads changelogs within a budget. It reads each file once, since packages of one source may share it.
type changelogs struct {
	x      *rootfs.Index
	known  map[int]dates // by the index of the file
	budget int64         // bytes
}

// dates are the dates of the entries of a changelog.
type dates []time.Time

// add adds the dates of a package's changes. It ignores changelogs that are missing or not valid, since many images
// have none.
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
	// A rebuild without a change of the source has its entry in a file of its own.
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

// dates returns the dates of a changelog of a package, or none if the file does not exist.
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
			return nil, fmt.Errorf("%w: its changelogs have more than %s", pkgdb.ErrTooLarge, sizes.Format(maxChangelogs))
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

// changes returns the dates of the trailer lines (" -- Name <mail>  date"), and the number of bytes that were read.
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

// newest returns the latest date, or zero if there is none.
func newest(dates []time.Time) time.Time {
	var n time.Time
	for _, d := range dates {
		if d.After(n) {
			n = d
		}
	}
	return n
}
