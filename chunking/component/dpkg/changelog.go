package dpkg

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/mail"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

const (
	// maxChangelog is how many bytes of a changelog are read, compressed or not. The newest entries come first.
	maxChangelog = 4 << 20
	// maxChanges is how many entries are read.
	maxChanges = 2000
)

// changelog returns the dates of a package's changes. A missing or malformed changelog has no dates and is not an
// error, since many images have none.
func (r *reader) changelog(ctx context.Context, pkg *pkgdb.Package) error {
	names := []string{"changelog.Debian.gz", "changelog.gz", "changelog.Debian", "changelog"}
	for _, name := range names {
		dates, err := r.dates(ctx, pkg.Name, name)
		if err != nil {
			return err
		}
		if pkg.Changes = dates; len(dates) > 0 {
			break
		}
	}
	// A package that was rebuilt without a change of its source has a separate changelog for that.
	again, err := r.dates(ctx, pkg.Name, "changelog.Debian."+pkg.Arch+".gz")
	if err != nil {
		return err
	}
	pkg.Changes = append(pkg.Changes, again...)
	pkg.Built = newest(pkg.Changes)
	return nil
}

// dates returns the dates of a changelog of a package, or nil if there is none.
func (r *reader) dates(ctx context.Context, pkg, name string) ([]time.Time, error) {
	f, _, err := r.x.Open(ctx, "/usr/share/doc/"+pkg+"/"+name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, repo.ErrTooManySymlinks) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxChangelog))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return changes(data), nil
}

// changes returns the dates of the trailer lines (" -- Name <mail>  date").
func changes(data []byte) []time.Time {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil
		}
		data, _ = io.ReadAll(io.LimitReader(z, maxChangelog)) // use the entries that could be read
	}
	var dates []time.Time
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, " -- ")
		if !ok {
			continue
		}
		i := strings.LastIndex(rest, ">  ")
		if i < 0 {
			continue
		}
		date, err := mail.ParseDate(strings.TrimSpace(rest[i+1:]))
		if err != nil || date.Year() < 1990 || date.Year() > 2200 {
			continue
		}
		if dates = append(dates, date.UTC()); len(dates) == maxChanges {
			break
		}
	}
	return dates
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
