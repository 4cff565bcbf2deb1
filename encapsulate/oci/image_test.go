package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// content maps digests to blobs.
type content map[digest.Digest][]byte

func (c content) Blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c[d.Digest])), nil
}
func (c content) Parallel() bool { return true }
func (c content) Close() error   { return nil }

// streams is a content with some layers in another form.
type streams struct {
	content
	plain map[digest.Digest]string // by diff-id
}

func (s streams) Stream(_ context.Context, l *oci.Layer) (io.ReadCloser, error) {
	text, ok := s.plain[l.DiffID]
	if !ok {
		return nil, nil
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

// image makes an image with uncompressed layers of the given content.
func image(
	t *testing.T, c oci.Content, labels map[string]string, history []ocispec.History, layers ...string,
) *oci.Image {
	t.Helper()
	var m ocispec.Manifest
	diffIDs := []digest.Digest{}
	for _, text := range layers {
		d := digest.FromString(text)
		diffIDs = append(diffIDs, d)
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: int64(len(text)),
		})
	}
	config, err := json.Marshal(map[string]any{
		"config": map[string]any{"Labels": labels}, "history": history, "rootfs": map[string]any{"diff_ids": diffIDs},
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := oci.New(oci.Document{Raw: []byte("{}")}, m, config, c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func kinds(img *oci.Image) (out []string) {
	for _, l := range img.Layers {
		out = append(out, l.Kind.String())
	}
	return out
}

func TestLayersAreToldApart(t *testing.T) {
	t.Parallel()
	last := func(text string) map[string]string {
		return map[string]string{oci.LabelDiffID: digest.FromString(text).String()}
	}
	for _, c := range []struct {
		name   string
		labels map[string]string
		layers []string
		want   []string
	}{
		{"an ordinary image", nil, []string{"a", "b"}, []string{"plain", "plain"}},
		{"a commit in one layer", last("a"), []string{"a"}, []string{"commit"}},
		{"a commit in chunks", last("c"), []string{"a", "b", "c"}, []string{"commit", "chunk", "chunk"}},
		{"layers on top", last("b"), []string{"a", "b", "c", "d"}, []string{"commit", "chunk", "derived", "derived"}},
		{"a label of no layer", last("x"), []string{"a", "b"}, []string{"plain", "plain"}},
	} {
		img := image(t, nil, c.labels, nil, c.layers...)
		if diff := cmp.Diff(c.want, kinds(img)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		// The configuration alone gives the same kinds.
		alone, err := oci.FromDocument(img.RawConfig)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, kinds(alone)); diff != "" {
			t.Errorf("%s, by the configuration alone (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestALayerOfAnUnknownMediaTypeIsOneWhereverItStands(t *testing.T) {
	t.Parallel()
	m := ocispec.Manifest{Layers: []ocispec.Descriptor{{MediaType: "text/html"}}}
	img, err := oci.New(oci.Document{Raw: []byte("{}")}, m, []byte(`{"rootfs":{"diff_ids":["sha256:00"]}}`), content{})
	if err != nil {
		t.Fatal(err)
	}
	if got := img.Layers[0].Kind; got != oci.Unknown {
		t.Errorf("the kind is %s", got)
	}
	err = img.ReadLayer(t.Context(), &img.Layers[0], oci.ReadOptions{}, func(io.Reader) error { return nil })
	if !errors.Is(err, oci.ErrLayerType) || !errors.Is(err, oci.ErrNotEncapsulated) {
		t.Errorf("reading it: %v", err)
	}
}

func TestEntriesOfTheHistoryWithoutALayerArePassedOver(t *testing.T) {
	t.Parallel()
	history := []ocispec.History{{CreatedBy: "FROM"}, {CreatedBy: "ENV", EmptyLayer: true}, {CreatedBy: "RUN"}}
	img := image(t, nil, nil, history, "a", "b")
	if got := []string{img.Layers[0].Title(), img.Layers[1].Title()}; !cmp.Equal(got, []string{"FROM", "RUN"}) {
		t.Errorf("titles are %q", got)
	}
	// It is not known which of two layers a single entry belongs to.
	img = image(t, nil, nil, history[:1], "a", "b")
	if got := img.Layers[0]; got.History != nil || got.Title() != got.Descriptor.Digest.String() {
		t.Errorf("the first layer is called %q", got.Title())
	}
}

func TestALayerIsBelievedOnlyWhenAllOfItWasRead(t *testing.T) {
	t.Parallel()
	all := func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
	a := digest.FromString("aaaa")
	blob := content{a: []byte("aaaa")}
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		content oci.Content
		use     func(io.Reader) error
		want    error
	}{
		{"as it should be", blob, all, nil},
		{"other bytes", content{a: []byte("aaab")}, all, oci.ErrMismatch},
		{"too few bytes", content{a: []byte("aa")}, all, oci.ErrMismatch},
		{"too many bytes", content{a: []byte("aaaaa")}, all, oci.ErrMismatch},
		{"an error of the reader", blob, func(io.Reader) error { return broken }, broken},
		{"an error of the reader that the bytes are to blame for", content{a: []byte("b")}, func(r io.Reader) error {
			return errors.Join(broken, all(r))
		}, oci.ErrMismatch},
		{"a reader that has seen enough", content{a: []byte("aa")}, func(r io.Reader) error {
			_, err := io.ReadFull(r, make([]byte, 1))
			return errors.Join(oci.ErrStop, err)
		}, oci.ErrStop},
		{"a stream instead of a blob", streams{content{}, map[digest.Digest]string{a: "aaaa"}}, all, nil},
		{"a stream of another layer", streams{content{}, map[digest.Digest]string{a: "aaab"}}, all, oci.ErrLayerMismatch},
		{"a blob beside streams", streams{blob, nil}, all, nil},
		{"documents alone", nil, all, oci.ErrNoContent},
	} {
		img := image(t, c.content, nil, nil, "aaaa")
		if err := img.ReadLayer(t.Context(), &img.Layers[0], oci.ReadOptions{}, c.use); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestReadingALayerEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	text := strings.Repeat("a", 10<<20)
	img := image(t, content{digest.FromString(text): []byte(text)}, nil, nil, text)
	err := img.ReadLayer(ctx, &img.Layers[0], oci.ReadOptions{}, func(r io.Reader) error {
		cancel()
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWhatFollowsTheArchiveIsBounded(t *testing.T) {
	t.Parallel()
	text := "archive" + strings.Repeat("x", 100)
	img := image(t, content{digest.FromString(text): []byte(text)}, nil, nil, text)
	read := func(r io.Reader) error { _, err := io.ReadFull(r, make([]byte, 7)); return err }
	for rest, want := range map[int64]error{0: nil, 100: nil, 99: oci.ErrLayerMismatch} {
		if err := img.ReadLayer(t.Context(), &img.Layers[0], oci.ReadOptions{Rest: rest}, read); !errors.Is(err, want) {
			t.Errorf("a rest of %d: got %v, want %v", rest, err, want)
		}
	}
}

func TestOnlyASizeThatCanBeTrueIsReadFromTheLabel(t *testing.T) {
	t.Parallel()
	for label, want := range map[string]int64{
		"1": 1, "123456789": 123456789, "1099511627776": 1 << 40, "": 0, "0": 0, "-1": 0, "1099511627777": 0,
		"99999999999999999999": 0, "1e3": 0, "0x10": 0, "1.5": 0, " 7": 0, "many": 0,
	} {
		n, ok := oci.BootBytes(map[string]string{oci.LabelBootBytes: label})
		if ok != (want > 0) || ok && n != want {
			t.Errorf("%q: got %d, %t, want %d", label, n, ok, want)
		}
	}
	if n, ok := oci.BootBytes(nil); ok {
		t.Errorf("got %d without a label", n)
	}
}
