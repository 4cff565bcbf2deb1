package encapsulate_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
)

func decompress(t types.MediaType, r io.Reader) ([]byte, error) {
	z, err := encapsulate.Decompress(t, r)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(z)
	return data, errors.Join(err, z.Close())
}

func TestUpstream_Decompressors(t *testing.T) {
	t.Parallel()
	const text = "the text of a layer"
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for mediaType, data := range map[types.MediaType][]byte{
		types.OCILayer: gz.Bytes(), types.OCILayerZStd: zs.Bytes(), types.OCIUncompressedLayer: []byte(text),
	} {
		if got, err := decompress(mediaType, bytes.NewReader(data)); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", mediaType, got, err)
		}
	}
	for _, c := range []struct {
		mediaType  types.MediaType
		data, says string
	}{
		{types.OCILayer, "this is no gzip stream", "invalid gzip stream: "}, {types.OCILayerZStd, "this is no zstd stream", "invalid zstd stream: "},
		{types.OCILayer, gz.String()[:gz.Len()-9], "invalid gzip stream: "}, {types.OCILayerZStd, zs.String()[:zs.Len()-9], "invalid zstd stream: "},
	} {
		if _, err := decompress(c.mediaType, strings.NewReader(c.data)); err == nil || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%q as %s: got %v, want %q", c.data, c.mediaType, err, c.says)
		}
	}
	// A stream that cannot be read is not invalid.
	broken := errors.New("connection reset")
	for mediaType, data := range map[types.MediaType]string{types.OCILayer: gz.String()[:12], types.OCILayerZStd: zs.String()[:6]} {
		r := io.MultiReader(strings.NewReader(data), iotest.ErrReader(broken))
		if _, err := decompress(mediaType, r); !errors.Is(err, broken) || strings.Contains(err.Error(), "invalid") {
			t.Errorf("%s that breaks: %v", mediaType, err)
		}
	}
	for _, mediaType := range []types.MediaType{types.DockerConfigJSON, "application/x-bzip2", ""} {
		if _, err := decompress(mediaType, strings.NewReader("")); !errors.Is(err, encapsulate.ErrLayerType) {
			t.Errorf("%q: %v", mediaType, err)
		}
	}
}
