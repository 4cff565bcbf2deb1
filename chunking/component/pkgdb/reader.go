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

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Database is what was read of a package manager's database.
type Database struct {
	Packages []Package
	// Faults say what could not be understood or is missing, with file and line or record. Each wraps [ErrBroken] or
	// [ErrTooLarge]. There are few: the last says how many more there were.
	Faults []error
}

// The budget of one database. What is read may be hostile: a few bytes can stand for gigabytes of paths.
const (
	// maxMemory is how many bytes of packages and paths are kept. A large system has half of it.
	maxMemory = 80 << 20
	// maxWork is how many bytes are read or made.
	maxWork = 1 << 30
	// pathWork is how many bytes of work each byte of a path counts for: it is looked at many times.
	pathWork = 8
	// lineWork is how many bytes of work a line counts for besides its own: there are lists of empty ones.
	lineWork = 32
	// packageCost is what a package takes besides its texts and files, here and in a detection.
	packageCost = 512
	// fileCost is what a file counts for besides what its list grows by.
	fileCost = 16
	// dateCost is what a date takes, here and in a detection.
	dateCost = 24
	// maxLine is the length of a line in bytes. Debian has descriptions and relations of some hundred KiB.
	maxLine = 4 << 20
	// maxPath is the length of a path in bytes, as in Linux.
	maxPath = 4096
	// maxFaults is how many faults of a place are kept.
	maxFaults = 10
)

// Reader reads one place where a package manager may have its database. It keeps what it reads within a budget, and
// collects what is wrong.
type Reader struct {
	X        *rootfs.Index
	Packages []Package

	faults       []error
	moreFaults   int
	empty        error
	memory, work int64
}

// ReadFirst reads places in their order, until one has packages and no faults. Of those that were read the one with
// the most packages counts, and the first of several. What is wrong in each is among the faults. The function read
// adds what it finds to the reader; its error wraps [fs.ErrNotExist] where a place has nothing, [ErrTooLarge] where
// what was read does not count, and [ErrBroken].
//
// The error wraps [fs.ErrNotExist] where no place has a database; others are those of reading the tree.
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
			// This one is told, however many there were before.
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

// IsFault reports whether an error is about what a tree has, and not of reading it.
func IsFault(err error) bool {
	return errors.Is(err, ErrBroken) || isTooLarge(err) || errors.Is(err, repo.ErrTooManySymlinks)
}

func isTooLarge(err error) bool {
	return errors.Is(err, ErrTooLarge) || errors.Is(err, repo.ErrTooLarge)
}

// Fault adds a fault.
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

// Empty says that a file is there and has nothing in it. That is a fault unless another place has packages.
func (r *Reader) Empty(name string) {
	r.empty = Broken("%s is empty: no package is known", name)
}

// File finds the regular file that a path leads to, if there is one. Anything else in its place is a fault.
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

// Work counts bytes that are read or made. The error wraps [ErrTooLarge].
func (r *Reader) Work(n int64) error {
	if r.work += n; r.work > maxWork || n > maxWork {
		return fmt.Errorf("%w: reading it takes more than %d MiB", ErrTooLarge, maxWork>>20)
	}
	return nil
}

// keep counts bytes that stay in memory. The error wraps [ErrTooLarge].
func (r *Reader) keep(n int64) error {
	if r.memory += n; r.memory > maxMemory {
		return fmt.Errorf("%w: its packages and paths take more than %d MiB of memory", ErrTooLarge, maxMemory>>20)
	}
	return nil
}

// Add adds a package, whose name and source must be as [ValidName] says, else the error wraps [ErrBroken]. What the
// package has in files and changes is added with [Reader.AddFile] and [Reader.AddChanges], before or after.
func (r *Reader) Add(p Package) (*Package, error) {
	if !ValidName(p.Name) || !ValidName(p.Source) {
		return nil, Broken("the package name %.100q of %.100q", p.Name, p.Source)
	}
	if err := r.keep(int64(packageCost + len(p.Name) + len(p.Source) + len(p.Version) + len(p.Arch))); err != nil {
		return nil, err
	}
	// The texts may be pieces of much longer ones.
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

// ValidName reports whether a name can be that of a package.
func ValidName(name string) bool {
	return name != "" && len(name) < 256 && !strings.ContainsAny(name, "/\x00 ,")
}

// AddFile adds a file to a package. The error wraps [ErrTooLarge] where the budget is spent, and [ErrBroken] for a
// path that no file can have.
func (r *Reader) AddFile(files *Files, f File) error {
	if len(f.Path) >= maxPath || strings.IndexByte(f.Path, 0) >= 0 {
		return Broken("the path %.100q, which no file can have", f.Path)
	}
	before := len(files.data)
	files.Add(f)
	if err := r.keep(int64(len(files.data) - before + fileCost)); err != nil {
		return err
	}
	return r.Work(int64(len(f.Path)) * pathWork)
}

// Lines calls f with each line of a file, without its end, and its number from 1. It reports whether the last line
// has no end, as in a file that was cut. The error is that of f, or wraps [fs.ErrNotExist], [ErrBroken] or
// [ErrTooLarge].
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
		return false, Broken("%s:%d: a line of more than %d MiB", name, n+1, maxLine>>20)
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
