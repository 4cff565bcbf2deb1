package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
)

// Sizes of chunks in bytes. The first fits through common proxies, whose limits are 100 MB, 32 MiB or 20 MB. It is
// halved when it turns out to be too large. The least is below every limit that is in use: nginx has 1 MiB by default.
// The most is what may be kept in memory if a registry demands larger chunks.
const (
	firstChunk = 16 << 20
	leastChunk = 64 << 10
	mostChunk  = 64 << 20
)

// Chunks that fail are sent again. Without progress, maxFailures is how often.
const maxFailures = 4

// chunks sends a blob in chunks.
type chunks struct {
	u    *Uploader
	s    *session
	size int // of the next chunk in bytes

	blob  io.Reader
	end   bool // the blob was read to its end
	buf   []byte
	from  int64 // position of buf in the blob
	fails int   // since the last progress
}

// patchChunks sends the blob in several requests.
func (u *Uploader) patchChunks(ctx context.Context, l v1.Layer, s *session) error {
	if s.min > mostChunk {
		return &refusal{fmt.Errorf("the registry demands chunks of %d bytes, and at most %d are kept in memory", s.min,
			mostChunk), whole}
	}
	u.mu.Lock()
	c := &chunks{u: u, s: s, size: max(u.chunk, int(s.min))}
	u.mu.Unlock()
	room := c.size
	if size, err := l.Size(); err == nil {
		room = int(min(int64(room), size))
	}
	c.buf = make([]byte, 0, room)
	r, err := l.Compressed()
	if err != nil {
		return &contentError{err}
	}
	c.blob = ctxio.Reader(ctx, r)
	if err := errors.Join(c.run(ctx), r.Close()); err != nil {
		return err
	}
	u.mu.Lock()
	u.chunk = min(u.chunk, c.size)
	u.mu.Unlock()
	return nil
}

func (c *chunks) run(ctx context.Context) error {
	for {
		if err := c.fill(); err != nil {
			return &contentError{err}
		}
		if len(c.buf) == 0 {
			return nil
		}
		n, err := c.send(ctx, c.buf[:min(len(c.buf), c.size)])
		if err != nil {
			if n, err = c.again(ctx, err); err != nil {
				return err
			}
		}
		if n > 0 {
			c.fails = 0
		}
		c.from += n
		c.buf = c.buf[:copy(c.buf, c.buf[n:])]
	}
}

// fill reads until there is a whole chunk, or the blob ends.
func (c *chunks) fill() error {
	for !c.end && len(c.buf) < min(c.size, cap(c.buf)) {
		n, err := c.blob.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if err != nil && err != io.EOF {
			return err
		}
		c.end = err == io.EOF
	}
	return nil
}

// send sends one chunk and returns how much of it the registry has taken.
func (c *chunks) send(ctx context.Context, chunk []byte) (int64, error) {
	header := octets.Clone()
	header.Set("Content-Range", fmt.Sprintf("%d-%d", c.from, c.from+int64(len(chunk))-1))
	l := &loan{}
	defer l.end()
	res, err := c.u.do(ctx, request{
		method: http.MethodPatch, to: c.s.to, header: header, size: int64(len(chunk)),
		open: func() (io.ReadCloser, error) { return &borrower{bytes.NewReader(chunk), l}, nil },
	}, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		return 0, err
	}
	if c.s.to, err = res.location(c.s.to); err != nil {
		return 0, err
	}
	// Some registries do not say what they have, or say something else there. The digest will show whether all is there.
	if has, ok := received(res.header); ok && c.from < has && has < c.from+int64(len(chunk)) {
		return has - c.from, nil
	}
	return int64(len(chunk)), nil
}

// loan ends the reading of a chunk. The HTTP client may go on after an early answer, when the memory has other content.
type loan struct {
	mu    sync.Mutex
	ended bool
}

func (l *loan) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

type borrower struct {
	r *bytes.Reader
	l *loan
}

func (b *borrower) Read(p []byte) (int, error) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if b.l.ended {
		return 0, io.ErrClosedPipe
	}
	return b.r.Read(p)
}

func (b *borrower) Close() error { return nil }

// again prepares sending again after a chunk failed, and returns how much of it the registry has nevertheless.
func (c *chunks) again(ctx context.Context, err error) (int64, error) {
	if ctx.Err() != nil {
		return 0, err
	}
	switch code := status(err); {
	case code == http.StatusRequestEntityTooLarge:
		return 0, c.shrink(err)
	case code == http.StatusRequestedRangeNotSatisfiable:
		n, failed := c.resume(ctx, err)
		if failed == nil && n == 0 {
			failed = &refusal{err, whole}
		}
		return n, failed
	case wasCut(err) && c.shrink(err) == nil:
		// Either it was an accident, or the chunk was too large for somebody who does not say so.
	case code == 0 && (wasCut(err) || broken(err)), slices.Contains(busy, code):
		if c.fails++; c.fails >= maxFailures {
			return 0, err
		}
	case code == 0, code == http.StatusUnauthorized, code == http.StatusForbidden:
		return 0, err
	default:
		return 0, &refusal{err, whole}
	}
	if err := sleep(ctx, 200*time.Millisecond<<c.fails); err != nil {
		return 0, err
	}
	return c.resume(ctx, err)
}

// shrink makes chunks smaller. It returns the error if they cannot be.
func (c *chunks) shrink(err error) error {
	size := max(min(c.size, len(c.buf))/2, leastChunk, int(c.s.min))
	if size >= min(c.size, len(c.buf)) {
		return err
	}
	c.size = size
	return nil
}

// resume asks the registry how much of the blob it has, and returns how much of the last chunk that includes.
func (c *chunks) resume(ctx context.Context, cause error) (int64, error) {
	res, err := c.u.do(ctx, request{method: http.MethodGet, to: c.s.to},
		http.StatusNoContent, http.StatusOK, http.StatusAccepted)
	switch code := status(err); {
	case err == nil:
	case ctx.Err() != nil:
		return 0, err
	case status(cause) == http.StatusRequestedRangeNotSatisfiable && code != 0 && !slices.Contains(busy, code):
		return 0, &refusal{fmt.Errorf("%w, and the registry does not say where to go on: %w", cause, err), whole}
	default:
		return 0, nil // send the chunk again
	}
	if c.s.to, err = res.location(c.s.to); err != nil {
		return 0, err
	}
	has, ok := received(res.header)
	if !ok {
		return 0, nil
	}
	if has < c.from || has > c.from+int64(len(c.buf)) {
		return 0, fmt.Errorf("%w: it has %d bytes, and %d were sent, after: %w", errSession, has, c.from, cause)
	}
	return has - c.from, nil
}

// received returns how many bytes of a blob a registry says it has. "0-0" is what registries say if they have none.
func received(h http.Header) (int64, bool) {
	_, last, ok := strings.Cut(strings.TrimPrefix(h.Get("Range"), "bytes="), "-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(last, 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}
