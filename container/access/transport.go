package access

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"go.podman.io/image/v5/docker/reference"
)

// probeTime is how long to wait for an answer over HTTPS before trying plain HTTP, if that is allowed.
const probeTime = 5 * time.Second

// Transport sends requests to one registry, and refuses requests that the rule forbids.
type Transport struct {
	inner *http.Transport
	rule  rule
	host  string
	// insecure is set if plain HTTP and an invalid certificate are allowed, plain if plain HTTP is used.
	insecure, plain bool
	silence         time.Duration // see Options
	warn            func(string)  // may be nil
}

// Transport returns the transport for the registry of a repository. The caller closes it.
func (o Options) Transport(ctx context.Context, repository string) (*Transport, error) {
	named, err := parseName(repository)
	if err != nil {
		return nil, err
	}
	r, err := newRule(o, named)
	if err != nil {
		return nil, err
	}
	t, err := newTransport(o, r, reference.Domain(named))
	if err != nil {
		return nil, err
	}
	if err := t.choose(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// newTransport returns the transport for a host.
func newTransport(o Options, r rule, host string) (*Transport, error) {
	base, ok := remote.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the HTTP client was replaced")
	}
	insecure, err := r.insecure(host)
	if err != nil {
		return nil, err
	}
	t := &Transport{inner: base.Clone(), rule: r, host: host, insecure: insecure, silence: o.silence(), warn: o.Warn}
	t.inner.TLSClientConfig = &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure, //nolint:gosec // asked for by the user
	}
	if err := addCertificates(t.inner.TLSClientConfig, o.CertDir, t.host); err != nil {
		return nil, fmt.Errorf("certificates for %s: %w", t.host, err)
	}
	return t, nil
}

// choose finds out whether the registry has to be reached over plain HTTP, if that is allowed.
func (t *Transport) choose(ctx context.Context) error {
	err := Explain(t.probe(ctx))
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case t.insecure:
		t.plain = err != nil
	case untrusted, errors.Is(err, ErrPlainHTTP):
		// The library would now try plain HTTP on a local address, and mix the two errors.
		return fmt.Errorf("%s: %w", t.host, err)
	}
	return nil
}

// Plain reports whether the registry is reached over plain HTTP.
func (t *Transport) Plain() bool { return t.plain }

// Close closes idle connections.
func (t *Transport) Close() { t.inner.CloseIdleConnections() }

// probe sends a request over HTTPS, without credentials. Any answer is a success.
func (t *Transport) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+t.host+"/v2/", nil)
	if err != nil {
		return err
	}
	res, err := t.inner.RoundTrip(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	return nil
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.check(req.URL); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	res, err := t.watched(req)
	if err != nil {
		if t.plain {
			return nil, err
		}
		return nil, Explain(err)
	}
	if err := t.checkRealms(res); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	switch {
	case res.StatusCode == http.StatusUnauthorized && req.GetBody != nil:
		// A token expired. The library sends the same request again with a new one, but does not rewind its body.
		req.Body = &lazyBody{open: req.GetBody}
	case req.Method == http.MethodHead && strings.Contains(req.URL.Path, "/manifests/") &&
		res.StatusCode == http.StatusOK && res.Header.Get("Docker-Content-Digest") == "":
		// The header is optional. Without it nobody knows which manifest is there, so the library has to send its own.
		res.StatusCode, res.Status = http.StatusNotFound, "404 Not Found"
	}
	return res, nil
}

// lazyBody is a request's body that is opened when it is read first, so that nothing is left open if it is not.
type lazyBody struct {
	open func() (io.ReadCloser, error)
	body io.ReadCloser
}

func (b *lazyBody) Read(p []byte) (int, error) {
	if b.body == nil {
		body, err := b.open()
		if err != nil {
			return 0, fmt.Errorf("opening the content again: %w", err)
		}
		b.body = body
	}
	return b.body.Read(p)
}

func (b *lazyBody) Close() error {
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}

func (t *Transport) check(u *url.URL) error {
	if err := t.rule.check(u); err != nil {
		return err
	}
	if u.Scheme != "https" && u.Host == t.host && !t.plain {
		// The library tries HTTPS and HTTP at once on local addresses.
		return fmt.Errorf("%s answers HTTPS, so plain HTTP is not used", u.Host)
	}
	return nil
}

// realms matches the address of the token server in a challenge.
var realms = regexp.MustCompile(`(?i)\bbearer\s+(?:[^"]*"[^"]*"\s*,\s*)*?realm="([^"]*)"`)

// checkRealms returns an error if the rule forbids the token server. The library would refuse it too, with an error
// that does not help.
func (t *Transport) checkRealms(res *http.Response) error {
	if res.StatusCode != http.StatusUnauthorized {
		return nil
	}
	for _, h := range res.Header.Values("WWW-Authenticate") {
		for _, m := range realms.FindAllStringSubmatch(h, -1) {
			if u, err := url.Parse(m[1]); err == nil && u.Scheme == "http" {
				if err := t.rule.check(u); err != nil {
					return fmt.Errorf("the registry's token server %w", err)
				}
			}
		}
	}
	return nil
}
