package layout_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ggcr "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
)

func image(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(10_000, 3)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// sideBySide calls f concurrently with the numbers below n.
func sideBySide(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := f(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestEveryTagIsThereThatWasWrittenAtOnce(t *testing.T) {
	t.Parallel()
	const n = 12
	dir := filepath.Join(t.TempDir(), "new")
	var images [n]v1.Image
	for i := range images {
		images[i] = image(t)
	}
	sideBySide(t, n, func(i int) error {
		_, err := layout.Write(t.Context(), images[i], dir, fmt.Sprint("t", i))
		return err
	})
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		t.Fatal(err)
	}
	tags := map[string]bool{}
	for _, d := range index.Manifests {
		tags[d.Annotations[ocispec.AnnotationRefName]] = true
	}
	if len(tags) != n || len(index.Manifests) != n {
		t.Errorf("got %d tags of %d images, want %d", len(tags), len(index.Manifests), n)
	}
	read, err := ggcr.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(read); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"blobs", "index.json", "oci-layout"}, names(t, dir)); diff != "" {
		t.Errorf("what is there (-want +got):\n%s", diff)
	}
}

func TestADirectoryHasOneWholeImageWhoeverWroteIt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	sideBySide(t, 6, func(int) error {
		_, err := layout.WriteDir(t.Context(), image(t), dir)
		return err
	})
	data, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"version": true, "manifest.json": true, m.Config.Digest.Hex: true}
	for _, l := range m.Layers {
		want[l.Digest.Hex] = true
	}
	got := map[string]bool{}
	for _, n := range names(t, dir) {
		got[n] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is there (-want +got):\n%s", diff)
	}
}

func TestLayersWithoutAnImage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	layers, err := image(t).Layers()
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.WriteLayers(t.Context(), layers, dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"blobs"}, names(t, dir)); diff != "" {
		t.Errorf("what is there (-want +got):\n%s", diff)
	}
	for _, l := range layers {
		h, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(filepath.Join(dir, "blobs", "sha256", h.Hex))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := v1.SHA256(f)
		if err := errors.Join(err, f.Close()); err != nil || got != h {
			t.Errorf("got %s, %v; want %s", got, err, h)
		}
	}
}

// An index in which two readers see two lists of images is not rewritten, since one of the lists would be lost.
func TestAnAmbiguousIndexIsNotRewritten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := layout.Write(t.Context(), image(t), dir, "a"); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, ocispec.ImageIndexFile)
	ambiguous := []byte(`{"schemaVersion": 2, "manifests": [], "Manifests": []}`)
	if err := os.WriteFile(name, ambiguous, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := layout.Write(t.Context(), image(t), dir, "b"); !errors.Is(err, jsonkeys.ErrAmbiguous) {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(name); err != nil || string(data) != string(ambiguous) {
		t.Errorf("the index is %s, %v", data, err)
	}
}

// A killed writer's temporary file is removed by the next write. That of a running writer stays.
func TestWhatAKilledWriterLeftIsRemoved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := layout.Write(t.Context(), image(t), dir, "a"); err != nil {
		t.Fatal(err)
	}
	before := names(t, filepath.Join(dir, "blobs", "sha256"))
	stale := filepath.Join(dir, "blobs", "sha256", ".ostree-ext-tmp-stale")
	if err := os.WriteFile(stale, []byte("half a layer"), 0o600); err != nil {
		t.Fatal(err)
	}
	living := &slow{Layer: mustLayer(t), started: make(chan struct{}), end: make(chan struct{})}
	done := make(chan error)
	go func() { done <- layout.WriteLayers(t.Context(), []v1.Layer{living}, dir) }()
	<-living.started
	if _, err := layout.Write(t.Context(), image(t), dir, "b"); err != nil {
		t.Fatal(err)
	}
	close(living.end)
	if err := <-done; err != nil {
		t.Errorf("the other writer: %v", err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the killed writer's file: %v", err)
	}
	if got, want := len(names(t, filepath.Join(dir, "blobs", "sha256"))), len(before)*2+1; got != want {
		t.Errorf("%d blobs are there, want %d", got, want)
	}
}

func mustLayer(t *testing.T) v1.Layer {
	t.Helper()
	layers, err := image(t).Layers()
	if err != nil {
		t.Fatal(err)
	}
	return layers[0]
}

// slow is a layer that blocks in the middle until it is released.
type slow struct {
	v1.Layer
	started, end chan struct{}
}

func (s *slow) Compressed() (io.ReadCloser, error) {
	r, err := s.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	return &pausing{ReadCloser: r, s: s}, nil
}

type pausing struct {
	io.ReadCloser
	s     *slow
	reads int
}

func (p *pausing) Read(b []byte) (int, error) {
	p.reads++
	if p.reads == 2 { // the first bytes are written
		close(p.s.started)
		<-p.s.end
	}
	return p.ReadCloser.Read(b[:min(len(b), 100)])
}
