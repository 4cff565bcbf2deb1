package keyless

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// serviceTimeout bounds how long one request to a service may take. A request that a busy service refuses is repeated
// up to retries times, after a pause that the service asks for, up to maxPause, or one that doubles.
const (
	serviceTimeout = 30 * time.Second
	retries        = 3
	maxPause       = 30 // seconds
)

// newClient returns a client for the services of an instance. Its requests end with a context, never use plain HTTP,
// and are repeated if the service is busy.
func newClient(ctx context.Context, config *tls.Config) *http.Client {
	transport := http.DefaultTransport
	if config != nil {
		transport = &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	return &http.Client{Transport: bound{ctx, transport}}
}

// bound is the transport of such a client. The library gives its requests no context, and it loses what a busy service
// answers.
type bound struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (b bound) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s is not HTTPS", req.URL.Redacted())
	}
	for again := range retries {
		resp, err := b.once(req)
		if err == nil || req.GetBody == nil {
			return resp, err
		}
		busy, ok := errors.AsType[*busyError](err)
		if !ok {
			return nil, err
		}
		if err := b.pause(busy.after, again); err != nil {
			return nil, err
		}
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = body
	}
	return b.once(req)
}

// busyError is the answer of a service that is busy or out of order.
type busyError struct{ answer, after string }

func (e *busyError) Error() string { return e.answer }

func (b bound) once(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(b.ctx, serviceTimeout)
	resp, err := b.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &body{resp.Body, cancel}
	if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 300))
	if err != nil {
		return nil, err
	}
	return nil, &busyError{
		answer: fmt.Sprintf("%s answered %s: %s", req.URL.Host, resp.Status, text), after: resp.Header.Get("Retry-After"),
	}
}

// pause waits as long as a service asks for, or for 1, 2, 4… seconds.
func (b bound) pause(after string, again int) error {
	seconds := 1 << again
	if n, err := strconv.Atoi(after); err == nil && n >= 0 {
		seconds = min(n, maxPause)
	}
	timer := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timer.Stop()
	select {
	case <-b.ctx.Done():
		return b.ctx.Err()
	case <-timer.C:
		return nil
	}
}

// body is the body of an answer that ends the request when it is closed.
type body struct {
	io.ReadCloser
	end context.CancelFunc
}

// Close implements [io.Closer].
func (b *body) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
