package fetch_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/fetch"
)

// BenchmarkBlob reads a blob of 256 MiB. What it costs to keep the bytes is the difference between the two.
func BenchmarkBlob(b *testing.B) {
	piece := noise(90, 1<<20)
	const pieces = 256
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v2/a/b/blobs/") {
			w.Header().Set("Content-Length", strconv.Itoa(pieces*len(piece)))
			for range pieces {
				_, _ = w.Write(piece)
			}
		}
	}))
	defer s.Close()
	d := ocispec.Descriptor{Digest: digest.FromString("x"), Size: pieces << 20}
	for name, opts := range map[string]fetch.Options{"nothing is kept": {}, "kept": {Dir: b.TempDir()}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(d.Size)
			c, err := fetch.New(strings.TrimPrefix(s.URL, "http://")+"/a/b:c", plain, opts)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			buf := make([]byte, 128<<10)
			for b.Loop() {
				r, err := c.Blob(b.Context(), d)
				if err != nil {
					b.Fatal(err)
				}
				_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf)
				if err := errors.Join(err, r.Close()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
