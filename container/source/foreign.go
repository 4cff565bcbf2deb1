package source

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/docker/distribution/registry/api/errcode"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker"

	"github.com/ostree-ext/ostree-ext-go/container/access"
)

// ErrForeignLayer is wrapped by errors about a layer that is marked as not to be distributed, and is indeed not where
// the image is. See [*ForeignLayerError].
var ErrForeignLayer = errors.New("the layer is not distributed with the image")

// ForeignLayerError is the error for a layer that is not distributed with its image. It wraps [ErrForeignLayer].
//
// The layer is not fetched from its URLs. Whoever made the image chose them, so a request to them could reach servers
// in the network of the user that nobody else can reach, and would tell others who uses the image.
type ForeignLayerError struct {
	// Descriptor is that of the layer. Its URLs are where the layer may be found, as the manifest says.
	Descriptor ocispec.Descriptor
	// Err is the error of reading it where the image is.
	Err error
}

// Error implements error.
func (e *ForeignLayerError) Error() string {
	const most = 3
	where := "its manifest does not say where to find it"
	if urls := e.Descriptor.URLs; len(urls) > 0 {
		quoted := make([]string, 0, most)
		for _, u := range urls[:min(len(urls), most)] {
			quoted = append(quoted, fmt.Sprintf("%.300q", u))
		}
		where = fmt.Sprintf("its manifest says that it is at %s, from where it is not fetched, because anybody could have "+
			"written that: if you trust the address, put the blob to the others of the image", strings.Join(quoted, ", "))
	}
	return fmt.Sprintf("%v: layer %s is missing: %s: %v", ErrForeignLayer, e.Descriptor.Digest, where, e.Err)
}

// Unwrap returns [ErrForeignLayer] and the cause.
func (e *ForeignLayerError) Unwrap() []error { return []error{ErrForeignLayer, e.Err} }

// absent reports whether an error means that a blob is not there.
func absent(err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if status, ok := errors.AsType[docker.UnexpectedHTTPStatusError](err); ok {
		return status.StatusCode == http.StatusNotFound
	}
	if answer, ok := errors.AsType[*access.StatusError](err); ok {
		return answer.Code == http.StatusNotFound
	}
	var coded errcode.ErrorCoder
	return errors.As(err, &coded) && coded.ErrorCode().Descriptor().HTTPStatusCode == http.StatusNotFound
}
