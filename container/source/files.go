package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// files gives access to named files in any order, several at once.
type files interface {
	// open returns a file and its size. The error wraps fs.ErrNotExist if there is no such file.
	open(name string) (io.ReadCloser, int64, error)
	close() error
}

// maxArchiveEntries limits the index of an archive, which is kept in memory.
const maxArchiveEntries = 65536

// dirFiles reads files below a directory. It never follows a path out of it.
type dirFiles struct{ root *os.Root }

func openDirFiles(dir string) (*dirFiles, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &dirFiles{root: root}, nil
}

func (d *dirFiles) open(name string) (io.ReadCloser, int64, error) {
	// Check the type first: opening a FIFO would block forever.
	st, err := d.root.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	return f, st.Size(), nil
}

func (d *dirFiles) close() error { return d.root.Close() }

// tarFiles reads files of an uncompressed archive in place.
type tarFiles struct {
	f     *os.File
	index map[string]span
}

type span struct{ offset, size int64 }

// checkArchiveFile returns an error if an archive could not be read in any order.
func checkArchiveFile(name string) error {
	st, err := os.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file, which an archive must be", name)
	}
	return err
}

func openTarFiles(ctx context.Context, name string) (*tarFiles, error) {
	if err := checkArchiveFile(name); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	t := &tarFiles{f: f, index: map[string]span{}}
	if err := t.scan(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("archive %s: %w", name, err), f.Close())
	}
	return t, nil
}

// scan records the position of each file. It seeks over content.
func (t *tarFiles) scan(ctx context.Context) error {
	if err := t.checkUncompressed(); err != nil {
		return err
	}
	st, err := t.f.Stat()
	if err != nil {
		return err
	}
	r := tar.NewReader(t.f)
	for range maxArchiveEntries {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" {
			continue
		}
		at, err := t.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if h.Size > st.Size()-at {
			return fmt.Errorf("%q is cut short", h.Name)
		}
		t.index[path.Clean("/" + h.Name)[1:]] = span{at, h.Size}
	}
	return fmt.Errorf("it has more than %d entries", maxArchiveEntries)
}

func (t *tarFiles) checkUncompressed() error {
	var magic [4]byte
	n, err := t.f.ReadAt(magic[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for prefix, tool := range map[string]string{"\x1f\x8b": "gzip -d", "\x28\xb5\x2f\xfd": "zstd -d", "BZh": "bzip2 -d",
		"\xfd7zX": "xz -d"} {
		if n >= len(prefix) && string(magic[:len(prefix)]) == prefix {
			return fmt.Errorf("it is compressed: decompress it with %s first", tool)
		}
	}
	return nil
}

func (t *tarFiles) open(name string) (io.ReadCloser, int64, error) {
	s, ok := t.index[name]
	if !ok {
		return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(io.NewSectionReader(t.f, s.offset, s.size)), s.size, nil
}

func (t *tarFiles) close() error { return t.f.Close() }

// readSmall reads a whole file of at most limit bytes.
func readSmall(f files, name string, limit int64) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > limit {
		return nil, fmt.Errorf("%s has %s, more than %s", name, sizes.Format(size), sizes.Format(limit))
	}
	return io.ReadAll(io.LimitReader(r, limit+1))
}
