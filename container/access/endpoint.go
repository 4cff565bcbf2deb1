package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// An Endpoint is a place from which a repository can be read: a mirror, or the registry itself.
type Endpoint struct {
	opts      Options
	rule      rule
	name      string // the repository there, with the host
	host      string
	namespace string // value of the parameter "ns" of requests to a proxy of several registries
}

// Endpoints returns the places from which an image can be read, in the order in which they are to be tried. That is
// what registries.conf says: mirrors first. The image's name may have a tag or a digest; some mirrors are only for one
// of them. It returns an error if the registry is blocked.
func (o Options) Endpoints(image string) ([]*Endpoint, error) {
	named, err := parseName(image)
	if err != nil {
		return nil, err
	}
	r, err := newRule(o, named)
	if err != nil {
		return nil, err
	}
	conf, err := sysregistriesv2.FindRegistry(nil, named.Name())
	if err != nil {
		return nil, registriesError(err)
	}
	sources := []sysregistriesv2.PullSource{{Reference: named}}
	if conf != nil {
		if sources, err = conf.PullSourcesFromReference(named); err != nil {
			return nil, registriesError(err)
		}
	}
	endpoints := make([]*Endpoint, len(sources))
	for i, s := range sources {
		e := &Endpoint{opts: o, rule: r, name: s.Reference.Name(), host: reference.Domain(s.Reference),
			namespace: s.Endpoint.NamespaceProxy}
		if e.host != reference.Domain(named) && o.Credentials != nil {
			// They were given for the registry, and no file is read then.
			e.opts.Credentials, e.opts.Anonymous, e.opts.AuthFile = nil, true, ""
		}
		endpoints[i] = e
	}
	return endpoints, nil
}

// String returns the name of the repository at the endpoint, which begins with the host.
func (e *Endpoint) String() string { return e.name }

// Connect asks the endpoint what it demands, and logs in. The caller closes the reader. Errors about a status are or
// wrap a [*StatusError], those about credentials a [*DeniedError].
func (e *Endpoint) Connect(ctx context.Context) (*Reader, error) {
	keys, login, err := e.opts.find(e.name)
	if err != nil {
		return nil, err
	}
	inner, err := newTransport(e.opts, e.rule, e.host)
	if err != nil {
		return nil, err
	}
	// A broken connection breaks one request only, and several connections are faster than one.
	inner.inner.ForceAttemptHTTP2 = false
	repo, err := name.NewRepository(e.name)
	if err != nil {
		return nil, fmt.Errorf("image name %s: %w", e.name, err)
	}
	if inner.insecure || repo.Scheme() != "https" {
		if err := inner.choose(ctx); err != nil {
			inner.Close()
			return nil, err
		}
	}
	if inner.plain {
		if repo, err = name.NewRepository(e.name, name.Insecure); err != nil {
			return nil, fmt.Errorf("image name %s: %w", e.name, err)
		}
	}
	r := &Reader{transport: inner, login: login, host: repo.RegistryStr()}
	r.base = url.URL{Scheme: "https", Host: r.host, Path: "/v2/" + repo.RepositoryStr() + "/"}
	if inner.plain {
		r.base.Scheme = "http"
	}
	if e.namespace != "" {
		r.base.RawQuery = url.Values{"ns": {e.namespace}}.Encode()
	}
	if err := r.logIn(ctx, repo, keys); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// A Reader reads from an endpoint, with credentials. Several goroutines may use it.
type Reader struct {
	transport *Transport
	login     Login
	host      string // the registry, as it is in the addresses of requests
	base      url.URL
	client    http.Client
}

func (r *Reader) logIn(ctx context.Context, repo name.Repository, keys authn.Authenticator) error {
	low := &readTransport{Transport: r.transport, host: r.host}
	scopes := []string{repo.Scope(transport.PullScope)}
	t, err := transport.NewWithContext(ctx, repo.Registry, keys, transport.NewUserAgent(low, UserAgent), scopes)
	if err != nil {
		if status := r.status(err); status != nil {
			return status
		}
		return r.explain(low.failure(err))
	}
	r.client.Transport = t
	return nil
}

// Close closes idle connections. It does not disturb answers that are being read.
func (r *Reader) Close() { r.transport.Close() }

// Host returns the registry that is asked, as it stands in the addresses of requests.
func (r *Reader) Host() string { return r.host }

// Get asks for a path below the repository, as "blobs/sha256:…", which may have a query after a question mark.
// Redirects are followed, and credentials are not sent to other hosts. The caller closes the body of the answer, which
// has a status of success. Other errors than those of the connection are or wrap a [*StatusError], those about
// credentials a [*DeniedError].
func (r *Reader) Get(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	u := r.base
	path, query, _ := strings.Cut(path, "?")
	u.Path += path
	if u.RawQuery == "" {
		u.RawQuery = query
	} else if query != "" {
		more, err := url.ParseQuery(query)
		if err != nil {
			return nil, fmt.Errorf("query of a request: %w", err)
		}
		// What the endpoint demands is not for the caller to change.
		for name, values := range u.Query() {
			more[name] = values
		}
		u.RawQuery = more.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, r.explain(err)
	}
	if res.StatusCode/100 != 2 {
		return nil, r.explain(statusError(res))
	}
	return res, nil
}

// explain makes an error of the libraries one of this package. It leaves out addresses, whose parameters may be
// secrets.
func (r *Reader) explain(err error) error {
	if status := r.status(err); status != nil {
		return status
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		host := r.host
		if at, err := url.Parse(u.URL); err == nil && at.Host != "" {
			host = at.Host
		}
		err = fmt.Errorf("%s: %w", host, u.Err)
	}
	if r.transport.plain {
		return err
	}
	return Explain(err)
}

// status returns the error about the status of an answer, if an error is one, and else nil.
func (r *Reader) status(err error) error {
	status, ok := errors.AsType[*StatusError](err)
	// A server to which the registry redirected got no credentials. A token server refuses for the registry.
	login := ok && status.Host == r.host
	if e, isToken := errors.AsType[*transport.Error](err); !ok && isToken {
		ok, login = true, true
		status = &StatusError{Host: r.host, Code: e.StatusCode, Message: message(e)}
		if e.Request != nil && e.Request.URL != nil {
			status.Host = e.Request.URL.Host
		}
	}
	switch {
	case !ok:
		return nil
	case login && (status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden):
		return &DeniedError{Login: r.login, Err: status}
	}
	return status
}

// maxMessage is how many bytes of an answer about an error are read.
const maxMessage = 4 << 10

// statusError returns the error for an answer, and closes its body.
func statusError(res *http.Response) *StatusError {
	// The text only helps to understand the status.
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxMessage))
	_ = res.Body.Close()
	e := &StatusError{Code: res.StatusCode, Header: res.Header}
	if res.Request != nil && res.Request.URL != nil {
		e.Host = res.Request.URL.Host
	}
	var said transport.Error
	if json.Unmarshal(text, &said) == nil {
		e.Message = message(&said)
	} else if strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		e.Message = shorten(string(text))
	}
	return e
}

func message(e *transport.Error) string {
	var said []string
	for _, d := range e.Errors {
		said = append(said, strings.TrimSuffix(string(d.Code)+": "+d.Message, ": "))
	}
	return shorten(strings.Join(said, "; "))
}

func shorten(s string) string {
	s = printable.Line(strings.TrimSpace(s))
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
