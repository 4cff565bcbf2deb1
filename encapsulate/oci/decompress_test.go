package oci

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func decompressAll(t string, r io.Reader) ([]byte, error) {
	z, err := decompress(t, r, false)
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
	for mediaType, data := range map[string][]byte{
		ocispec.MediaTypeImageLayerGzip: gz.Bytes(),
		ocispec.MediaTypeImageLayerZstd: zs.Bytes(),
		ocispec.MediaTypeImageLayer:     []byte(text),
	} {
		if got, err := decompressAll(mediaType, bytes.NewReader(data)); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", mediaType, got, err)
		}
	}
	for _, c := range []struct {
		mediaType  string
		data, says string
	}{
		{ocispec.MediaTypeImageLayerGzip, "this is not a gzip stream", "invalid gzip stream: "},
		{ocispec.MediaTypeImageLayerZstd, "this is not a zstd stream", "invalid zstd stream: "},
		{ocispec.MediaTypeImageLayerGzip, gz.String()[:gz.Len()-9], "invalid gzip stream: "},
		{ocispec.MediaTypeImageLayerZstd, zs.String()[:zs.Len()-9], "invalid zstd stream: "},
	} {
		_, err := decompressAll(c.mediaType, strings.NewReader(c.data))
		if err == nil || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%q as %s: got %v, want %q", c.data, c.mediaType, err, c.says)
		}
	}
	// A stream that cannot be read is not reported as invalid.
	broken := errors.New("connection reset")
	for mediaType, data := range map[string]string{
		ocispec.MediaTypeImageLayerGzip: gz.String()[:12],
		ocispec.MediaTypeImageLayerZstd: zs.String()[:6],
	} {
		r := io.MultiReader(strings.NewReader(data), iotest.ErrReader(broken))
		if _, err := decompressAll(mediaType, r); !errors.Is(err, broken) || strings.Contains(err.Error(), "invalid") {
			t.Errorf("%s that breaks: %v", mediaType, err)
		}
	}
	for _, mediaType := range []string{ocispec.MediaTypeImageConfig, "application/x-bzip2", ""} {
		if _, err := decompressAll(mediaType, strings.NewReader("")); !errors.Is(err, ErrLayerType) {
			t.Errorf("%q: %v", mediaType, err)
		}
	}
}

func TestACompressionThatIsNotReadIsNamed(t *testing.T) {
	t.Parallel()
	for start, says := range map[string]string{
		"\xfd7zXZ\x00\x00\x04": "compressed with xz: ", "BZh91AY&SY\x00": "compressed with bzip2: ",
		"BZh11AY&SY\x00": "compressed with bzip2: ", "\x04\x22\x4d\x18@": "compressed with lz4: ",
		"LZIP\x01\x0c": "compressed with lzip: ",
		// Names of files.
		"BZh9": "", "BZhoo/data": "", "LZIP": "", "\xfd7zXZ-": "", "": "",
	} {
		l := &Layer{Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip}}
		for _, strict := range []bool{false, true} {
			rest := strings.Repeat("\x00", 100)
			if start == "" {
				rest = ""
			}
			err := decompressed(l, strings.NewReader(start+rest), strict, func(r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			if got := errors.Is(err, ErrLayerType); got != (says != "") || got && !strings.Contains(err.Error(), says) {
				t.Errorf("%q: %v, want %q", start, err, says)
			}
		}
	}
}
