package tarfmt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// maxInFlight bounds the bytes that were read from the stream and not written yet.
const maxInFlight = 32 << 20

// errStopped ends the reading of a stream after a write has failed. The error of the write is reported instead.
var errStopped = errors.New("stopped after an error")

// pool writes objects while more of the stream is read. A job that fails ends the import, but earlier jobs of the
// stream are still completed: so the reported error is always the first in the order of the stream, however the workers
// are scheduled. Jobs also start in that order, so a reader that waits for memory always gets it: the jobs that hold
// memory are older and have their input.
type pool struct {
	ctx    context.Context
	group  errgroup.Group
	jobs   chan job
	budget *semaphore.Weighted
	count  int64 // of submitted jobs

	first atomic.Int64 // number of the first failed job, or MaxInt64
	mu    sync.Mutex
	err   error // of that job
}

type job struct {
	number int64
	cost   int64
	run    func() error
	// drop releases what the job holds besides its cost. It is called after run or instead of it.
	drop func()
}

func newPool(ctx context.Context) *pool {
	p := &pool{ctx: ctx, jobs: make(chan job, 64), budget: semaphore.NewWeighted(maxInFlight)}
	p.first.Store(math.MaxInt64)
	for range runtime.GOMAXPROCS(0) {
		p.group.Go(func() error {
			for j := range p.jobs {
				p.do(j)
			}
			return nil
		})
	}
	return p
}

func (p *pool) do(j job) {
	defer p.budget.Release(j.cost)
	if j.drop != nil {
		defer j.drop()
	}
	if j.number > p.first.Load() {
		return
	}
	if err := j.run(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if j.number < p.first.Load() {
			p.first.Store(j.number)
			p.err = err
		}
	}
}

// failed reports whether a job has failed, so that reading may stop.
func (p *pool) failed() bool { return p.first.Load() != math.MaxInt64 }

// wait ends the pool. It returns the first error in the order of the stream. err is the error of the reader, which
// comes after those of all jobs.
func (p *pool) wait(err error) error {
	close(p.jobs)
	_ = p.group.Wait()
	if p.err != nil {
		return p.err
	}
	return err
}

// submit passes a job to the workers. Its cost is the memory that it holds until it ends.
func (p *pool) submit(cost int64, run func() error) error {
	if err := p.budget.Acquire(p.ctx, cost); err != nil {
		return err
	}
	p.push(job{cost: cost, run: run})
	return nil
}

func (p *pool) push(j job) {
	p.count++
	j.number = p.count
	p.jobs <- j
}

var smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}

// writeFile reads content of the given size from src, which a worker writes. It returns when it has read all of it.
func (p *pool) writeFile(src io.Reader, size int64, write func(io.Reader) error) error {
	switch {
	case size <= smallBuffer:
		buf := smallBuffers.Get().(*[smallBuffer]byte)
		return p.writeBuffered(src, buf[:size], smallBuffer, func() { smallBuffers.Put(buf) }, write)
	case size <= bufferSize:
		buf := buffers.Get().(*[bufferSize]byte)
		return p.writeBuffered(src, buf[:size], bufferSize, func() { buffers.Put(buf) }, write)
	default:
		return p.writePieces(src, size, write)
	}
}

func (p *pool) writeBuffered(src io.Reader, buf []byte, cost int64, free func(), write func(io.Reader) error) error {
	if _, err := io.ReadFull(src, buf); err != nil {
		free()
		return err
	}
	if err := p.budget.Acquire(p.ctx, cost); err != nil {
		free()
		return err
	}
	p.push(job{cost: cost, drop: free, run: func() error { return write(bytes.NewReader(buf)) }})
	return nil
}

func (p *pool) writePieces(src io.Reader, size int64, write func(io.Reader) error) error {
	r := &pieceReader{pieces: make(chan piece, maxInFlight/bufferSize), budget: p.budget}
	defer close(r.pieces)
	p.push(job{run: func() error { return write(r) }, drop: r.drain})
	for size > 0 {
		if p.failed() {
			r.pieces <- piece{err: errStopped}
			return errStopped
		}
		if err := p.budget.Acquire(p.ctx, bufferSize); err != nil {
			r.pieces <- piece{err: err}
			return err
		}
		next := piece{buf: buffers.Get().(*[bufferSize]byte), n: int(min(size, bufferSize))}
		_, next.err = io.ReadFull(src, next.buf[:next.n])
		size -= int64(next.n)
		r.pieces <- next
		if next.err != nil {
			return next.err
		}
	}
	return nil
}

// pieceReader reads what writePieces sends.
type pieceReader struct {
	pieces  chan piece
	budget  *semaphore.Weighted
	current piece
	pos     int
	err     error
}

func (r *pieceReader) Read(p []byte) (int, error) {
	for r.err == nil && r.pos == r.current.n {
		r.release()
		next, ok := <-r.pieces
		r.current, r.pos = next, 0
		switch {
		case !ok:
			r.err = io.EOF
		case next.err != nil:
			r.err = next.err
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.current.buf[r.pos:r.current.n])
	r.pos += n
	return n, nil
}

// release releases the memory of the current piece.
func (r *pieceReader) release() {
	if r.current.buf != nil {
		buffers.Put(r.current.buf)
		r.budget.Release(bufferSize)
	}
	r.current, r.pos = piece{}, 0
}

// drain releases the pieces that a writer did not read. It ends when the sender ends.
func (r *pieceReader) drain() {
	r.release()
	for r.current = range r.pieces {
		r.release()
	}
	r.err = io.ErrClosedPipe
}
