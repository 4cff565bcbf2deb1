package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// request is one request of an upload.
type request struct {
	method string
	to     *url.URL
	header http.Header
	// open returns the content, which has size bytes, or an unknown number if size is negative. It is nil if there is no
	// content.
	open func() (io.ReadCloser, error)
	// once says that open works only once.
	once bool
	size int64
	// keep is how many bytes of the answer's body are kept at most. A longer one is an error if keep is not 0.
	keep int64
}

// answer is what is used of an answer.
type answer struct {
	status int
	header http.Header
	// of is the address of the request, after redirects.
	of *url.URL
	// body is kept if the request says so.
	body []byte
}

// do sends a request and returns the answer. Every other status than those wanted is a
// [*statusError]. Other errors are a [*contentError], a [*cutError], or occurred before anything was sent.
func (u *Uploader) do(ctx context.Context, r request, want ...int) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.to.String(), nil)
	if err != nil {
		return nil, err
	}
	if r.header != nil {
		req.Header = r.header.Clone()
	}
	c := &content{source: r.open}
	if r.open != nil && r.size != 0 {
		if req.Body, err = c.open(); err != nil {
			return nil, &contentError{err}
		}
		req.ContentLength = r.size
		if !r.once {
			req.GetBody = c.open
		}
	}
	res, err := u.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		err = fmt.Errorf("%s: %w", describe(r.method, req.URL), err)
		switch sent, unread := c.state(); {
		case ctx.Err() != nil:
			return nil, err
		case unread != nil:
			return nil, &contentError{unread}
		case sent && !slices.ContainsFunc([]error{access.ErrPlainHTTP, errRefers, access.ErrSilent}, func(e error) bool {
			return errors.Is(err, e)
		}):
			return nil, &cutError{err}
		}
		return nil, err
	}
	defer res.Body.Close()
	if err := transport.CheckError(res, want...); err != nil {
		return nil, &statusError{describe(r.method, req.URL), res.StatusCode, err}
	}
	a := &answer{status: res.StatusCode, header: res.Header, of: res.Request.URL}
	if r.keep > 0 {
		if a.body, err = io.ReadAll(io.LimitReader(res.Body, r.keep+1)); err != nil {
			return nil, fmt.Errorf("%s: reading the answer: %w", describe(r.method, req.URL), err)
		}
		if int64(len(a.body)) > r.keep {
			return nil, fmt.Errorf("%s: the answer has more than %s", describe(r.method, req.URL), sizes.Format(r.keep))
		}
		return a, nil
	}
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	return a, nil
}

// content opens the content of a request, and remembers what became of it.
type content struct {
	source func() (io.ReadCloser, error)

	mu   sync.Mutex
	sent bool
	err  error
}

func (c *content) open() (io.ReadCloser, error) {
	r, err := c.source()
	if err != nil {
		c.read(0, err)
		return nil, err
	}
	return &contentReader{r, c}, nil
}

func (c *content) read(n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = c.sent || n > 0
	if err != nil && err != io.EOF && c.err == nil {
		c.err = err
	}
}

// state reports whether some of the content was sent, and the error of reading it.
func (c *content) state() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.err
}

type contentReader struct {
	io.ReadCloser
	c *content
}

func (r *contentReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.c.read(n, err)
	return n, err
}

// errRefers is wrapped by errors about addresses that a registry must not refer to.
var errRefers = errors.New("the registry refers")

// location returns where the next request of an upload goes. Without the header, it is the same address again.
func (a *answer) location(old *url.URL) (*url.URL, error) {
	text := a.header.Get("Location")
	if text == "" {
		return old, nil
	}
	ref, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the registry %s answers with an invalid Location: %w", a.of.Host, err)
	}
	next := a.of.ResolveReference(ref)
	return next, checkHost(a.of, next)
}

// checkRedirect checks a redirect of the HTTP client.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return fmt.Errorf("%w to another address too often", errRefers)
	}
	return checkHost(via[0].URL, req.URL)
}

// checkHost returns an error if a registry sends us to another host with an address of an internal network. Otherwise
// a registry could reach services there through us.
func checkHost(from, to *url.URL) error {
	if host := to.Hostname(); host != from.Hostname() && internal(host) {
		return fmt.Errorf("%w from %s to the internal address %s: nothing is sent there", errRefers, from.Host, host)
	}
	return nil
}

// internal reports whether a host is an address of this machine or of a private network. Numbers that resolvers of the
// system take for addresses, such as 127.1 and 0x7f000001, count too.
func internal(host string) bool {
	host, _, _ = strings.Cut(host, "%")
	a, err := netip.ParseAddr(host)
	if err != nil {
		last := host[strings.LastIndexByte(host, '.')+1:]
		_, err := strconv.ParseUint(last, 0, 64)
		return err == nil
	}
	a = a.Unmap()
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsUnspecified()
}

// withQuery returns an address with one more parameter.
func withQuery(u *url.URL, key, value string) *url.URL {
	c := *u
	q := c.Query()
	q.Set(key, value)
	c.RawQuery = q.Encode()
	return &c
}
