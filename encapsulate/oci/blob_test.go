package oci_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

func TestVerifierEndsOnlyInTheRightBytes(t *testing.T) {
	t.Parallel()
	data := []byte(strings.Repeat("0123456789", 1000))
	d := ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	other := bytes.Clone(data)
	other[5000] ^= 1
	for _, c := range []struct {
		name string
		data []byte
		d    ocispec.Descriptor
		want *oci.BlobError
	}{
		{"right", data, d, nil},
		{"empty", nil, ocispec.Descriptor{Digest: digest.FromBytes(nil)}, nil},
		{"one bit flipped", other, d, &oci.BlobError{d.Digest, d.Size, d.Size, digest.FromBytes(other)}},
		{"cut short", data[:9999], d, &oci.BlobError{d.Digest, d.Size, 9999, ""}},
		{"one byte more", append(bytes.Clone(data), 'x'), d, &oci.BlobError{d.Digest, d.Size, d.Size + 1, ""}},
		{"nothing", nil, d, &oci.BlobError{d.Digest, d.Size, 0, ""}},
		{"something instead of nothing", data, ocispec.Descriptor{Digest: digest.FromBytes(nil)},
			&oci.BlobError{digest.FromBytes(nil), 0, 1, ""}},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole":           func(r io.Reader) io.Reader { return r },
			"bytewise":        iotest.OneByteReader,
			"data with error": iotest.DataErrReader,
		} {
			got, err := io.ReadAll(oci.Verify(io.NopCloser(wrap(bytes.NewReader(c.data))), c.d))
			bad, _ := errors.AsType[*oci.BlobError](err)
			if diff := cmp.Diff(c.want, bad); diff != "" || c.want != nil && !errors.Is(err, oci.ErrMismatch) {
				t.Errorf("%s, %s: %v (-want +got):\n%s", c.name, name, err, diff)
			}
			if int64(len(got)) > c.d.Size {
				t.Errorf("%s, %s: %d bytes were handed out, more than promised", c.name, name, len(got))
			}
		}
	}
}
