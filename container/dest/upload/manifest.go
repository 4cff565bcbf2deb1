package upload

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Absent reports whether an error is an answer that says that something is not there.
func Absent(err error) bool { return status(err) == http.StatusNotFound }

// Denied reports whether an error is an answer that refuses a request because of the user, or because there is none.
func Denied(err error) bool {
	code := status(err)
	return code == http.StatusUnauthorized || code == http.StatusForbidden
}

// Manifest reads the manifest, index or other document that a tag or digest names. accept are the media types that the
// caller understands. The document may have at most [oci.MaxManifestSize] bytes, and its digest is not checked. The
// media type is what the registry says.
func (u *Uploader) Manifest(
	ctx context.Context, ref string, accept []string,
) (data []byte, mediaType string, err error) {
	err = Retry(ctx, func() error {
		res, err := u.do(ctx, request{
			method: http.MethodGet, to: u.manifest(ref), header: http.Header{"Accept": {strings.Join(accept, ", ")}},
			keep: oci.MaxManifestSize,
		}, http.StatusOK)
		if err == nil {
			data, mediaType = res.body, res.header.Get("Content-Type")
			mediaType, _, _ = strings.Cut(mediaType, ";")
		}
		return err
	})
	return data, mediaType, err
}

// PutManifest stores a document under a tag or its digest, and returns the header of the answer.
func (u *Uploader) PutManifest(
	ctx context.Context, ref, mediaType string, data []byte,
) (header http.Header, err error) {
	err = Retry(ctx, func() error {
		res, err := u.do(ctx, request{
			method: http.MethodPut, to: u.manifest(ref), header: http.Header{"Content-Type": {mediaType}},
			open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, size: int64(len(data)),
		}, http.StatusCreated, http.StatusOK, http.StatusAccepted)
		if err == nil {
			header = res.header
		}
		return err
	})
	return header, err
}

func (u *Uploader) manifest(ref string) *url.URL {
	return &url.URL{
		Scheme: u.repo.Scheme(), Host: u.repo.RegistryStr(), Path: "/v2/" + u.repo.RepositoryStr() + "/manifests/" + ref,
	}
}
