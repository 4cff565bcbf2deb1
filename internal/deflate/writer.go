package deflate

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"
)

// blockSize is the input that is compressed as one piece, in bytes.
const blockSize = 1 << 20

// ahead is how many blocks more than the workers have may wait for them: what is read comes in bursts.
const ahead = 4

// ErrClosed says that a [Writer] was written to after its end.
var ErrClosed = errors.New("compressor is closed")

// Writer compresses what is written to it into one gzip member with an empty header: no name, time 0, system unknown.
// Its memory is bounded by the number of workers. It is for one goroutine at a time.
type Writer struct {
	w     io.Writer
	crc   uint32
	size  uint32
	dict  []byte // the last 32 KiB before block
	block []byte
	done  bool

	jobs    chan *job // to the workers
	ordered chan *job // the same, in order, to the goroutine that writes
	written chan struct{}
	free    chan []byte // buffers of blocks
	outs    chan []byte // buffers of compressed blocks
	workers sync.WaitGroup

	mu  sync.Mutex
	err error
}

// job is a block on its way.
type job struct {
	dict, src []byte
	final     bool
	out       []byte
	ready     chan struct{}
}

// NewWriter returns a compressor of a level from [MinLevel] to [MaxLevel] that keeps a number of goroutines busy. Close has
// to be called, also after an error.
func NewWriter(w io.Writer, level, workers int) (*Writer, error) {
	workers = max(workers, 1)
	z := &Writer{
		w: w, jobs: make(chan *job, workers+ahead), ordered: make(chan *job, workers+ahead), written: make(chan struct{}),
		free: make(chan []byte, 2*workers+ahead), outs: make(chan []byte, 2*workers+ahead), block: make([]byte, 0, blockSize),
	}
	for range workers {
		e, err := NewEncoder(level)
		if err != nil {
			close(z.jobs)
			return nil, err
		}
		z.workers.Go(func() { z.compress(e) })
	}
	go z.deliver(level)
	return z, nil
}

func (z *Writer) compress(e *Encoder) {
	for j := range z.jobs {
		j.out = e.AppendBlock(j.out[:0], j.dict, j.src, j.final)
		close(j.ready)
	}
}

// deliver writes the header, the blocks in order, and nothing more after an error.
func (z *Writer) deliver(level int) {
	defer close(z.written)
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	switch level {
	case MaxLevel:
		header[8] = 2
	case MinLevel:
		header[8] = 4
	}
	z.write(header)
	for j := range z.ordered {
		<-j.ready
		z.write(j.out)
		recycle(z.free, j.src)
		recycle(z.outs, j.out)
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

// Write implements [io.Writer]. An error of the underlying writer comes back from some later call.
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
		n := min(len(p), blockSize-len(z.block))
		z.block = append(z.block, p[:n]...)
		p = p[n:]
		if len(z.block) == blockSize {
			z.send(false)
		}
	}
	return total, nil
}

// send hands the block to the workers. Waiting for room here is what bounds memory.
func (z *Writer) send(final bool) {
	j := &job{dict: z.dict, src: z.block, out: reuse(z.outs), final: final, ready: make(chan struct{})}
	z.ordered <- j
	z.jobs <- j
	if final {
		return
	}
	z.dict = append([]byte(nil), z.block[max(0, len(z.block)-windowSize):]...)
	z.block = reuse(z.free)
}

// reuse takes a buffer that is empty and has room for a block.
func reuse(from chan []byte) []byte {
	select {
	case b := <-from:
		return b[:0]
	default:
		return make([]byte, 0, blockSize)
	}
}

func recycle(to chan []byte, b []byte) {
	select {
	case to <- b:
	default:
	}
}

// Close ends the stream and waits for the goroutines. It does not close the underlying writer. Calling it again returns the
// same error.
func (z *Writer) Close() error {
	if z.done {
		return z.failed()
	}
	z.done = true
	z.send(true)
	close(z.jobs)
	close(z.ordered)
	z.workers.Wait()
	<-z.written
	trailer := binary.LittleEndian.AppendUint32(nil, z.crc)
	z.write(binary.LittleEndian.AppendUint32(trailer, z.size))
	return z.failed()
}
