package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

const (
	// attempts is how often a request is made that fails for a passing reason. firstPause doubles after each.
	attempts   = 3
	firstPause = 500 * time.Millisecond
	// maxWait is how long a server that is busy may ask to wait.
	maxWait = 30 * time.Second
	// stallTime is how long to wait for the next byte, and answerTime for a whole answer.
	stallTime  = 30 * time.Second
	answerTime = 5 * time.Minute
)

var (
	errStalled = errors.New("the server sends nothing")
	errSlow    = errors.New("the server is too slow")
)

// pace says how long to wait for servers.
type pace struct {
	stall, answer time.Duration
	sleep         func(ctx context.Context, d time.Duration) error
}

func defaultPace() pace {
	return pace{stall: stallTime, answer: answerTime, sleep: func(ctx context.Context, d time.Duration) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
}

// again calls f once more if it fails for a passing reason, after a pause or when the server says.
func (p pace) again(ctx context.Context, f func(ctx context.Context) error) error {
	wait := firstPause
	for n := 1; ; n++ {
		err := p.once(ctx, f)
		if err == nil || ctx.Err() != nil || n == attempts || !passing(err) {
			return err
		}
		d := wait
		if asked := retryAfter(err); asked > maxWait {
			return err
		} else if asked > 0 {
			d = asked
		}
		if err := p.sleep(ctx, d); err != nil {
			return err
		}
		wait *= 2
	}
}

// once calls f with a context that ends if an answer takes too long.
func (p pace) once(ctx context.Context, f func(ctx context.Context) error) error {
	inner, cancel := context.WithTimeoutCause(ctx, p.answer, errSlow)
	defer cancel()
	err := f(inner)
	if cause := context.Cause(inner); err != nil && ctx.Err() == nil && errors.Is(cause, errSlow) {
		return fmt.Errorf("%w: no answer in %v", errSlow, p.answer)
	}
	return err
}

// passing reports whether an error may be gone at the next attempt.
func passing(err error) bool {
	if status, ok := errors.AsType[*access.StatusError](err); ok {
		return status.Busy()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errStalled) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// retryAfter returns how long a busy server asks to wait, or 0.
func retryAfter(err error) time.Duration {
	status, ok := errors.AsType[*access.StatusError](err)
	if !ok {
		return 0
	}
	value := status.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// The clock of the server counts.
	now, err := http.ParseTime(status.Header.Get("Date"))
	if err != nil {
		return 0
	}
	return at.Sub(now)
}

// answer is what a server sent.
type answer struct {
	header http.Header
	data   []byte
}

// get asks for a path. An answer of more than limit bytes is an error that wraps [ErrTooLarge].
func (p pace) get(ctx context.Context, r *access.Reader, path, accept string, limit int64) (a answer, err error) {
	err = p.again(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		timer := time.AfterFunc(p.stall, func() { cancel(errStalled) })
		defer timer.Stop()
		a, err = read(ctx, r, path, accept, limit, func() { timer.Reset(p.stall) })
		if err != nil && errors.Is(context.Cause(ctx), errStalled) {
			return fmt.Errorf("%w for %v", errStalled, p.stall)
		}
		return err
	})
	return a, err
}

// read makes one request. It calls progress when bytes came.
func read(ctx context.Context, r *access.Reader, path, accept string, limit int64, progress func()) (answer, error) {
	header := http.Header{"Accept-Encoding": {"identity"}}
	if accept != "" {
		header.Set("Accept", accept)
	}
	res, err := r.Get(ctx, path, header)
	if err != nil {
		return answer{}, err
	}
	data, err := io.ReadAll(io.LimitReader(&progressReader{res.Body, progress}, limit+1))
	// All that counts was read.
	_ = res.Body.Close()
	switch {
	case err != nil:
		return answer{}, err
	case int64(len(data)) > limit:
		return answer{}, fmt.Errorf("%w: it has more than %s", ErrTooLarge, sizes.Format(limit))
	}
	return answer{res.Header, data}, nil
}

type progressReader struct {
	r        io.Reader
	progress func()
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		p.progress()
	}
	return n, err
}

// status returns the status of the answer that an error is about, or 0.
func status(err error) int {
	if e, ok := errors.AsType[*access.StatusError](err); ok {
		return e.Code
	}
	return 0
}
