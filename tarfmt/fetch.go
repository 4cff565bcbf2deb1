package tarfmt

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// smallBuffer is the size of a buffer that the content of most files fits into, in bytes.
const smallBuffer = 16 << 10

// fetch is a slot of an exporter's window for one file object between source and stream. Slots are reused, so that the
// window bounds the memory.
type fetch struct {
	checksum object.Checksum
	// infoOnly is set if the stream has the object already and only its attributes are needed, for another link.
	infoOnly bool

	// The worker signals ready once, when it has set the fields below.
	ready  chan struct{}
	info   *object.FileInfo
	path   string // one of its paths, for errors
	xattrs []byte // serialised
	// data is the whole content, in small if it fits and in large otherwise. It is empty if more delivers the pieces of a
	// large file.
	data  []byte
	large *[bufferSize]byte
	more  chan piece
	err   error

	small [smallBuffer]byte
}

// piece is a part of a large file, or the error that ended it.
type piece struct {
	buf *[bufferSize]byte
	n   int
	err error
}

// pieceBacklog is how many pieces of a large file are read ahead.
const pieceBacklog = 3

// reset makes the slot ready for another object.
func (f *fetch) reset() {
	if f.large != nil {
		buffers.Put(f.large)
	}
	f.info, f.xattrs, f.data, f.large, f.more, f.err = nil, nil, nil, nil, nil, nil
}

// run reads the object. It returns when it has passed on all content, or when the context is done.
func (f *fetch) run(ctx context.Context, src repo.Source) {
	if f.infoOnly {
		f.info, f.err = src.FileInfo(ctx, f.checksum)
		f.ready <- struct{}{}
		return
	}
	r, info, err := src.OpenFile(ctx, f.checksum)
	if err != nil {
		f.err = err
		f.ready <- struct{}{}
		return
	}
	defer r.Close()
	f.info, f.xattrs = info, object.EncodeXattrs(info.Xattrs)
	switch {
	case info.IsSymlink():
		// A symlink has no content.
	case info.Size <= smallBuffer:
		f.data = f.small[:info.Size]
	case info.Size <= bufferSize:
		f.large = buffers.Get().(*[bufferSize]byte)
		f.data = f.large[:info.Size]
	default:
		f.more = make(chan piece, pieceBacklog)
		f.ready <- struct{}{}
		sendPieces(ctx, r, info.Size, f.more)
		return
	}
	f.err = readExactly(r, f.data)
	f.ready <- struct{}{}
}

func readExactly(r io.Reader, p []byte) error {
	if _, err := io.ReadFull(r, p); err != nil {
		return shortContent(err)
	}
	return atEnd(r)
}

func shortContent(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the content is shorter than its stated size")
	}
	return err
}

// atEnd reads to the end, so that the source can report content that is longer than it should be.
func atEnd(r io.Reader) error {
	var one [1]byte
	for range 100 {
		switch n, err := r.Read(one[:]); {
		case n > 0:
			return errors.New("the content is longer than its stated size")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// sendPieces reads a large file ahead of the stream. The caller makes the channel, since the slot may belong to another
// object by the time this returns.
func sendPieces(ctx context.Context, r io.Reader, size int64, out chan<- piece) {
	defer close(out)
	for size > 0 {
		buf := buffers.Get().(*[bufferSize]byte)
		p := piece{buf: buf, n: int(min(size, bufferSize))}
		size -= int64(p.n)
		if _, err := io.ReadFull(r, buf[:p.n]); err != nil {
			p.err = shortContent(err)
		} else if size == 0 {
			p.err = atEnd(r)
		}
		select {
		case out <- p:
		case <-ctx.Done():
			buffers.Put(buf)
			return
		}
		if p.err != nil {
			return
		}
	}
}

// copyTo writes the content to the stream.
func (f *fetch) copyTo(ctx context.Context, s *streamWriter) error {
	s.write(f.data)
	if f.more == nil {
		return s.err
	}
	left := f.info.Size
	for p := range f.more {
		if p.err == nil {
			s.write(p.buf[:p.n])
			left -= int64(p.n)
		}
		buffers.Put(p.buf)
		if p.err != nil {
			return p.err
		}
		if s.err != nil {
			return s.err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if left != 0 {
		return fmt.Errorf("%d bytes of content did not arrive", left)
	}
	return nil
}
