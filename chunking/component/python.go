package component

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// separators are alike in names of Python packages (PEP 503).
var separators = regexp.MustCompile(`[-_.]+`)

func pythonID(dir, suffix string) (id, name string, ok bool) {
	name, _, _ = strings.Cut(strings.TrimSuffix(path.Base(dir), suffix), "-")
	name = strings.ToLower(separators.ReplaceAllString(name, "-"))
	id, ok = languageID("python", name)
	return id, name, ok
}

// pythonPackage claims a package of Python by its list of files.
func (d *detection) pythonPackage(ctx context.Context, _ int, e rootfs.Entry) error {
	switch {
	case e.Name == "RECORD" && strings.HasSuffix(e.Dir, ".dist-info"):
		return d.pythonRecord(ctx, e.Path())
	case e.Name == "installed-files.txt" && strings.HasSuffix(e.Dir, ".egg-info"):
		return d.pythonEgg(ctx, e.Path())
	}
	return nil
}

// pythonRecord claims what a wheel installed: the paths of its RECORD are relative to the directory of packages. The error wraps
// [pkgdb.ErrBroken] where the RECORD breaks the rules; what could be understood is claimed nevertheless.
func (d *detection) pythonRecord(ctx context.Context, p string) error {
	dir := path.Dir(p)
	id, name, ok := pythonID(dir, ".dist-info")
	if !ok {
		return errNotUnderstood
	}
	data, err := d.x.ReadFile(ctx, p, maxRecordFile)
	if errors.Is(err, repo.ErrTooLarge) {
		return pkgdb.Broken("python: %s has more than %d MiB", p, maxRecordFile>>20)
	}
	if err != nil {
		return err
	}
	reason := "Python package " + name
	broken := parseRecord(data, func(file string) {
		if !strings.HasPrefix(file, "/") {
			file = path.Dir(dir) + "/" + file
		}
		d.claimPath(file, id, "python", reason)
	})
	d.claimBelow(dir, id, "python", reason)
	if broken != nil {
		return fmt.Errorf("%w: python: %s: %w", pkgdb.ErrBroken, p, broken)
	}
	return nil
}

// parseRecord calls f with the paths of a RECORD, a table of paths, digests and sizes. Rows that are not such are passed over; the
// error is about the first.
func parseRecord(data []byte, f func(file string)) (broken error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	for n := 0; ; n++ {
		row, err := r.Read()
		if err == io.EOF {
			if n == 0 && broken == nil {
				broken = errors.New("it is empty")
			}
			return broken
		}
		var bad *csv.ParseError
		switch {
		case errors.As(err, &bad):
			err = fmt.Errorf("line %d: %w", bad.StartLine, bad.Err)
		case err != nil:
			return err
		case len(row) != 3 || strings.IndexByte(row[0], 0) >= 0:
			line, _ := r.FieldPos(0)
			err = fmt.Errorf("line %d: not a path, a digest and a size", line)
		case row[0] != "":
			f(row[0])
		}
		broken = cmp.Or(broken, err)
	}
}

// pythonEgg claims what an older installer wrote: the paths are relative to the list.
func (d *detection) pythonEgg(ctx context.Context, p string) error {
	dir := path.Dir(p)
	id, name, ok := pythonID(dir, ".egg-info")
	if !ok {
		return errNotUnderstood
	}
	data, err := d.x.ReadFile(ctx, p, maxRecordFile)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		d.claimPath(dir+"/"+strings.TrimSpace(line), id, "python", "Python package "+name)
	}
	d.claimBelow(dir, id, "python", "Python package "+name)
	return nil
}
