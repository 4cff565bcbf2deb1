package access

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// readTransport adapts [Transport] to the library's client when it reads. An answer that says that the server is busy
// or broken becomes a [*StatusError], which keeps the header: the library drops it.
type readTransport struct {
	*Transport
	host string

	mu     sync.Mutex
	tokens []*url.URL // servers that issue tokens, in the order of their aliases
	err    error      // why the last request failed, if it was not one that need not have been made
}

// errScheme is returned for requests over HTTPS to a registry that speaks plain HTTP. The library tries both.
var errScheme = errors.New("the registry does not speak TLS")

// failure returns why the last request failed, or err if none did. The library mixes the errors of requests with either
// scheme.
func (t *readTransport) failure(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return fmt.Errorf("%s: %w", t.host, t.err)
	}
	return err
}

// aliasPath is where token servers appear that the library does not accept, on the host of the registry.
const aliasPath = "/.ostree-ext/token/"

// maxAliases is how many token servers one registry may name.
const maxAliases = 16

// RoundTrip implements [http.RoundTripper].
func (t *readTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if at := t.resolve(req.URL); at != nil {
		req = req.Clone(req.Context())
		req.URL, req.Host = at, ""
	}
	if t.plain && req.URL.Host == t.host && req.URL.Scheme == "https" {
		return nil, errScheme
	}
	res, err := t.Transport.RoundTrip(req)
	if err != nil {
		if t.plain || req.URL.Scheme == "https" {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.err = err
		}
		return nil, err
	}
	if busy(res.StatusCode) {
		return nil, statusError(res)
	}
	if res.StatusCode == http.StatusUnauthorized && req.URL.Host == t.host {
		t.alias(res, req.URL.Scheme)
	}
	return res, nil
}

// busy reports whether a status may be gone when the request is repeated.
func busy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return status >= http.StatusInternalServerError
}

// Busy reports whether the server may answer the same request otherwise in a while: it has too much to do, or is
// broken for now.
func (e *StatusError) Busy() bool { return busy(e.Code) }

// alias replaces the address of a token server in a challenge if it is that of a private address, or uses plain HTTP.
// The library refuses such servers, while the tools of a host accept them, and our own rule has already been applied.
// So the library is told of a path on the registry's host, and resolve translates it.
func (t *readTransport) alias(res *http.Response, scheme string) {
	challenges := res.Header.Values("WWW-Authenticate")
	for i, challenge := range challenges {
		m := realms.FindStringSubmatchIndex(challenge)
		if m == nil {
			continue
		}
		u, err := url.Parse(challenge[m[2]:m[3]])
		if err != nil || u.Host == "" || u.Host == t.host {
			continue
		}
		if _, err := netip.ParseAddr(u.Hostname()); err != nil && u.Scheme != "http" {
			continue
		}
		if n, ok := t.remember(u); ok {
			to := url.URL{Scheme: scheme, Host: t.host, Path: aliasPath + strconv.Itoa(n), RawQuery: u.RawQuery}
			challenges[i] = challenge[:m[2]] + to.String() + challenge[m[3]:]
		}
	}
}

func (t *readTransport) remember(u *url.URL) (int, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, known := range t.tokens {
		if *known == *u {
			return n, true
		}
	}
	if len(t.tokens) == maxAliases {
		return 0, false
	}
	t.tokens = append(t.tokens, u)
	return len(t.tokens) - 1, true
}

// resolve returns the address for which an alias stands, or nil.
func (t *readTransport) resolve(u *url.URL) *url.URL {
	number, ok := strings.CutPrefix(u.Path, aliasPath)
	if !ok || u.Host != t.host {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(t.tokens) {
		return nil
	}
	at := *t.tokens[n]
	at.RawQuery = u.RawQuery
	return &at
}
