package tarfmt

import (
	"fmt"
	"io"
	"sync"
)

const bufferSize = 256 << 10

// buffers holds the buffers of writers and of readers of large files.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// streamWriter collects tar blocks and writes them in large pieces. It keeps the first error of the underlying writer.
type streamWriter struct {
	w   io.Writer
	buf *[bufferSize]byte
	n   int
	err error
}

func newStreamWriter(w io.Writer) *streamWriter {
	return &streamWriter{w: w, buf: buffers.Get().(*[bufferSize]byte)}
}

// release returns the buffer to the pool. Its content is discarded.
func (s *streamWriter) release() {
	buffers.Put(s.buf)
	s.buf = nil
}

func (s *streamWriter) flush() error {
	if s.err == nil && s.n > 0 {
		_, s.err = s.w.Write(s.buf[:s.n])
	}
	s.n = 0
	return s.err
}

func (s *streamWriter) write(p []byte) {
	for len(p) > 0 && s.err == nil {
		n := copy(s.buf[s.n:], p)
		p = p[n:]
		if s.n += n; s.n == bufferSize {
			_ = s.flush()
		}
	}
}

func (s *streamWriter) writeString(p string) {
	for len(p) > 0 && s.err == nil {
		n := copy(s.buf[s.n:], p)
		p = p[n:]
		if s.n += n; s.n == bufferSize {
			_ = s.flush()
		}
	}
}

var zeros [2 * blockSize]byte

// pad completes the last block of content of the given length.
func (s *streamWriter) pad(size int64) {
	if rest := size % blockSize; rest != 0 {
		s.write(zeros[:blockSize-rest])
	}
}

// end writes the end of the archive.
func (s *streamWriter) end() error {
	s.write(zeros[:])
	return s.flush()
}

// entry writes the header of an entry with a path. If h is reused, it keeps bytes of earlier paths; see [slotWriter].
func (s *streamWriter) entry(h *block, path string) error { return s.linkEntry(h, path, "") }

// linkEntry is entry with a link target that does not fit into the header.
func (s *streamWriter) linkEntry(h *block, path, longTarget string) error {
	long, err := h.setPath(path)
	if err != nil {
		return err
	}
	if long {
		s.longRecord(typeLongName, path)
	}
	if longTarget != "" {
		s.longRecord(typeLongLink, longTarget)
	}
	h.seal()
	s.write(h[:])
	return s.err
}

// file writes a regular file that belongs to root.
func (s *streamWriter) file(path string, data []byte) error {
	h := newHeader(typeRegular, attributes{mode: 0o644}, int64(len(data)))
	if err := s.entry(&h, path); err != nil {
		return err
	}
	s.write(data)
	s.pad(int64(len(data)))
	return s.err
}

func (s *streamWriter) dir(path string, a attributes) error {
	h := newHeader(typeDir, a, 0)
	return s.entry(&h, path)
}

func (s *streamWriter) longRecord(typ byte, text string) {
	size := int64(len(text)) + 1
	h := newHeader(typ, attributes{mode: 0o644}, size)
	copy(h.name(), "././@LongLink")
	h.seal()
	s.write(h[:])
	s.writeString(text)
	s.write(zeros[:1])
	s.pad(size)
}

// pax writes a block of PAX records.
func (s *streamWriter) pax(records []byte) {
	h := newPAXHeader(int64(len(records)))
	h.seal()
	s.write(h[:])
	s.write(records)
	s.pad(int64(len(records)))
}

// skeleton writes the directories and the configuration of a repository, without objects.
func (s *streamWriter) skeleton() error {
	const root = "sysroot/ostree/repo"
	dirs := make([]string, 0, 280)
	dirs = append(dirs, "sysroot", "sysroot/ostree", root, root+"/objects")
	for i := range 256 {
		dirs = append(dirs, fmt.Sprintf("%s/objects/%02x", root, i))
	}
	for _, d := range []string{
		"extensions", "refs", "refs/heads", "refs/mirrors", "refs/remotes", "state", "tmp", "tmp/cache",
	} {
		dirs = append(dirs, root+"/"+d)
	}
	for _, d := range dirs {
		if err := s.dir(d, attributes{mode: 0o755}); err != nil {
			return err
		}
	}
	return s.file(root+"/config", []byte("[core]\nrepo_version=1\nmode=bare-split-xattrs\n"))
}
