// Package chisel reads the manifest of Chisel, which makes root filesystems of slices of Debian packages. The manifest
// has lines of JSON and is compressed with Zstandard.
package chisel

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// manifests are the places of the manifest in releases of Ubuntu and in commits.
var manifests = []string{
	"/var/lib/chisel/manifest.wall", "/usr/share/factory/var/lib/chisel/manifest.wall", "/usr/share/chisel/manifest.wall",
}

// Paths returns the paths at which [Read] looks.
func Paths() []string { return slices.Clone(manifests) }

// Limits on a manifest. Zstandard can expand a few bytes to gigabytes.
const (
	maxManifest = 64 << 20 // bytes, uncompressed
	maxWindow   = 8 << 20
	maxLine     = 1 << 20
	// lineWork is the number of bytes of work that a line counts for, since even a short line takes time to parse.
	lineWork = 1 << 10
)

// Read returns the packages with their files, sorted by name. The manifest knows neither sources nor changelogs.
//
// The error wraps [fs.ErrNotExist] if there is no manifest.
func Read(ctx context.Context, x *rootfs.Index) (*pkgdb.Database, error) {
	db, err := pkgdb.ReadFirst(ctx, x, manifests, read)
	if err != nil {
		return nil, fmt.Errorf("chisel: %w", err)
	}
	for i, fault := range db.Faults {
		db.Faults[i] = fmt.Errorf("chisel: %w", fault)
	}
	slices.SortStableFunc(db.Packages, func(a, b pkgdb.Package) int { return cmp.Compare(a.Name, b.Name) })
	return db, nil
}

// line is a line of the manifest. Kind says what it describes.
type line struct {
	Count                           int    // the number of lines; only in the first line
	Schema                          string // the version of the format; only in the first line
	Kind, Name, Version, Arch, Path string
	Slices                          []string // PACKAGE_SLICE
	// SHA256 is the digest of a file in the package, Final that of the file after Chisel changed it.
	SHA256 string
	Final  string `json:"final_sha256"`
	Size   int64
}

// digest returns the digest of a file. It is zero if there is none, as for links.
func (l *line) digest() (sum [sha256.Size]byte) {
	if data, err := hex.DecodeString(cmp.Or(l.Final, l.SHA256)); err == nil && len(data) == len(sum) {
		return [sha256.Size]byte(data)
	}
	return sum
}

// read reads a manifest.
func read(ctx context.Context, r *pkgdb.Reader, name string) error {
	e, ok := r.File(name)
	if !ok {
		return fs.ErrNotExist
	}
	if e.Size == 0 {
		r.Empty(name)
		return nil
	}
	in, _, err := r.X.Open(ctx, name)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return pkgdb.Broken("%s: %w", name, err)
	}
	defer z.Close()
	m := &manifest{r: r, at: map[string]int{}}
	s := bufio.NewScanner(z)
	s.Buffer(nil, maxLine)
	n, bytes, lines := 0, 0, 0
	for s.Scan() {
		if bytes += len(s.Bytes()) + 1; bytes > maxManifest {
			return fmt.Errorf("%w: %s has more than %s", pkgdb.ErrTooLarge, name, sizes.Format(maxManifest))
		}
		if err := r.Work(lineWork); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n+1, err)
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			r.Faultf("%s:%d: %w", name, n+1, err)
		} else if err := m.add(&l); errors.Is(err, pkgdb.ErrBroken) {
			r.Fault(fmt.Errorf("%s:%d: %w", name, n+1, err))
		} else if err != nil {
			return fmt.Errorf("%s:%d: %w", name, n+1, err)
		}
		if n++; n == 1 {
			lines = l.Count
			if major, _, _ := strings.Cut(l.Schema, "."); major != "1" {
				return pkgdb.Broken("%s:1: the schema %.100q is not known", name, l.Schema)
			}
		}
	}
	if err := s.Err(); err != nil {
		return pkgdb.Broken("%s:%d: %w", name, n+1, err)
	}
	if lines != n {
		r.Faultf("%s: the file is truncated: it has %d lines of %d", name, n, lines)
	}
	return nil
}

// manifest is the state of reading a manifest. Packages come before paths, since the lines are sorted by kind.
type manifest struct {
	r  *pkgdb.Reader
	at map[string]int // packages by name
}

// add adds the package or path of a line.
func (m *manifest) add(l *line) error {
	switch l.Kind {
	case "package":
		if _, twice := m.at[l.Name]; twice {
			return pkgdb.Broken("the package %.100q is there twice", l.Name)
		}
		_, err := m.r.Add(pkgdb.Package{Name: l.Name, Source: l.Name, Version: l.Version, Arch: l.Arch})
		if err != nil {
			return err
		}
		m.at[strings.Clone(l.Name)] = len(m.r.Packages) - 1
	case "path":
		if strings.HasSuffix(l.Path, "/") {
			return nil
		}
		for _, slice := range l.Slices {
			name, _, _ := strings.Cut(slice, "_")
			i, ok := m.at[name]
			if !ok {
				return pkgdb.Broken("the path %.100q belongs to the package %.100q, which is not in the manifest", l.Path, name)
			}
			f := pkgdb.File{Path: path.Join("/", l.Path), Digest: l.digest(), Size: l.Size}
			if err := m.r.AddFile(&m.r.Packages[i].Files, f); err != nil {
				return err
			}
		}
	}
	return nil
}
