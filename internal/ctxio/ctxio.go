// Package ctxio makes readers and writers that end with a context.
//
// [Reader] and [Writer] look at the context between two operations. [Interruptible], [InterruptibleWriter] and [Open]
// also give up an operation that waits for somebody else: a pipe that nobody writes to or reads from, or a terminal.
package ctxio

import (
	"context"
	"io"
	"os"
)

// Reader returns a reader of r that fails with the context's error once the context is done. It does not interrupt a
// read in progress.
func Reader(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (c reader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Writer returns a writer to w that fails with the context's error once the context is done. It does not interrupt a
// write in progress.
func Writer(ctx context.Context, w io.Writer) io.Writer { return writer{ctx, w} }

type writer struct {
	ctx context.Context
	w   io.Writer
}

func (c writer) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// transferSize is the most that an interruptible reader or writer transfers at once, in bytes.
const transferSize = 256 << 10

// Interruptible returns a reader of r that fails with the cause of the context's end once the context is done. A read
// in progress is given up: it goes on in the background, so nobody may use r afterwards.
func Interruptible(ctx context.Context, r io.Reader) io.Reader {
	return &interruptible{ctx: ctx, do: r.Read}
}

// InterruptibleWriter is like [Interruptible], for a writer.
func InterruptibleWriter(ctx context.Context, w io.Writer) io.Writer {
	return &interruptible{ctx: ctx, do: w.Write}
}

// interruptible does reads or writes. They use buf, since the caller's buffer must not be used after the return.
type interruptible struct {
	ctx context.Context
	do  func([]byte) (int, error)
	buf []byte
}

type transferred struct {
	n   int
	err error
}

func (c *interruptible) transfer(n int) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	done := make(chan transferred, 1)
	go func(buf []byte) {
		n, err := c.do(buf)
		done <- transferred{n, err}
	}(c.buf[:n])
	select {
	case t := <-done:
		return t.n, t.err
	case <-c.ctx.Done():
		return 0, context.Cause(c.ctx)
	}
}

// reserve returns how much of p is transferred at once.
func (c *interruptible) reserve(p []byte) int {
	n := min(len(p), transferSize)
	if len(c.buf) < n {
		c.buf = make([]byte, n)
	}
	return n
}

// Read implements [io.Reader].
func (c *interruptible) Read(p []byte) (int, error) {
	n, err := c.transfer(c.reserve(p))
	copy(p, c.buf[:n])
	return n, err
}

// Write implements [io.Writer].
func (c *interruptible) Write(p []byte) (written int, err error) {
	for {
		n, err := c.transfer(copy(c.buf, p[:c.reserve(p)]))
		written += n
		if p = p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// Open opens a file for reading. If it is a pipe, waiting for its writer and for data ends with the context, and the
// error is the cause of the context's end.
func Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if st, err := os.Stat(name); err != nil || st.Mode().IsRegular() || st.IsDir() {
		return os.Open(name)
	}
	type result struct {
		f   *os.File
		err error
	}
	opened := make(chan result, 1)
	go func() {
		f, err := os.Open(name)
		opened <- result{f, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, r.err
		}
		return stream{Interruptible(ctx, r.f), r.f}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type stream struct {
	io.Reader
	io.Closer
}

// ReadFile is like [os.ReadFile], with [Open].
func ReadFile(ctx context.Context, name string) ([]byte, error) {
	f, err := Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
