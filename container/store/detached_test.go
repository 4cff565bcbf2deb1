package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// The diff-ids of the layer that upstream's program makes of the commit of its tests, without detached metadata and
// with the key that its tests use.
const (
	exampleDiffID      = "sha256:7806c7dac60c4a4d225dacec2aaa635b7acef922aa3f6afdc54a07291d4f19b1"
	exampleNotedDiffID = "sha256:1d4f581ee04d7a80f23af6349e18aa01ae44b91e9b4822626cc48538ea2cb8c3"
)

// note is the detached metadata of upstream's tests.
func note() []byte {
	return gvariant.Dict{}.Set("my-detached-key", gvariant.String("my-detached-value")).Encode()
}

// example writes an image of the commit of upstream's tests to a new OCI directory, in chunks or not.
func example(t *testing.T, chunks bool, opts encapsulate.Options) imgref.ImageReference {
	t.Helper()
	r := repotest.Init(t, repo.ModeArchive)
	id := repotest.CommitExample(t, r, repotest.ExampleCommit)
	if chunks {
		all, err := repo.CommitContent(t.Context(), r, id)
		if err != nil {
			t.Fatal(err)
		}
		opts.Split = &chunking.Split{Layers: []chunking.Layer{{Name: "all", Content: all}}}
	}
	img, err := encapsulate.Build(t.Context(), r, id, opts)
	if err != nil {
		t.Fatal(err)
	}
	ref := imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir()}
	if _, err := dest.Write(t.Context(), img, ref, dest.Options{}); err != nil {
		t.Fatal(err)
	}
	return ref
}

func replaceDetached(t *testing.T, from imgref.ImageReference, detached []byte) imgref.ImageReference {
	t.Helper()
	to := imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir()}
	d, err := store.ReplaceDetached(t.Context(), from, to, detached, store.DetachedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if img := opened(t, to); img.Top.Digest != d {
		t.Errorf("the digest is %s, and that of the image %s", d, img.Top.Digest)
	}
	return to
}

func opened(t *testing.T, ref imgref.ImageReference) *oci.Image {
	t.Helper()
	img, err := source.Open(t.Context(), imgref.Unverified(ref), source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	return img
}

func TestUpstream_ReplaceDetachedMetadata(t *testing.T) {
	for _, compression := range []encapsulate.Compression{encapsulate.Gzip, encapsulate.Zstd, encapsulate.Uncompressed} {
		for _, chunks := range []bool{false, true} {
			from := example(t, chunks, encapsulate.Options{Compression: compression, Labels: map[string]string{"foo": "bar"}})
			before := opened(t, from)
			noted := replaceDetached(t, from, note())
			img := opened(t, noted)
			if img.Layers[0].DiffID == before.Layers[0].DiffID {
				t.Fatal("the diff-id of the commit's layer did not change")
			}
			if !chunks && img.Layers[0].DiffID != exampleNotedDiffID {
				t.Errorf("the diff-id is %s, want %s", img.Layers[0].DiffID, exampleNotedDiffID)
			}
			if got, want := img.Layers[0].Descriptor.MediaType, before.Layers[0].Descriptor.MediaType; got != want {
				t.Errorf("the media type is %s, want %s", got, want)
			}
			label, annotation := img.Config.Labels[oci.LabelDiffID], img.Manifest.Annotations[oci.LabelDiffID]
			if want := img.Layers[len(img.Layers)-1].DiffID.String(); label != want || annotation != want {
				t.Errorf("label %s, annotation %s, want %s", label, annotation, want)
			}
			for i := 1; i < len(img.Layers); i++ {
				if diff := cmp.Diff(before.Layers[i].Descriptor, img.Layers[i].Descriptor); diff != "" {
					t.Errorf("another layer (-before +after):\n%s", diff)
				}
			}
			r := newRepo(t, repo.ModeBareUser)
			res, err := container.Unencapsulate(t.Context(), r, imgref.Unverified(noted), source.Options{},
				container.ImportOptions{})
			if err != nil {
				t.Fatal(err)
			}
			d, err := repo.LoadDetachedMetadata(t.Context(), r, res.Commit)
			if v, ok := d.Lookup("my-detached-key"); !ok || err != nil {
				t.Errorf("the imported commit has the metadata %v, %v: %v", d, err, v)
			}
			// Without them the image is the one from before.
			back := opened(t, replaceDetached(t, noted, nil))
			if back.Layers[0].DiffID != before.Layers[0].DiffID || !chunks && back.Layers[0].DiffID != exampleDiffID {
				t.Errorf("without metadata the diff-id is %s, want %s", back.Layers[0].DiffID, before.Layers[0].DiffID)
			}
			if got, want := back.Layers[0].Descriptor.Digest, before.Layers[0].Descriptor.Digest; got != want {
				t.Errorf("the blob of the layer is %s, want %s", got, want)
			}
			if string(back.RawConfig) != string(before.RawConfig) {
				t.Errorf("the configuration is\n%s\nwant\n%s", back.RawConfig, before.RawConfig)
			}
			var a, b any
			if err := errors.Join(json.Unmarshal(before.Top.Raw, &a), json.Unmarshal(back.Top.Raw, &b)); err != nil {
				t.Fatal(err)
			}
			a.(map[string]any)["mediaType"] = b.(map[string]any)["mediaType"]
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("the manifest (-before +after):\n%s", diff)
			}
		}
	}
}

// Upstream's program leaves the old label in such an image, and then cannot read it.
func TestDetachedMetadataBelowADerivedLayerAreReplaced(t *testing.T) {
	from := example(t, false, encapsulate.Options{})
	index, err := layout.ImageIndexFromPath(from.Name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	base, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.Append(base, mutate.Addendum{
		Layer: files(t, "usr/share/x", "x"), History: v1.History{CreatedBy: "RUN x"},
		Annotations: map[string]string{"org.example": "kept"},
	})
	if err != nil {
		t.Fatal(err)
	}
	img = mutate.Annotations(img, map[string]string{"org.example.image": "kept"}).(v1.Image)
	reg := testreg.New(t)
	src := push(t, reg.Host, "os:latest", img)
	to := imgref.ImageReference{Transport: imgref.Registry, Name: reg.Host + "/signed:latest"}
	opts := store.DetachedOptions{Source: plainHTTP, Dest: dest.Options{Registry: plainHTTP.Registry}}
	d, err := store.ReplaceDetached(t.Context(), src.Image, to, note(), opts)
	if err != nil {
		t.Fatal(err)
	}
	got, err := source.Open(t.Context(), imgref.Unverified(to), plainHTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Close() }()
	layers, err := got.CommitLayers()
	if err != nil || len(layers.Derived) != 1 || got.Top.Digest != d {
		t.Fatalf("the image %s, want %s, has the layers %+v, %v", got.Top.Digest, d, layers, err)
	}
	if a := layers.Derived[0].Descriptor.Annotations["org.example"]; a != "kept" {
		t.Errorf("the annotation of the layer is %q", a)
	}
	if a := got.Manifest.Annotations["org.example.image"]; a != "kept" {
		t.Errorf("the annotation of the image is %q", a)
	}
	if h := layers.Derived[0].History; h == nil || h.CreatedBy != "RUN x" {
		t.Errorf("the history is %v", h)
	}
	r := newRepo(t, repo.ModeBareUser)
	res := importNow(t, r, imgref.Unverified(to), store.ImportOptions{})
	if content := read(t, r, res.Commit, "/usr/share/x"); content != "x" {
		t.Errorf("the file of the derived layer is %q", content)
	}
}

// TestACommitIsSignedOnlyIfItsLayerIsWhatTheManifestSays checks that nothing is handed to a signer that is not the
// commit of the image.
func TestACommitIsSignedOnlyIfItsLayerIsWhatTheManifestSays(t *testing.T) {
	from := example(t, true, encapsulate.Options{})
	noted := replaceDetached(t, from, note())
	to := imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir()}
	var asked [][]byte
	opts := store.DetachedOptions{Change: func(_ context.Context, commit, detached []byte) ([]byte, error) {
		if object.HashMetadata(commit).String() != repotest.ExampleCommit {
			t.Errorf("asked to sign %x", commit)
		}
		asked = append(asked, detached)
		return note(), nil
	}}
	for _, src := range []imgref.ImageReference{from, noted} {
		if _, err := store.ReplaceDetached(t.Context(), src, to, nil, opts); err != nil {
			t.Fatal(err)
		}
		if id := opened(t, to).Layers[0].DiffID.String(); id != opened(t, noted).Layers[0].DiffID.String() {
			t.Errorf("the first layer has the diff-id %s", id)
		}
	}
	if diff := cmp.Diff([][]byte{nil, note()}, asked); diff != "" {
		t.Errorf("metadata of the images (-want +got):\n%s", diff)
	}
	asked = nil
	blob := filepath.Join(from.Name, "blobs/sha256", opened(t, from).Layers[0].Descriptor.Digest.Encoded())
	data, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(blob, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ReplaceDetached(t.Context(), from, to, nil, opts); err == nil || asked != nil {
		t.Errorf("with a damaged layer: %v, asked about %d commits", err, len(asked))
	}
	wrong := example(t, true, encapsulate.Options{ConfigLabels: func([]digest.Digest) (map[string]string, error) {
		return map[string]string{oci.LabelCommit: strings.Repeat("0", 64)}, nil
	}})
	var mismatch *oci.CommitMismatchError
	if _, err := store.ReplaceDetached(t.Context(), wrong, to, nil, opts); !errors.As(err, &mismatch) || asked != nil {
		t.Errorf("with another commit in the label: %v, asked about %d commits", err, len(asked))
	}
}

func TestDetachedMetadataOfAnOrdinaryImageAreNotReplaced(t *testing.T) {
	from := writeLayout(t, image(t, files(t, "usr/a", "a"))).Image
	to := imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir()}
	_, err := store.ReplaceDetached(t.Context(), from, to, nil, store.DetachedOptions{})
	if !errors.Is(err, oci.ErrNotEncapsulated) {
		t.Errorf("got %v, want ErrNotEncapsulated", err)
	}
}

func TestThePlanOfAnImageIsBoundToTheNewLayers(t *testing.T) {
	rec := &chunking.Record{Format: "ostree", Components: map[string]chunking.Known{}}
	from := example(t, false, encapsulate.Options{ConfigLabels: func(ids []digest.Digest) (map[string]string, error) {
		if err := rec.Bind(0, []string{ids[0].String()}); err != nil {
			return nil, err
		}
		label, err := rec.Encode()
		return map[string]string{chunking.LabelRecord: label}, err
	}})
	img := opened(t, replaceDetached(t, from, note()))
	got, err := chunking.ParseRecord(img.Config.Labels[chunking.LabelRecord])
	if err != nil {
		t.Fatal(err)
	}
	if got.Fit([]string{img.Layers[0].DiffID.String()}) != chunking.Fitting {
		t.Error("the plan does not fit the image any more")
	}
}
