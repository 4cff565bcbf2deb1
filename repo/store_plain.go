package repo

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// plainFile is the open content of a file object that is stored uncompressed. It supports random access.
type plainFile struct {
	objectFile
	size int64
}

var (
	_ io.ReadSeekCloser = (*plainFile)(nil)
	_ io.ReaderAt       = (*plainFile)(nil)
)

func newPlainFile(n object.Name, f *os.File, size int64) *plainFile {
	return &plainFile{objectFile{exactReader: exactReader{r: f, left: size}, name: n, f: f}, size}
}

// ReadAt implements [io.ReaderAt].
func (p *plainFile) ReadAt(b []byte, off int64) (int, error) {
	if p.f == nil {
		return 0, p.fail(os.ErrClosed)
	}
	n, err := io.NewSectionReader(p.f, 0, p.size).ReadAt(b, off)
	switch {
	case err == io.EOF && off < p.size && off+int64(n) < p.size:
		return n, p.fail(fmt.Errorf("%w: content ends %d bytes early", object.ErrCorrupt, p.size-off-int64(n)))
	case err != nil && err != io.EOF:
		return n, p.fail(err)
	}
	return n, err
}

// Seek implements [io.Seeker].
func (p *plainFile) Seek(offset int64, whence int) (int64, error) {
	if p.f == nil {
		return 0, p.fail(os.ErrClosed)
	}
	switch whence {
	case io.SeekCurrent:
		at, err := p.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return 0, p.fail(err)
		}
		offset += at
	case io.SeekEnd:
		offset += p.size
	}
	if whence < io.SeekStart || whence > io.SeekEnd || offset < 0 {
		return 0, p.fail(fmt.Errorf("seek: %w", fs.ErrInvalid))
	}
	if _, err := p.f.Seek(offset, io.SeekStart); err != nil {
		return 0, p.fail(err)
	}
	p.left, p.err = max(p.size-offset, 0), nil
	return offset, nil
}

func (p *plainFile) fail(err error) error { return fmt.Errorf("object %s: %w", p.name, err) }

// clone makes the empty file fd share the blocks of the content, and reports whether the filesystem can do that.
func (p *plainFile) clone(fd int) bool {
	return p.f != nil && unix.IoctlFileClone(fd, int(p.f.Fd())) == nil
}
