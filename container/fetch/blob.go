package fetch

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/access"
)

// maxConnections is how often one blob is asked for, whatever progress is made. A server that sends a byte at a time
// ends here.
const maxConnections = 1000

// blob reads a blob.
type blob struct {
	c      *Client
	ctx    context.Context
	digest digest.Digest
	size   int64

	// kept is where the bytes are kept, or nil. While resuming, they are read from there; piece is what is left of the
	// block that was read last.
	kept     *kept
	resuming bool
	piece    []byte
	// hash is that of all bytes so far. It is nil if none were kept.
	hash hash.Hash

	body   *body // nil if there is no connection
	offset int64 // bytes that were returned
	err    error // what ended reading
	closed bool

	// refused are the endpoints that do not have the blob or answer wrongly, with what they did. They are not asked
	// again. Those in whole ignore or refuse a Range header.
	refused map[*endpoint]error
	whole   map[*endpoint]bool
	// Without a new byte there were so many failures in a row, and servers were waited for that long.
	failures    int
	waited      time.Duration
	connections int
}

// keep has the blob read from what was kept, and what follows kept there.
func (b *blob) keep(k *kept) {
	b.kept = k
	if k == nil {
		return
	}
	if b.piece = k.next(); b.piece != nil {
		b.resuming, b.hash = true, b.digest.Algorithm().Hash()
	}
}

func (b *blob) notice(n Notice) {
	if b.c.opts.Notice != nil {
		n.Digest, n.Offset, n.Size = b.digest, b.offset, b.size
		b.c.opts.Notice(n)
	}
}

// fail ends reading.
func (b *blob) fail(err error) error {
	b.err = err
	return err
}

// Read implements [io.Reader].
func (b *blob) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.closed:
		return 0, errors.New("the reader of the blob is closed")
	case len(p) == 0:
		return 0, nil
	}
	if b.resuming {
		if err := b.ctx.Err(); err != nil {
			return 0, b.fail(err)
		}
		if n := b.readKept(p); n > 0 {
			return n, nil
		}
	}
	for b.offset < b.size {
		if b.body == nil {
			if err := b.connect(); err != nil {
				return 0, b.fail(err)
			}
		}
		n, err := b.body.Read(p[:min(int64(len(p)), b.body.to-b.offset)])
		b.received(p[:n])
		if b.offset == b.body.to && b.offset < b.size {
			// The server sent only a part, as it said.
			b.disconnect()
		} else if err != nil && b.offset < b.size {
			if err := b.lost(err); err != nil {
				return n, b.fail(err)
			}
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.fail(b.end())
}

// readKept returns bytes that were kept.
func (b *blob) readKept(p []byte) int {
	if len(b.piece) == 0 {
		if b.piece = b.kept.next(); b.piece == nil {
			b.resuming = false
			return 0
		}
	}
	n := copy(p, b.piece)
	b.piece = b.piece[n:]
	b.hash.Write(p[:n])
	b.offset += int64(n)
	return n
}

// received accounts for bytes from the network.
func (b *blob) received(p []byte) {
	if len(p) == 0 {
		return
	}
	b.offset += int64(len(p))
	b.failures, b.waited = 0, 0
	if b.hash != nil {
		b.hash.Write(p)
	}
	if b.kept == nil {
		return
	}
	if err := b.kept.append(p); err != nil {
		b.notice(Notice{Err: err})
	}
}

// end checks what can be checked when all bytes are there, and returns io.EOF if they may be right.
func (b *blob) end() error {
	if b.body != nil && b.body.open {
		// Nothing may follow. If the connection breaks instead of ending, everything came all the same.
		var one [1]byte
		if n, _ := io.ReadFull(b.body, one[:]); n > 0 {
			return &AnswerError{Endpoint: b.body.endpoint.place.String(), size: true,
				Problem: fmt.Sprintf("the blob is longer than the %d bytes of its descriptor", b.size)}
		}
	}
	if b.hash != nil && digest.NewDigest(b.digest.Algorithm(), b.hash) != b.digest {
		return ErrKeptDamaged
	}
	return io.EOF
}

// Close implements [io.Closer].
func (b *blob) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	b.disconnect()
	if b.kept == nil {
		return nil
	}
	unwanted := b.err == nil && b.ctx.Err() == nil
	if b.offset == b.size || unwanted {
		return b.kept.remove()
	}
	return b.kept.close()
}

func (b *blob) disconnect() {
	if b.body != nil {
		b.body.close()
		b.body = nil
	}
}

// lost is called when a connection broke. It returns nil if another one may be tried, after a pause.
func (b *blob) lost(err error) error {
	e, progress := b.body.endpoint, b.body.read
	b.disconnect()
	if err := b.ctx.Err(); err != nil {
		return err
	}
	if err == io.EOF {
		err = fmt.Errorf("%s: %w", e.place, ErrCut)
	} else {
		err = fmt.Errorf("%s: %w", e.place, hideEOF(err))
	}
	if !progress {
		e.avoid()
	}
	return b.again(e, err, 0)
}

// again counts a failure of an endpoint, and waits before the next attempt. The pause is longer if the server is busy.
// It returns an error if there is to be none.
func (b *blob) again(e *endpoint, err error, busy int) error {
	b.failures++
	if b.failures >= b.c.opts.Attempts {
		return b.incomplete(fmt.Sprintf("%d attempts without a new one", b.failures), err)
	}
	return b.sleep(e, err, pause(b.failures+busy))
}

func (b *blob) sleep(e *endpoint, err error, d time.Duration) error {
	b.notice(Notice{Endpoint: e.place.String(), Err: err, Wait: d})
	if d == 0 {
		return b.ctx.Err()
	}
	return b.c.opts.Clock.Sleep(b.ctx, d)
}

func (b *blob) incomplete(why string, err error) error {
	return &IncompleteError{Offset: b.offset, Size: b.size, Why: why, Err: err, Kept: b.kept.holds()}
}

// connect asks the endpoints, in rounds, for the bytes that are missing, until one sends them.
func (b *blob) connect() error {
	for {
		r, err := b.round()
		if b.body != nil || err != nil {
			return err
		}
		switch {
		case r.last == nil:
			return r.join()
		case r.asked > 0:
			if b.waited >= b.c.opts.MaxWait {
				return b.incomplete(fmt.Sprintf("%v of waiting", b.waited.Round(time.Second)), r.join())
			}
			b.waited += r.asked
			err = b.sleep(r.last, r.err, r.asked)
		default:
			err = b.again(r.last, r.join(), r.busy)
		}
		if err != nil {
			return err
		}
	}
}

// round is what happened when all endpoints were asked, and none sent the blob.
type round struct {
	failed []string
	errs   []error
	// last is the endpoint, with its error, that may send the blob later; nil if there is none.
	last *endpoint
	err  error
	// asked is the shortest time that a server asked to wait, if all that may send the blob did so. busy is 1 if one was
	// busy and did not say how long.
	asked time.Duration
	busy  int
}

// join returns the errors of all endpoints as one.
func (r *round) join() error {
	if len(r.errs) == 1 {
		return r.errs[0]
	}
	return &endpointsError{r.failed, r.errs}
}

// endpointsError has the errors of several endpoints.
type endpointsError struct {
	names []string
	errs  []error
}

// Error implements error.
func (e *endpointsError) Error() string {
	texts := make([]string, len(e.errs))
	for i, err := range e.errs {
		texts[i] = fmt.Sprintf("[%s: %v]", e.names[i], err)
	}
	return "no endpoint sends it: " + strings.Join(texts, ", ")
}

// Unwrap returns the errors, that of the registry itself first.
func (e *endpointsError) Unwrap() []error {
	errs := slices.Clone(e.errs)
	slices.Reverse(errs)
	return errs
}

// round asks each endpoint once. It sets body if one sends the blob. An error ends reading.
func (b *blob) round() (*round, error) {
	r := &round{}
	list := b.c.order()
	unasked := false
	for _, e := range list {
		err := b.refused[e]
		var asked time.Duration
		if err == nil {
			if asked, err = e.waits(); asked <= 0 {
				asked, err = b.try(e)
			}
		}
		if b.body != nil {
			return nil, nil
		}
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
		if limit, ok := errors.AsType[*IncompleteError](err); ok {
			return nil, limit
		}
		r.failed, r.errs = append(r.failed, e.place.String()), append(r.errs, err)
		if b.refused[e] != nil {
			continue
		}
		r.last, r.err = e, err
		if asked <= 0 {
			unasked = true
			if _, ok := errors.AsType[*access.StatusError](err); ok {
				r.busy = 1
			}
		} else if r.asked == 0 || asked < r.asked {
			r.asked = asked
		}
	}
	if unasked {
		r.asked = 0
	}
	return r, nil
}

// try asks one endpoint, and sets body if it sends the blob. Otherwise it returns the error, and for how long the
// server asks to wait. It adds endpoints to refused that are not to be asked again.
func (b *blob) try(e *endpoint) (time.Duration, error) {
	if b.connections++; b.connections > b.c.maxConnections {
		return 0, b.incomplete(fmt.Sprintf("%d connections", b.c.maxConnections), ErrCut)
	}
	got, err := b.c.ask(b.ctx, e, "blobs/"+b.digest.String(), b.offset, b.size, b.whole[e])
	if err == nil && got.from < b.offset {
		err = b.skip(got)
	}
	if err == nil {
		b.body = got
		return 0, nil
	}
	status, isStatus := errors.AsType[*access.StatusError](err)
	answer, isAnswer := errors.AsType[*AnswerError](err)
	badRange := isAnswer && !answer.size || isStatus && status.Code == http.StatusRequestedRangeNotSatisfiable
	switch {
	case b.ctx.Err() != nil:
		return 0, b.ctx.Err()
	case isStatus && status.Busy():
		if asked, ok := retryAfter(status.Header, b.c.opts.Clock.Now()); ok {
			return b.later(e, asked, err)
		}
		return 0, err
	case badRange && b.offset > 0 && !b.whole[e]:
		// Perhaps the server can send the blob from its beginning.
		if b.whole == nil {
			b.whole = map[*endpoint]bool{}
		}
		b.whole[e] = true
		b.notice(Notice{Endpoint: e.place.String(), Err: err})
		return b.try(e)
	case transient(err, e.reached()):
		err = hideEOF(err)
		if e.avoid() && len(b.c.endpoints) > 1 {
			b.notice(Notice{Endpoint: e.place.String(), Err: err})
		}
		return 0, err
	}
	b.refuse(e, err)
	return 0, err
}

// later notes that a server asks to wait. Waiting for too long is refused.
func (b *blob) later(e *endpoint, asked time.Duration, err error) (time.Duration, error) {
	if asked > b.c.opts.MaxWait {
		err = &LaterError{Wait: asked, Err: err}
		b.refuse(e, err)
		return 0, err
	}
	e.wait(asked, err)
	asked, err = e.waits()
	return asked, err
}

func (b *blob) refuse(e *endpoint, err error) {
	if b.refused == nil {
		b.refused = map[*endpoint]error{}
	}
	b.refused[e] = err
}

// skip reads the bytes before the ones that are missing.
func (b *blob) skip(got *body) error {
	_, err := io.CopyN(io.Discard, got, b.offset-got.from)
	if err != nil {
		got.close()
		return fmt.Errorf("%s: %w", got.endpoint.place, hideEOF(err))
	}
	return nil
}
