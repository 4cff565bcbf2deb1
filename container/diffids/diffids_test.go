package diffids_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/diffids"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// blobs counts how often a blob is opened.
type blobs struct {
	data   map[digest.Digest][]byte
	opened int
}

func (b *blobs) Blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	b.opened++
	return io.NopCloser(bytes.NewReader(b.data[d.Digest])), nil
}
func (b *blobs) Parallel() bool { return true }
func (b *blobs) Close() error   { return nil }

func TestABlobIsReadOnceAndBelievedOnlyIfItHasItsDiffID(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("layer"), 1000)
	for _, c := range []struct {
		name      string
		mediaType string
		diffID    digest.Digest
		want      bool
		opened    int // after two checks
	}{
		{"the layer that was promised", ocispec.MediaTypeImageLayer, digest.FromBytes(data), true, 1},
		{"another layer", ocispec.MediaTypeImageLayer, digest.FromString("x"), false, 2},
		{"a layer that is not compressed as it says", ocispec.MediaTypeImageLayerGzip, digest.FromBytes(data), false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := ocispec.Descriptor{MediaType: c.mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
			config := []byte(`{"rootfs":{"diff_ids":["` + c.diffID.String() + `"]}}`)
			content := &blobs{data: map[digest.Digest][]byte{d.Digest: data}}
			img, err := oci.New(oci.Document{}, ocispec.Manifest{Layers: []ocispec.Descriptor{d}}, config, content)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for range 2 { // as two runs of a program do
				if got, err := diffids.Open(dir).Check(t.Context(), img, &img.Layers[0]); err != nil || got != c.want {
					t.Errorf("got %t, %v; want %t", got, err, c.want)
				}
			}
			if content.opened != c.opened {
				t.Errorf("the blob was opened %d times, want %d", content.opened, c.opened)
			}
		})
	}
}
