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
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

const (
	// maxChangelog is how much of a changelog is read, compressed or not: the newest entries come first.
	maxChangelog = 4 << 20
	// maxChanges is how many entries are.
	maxChanges = 2000
)

// changelog reads the dates of a package's changes. A changelog that is missing or makes no sense tells nothing: many images
// have none.
func (r *reader) changelog(ctx context.Context, pkg *pkgdb.Package) error {
	for _, name := range []string{"changelog.Debian.gz", "changelog.gz", "changelog.Debian", "changelog"} {
		f, _, err := r.x.Open(ctx, "/usr/share/doc/"+pkg.Name+"/"+name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, rootfs.ErrTooManySymlinks) {
			continue
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(f, maxChangelog))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if dates := changes(data); len(dates) > 0 {
			pkg.Changes, pkg.Built = dates, newest(dates)
			return nil
		}
	}
	return nil
}

// changes returns the dates of the trailer lines (" -- Name <mail>  date").
func changes(data []byte) []time.Time {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil
		}
		data, _ = io.ReadAll(io.LimitReader(z, maxChangelog)) // what could be read counts
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
