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
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// separators matches runs of characters that are equivalent in names of Python packages (PEP 503).
var separators = regexp.MustCompile(`[-_.]+`)

// pythonID returns the ID and the normalized name of the package whose metadata is in a directory.
func pythonID(dir, suffix string) (id, name string, ok bool) {
	name, _, _ = strings.Cut(strings.TrimSuffix(path.Base(dir), suffix), "-")
	name = strings.ToLower(separators.ReplaceAllString(name, "-"))
	id, ok = languageID("python", name)
	return id, name, ok
}

// pythonPackage claims the files of a Python package by its list.
func (d *detection) pythonPackage(ctx context.Context, _ int, e rootfs.Entry) error {
	switch {
	case e.Name == "RECORD" && strings.HasSuffix(e.Dir, ".dist-info"):
		return d.pythonRecord(ctx, e.Path())
	case e.Name == "installed-files.txt" && strings.HasSuffix(e.Dir, ".egg-info"):
		return d.pythonEgg(ctx, e.Path())
	}
	return nil
}

// pythonRecord claims the files of a wheel. The paths in its RECORD are relative to the directory of packages. The
// error wraps [pkgdb.ErrBroken] if rows of the RECORD are not valid. The files of the valid rows are claimed in any
// case.
func (d *detection) pythonRecord(ctx context.Context, p string) error {
	dir := path.Dir(p)
	id, name, ok := pythonID(dir, ".dist-info")
	if !ok {
		return errNotUnderstood
	}
	data, err := d.x.ReadFile(ctx, p, maxRecordFile)
	if errors.Is(err, repo.ErrTooLarge) {
		return pkgdb.Broken("python: %s has more than %s", p, sizes.Format(maxRecordFile))
	}
	if err != nil {
		return err
	}
	reason := "Python package " + name
	broken := parseRecord(p, data, func(file string) error {
		if err := d.listed(len(file)); err != nil {
			return err
		}
		if !strings.HasPrefix(file, "/") {
			file = path.Dir(dir) + "/" + file
		}
		d.claimPath(file, id, "python", reason)
		return nil
	})
	d.claimBelow(dir, id, "python", reason)
	if broken != nil {
		return fmt.Errorf("python: %w", broken)
	}
	return nil
}

// parseRecord calls f with each path of a RECORD, a table of paths, digests and sizes. It skips rows of another form.
// The error is that of f, or is about the first skipped row and wraps [pkgdb.ErrBroken].
func parseRecord(name string, data []byte, f func(file string) error) (broken error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	for n := 0; ; n++ {
		row, err := r.Read()
		if err == io.EOF {
			if n == 0 && broken == nil {
				broken = pkgdb.Broken("%s is empty", name)
			}
			return broken
		}
		var bad *csv.ParseError
		switch {
		case errors.As(err, &bad):
			err = fmt.Errorf("%s:%d: %w: %w", name, bad.StartLine, pkgdb.ErrBroken, bad.Err)
		case err != nil:
			return err
		case len(row) != 3 || strings.IndexByte(row[0], 0) >= 0:
			line, _ := r.FieldPos(0)
			err = fmt.Errorf("%s:%d: %w: the row is not a path, a digest and a size", name, line, pkgdb.ErrBroken)
		case row[0] != "":
			if err := f(row[0]); err != nil {
				return err
			}
		}
		broken = cmp.Or(broken, err)
	}
}

// pythonEgg claims the files of a package that an older installer recorded. The paths are relative to the list.
func (d *detection) pythonEgg(ctx context.Context, p string) error {
	dir := path.Dir(p)
	id, name, ok := pythonID(dir, ".egg-info")
	if !ok {
		return errNotUnderstood
	}
	data, err := d.readList(ctx, "python", p, maxRecordFile)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if err := d.listed(len(line)); err != nil {
			return err
		}
		d.claimPath(dir+"/"+strings.TrimSpace(line), id, "python", "Python package "+name)
	}
	d.claimBelow(dir, id, "python", "Python package "+name)
	return nil
}
