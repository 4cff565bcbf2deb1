package fetch

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/access"
)

// avoidTime is how long an endpoint that could not be reached is tried after the others.
const avoidTime = time.Minute

// endpoint is what a client knows of one endpoint.
type endpoint struct {
	place *access.Endpoint
	clock Clock
	// connecting holds a value while a reader connects.
	connecting chan struct{}

	mu       sync.Mutex
	reader   *access.Reader // nil before the first request, and after it failed
	answered bool           // something was read from it
	// The server asked not to be asked before busyUntil, with the error busy.
	busyUntil time.Time
	busy      error
	// avoidUntil is when the endpoint takes its place in the order again.
	avoidUntil time.Time
}

func newEndpoint(place *access.Endpoint, clock Clock) *endpoint {
	return &endpoint{place: place, clock: clock, connecting: make(chan struct{}, 1)}
}

func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reader != nil {
		e.reader.Close()
	}
}

// connect returns the reader of the endpoint, and whether it was there before.
func (e *endpoint) connect(ctx context.Context) (r *access.Reader, reused bool, err error) {
	select {
	case e.connecting <- struct{}{}:
		defer func() { <-e.connecting }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	e.mu.Lock()
	r = e.reader
	e.mu.Unlock()
	if r != nil {
		return r, true, nil
	}
	// Perhaps the reader that connected before was told to wait.
	if wait, err := e.waits(); wait > 0 {
		return nil, false, err
	}
	if r, err = e.place.Connect(ctx); err != nil {
		return nil, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reader = r
	return r, false, nil
}

// forget drops a reader, so that the next request connects and logs in again.
func (e *endpoint) forget(r *access.Reader) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reader == r {
		e.reader = nil
		r.Close()
	}
}

// get asks for a path. If credentials are refused that were accepted before, it logs in again, once.
func (e *endpoint) get(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	for again := false; ; again = true {
		r, reused, err := e.connect(ctx)
		if err != nil {
			return nil, err
		}
		res, err := r.Get(ctx, path, header)
		if status, ok := errors.AsType[*access.StatusError](err); ok && status.Code == http.StatusUnauthorized &&
			reused && !again {
			e.forget(r)
			continue
		}
		return res, err
	}
}

// succeeded notes that the endpoint sent bytes.
func (e *endpoint) succeeded() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answered, e.avoidUntil = true, time.Time{}
}

// avoid has the endpoint tried after the others for a while. It reports whether that is new.
func (e *endpoint) avoid() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	old := e.avoidUntil.After(now)
	e.avoidUntil = now.Add(avoidTime)
	return !old
}

// wait notes that the server asked not to be asked for a while.
func (e *endpoint) wait(d time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if until := e.clock.Now().Add(jitter(d)); until.After(e.busyUntil) {
		e.busyUntil, e.busy = until, err
	}
}

// waits returns how long the server must not be asked, and why. It is 0 if it may be asked.
func (e *endpoint) waits() (time.Duration, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return max(0, e.busyUntil.Sub(e.clock.Now())), e.busy
}

// reached reports whether the endpoint ever sent something.
func (e *endpoint) reached() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answered
}

// order returns the endpoints in the order in which to try them now: those that failed lately come last.
func (c *Client) order() []*endpoint {
	now := c.opts.Clock.Now()
	list := slices.Clone(c.endpoints)
	slices.SortStableFunc(list, func(a, b *endpoint) int { return cmp.Compare(a.rank(now), b.rank(now)) })
	return list
}

func (e *endpoint) rank(now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.busyUntil.After(now):
		return 2
	case e.avoidUntil.After(now):
		return 1
	}
	return 0
}

// retryAfter returns how long a server asks to wait. It returns false if the server does not say, or says less than a
// second.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := h.Get("Retry-After")
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		// The difference to the server's own clock counts: that of a host may be wrong.
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		d = at.Sub(now)
	}
	return d, d >= time.Second
}
