package deflate

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"
)

// blockSize is the size in bytes of the input that is compressed as one piece.
const blockSize = 1 << 20

// ErrClosed says that a [Writer] was written to after Close.
var ErrClosed = errors.New("compressor is closed")

// Writer compresses what is written to it into one gzip member with an empty header: no name, time 0, system unknown.
// It is for one goroutine at a time.
type Writer struct {
	pool  *Pool
	w     io.Writer
	crc   uint32
	size  uint32
	dict  []byte // the last 32 KiB before block
	block []byte // begins with dict; nil if there is none
	isOwn bool   // the block takes no room in the pool
	done  bool

	own     chan struct{} // has an element unless the block that takes no room is in progress
	ordered chan *job     // to the goroutine that writes
	written chan struct{}

	mu  sync.Mutex
	err error
}

// NewWriter returns a compressor with its own pool, for a level from [MinLevel] to [MaxLevel] and the given number of
// workers. The caller must call Close, also after an error.
func NewWriter(w io.Writer, level, workers int) (*Writer, error) {
	p, err := NewPool(level, workers)
	if err != nil {
		return nil, err
	}
	return p.NewWriter(w), nil
}

// NewWriter returns a compressor that uses the pool. The caller must call Close, also after an error.
func (p *Pool) NewWriter(w io.Writer) *Writer {
	z := &Writer{pool: p, w: w, dict: make([]byte, 0, windowSize), own: make(chan struct{}, 1),
		ordered: make(chan *job, p.perStream), written: make(chan struct{})}
	z.own <- struct{}{}
	go z.deliver()
	return z
}

// deliver writes the header and the blocks in order. It stops after an error.
func (z *Writer) deliver() {
	defer close(z.written)
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	switch z.pool.level {
	case MaxLevel:
		header[8] = 2
	case MinLevel:
		header[8] = 4
	}
	z.write(header)
	for j := range z.ordered {
		<-j.ready
		z.write(j.out)
		recycle(z.pool.outs, j.out)
		z.release(j.isOwn)
	}
}

func (z *Writer) write(p []byte) {
	if z.failed() != nil {
		return
	}
	if _, err := z.w.Write(p); err != nil {
		z.mu.Lock()
		z.err = err
		z.mu.Unlock()
	}
}

func (z *Writer) failed() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.err
}

// Write implements [io.Writer]. An error of the underlying writer is returned by some later call.
func (z *Writer) Write(p []byte) (int, error) {
	if z.done {
		return 0, ErrClosed
	}
	if err := z.failed(); err != nil {
		return 0, err
	}
	z.crc = crc32.Update(z.crc, crc32.IEEETable, p)
	z.size += uint32(len(p))
	total := len(p)
	for len(p) > 0 {
		z.begin()
		n := min(len(p), len(z.dict)+blockSize-len(z.block))
		z.block = append(z.block, p[:n]...)
		p = p[n:]
		if len(z.block) == len(z.dict)+blockSize {
			z.send(false)
		}
	}
	return total, nil
}

// begin makes sure that there is a block to fill. It waits for room in the pool, which bounds the memory. One block of
// each stream takes no room, so that a stream makes progress even if others fill the pool and stall.
func (z *Writer) begin() {
	if z.block != nil {
		return
	}
	select {
	case <-z.own:
		z.isOwn = true
	case z.pool.room <- struct{}{}:
		z.isOwn = false
	}
	z.block = append(reuse(z.pool.free, windowSize+blockSize), z.dict...)
}

// release returns the room that begin took.
func (z *Writer) release(own bool) {
	if own {
		z.own <- struct{}{}
	} else {
		<-z.pool.room
	}
}

// send passes the block to the workers, which may reuse its memory.
func (z *Writer) send(final bool) {
	j := &job{data: z.block, start: len(z.dict), final: final, isOwn: z.isOwn, ready: make(chan struct{})}
	z.dict = append(z.dict[:0], z.block[max(0, len(z.block)-windowSize):]...)
	z.block = nil
	go z.pool.compress(j)
	z.ordered <- j
}

// Close ends the stream and waits for the goroutines. It does not close the underlying writer. Calling it again returns
// the same error.
func (z *Writer) Close() error {
	if z.done {
		return z.failed()
	}
	z.done = true
	if z.failed() == nil {
		z.begin()
		z.send(true)
	} else if z.block != nil {
		z.release(z.isOwn)
	}
	close(z.ordered)
	<-z.written
	trailer := binary.LittleEndian.AppendUint32(nil, z.crc)
	z.write(binary.LittleEndian.AppendUint32(trailer, z.size))
	return z.failed()
}
