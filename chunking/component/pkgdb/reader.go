package pkgdb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Database is the content of a package manager's database.
type Database struct {
	// Packages are the packages that could be read.
	Packages []Package
	// Faults are the parts that are broken or missing, with the file and the line or record. Each wraps [ErrBroken] or
	// [ErrTooLarge]. Their number is bounded: the last fault of a place says how many more there were.
	Faults []error
}

// The limits on one database. They protect against hostile databases, where a few bytes can stand for gigabytes of
// paths.
const (
	// maxMemory is the memory for packages and paths, in bytes. A large system needs half of it.
	maxMemory = 80 << 20
	// maxWork is the number of bytes that are read or made.
	maxWork = 1 << 30
	// PathWork is the number of bytes of work that each byte of a path counts for, since paths are processed many times.
	PathWork = 8
	// lineWork is the number of bytes of work that a line counts for besides its length, since lines may be empty.
	lineWork = 32
	// packageCost is the memory of a package in bytes, here and in a detection, without its texts and files.
	packageCost = 512
	// fileCost is the memory in bytes that a file counts for besides its part of the list.
	fileCost = 16
	// dateCost is the memory of a date in bytes, here and in a detection.
	dateCost = 24
	// maxLine is the length of a line in bytes. Debian has descriptions and relations of some hundred KiB.
	maxLine = 4 << 20
	// maxPath is the length of a path in bytes, as in Linux.
	maxPath = 4096
	// maxFaults is the number of faults that are kept for a place.
	maxFaults = 10
)

// Reader reads one place where a package manager may have its database. It limits memory and work, and collects faults.
type Reader struct {
	// X is the index of the tree.
	X *rootfs.Index
	// Packages are the packages that were added.
	Packages []Package
	// Categories says that the names of packages and sources are CATEGORY/NAME.
	Categories bool

	faults       []error
	moreFaults   int
	empty        error
	memory, work int64
}

// ReadFirst reads places in their order, until one has packages and no faults. It returns the packages of the place
// with the most packages, or of the first of several such places, and the faults of all places.
//
// The function read adds the packages and faults of a place to the reader. Its error wraps [fs.ErrNotExist] if the
// place has no database, [ErrBroken] if the rest of it cannot be read, and [ErrTooLarge] if its packages are to be
// dropped.
//
// The error wraps [fs.ErrNotExist] if no place has a database. Other errors are those of reading the tree.
func ReadFirst(
	ctx context.Context, x *rootfs.Index, places []string, read func(ctx context.Context, r *Reader, place string) error,
) (*Database, error) {
	db := &Database{}
	var empty error
	seen, exists := map[int]bool{}, false
	for _, place := range places {
		if i, err := x.Resolve(place); err == nil {
			if seen[i] {
				continue
			}
			seen[i] = true
		}
		r := &Reader{X: x}
		err := read(ctx, r, place)
		switch {
		case err == nil:
			exists = true
		case errors.Is(err, fs.ErrNotExist):
		case IsFault(err):
			// This fault is kept even if there are maxFaults already.
			r.faults = append(r.faults, asFault(err))
			if isTooLarge(err) {
				r.Packages = nil
			}
		default:
			return nil, err
		}
		if len(r.Packages) > len(db.Packages) {
			db.Packages = r.Packages
		}
		if r.moreFaults > 0 {
			r.faults = append(r.faults, fmt.Errorf("%w: %s: %d more faults", ErrBroken, place, r.moreFaults))
		}
		db.Faults = append(db.Faults, r.faults...)
		if empty == nil {
			empty = r.empty
		}
		if len(r.Packages) > 0 && len(r.faults) == 0 {
			break
		}
	}
	if len(db.Packages) == 0 && len(db.Faults) == 0 {
		if empty != nil {
			db.Faults = append(db.Faults, empty)
		} else if !exists {
			return nil, fs.ErrNotExist
		}
	}
	return db, nil
}

// IsFault reports whether an error is about the content of a tree, and not about reading it.
func IsFault(err error) bool {
	return errors.Is(err, ErrBroken) || isTooLarge(err) || errors.Is(err, repo.ErrTooManySymlinks)
}

func isTooLarge(err error) bool {
	return errors.Is(err, ErrTooLarge) || errors.Is(err, repo.ErrTooLarge)
}

// Fault adds a fault. An error that wraps neither [ErrBroken] nor [ErrTooLarge] is wrapped in one of them.
func (r *Reader) Fault(err error) {
	if len(r.faults) == maxFaults {
		r.moreFaults++
		return
	}
	r.faults = append(r.faults, asFault(err))
}

// asFault makes an error wrap [ErrBroken] or [ErrTooLarge].
func asFault(err error) error {
	switch {
	case errors.Is(err, ErrBroken), errors.Is(err, ErrTooLarge):
		return err
	case isTooLarge(err):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// Faultf adds a fault that wraps [ErrBroken].
func (r *Reader) Faultf(format string, args ...any) { r.Fault(Broken(format, args...)) }

// Broken returns an error that wraps [ErrBroken].
func Broken(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBroken}, args...)...)
}

// Empty notes that a file of the database is empty. That is a fault if no place has packages.
func (r *Reader) Empty(name string) {
	r.empty = Broken("%s is empty: no package is known", name)
}

// Missing notes that a file of the database is missing, and what shows that there was one. That is a fault if no place
// has packages.
func (r *Reader) Missing(name, trace string) {
	r.empty = Broken("%s is missing, but there is %s: no package is known", name, trace)
}

// Has reports whether a path leads to a file that is not empty.
func (r *Reader) Has(name string) bool {
	i, err := r.X.Resolve(name)
	return err == nil && r.X.Entry(i).IsRegular() && r.X.Entry(i).Size > 0
}

// File returns the regular file that a path leads to, and whether there is one. An entry of another type is a fault.
func (r *Reader) File(name string) (rootfs.Entry, bool) {
	i, err := r.X.Resolve(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return rootfs.Entry{}, false
	case err != nil:
		r.Fault(err)
		return rootfs.Entry{}, false
	}
	e := r.X.Entry(i)
	if !e.IsRegular() {
		r.Faultf("%s is not a regular file", name)
		return e, false
	}
	return e, true
}

// Work counts n bytes that are read or made. The error wraps [ErrTooLarge] if there are too many.
func (r *Reader) Work(n int64) error {
	if r.work += n; r.work > maxWork || n > maxWork {
		return fmt.Errorf("%w: reading it takes more than %s", ErrTooLarge, sizes.Format(maxWork))
	}
	return nil
}

// keep counts n bytes that stay in memory. The error wraps [ErrTooLarge] if there are too many.
func (r *Reader) keep(n int64) error {
	if r.memory += n; r.memory > maxMemory {
		return fmt.Errorf("%w: its packages and paths take more than %s of memory", ErrTooLarge, sizes.Format(maxMemory))
	}
	return nil
}

// Add adds a package. The error wraps [ErrBroken] if the name or source is not valid by [ValidName], which applies to
// both parts if there are categories, and [ErrTooLarge] if there are too many packages. Files and changes are added
// with [Reader.AddFile] and [Reader.AddChanges], before or after. The result is valid until the next call.
func (r *Reader) Add(p Package) (*Package, error) {
	if !r.validName(p.Name) || !r.validName(p.Source) {
		return nil, Broken("the package name %.100q or the source name %.100q is not valid", p.Name, p.Source)
	}
	if err := r.keep(int64(packageCost + len(p.Name) + len(p.Source) + len(p.Version) + len(p.Arch))); err != nil {
		return nil, err
	}
	// The strings may be slices of much longer ones.
	p.Name, p.Source, p.Version = strings.Clone(p.Name), strings.Clone(p.Source), strings.Clone(p.Version)
	p.Arch = strings.Clone(p.Arch)
	r.Packages = append(r.Packages, p)
	return &r.Packages[len(r.Packages)-1], nil
}

// AddChanges adds dates of changes to a package. The error wraps [ErrTooLarge].
func (r *Reader) AddChanges(p *Package, dates ...time.Time) error {
	p.Changes = append(p.Changes, dates...)
	return r.keep(int64(len(dates)) * dateCost)
}

// validName reports whether a name can be that of a package in this database.
func (r *Reader) validName(name string) bool {
	if r.Categories {
		category, rest, ok := strings.Cut(name, "/")
		return ok && ValidName(category) && ValidName(rest)
	}
	return ValidName(name)
}

// ValidName reports whether a name, without a category, can be that of a package.
func ValidName(name string) bool {
	return name != "" && len(name) < 256 && !strings.ContainsAny(name, "/\x00 ,")
}

// AddFile adds a file to a list. The error wraps [ErrTooLarge] if there are too many files, and [ErrBroken] if no file
// can have the path.
func (r *Reader) AddFile(files *Files, f File) error {
	if len(f.Path) >= maxPath || strings.IndexByte(f.Path, 0) >= 0 {
		return Broken("the path %.100q is not valid", f.Path)
	}
	before := len(files.data)
	files.Add(f)
	if err := r.keep(int64(len(files.data) - before + fileCost)); err != nil {
		return err
	}
	return r.Work(int64(len(f.Path)) * PathWork)
}

// Lines calls f with the number of each line of a file, from 1, and the line without its newline. It reports whether
// the last line has no newline, as in a truncated file. The error is that of f, or wraps [fs.ErrNotExist], [ErrBroken]
// or [ErrTooLarge].
func (r *Reader) Lines(ctx context.Context, name string, f func(n int, line []byte) error) (cut bool, err error) {
	in, e, err := r.X.Open(ctx, name)
	if err != nil {
		return false, err
	}
	defer in.Close()
	if err := r.Work(e.Size); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	last := &lastByte{r: in}
	s := bufio.NewScanner(last)
	s.Buffer(make([]byte, 0, min(e.Size+1, 64<<10)), maxLine)
	n := 0
	for s.Scan() {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err := r.Work(lineWork); err != nil {
			return false, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if err := f(n, s.Bytes()); err != nil {
			return false, err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return false, Broken("%s:%d: the line has more than %s", name, n+1, sizes.Format(maxLine))
	}
	return e.Size > 0 && last.b != '\n', s.Err()
}

// lastByte remembers the last byte that was read.
type lastByte struct {
	r io.Reader
	b byte
}

func (l *lastByte) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if n > 0 {
		l.b = p[n-1]
	}
	return n, err
}

// Quote shortens a line for a message.
func Quote(line []byte) string {
	if len(line) > 1 && len(bytes.Trim(line, "\x00")) == 0 {
		return fmt.Sprintf("%d zero bytes", len(line))
	}
	return fmt.Sprintf("%.100q", line)
}
