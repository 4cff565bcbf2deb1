package repo

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

const (
	// copyBuffer is the size of the buffers that content is copied through, in bytes.
	copyBuffer = 256 << 10
	// packedBuffer is the size of the buffers between compressed files and the codec, in bytes.
	packedBuffer = 64 << 10
	// maxFileHeader bounds the header before compressed content, in bytes. The kernel allows less.
	maxFileHeader = 16 << 20
	// headerBuffer is the size in bytes of a buffer that the headers of nearly all files fit into.
	headerBuffer = 512
	// headerFrame is the size in bytes of the two words before a header: its length and zero.
	headerFrame = 8
)

// pools keeps the buffers and codecs of one repository for reuse.
type pools struct {
	copies, packed, inflaters, deflaters sync.Pool
}

func newPools(level int) *pools {
	return &pools{
		copies: sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }},
		packed: sync.Pool{New: func() any { return new(bytes.Buffer) }},
		inflaters: sync.Pool{New: func() any {
			br := bufio.NewReaderSize(nil, packedBuffer)
			return &inflater{br: br, r: flate.NewReader(br)}
		}},
		deflaters: sync.Pool{New: func() any { return newDeflater(level) }},
	}
}

// inflater is a decompressor with its buffer.
type inflater struct {
	br *bufio.Reader
	r  io.ReadCloser
}

// reset begins a new compressed stream, which is next in the buffer.
func (i *inflater) reset() error { return i.r.(flate.Resetter).Reset(i.br, nil) }

// Read reports damaged compressed data as corruption, and other errors as they are.
func (i *inflater) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	var damaged flate.CorruptInputError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &damaged) {
		err = fmt.Errorf("%w: %w", object.ErrCorrupt, err)
	}
	return n, err
}

// deflater is a compressor with its buffer.
type deflater struct {
	bw *bufio.Writer
	w  *flate.Writer
}

func newDeflater(level int) *deflater {
	bw := bufio.NewWriterSize(nil, packedBuffer)
	w, err := flate.NewWriter(bw, level)
	if err != nil {
		panic(err) // cannot fail: the level was checked with the configuration
	}
	return &deflater{bw: bw, w: w}
}

func (d *deflater) reset(w io.Writer) {
	d.bw.Reset(w)
	d.w.Reset(d.bw)
}

// finish ends the compressed stream.
func (d *deflater) finish() error {
	if err := d.w.Close(); err != nil {
		return err
	}
	return d.bw.Flush()
}

// archiveInfo reads the header of a compressed file object, without its content.
func (d *objectDir) archiveInfo(c object.Checksum) (*object.FileInfo, error) {
	n := fileName(c)
	f, size, err := d.openRegular(n)
	if err != nil {
		return nil, err
	}
	info, err := readArchiveHeader(bufio.NewReaderSize(f, headerBuffer), size)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("object %s: %w", n, err)
	}
	return info, nil
}

// openArchive opens a compressed file object.
func (d *objectDir) openArchive(c object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	n := fileName(c)
	f, size, err := d.openRegular(n)
	if err != nil {
		return nil, nil, err
	}
	in := d.pools.inflaters.Get().(*inflater)
	in.br.Reset(f)
	free := func() { d.pools.inflaters.Put(in) }
	info, err := readArchiveHeader(in.br, size)
	if err == nil && !info.IsSymlink() {
		err = in.reset()
	}
	if err != nil {
		free()
		return nil, nil, errors.Join(fmt.Errorf("object %s: %w", n, err), f.Close())
	}
	if info.IsSymlink() {
		free()
		return noContent, info, f.Close()
	}
	return newPackedFile(n, f, in, info.Size, free), info, nil
}

func newPackedFile(n object.Name, f *os.File, in *inflater, size int64, free func()) *objectFile {
	return &objectFile{exactReader: exactReader{r: in, left: size}, name: n, f: f, free: free}
}

// readArchiveHeader reads the framed header before compressed content. size is that of the whole file.
func readArchiveHeader(r io.Reader, size int64) (*object.FileInfo, error) {
	var frame [headerFrame]byte
	if _, err := io.ReadFull(r, frame[:]); err != nil {
		return nil, fmt.Errorf("%w: header: %w", object.ErrCorrupt, err)
	}
	length := int64(binary.BigEndian.Uint32(frame[:]))
	if length > maxFileHeader || length > size-headerFrame {
		return nil, fmt.Errorf("%w: header of %d bytes", object.ErrCorrupt, length)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", object.ErrCorrupt, err)
	}
	return object.ParseArchiveHeader(header)
}
