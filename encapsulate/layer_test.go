package encapsulate_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
)

// firstLayer returns a new image of the first release, and its first layer.
func firstLayer(t testing.TB, ctx context.Context, opts encapsulate.Options) (*encapsulate.Image, v1.Layer) {
	t.Helper()
	r, commit := release(t, 1)
	img, err := encapsulate.Build(ctx, r, commit, opts)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return img, layers[0]
}

// read reads a stream to its end, or its first n bytes if n is not negative.
func read(t testing.TB, open func() (io.ReadCloser, error), n int64) []byte {
	t.Helper()
	rc, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	var from io.Reader = rc
	if n >= 0 {
		from = io.LimitReader(rc, n)
	}
	data, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReadingUncompressedGivesOnlyTheDiffID(t *testing.T) {
	t.Parallel()
	img, l := firstLayer(t, t.Context(), encapsulate.Options{})
	read(t, l.Uncompressed, 1000)
	if _, err := l.DiffID(); !errors.Is(err, stream.ErrNotComputed) {
		t.Errorf("diff-id after the start of the layer: %v, want ErrNotComputed", err)
	}
	want, _, err := v1.SHA256(bytes.NewReader(read(t, l.Uncompressed, -1)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.DiffID(); err != nil || got != want {
		t.Errorf("diff-id %s, %v, want %s", got, err, want)
	}
	if found, err := img.LayerByDiffID(want); err != nil || found != l {
		t.Errorf("the layer of that diff-id is %v, %v", found, err)
	}
	if _, err := l.Digest(); !errors.Is(err, stream.ErrNotComputed) {
		t.Errorf("digest: %v, want ErrNotComputed", err)
	}
	read(t, l.Compressed, -1)
	if got, err := l.DiffID(); err != nil || got != want {
		t.Errorf("diff-id after compressing %s, %v, want %s", got, err, want)
	}
}

// TestGzipIsOneMemberWithoutTraces checks that the gzip header does not say when and where it was made.
func TestGzipIsOneMemberWithoutTraces(t *testing.T) {
	t.Parallel()
	_, l := firstLayer(t, t.Context(), encapsulate.Options{})
	data := read(t, l.Compressed, -1)
	if want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}; !bytes.Equal(data[:10], want) {
		t.Errorf("header % x, want % x", data[:10], want)
	}
	in := bytes.NewReader(data)
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if in.Len() > 0 {
		t.Errorf("%d bytes follow the first member", in.Len())
	}
	if !bytes.Equal(plain, read(t, l.Uncompressed, -1)) {
		t.Error("the member is not the layer")
	}
}

func TestTheContextOfBuildEndsReading(t *testing.T) {
	t.Parallel()
	for _, c := range []encapsulate.Compression{encapsulate.Gzip, encapsulate.Zstd, encapsulate.Uncompressed} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, l := firstLayer(t, ctx, encapsulate.Options{Compression: c})
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(rc, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.Copy(io.Discard, rc); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: reading on gives %v, want context.Canceled", c, err)
		}
		if err := rc.Close(); err != nil {
			t.Errorf("%s: %v", c, err)
		}
		if _, err := l.Digest(); !errors.Is(err, stream.ErrNotComputed) {
			t.Errorf("%s: digest after that: %v, want ErrNotComputed", c, err)
		}
	}
}

func TestCompressionsHaveNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gzip", "zstd", "none"} {
		if c, err := encapsulate.ParseCompression(name); err != nil || c.String() != name {
			t.Errorf("%s is read as %s, %v", name, c, err)
		}
	}
	if c, err := encapsulate.ParseCompression("xz"); err == nil {
		t.Errorf("xz is read as %s", c)
	}
	if got := encapsulate.Compression(9).String(); got != "Compression(9)" {
		t.Errorf("an unknown compression is called %s", got)
	}
}
