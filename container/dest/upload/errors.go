package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// ErrTooLarge is wrapped by errors about blobs that are larger than the registry, or a proxy before it, takes.
var ErrTooLarge = errors.New("the registry, or a proxy before it, limits the size of a request: raise the limit " +
	"(nginx: client_max_body_size), or make smaller layers by allowing more of them")

// statusError is an answer that is not a success.
type statusError struct {
	what string // method and address of the request
	code int
	err  error // what the registry says about it
}

// Error implements error. It leaves out bodies that are not the registry's, such as web pages of proxies.
func (e *statusError) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.what, e.code, http.StatusText(e.code))
	if said, ok := errors.AsType[*transport.Error](e.err); ok {
		for _, d := range said.Errors {
			text += ": " + d.String()
		}
	}
	return text
}

// Unwrap returns the library's error for the answer.
func (e *statusError) Unwrap() error { return e.err }

// contentError is an error of reading the blob that is sent.
type contentError struct{ err error }

// Error implements error.
func (e *contentError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *contentError) Unwrap() error { return e.err }

// cutError is a connection that was lost while content was sent.
type cutError struct{ err error }

// Error implements error.
func (e *cutError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *cutError) Unwrap() error { return e.err }

// refusal is an error that may not occur if the blob is sent in another way.
type refusal struct {
	err  error
	next way
}

// Error implements error.
func (e *refusal) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *refusal) Unwrap() error { return e.err }

// errSession is wrapped by errors about an upload that has to start again.
var errSession = errors.New("the registry lost a part of the upload")

// status returns the status of an answer that is an error, or 0.
func status(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.code
	}
	if e, ok := errors.AsType[*transport.Error](err); ok {
		return e.StatusCode
	}
	return 0
}

// busy are the answers after which the same request may succeed later.
var busy = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
	http.StatusServiceUnavailable, http.StatusGatewayTimeout, 499, 522, // nginx and Cloudflare: the connection was lost
}

// Unknown reports whether an error is an answer that says nothing else than that something is not there, or that it
// cannot be asked for: neither one that may change soon, nor one that is about the user.
func Unknown(err error) bool {
	code := status(err)
	return code != 0 && !slices.Contains(busy, code) && code != http.StatusUnauthorized
}

// transient reports whether an error may be gone in a second.
func transient(err error) bool {
	if code := status(err); code != 0 {
		return slices.Contains(busy, code)
	}
	return errors.Is(err, errSession) || wasCut(err) || broken(err)
}

func wasCut(err error) bool {
	_, ok := errors.AsType[*cutError](err)
	return ok
}

// refused says what an error of sending a blob means: if the registry does not take it in this way, the next one. The
// way cut is for connections that were lost.
func refused(err error, next map[int]way, cut way) error {
	if w, ok := next[status(err)]; ok {
		return &refusal{err, w}
	}
	if cut != 0 && wasCut(err) {
		return &refusal{err, cut}
	}
	return err
}

// broken reports whether a connection was lost.
func broken(err error) bool {
	for _, e := range []error{
		io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET, syscall.ECONNREFUSED, net.ErrClosed,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout() && !errors.Is(err, context.DeadlineExceeded)
}

// attempts is how often an operation is tried if it fails for a transient reason.
const attempts = 3

// Retry calls f again, after a pause, if it failed for a reason that may be gone then.
func Retry(ctx context.Context, f func() error) error {
	pause := time.Second
	for i := 1; ; i++ {
		err := f()
		if err == nil || i == attempts || ctx.Err() != nil || !transient(err) {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 3
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// describe returns a request as it is shown to people. A query may hold secrets.
func describe(method string, u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return method + " " + shown.String()
}
