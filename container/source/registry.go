package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/docker/distribution/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/fetch"
)

// attempts is how often an operation is tried if it fails for a transient reason.
const attempts = 4

// openRegistry opens an image in a registry. It returns the digest in the name, or "".
func openRegistry(ctx context.Context, name string, o Options) (backend, digest.Digest, error) {
	name, want, err := splitDigest(name)
	if err != nil {
		return nil, "", err
	}
	opts := o.Registry
	ref, err := docker.ParseReference("//" + name)
	if err != nil {
		return nil, "", fmt.Errorf("image name %s: %w", name, err)
	}
	sys, err := opts.SystemContext(name)
	if err != nil {
		return nil, "", err
	}
	var src types.ImageSource
	err = retry(ctx, func() error {
		ctx, end := opts.Watch(ctx, "the request for the manifest")
		src, err = ref.NewImageSource(ctx, sys)
		return end(err)
	})
	if err != nil {
		return nil, "", explainLogin(opts, name, access.Explain(wrapNoImage(err)))
	}
	if o.Fetch.Notice == nil && opts.Warn != nil {
		o.Fetch.Notice = func(n fetch.Notice) {
			if n.Wait >= time.Second || n.Endpoint == "" {
				opts.Warn(n.String())
			}
		}
	}
	client, err := fetch.New(name, opts, o.Fetch)
	if err != nil {
		return nil, "", errors.Join(err, src.Close())
	}
	return &registry{library: &library{src: src, registry: opts}, client: client}, want, nil
}

// explainLogin adds which credentials were used to an error of a registry that refused them.
func explainLogin(opts access.Options, name string, err error) error {
	_, refused := errors.AsType[docker.ErrUnauthorizedForCredentials](err)
	if status, ok := errors.AsType[docker.UnexpectedHTTPStatusError](err); ok {
		refused = refused || status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden
	}
	var coded errcode.ErrorCoder
	if errors.As(err, &coded) {
		switch coded.ErrorCode() {
		case errcode.ErrorCodeUnauthorized, errcode.ErrorCodeDenied:
			refused = true
		}
	}
	if !refused {
		return err
	}
	login, unknown := opts.Login(name)
	if unknown != nil {
		return err
	}
	return &access.DeniedError{Login: login, Err: err}
}

// registry reads manifests and configurations through the library, which has a connection already, and layers with
// package fetch, which can continue them.
type registry struct {
	*library
	client *fetch.Client
}

// blob opens a blob. The URLs of the descriptor are not used: see [*ForeignLayerError].
func (r *registry) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return r.client.Blob(ctx, d)
}

// small opens a blob that is not worth to be continued.
func (r *registry) small(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return r.library.blob(ctx, d)
}

func (r *registry) close() error {
	r.client.Close()
	return r.library.close()
}

// splitDigest returns the digest in a name, and the name without a tag before the digest. The digest identifies the
// image, and the library refuses names with both.
func splitDigest(name string) (string, digest.Digest, error) {
	base, text, found := strings.Cut(name, "@")
	if !found {
		return name, "", nil
	}
	d := digest.Digest(text)
	if err := checkDigest(d); err != nil {
		return "", "", err
	}
	if i := strings.LastIndexByte(base, ':'); i > strings.LastIndexByte(base, '/') {
		base = base[:i]
	}
	return base + "@" + text, d, nil
}

// library reads through containers/image.
type library struct {
	src types.ImageSource
	// archive is closed after src, if set.
	archive io.Closer
	// registry has the options if the image is in a registry.
	registry access.Options
}

func (l *library) parallel() bool { return l.src.HasThreadSafeGetBlob() }

func (l *library) close() error {
	err := l.src.Close()
	if l.archive != nil {
		err = errors.Join(err, l.archive.Close())
	}
	return err
}

func (l *library) manifest(ctx context.Context, instance *digest.Digest) (data []byte, mediaType string, err error) {
	err = retry(ctx, func() error {
		ctx, end := l.registry.Watch(ctx, "the request for the manifest")
		data, mediaType, err = l.src.GetManifest(ctx, instance)
		return end(err)
	})
	return data, mediaType, wrapNoImage(err)
}

// wrapNoImage wraps an error of a registry about a manifest with [ErrNoImage] if it says that the image does not exist.
func wrapNoImage(err error) error {
	if err != nil && saysNoImage(err) {
		return fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	return err
}

// saysNoImage reports whether a registry says that an image does not exist: by a code of the distribution specification
// that cannot also mean missing rights, as Harbor and registry.redhat.io do, or by 404 with any other answer. The
// library does not export the error of the latter, which has the status only in its text.
func saysNoImage(err error) bool {
	if e, ok := errors.AsType[errcode.Error](err); ok && e.Code == errcode.ErrorCodeUnknown {
		return strings.Contains(strings.ToLower(e.Message), "not found")
	}
	var coded errcode.ErrorCoder
	if errors.As(err, &coded) {
		code := coded.ErrorCode().Descriptor().Value
		return code == "MANIFEST_UNKNOWN" || code == "NAME_UNKNOWN"
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.HasPrefix(err.Error(), "StatusCode: 404, ") {
			return true
		}
	}
	return false
}

func (l *library) blob(ctx context.Context, d ocispec.Descriptor) (r io.ReadCloser, err error) {
	// Without the URLs: the library would fetch the blob from there first. See [*ForeignLayerError].
	info := types.BlobInfo{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}
	err = retry(ctx, func() error {
		ctx, end := l.registry.Watch(ctx, "the request for blob "+d.Digest.String())
		if r, _, err = l.src.GetBlob(ctx, info, none.NoCache); err != nil {
			return end(err)
		}
		r = &watchedBlob{r, end}
		return nil
	})
	return r, err
}

// watchedBlob is a blob that is watched until it is closed.
type watchedBlob struct {
	io.ReadCloser
	end func(error) error
}

// Read implements [io.Reader].
func (b *watchedBlob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = b.end(err)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *watchedBlob) Close() error { return errors.Join(b.end(nil), b.ReadCloser.Close()) }

// retry calls f again if it failed for a transient reason. The library itself repeats requests that were answered with
// 429, and resumes a blob that was cut off.
func retry(ctx context.Context, f func() error) error {
	pause := 250 * time.Millisecond
	for i := 1; ; i++ {
		err := f()
		if err == nil || i == attempts || ctx.Err() != nil || !transient(err) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w while waiting to try again after: %w", ctx.Err(), err)
		}
		pause *= 2
	}
}

// transient reports whether an error may be gone in a second: a broken connection or a server error.
func transient(err error) bool {
	if status, ok := errors.AsType[docker.UnexpectedHTTPStatusError](err); ok {
		return status.StatusCode >= http.StatusInternalServerError
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	return brokenConnection(err)
}
