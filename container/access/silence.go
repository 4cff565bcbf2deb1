package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// defaultSilence is the default of Options.Silence.
	defaultSilence = time.Minute
	// copyFactor is how many times longer a registry may be silent when a blob is complete. Some copy it then, to where
	// it stays.
	copyFactor = 5
)

// ErrSilent is wrapped by errors about a server that took a request and then moved no byte for [Options.Silence].
var ErrSilent = errors.New("no byte was sent or received")

// SilentError is the error for a server that moves no bytes. It wraps [ErrSilent], and is a [net.Error] with a timeout.
type SilentError struct {
	// Host is the server, with its port if it is not the usual one.
	Host string
	// Asked is what it was asked for.
	Asked string
	// Limit is for how long no byte moved.
	Limit time.Duration
}

// Error implements error.
func (e *SilentError) Error() string {
	return fmt.Sprintf("%s does not answer %s: %v for %v", e.Host, e.Asked, ErrSilent, e.Limit)
}

// Unwrap returns [ErrSilent].
func (e *SilentError) Unwrap() error { return ErrSilent }

// Timeout implements [net.Error].
func (e *SilentError) Timeout() bool { return true }

// Temporary implements [net.Error].
func (e *SilentError) Temporary() bool { return true }

var _ net.Error = (*SilentError)(nil)

func (o Options) silence() time.Duration {
	if o.Silence > 0 {
		return o.Silence
	}
	return defaultSilence
}

// watch looks at a connection while the server has to do something, and gives it up if no byte moves. The kernel counts
// the bytes: much of what was sent may still be in its buffers, and a slow connection is not a silent one.
type watch struct {
	host, asked string
	limit       time.Duration
	// giveUp is called when the connection is silent, while mu is held.
	giveUp func(error)

	mu       sync.Mutex
	timer    *time.Timer
	conn     syscall.RawConn // nil if there is none, or it has no counters
	waiting  bool            // for the server
	answered bool            // the header of the answer has arrived
	moved    uint64          // bytes of the connection when it was last looked at
	last     time.Time       // when bytes moved last
	err      *SilentError    // set if the connection was silent
}

// connected begins to watch a connection.
func (w *watch) connected(c net.Conn) {
	w.mu.Lock()
	w.conn, w.err = rawConn(c), nil
	w.mu.Unlock()
	w.wait(true)
}

// wait says that it is the server's turn. sending is set before the answer. What is still sent after that is of no
// importance.
func (w *watch) wait(sending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if sending && w.answered {
		return
	}
	w.waiting, w.last, w.moved = true, time.Now(), bytesMoved(w.conn)
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit/4, w.look)
	} else {
		w.timer.Reset(w.limit / 4)
	}
}

// rest says that the server does not keep anybody waiting.
func (w *watch) rest(sending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if sending && w.answered {
		return
	}
	w.waiting = false
	if w.timer != nil {
		w.timer.Stop()
	}
}

// answer says that the header of the answer has arrived.
func (w *watch) answer() {
	w.rest(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered = true
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.waiting {
		return
	}
	if n := bytesMoved(w.conn); n != w.moved {
		w.moved, w.last = n, time.Now()
	}
	if time.Since(w.last) < w.limit {
		w.timer.Reset(w.limit / 4)
		return
	}
	w.waiting = false
	w.err = &SilentError{Host: w.host, Asked: w.asked, Limit: w.limit}
	w.giveUp(w.err)
}

// explain returns that the connection was silent, if an error is due to that.
func (w *watch) explain(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil || w.err == nil {
		return err
	}
	return w.err
}

// rawConn returns the TCP connection below others, or nil.
func rawConn(c net.Conn) syscall.RawConn {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// bytesMoved returns how many bytes a connection has received, and how many that it sent have arrived.
func bytesMoved(c syscall.RawConn) (n uint64) {
	if c == nil {
		return 0
	}
	// A connection that is closed does not move anything.
	_ = c.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Bytes_acked + info.Bytes_received
		}
	})
	return n
}

// watched sends a request, and gives up if the server is silent. The time that our own content takes does not count.
func (t *Transport) watched(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	// The query may hold secrets.
	w := &watch{host: req.URL.Host, asked: req.Method + " " + req.URL.Path, limit: t.silence}
	if req.URL.Query().Has("digest") {
		w.limit *= copyFactor
	}
	w.giveUp = func(err error) {
		t.tell(err)
		cancel(err)
	}
	sent := req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { w.connected(i.Conn) },
	}))
	if req.Body != nil && req.Body != http.NoBody {
		sent.Body = &sentBody{req.Body, w}
		if again := req.GetBody; again != nil {
			sent.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				return &sentBody{body, w}, err
			}
		}
	}
	res, err := t.inner.RoundTrip(sent)
	w.answer()
	if err != nil {
		cancel(nil)
		return nil, w.explain(err)
	}
	res.Body = &receivedBody{res.Body, w, cancel}
	return res, nil
}

// tell warns of what delays a request, which may be made again.
func (t *Transport) tell(err error) {
	if t.warn != nil {
		t.warn(err.Error())
	}
}

// sentBody is the content of a request. While it is read, the server does not keep us waiting.
type sentBody struct {
	io.ReadCloser
	w *watch
}

// Read implements [io.Reader].
func (b *sentBody) Read(p []byte) (int, error) {
	b.w.rest(true)
	defer b.w.wait(true)
	return b.ReadCloser.Read(p)
}

// receivedBody is the content of an answer. The server keeps us waiting while it is read.
type receivedBody struct {
	io.ReadCloser
	w      *watch
	cancel context.CancelCauseFunc
}

// Read implements [io.Reader].
func (b *receivedBody) Read(p []byte) (int, error) {
	b.w.wait(false)
	n, err := b.ReadCloser.Read(p)
	b.w.rest(false)
	if err != nil && err != io.EOF {
		err = b.w.explain(err)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *receivedBody) Close() error {
	b.w.rest(false)
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// Watch returns a context for requests that the library makes one after the other to read an image, and that are not
// sent through a [Transport]. If a server is silent, its connection is closed, so that the library tries the next
// mirror. asked says what is read, for errors. When the requests are done, the caller passes their error to the
// function that is returned, which says if it is due to that.
func (o Options) Watch(ctx context.Context, asked string) (context.Context, func(error) error) {
	w := &watch{asked: asked, limit: o.silence()}
	w.giveUp = func(err error) {
		if o.Warn != nil {
			o.Warn(err.Error())
		}
		if w.conn != nil {
			// It fails if the connection has just ended, which is as good.
			_ = w.conn.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(host string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.host = host
		},
		GotConn:     func(i httptrace.GotConnInfo) { w.connected(i.Conn) },
		PutIdleConn: func(error) { w.rest(false) },
	})
	return ctx, func(err error) error {
		w.rest(false)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err != nil { // also without an error: what was read may look as if it were complete
			return w.err
		}
		return err
	}
}
