package encapsulate_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

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
	if _, err := decompress(types.OCILayer, strings.NewReader("this is no gzip stream")); err == nil || !strings.Contains(err.Error(), "invalid header") {
		t.Errorf("what is no gzip stream: %v", err)
	}
	if _, err := decompress(types.OCILayerZStd, strings.NewReader("this is no zstd stream")); err == nil {
		t.Error("what is no zstd stream is taken")
	}
	for _, mediaType := range []types.MediaType{types.DockerConfigJSON, "application/x-bzip2", ""} {
		if _, err := decompress(mediaType, strings.NewReader("")); !errors.Is(err, encapsulate.ErrLayerType) {
			t.Errorf("%q: %v", mediaType, err)
		}
	}
}
