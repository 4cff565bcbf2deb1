package plan_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/container/diffids"
	"github.com/ostree-ext/ostree-ext-go/container/flatten"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// alter returns a changed copy of an image. Labels stay as they were.
func alter(t *testing.T, m made, change func(*altered)) *oci.Image {
	t.Helper()
	a := &altered{t: t, blobs: map[v1.Hash][]byte{}}
	if err := json.Unmarshal(m.config, &a.config); err != nil {
		t.Fatal(err)
	}
	for h, data := range m.blobs {
		a.blobs[h] = data
	}
	a.manifest = *m.manifest
	a.manifest.Layers = slices.Clone(m.manifest.Layers)
	change(a)
	data, err := json.Marshal(a.config)
	if err != nil {
		t.Fatal(err)
	}
	return asPrior(t, &a.manifest, data, a.blobs, nil)
}

type altered struct {
	t        *testing.T
	config   v1.ConfigFile
	manifest v1.Manifest
	blobs    map[v1.Hash][]byte
}

// insert puts an uncompressed layer with one file at a position.
func (a *altered) insert(at int, name, content string) {
	a.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}
	if err := w.WriteHeader(&h); err != nil {
		a.t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		a.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		a.t.Fatal(err)
	}
	hash, size, err := v1.SHA256(bytes.NewReader(b.Bytes()))
	if err != nil {
		a.t.Fatal(err)
	}
	a.blobs[hash] = b.Bytes()
	d := v1.Descriptor{MediaType: types.OCIUncompressedLayer, Digest: hash, Size: size}
	a.manifest.Layers = slices.Insert(a.manifest.Layers, at, d)
	a.config.RootFS.DiffIDs = slices.Insert(a.config.RootFS.DiffIDs, at, hash)
	a.config.History = slices.Insert(a.config.History, at, v1.History{CreatedBy: "COPY"})
}

// swap exchanges two layers.
func (a *altered) swap(i, j int) {
	l, d := a.manifest.Layers, a.config.RootFS.DiffIDs
	l[i], l[j], d[i], d[j] = l[j], l[i], d[j], d[i]
}

// relabel makes a diff-id name the blob of another layer, as anyone who replaces a layer can.
func (a *altered) relabel(i, j int) {
	a.config.RootFS.DiffIDs[i] = a.config.RootFS.DiffIDs[j]
}

// unbind changes the plan to the older form, which does not say which layers it describes.
func (a *altered) unbind() {
	a.t.Helper()
	label := a.config.Config.Labels[chunking.LabelRecord]
	r, err := chunking.ParseRecord(label)
	if err != nil {
		a.t.Fatal(err)
	}
	r.At, r.Bound = 0, [32]byte{}
	if a.config.Config.Labels[chunking.LabelRecord], err = r.Encode(); err != nil {
		a.t.Fatal(err)
	}
}

// decompress replaces a layer by one that is not compressed, and keeps its media type, as some programs do.
func (a *altered) decompress(i int) {
	a.t.Helper()
	l := &a.manifest.Layers[i]
	r, err := gzip.NewReader(bytes.NewReader(a.blobs[l.Digest]))
	if err != nil {
		a.t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		a.t.Fatal(err)
	}
	if l.Digest, l.Size, err = v1.SHA256(bytes.NewReader(data)); err != nil {
		a.t.Fatal(err)
	}
	a.blobs[l.Digest] = data
}

// described lists the entries of a tree, without times.
func described(t *testing.T, tree rootfs.Tree) []string {
	t.Helper()
	var out []string
	for i, e := range tree.Entries().All() {
		line := fmt.Sprintf("%s %o", e.Path(), e.Mode)
		if e.IsRegular() {
			r, err := tree.Open(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			h, _, _ := v1.SHA256(bytes.NewReader(data))
			line += " " + h.Hex
		}
		out = append(out, line)
	}
	return out
}

// TestABlobThatIsNotWhatItsDiffIDSaysIsFound checks that the layer is made if CheckHeld rejects it, and that
// otherwise unpacking the image fails.
func TestABlobThatIsNotWhatItsDiffIDSaysIsFound(t *testing.T) {
	t.Parallel()
	for _, checked := range []bool{true, false} {
		p, err := planOf(t, system(t), true, plan.Options{MaxLayers: 20})
		if err != nil {
			t.Fatal(err)
		}
		prior := alter(t, finish(t, p), func(a *altered) { a.unbind(); a.relabel(2, 4) })
		opts := plan.Options{MaxLayers: 20, Prior: prior}
		if checked {
			cache := diffids.Open(t.TempDir())
			opts.Image.CheckHeld = func(ctx context.Context, h encapsulate.Held) (bool, error) {
				return cache.Check(ctx, h.Image, h.Layer)
			}
		}
		if p, err = planOf(t, system(t), true, opts); err != nil {
			t.Fatal(err)
		}
		m := finish(t, p)
		img, err := flatten.Open(t.Context(), asPrior(t, m.manifest, m.config, m.blobs, nil), flatten.Options{})
		if checked != (err == nil) || !checked && !errors.Is(err, oci.ErrLayerMismatch) {
			t.Errorf("checked %t: %v", checked, err)
		}
		if err == nil {
			_ = img.Close()
		}
	}
}

// TestALayerThatCannotBeReadAsItsMediaTypeIsMadeAnew checks that an image has no layer that readers which believe its
// media type cannot read, or that is not there.
func TestALayerThatCannotBeReadAsItsMediaTypeIsMadeAnew(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*altered){
		"not compressed": func(a *altered) { a.decompress(3) },
		"not there":      func(a *altered) { a.blobs[a.manifest.Layers[3].Digest] = nil },
	} {
		p, err := planOf(t, system(t), true, plan.Options{MaxLayers: 20})
		if err != nil {
			t.Fatal(err)
		}
		before := finish(t, p)
		prior := alter(t, before, change)
		if p, err = planOf(t, system(t), true, plan.Options{MaxLayers: 20, Prior: prior}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before.manifest.Layers, finish(t, p).manifest.Layers); diff != "" {
			t.Errorf("%s: layers (-first +second):\n%s", name, diff)
		}
	}
}

// gone is the content of an image whose blobs a registry has deleted.
type gone struct{}

func (gone) Blob(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
	return nil, errors.New("404 Not Found")
}
func (gone) Parallel() bool { return true }
func (gone) Close() error   { return nil }

func TestAnErrorAboutAKeptLayerNamesThePriorImage(t *testing.T) {
	t.Parallel()
	p, err := planOf(t, system(t), true, plan.Options{MaxLayers: 20})
	if err != nil {
		t.Fatal(err)
	}
	before := finish(t, p)
	raw, err := json.Marshal(before.manifest)
	if err != nil {
		t.Fatal(err)
	}
	var view ocispec.Manifest
	if err := json.Unmarshal(raw, &view); err != nil {
		t.Fatal(err)
	}
	prior, err := oci.New(oci.Document{Raw: raw}, view, before.config, gone{})
	if err != nil {
		t.Fatal(err)
	}
	prior.Name = "docker://registry.example/os"
	if p, err = planOf(t, system(t), true, plan.Options{MaxLayers: 20, Prior: prior}); err != nil {
		t.Fatal(err)
	}
	img, err := p.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	_, err = layers[0].Compressed()
	if err == nil || !strings.Contains(err.Error(), prior.Name) || !strings.Contains(err.Error(), "another prior image") ||
		!strings.Contains(err.Error(), "404") {
		t.Errorf("got %v", err)
	}
}

// TestAPriorImageThatSomebodyChangedNeverDecidesAboutContent checks that the image unpacks to the tree whatever the
// prior image claims, and that unchanged layers are kept where that can be known.
func TestAPriorImageThatSomebodyChangedNeverDecidesAboutContent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*altered)
		kept   bool   // whether layers are kept
		warns  string // part of a warning, or nothing
	}{
		{"as it was made", func(*altered) {}, true, ""},
		{"a layer on top", func(a *altered) { a.insert(len(a.manifest.Layers), "derived", "more") }, true, ""},
		{"a layer on top with files that the new tree has", func(a *altered) {
			a.insert(len(a.manifest.Layers), "opt/unowned", "nobody's")
		}, true, ""},
		{"three layers on top", func(a *altered) {
			for i := range 3 {
				a.insert(len(a.manifest.Layers), fmt.Sprint("derived", i), "more")
			}
		}, true, ""},
		{"a layer below", func(a *altered) { a.insert(0, "base", "x") }, true, "other layers than the image has"},
		{"a layer in between", func(a *altered) { a.insert(3, "base", "x") }, true, "other layers than the image has"},
		{"two layers that changed places", func(a *altered) { a.swap(2, 4) }, true, "other layers than the image has"},
		{"a diff-id of another layer", func(a *altered) { a.relabel(2, 4) }, true, "other layers than the image has"},
		{"an old plan", func(a *altered) { a.unbind() }, true, ""},
		{"an old plan and a layer on top", func(a *altered) {
			a.unbind()
			a.insert(len(a.manifest.Layers), "derived", "more")
		}, true, ""},
		{"an old plan and a layer below", func(a *altered) { a.unbind(); a.insert(0, "base", "x") }, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := planOf(t, system(t), true, plan.Options{MaxLayers: 20})
			if err != nil {
				t.Fatal(err)
			}
			prior := alter(t, finish(t, p), c.change)
			after := system(t, 7)
			if p, err = planOf(t, after, true, plan.Options{MaxLayers: 20, Prior: prior}); err != nil {
				t.Fatal(err)
			}
			m := finish(t, p)
			if warned := strings.Join(p.Warnings, "\n"); c.warns == "" && warned != "" || !strings.Contains(warned, c.warns) {
				t.Errorf("warnings %q, want %q", warned, c.warns)
			}
			if c.kept != (m.reused > 0) {
				t.Errorf("%d layers are kept of %d", m.reused, len(m.manifest.Layers))
			}
			img, err := flatten.Open(t.Context(), asPrior(t, m.manifest, m.config, m.blobs, nil), flatten.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			want, got := described(t, dir(t, after)), described(t, img)
			if !slices.Equal(want, got) {
				t.Errorf("the image has\n%s\nthe tree\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
