package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/stream"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
)

// way is a way to send a blob. Each one is tried only if the registry refused those before it.
type way int

const (
	streamed way = iota // one PATCH, while the blob is made
	chunked             // several PATCHes
	whole               // one PUT, when the digest is known
	single              // one POST, when the digest is known
)

// Uploader sends blobs to one repository. It is safe for concurrent use.
type Uploader struct {
	client *http.Client
	repo   name.Repository

	mu    sync.Mutex
	way   way
	chunk int // size of chunks in bytes
	cut   int // how many blobs were cut off
}

// New returns an uploader. The transport adds what the registry needs to know the user.
func New(t http.RoundTripper, repo name.Repository) *Uploader {
	return &Uploader{
		client: &http.Client{Transport: t, CheckRedirect: checkRedirect}, repo: repo, chunk: firstChunk,
	}
}

// Blob sends the compressed bytes of a layer, unless the registry has them. A layer that is a [remote.MountableLayer]
// is taken from its own repository if the registry does that.
func (u *Uploader) Blob(ctx context.Context, l v1.Layer) error {
	return Retry(ctx, func() error { return u.send(ctx, l) })
}

// send tries one way after the other.
func (u *Uploader) send(ctx context.Context, l v1.Layer) error {
	u.mu.Lock()
	w := u.way
	u.mu.Unlock()
	var refusals []error
	for {
		err := u.sendBy(ctx, l, w)
		if err == nil {
			u.learn(w, refusals)
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if r, refused := errors.AsType[*refusal](err); refused {
			refusals = append(refusals, r.err)
			w = r.next
			continue
		}
		if status(err) == http.StatusRequestEntityTooLarge {
			err = fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
		if len(refusals) > 0 {
			err = fmt.Errorf("%w (tried before: %w)", err, errors.Join(refusals...))
		}
		return err
	}
}

// learn remembers what worked after refusals. One connection that was cut off may be an accident, two are not.
func (u *Uploader) learn(w way, refusals []error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(refusals) > 0 && wasCut(refusals[0]) {
		if u.cut++; u.cut < 2 {
			return
		}
	}
	u.way = max(u.way, w)
}

func (u *Uploader) sendBy(ctx context.Context, l v1.Layer, w way) error {
	if w >= whole {
		if err := measure(ctx, l); err != nil {
			return err
		}
	}
	if there, err := u.exists(ctx, l); there || err != nil {
		return err
	}
	if w == single {
		return u.postWhole(ctx, l)
	}
	s, err := u.start(ctx, l)
	if err != nil || s.done {
		return err
	}
	switch w {
	case streamed:
		err = u.patch(ctx, l, s)
	case chunked:
		err = u.patchChunks(ctx, l, s)
	default:
		return u.putWhole(ctx, l, s)
	}
	if err != nil {
		return err
	}
	err = u.commit(ctx, l, s)
	if w == chunked {
		// Some registries take every chunk, and keep the last one.
		err = refused(err, map[int]way{
			http.StatusBadRequest: whole, http.StatusNotFound: whole, http.StatusRequestedRangeNotSatisfiable: whole,
		}, 0)
	}
	return err
}

// session is an upload that a registry has begun.
type session struct {
	to *url.URL
	// min is the smallest size of chunks in bytes, except for the last one.
	min int64
	// done says that the registry has the blob already.
	done bool
}

// base returns the address under which blobs are uploaded.
func (u *Uploader) base(path string) *url.URL {
	return &url.URL{
		Scheme: u.repo.Scheme(), Host: u.repo.RegistryStr(), Path: "/v2/" + u.repo.RepositoryStr() + "/blobs/" + path,
	}
}

// exists reports whether the registry has the blob. Any answer other than yes means no, if it is not temporary.
func (u *Uploader) exists(ctx context.Context, l v1.Layer) (bool, error) {
	h, err := l.Digest()
	if errors.Is(err, stream.ErrNotComputed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = u.do(ctx, request{method: http.MethodHead, to: u.base(h.String())}, http.StatusOK)
	if Unknown(err) {
		return false, nil
	}
	return err == nil, err
}

// start begins an upload.
func (u *Uploader) start(ctx context.Context, l v1.Layer) (*session, error) {
	to := u.base("uploads/")
	if m, ok := l.(*remote.MountableLayer); ok {
		if s, err := u.mount(ctx, m, to); err == nil {
			return s, nil
		}
	}
	res, err := u.post(ctx, to)
	switch code := status(err); code {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return nil, &refusal{err, single}
	}
	if err != nil {
		return nil, err
	}
	return newSession(res, to)
}

// post begins an upload. Some registries demand a type although there is no content.
func (u *Uploader) post(ctx context.Context, to *url.URL) (*answer, error) {
	return u.do(ctx, request{
		method: http.MethodPost, to: to, header: http.Header{"Content-Type": {"application/json"}},
	}, http.StatusCreated, http.StatusAccepted)
}

// mount begins an upload, and asks the registry to take the blob from another repository instead. The registry may
// ignore that.
func (u *Uploader) mount(ctx context.Context, l *remote.MountableLayer, to *url.URL) (*session, error) {
	from := l.Reference.Context()
	h, err := l.Digest()
	if err != nil {
		return nil, err
	}
	if from.RegistryStr() != u.repo.RegistryStr() {
		return nil, errors.New("the blob is in another registry")
	}
	res, err := u.post(ctx, withQuery(withQuery(to, "mount", h.String()), "from", from.RepositoryStr()))
	if err != nil {
		return nil, err
	}
	return newSession(res, to)
}

func newSession(res *answer, to *url.URL) (*session, error) {
	if res.status == http.StatusCreated {
		return &session{done: true}, nil
	}
	if res.header.Get("Location") == "" {
		return nil, fmt.Errorf("%s: the answer does not have a Location", describe(http.MethodPost, to))
	}
	next, err := res.location(to)
	if err != nil {
		return nil, err
	}
	s := &session{to: next}
	if least, err := strconv.ParseInt(res.header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil && least > 0 {
		s.min = least
	}
	return s, nil
}

var octets = http.Header{"Content-Type": {"application/octet-stream"}}

// patch sends the blob in one request while it is made.
func (u *Uploader) patch(ctx context.Context, l v1.Layer, s *session) error {
	r := request{method: http.MethodPatch, to: s.to, header: octets, open: l.Compressed, size: -1}
	_, r.once = l.(*stream.Layer)
	if size, err := l.Size(); err == nil && !r.once {
		r.size = size
	}
	res, err := u.do(ctx, r, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		return refused(err, map[int]way{
			http.StatusRequestEntityTooLarge: chunked, http.StatusLengthRequired: chunked,
			http.StatusBadRequest: whole, http.StatusNotFound: whole, http.StatusMethodNotAllowed: whole,
			http.StatusNotImplemented: whole, http.StatusRequestedRangeNotSatisfiable: whole,
			// Proxies that do not know the method.
			http.StatusForbidden: whole, http.StatusUnsupportedMediaType: whole,
		}, chunked)
	}
	s.to, err = res.location(s.to)
	return err
}

// commit ends an upload.
func (u *Uploader) commit(ctx context.Context, l v1.Layer, s *session) error {
	h, err := l.Digest()
	if err != nil {
		return err
	}
	_, err = u.do(ctx, request{method: http.MethodPut, to: withQuery(s.to, "digest", h.String()), header: octets},
		http.StatusCreated, http.StatusOK, http.StatusNoContent)
	return err
}

// putWhole ends an upload with the whole blob.
func (u *Uploader) putWhole(ctx context.Context, l v1.Layer, s *session) error {
	return u.sendWhole(ctx, l, http.MethodPut, s.to, map[int]way{
		http.StatusBadRequest: single, http.StatusNotFound: single, http.StatusMethodNotAllowed: single,
		http.StatusNotImplemented: single, http.StatusUnsupportedMediaType: single,
	})
}

// postWhole sends the blob in the request that begins an upload.
func (u *Uploader) postWhole(ctx context.Context, l v1.Layer) error {
	return u.sendWhole(ctx, l, http.MethodPost, u.base("uploads/"), nil)
}

func (u *Uploader) sendWhole(ctx context.Context, l v1.Layer, method string, to *url.URL, next map[int]way) error {
	h, err := l.Digest()
	if err != nil {
		return err
	}
	r := request{method: method, to: withQuery(to, "digest", h.String()), header: octets, open: l.Compressed}
	if r.size, err = l.Size(); err != nil {
		return err
	}
	_, err = u.do(ctx, r, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	return refused(err, next, 0)
}

// measure reads a layer to its end if its digest is not known otherwise.
func measure(ctx context.Context, l v1.Layer) error {
	_, noDigest := l.Digest()
	_, noSize := l.Size()
	if err := errors.Join(noDigest, noSize); !errors.Is(err, stream.ErrNotComputed) {
		return err
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, ctxio.Reader(ctx, r))
	return errors.Join(err, r.Close())
}
