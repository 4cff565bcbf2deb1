package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrMismatch is wrapped by errors about content that does not have the promised digest or size.
var ErrMismatch = errors.New("content does not match its digest")

// BlobError is the error for a blob that does not match its descriptor. It wraps [ErrMismatch].
type BlobError struct {
	// Digest and Size are from the descriptor.
	Digest digest.Digest
	Size   int64
	// Read is the number of bytes that were read. It is at most Size+1, since no more than that is read.
	Read int64
	// Actual is the digest of the bytes if their number is right, and empty otherwise.
	Actual digest.Digest
}

// Error implements error.
func (e *BlobError) Error() string {
	switch {
	case e.Read > e.Size:
		return fmt.Sprintf("blob %s is longer than the %d bytes that its descriptor promises", e.Digest, e.Size)
	case e.Read < e.Size:
		return fmt.Sprintf("blob %s ends after %d of %d bytes", e.Digest, e.Read, e.Size)
	default:
		return fmt.Sprintf("blob %s has the digest %s", e.Digest, e.Actual)
	}
}

// Unwrap returns [ErrMismatch].
func (e *BlobError) Unwrap() error { return ErrMismatch }

// verifier reads a blob. It returns io.EOF only if the blob has the promised size and digest.
type verifier struct {
	r    io.ReadCloser
	d    ocispec.Descriptor
	h    hash.Hash
	read int64
	err  error
}

// Verify returns a reader of a blob that ends with [io.EOF] only if the blob has the size and digest of the
// descriptor, and with a [*BlobError] otherwise. It reads at most one byte more than the size. The digest must be a
// SHA-256.
func Verify(r io.ReadCloser, d ocispec.Descriptor) io.ReadCloser {
	return &verifier{r: r, d: d, h: sha256.New()}
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	// Ask for one byte more than promised, to see whether there is more.
	if left := v.d.Size - v.read + 1; int64(len(p)) > left {
		p = p[:left]
	}
	n, err := v.r.Read(p)
	v.read += int64(n)
	if v.read > v.d.Size {
		n--
		v.err = &BlobError{Digest: v.d.Digest, Size: v.d.Size, Read: v.read}
		return n, v.err
	}
	v.h.Write(p[:n])
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		v.err = v.end()
	case err != nil:
		v.err = fmt.Errorf("blob %s: %w", v.d.Digest, err)
	}
	return n, v.err
}

func (v *verifier) end() error {
	e := &BlobError{Digest: v.d.Digest, Size: v.d.Size, Read: v.read}
	if v.read < v.d.Size {
		return e
	}
	if e.Actual = digest.Digest("sha256:" + hex.EncodeToString(v.h.Sum(nil))); e.Actual != v.d.Digest {
		return e
	}
	return io.EOF
}

func (v *verifier) Close() error { return v.r.Close() }
