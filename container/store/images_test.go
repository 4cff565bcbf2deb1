package store_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// files makes a layer of regular files, given as pairs of a path and its content.
func files(t testing.TB, pairs ...string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: pairs[i], Mode: 0o644, Size: int64(len(pairs[i+1]))}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// uncompressed returns a layer without its compression.
func uncompressed(t testing.TB, l v1.Layer) v1.Layer {
	t.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return static.NewLayer(data, types.OCIUncompressedLayer)
}

// image makes an image of layers.
func image(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// chunked makes the image of a commit with a chunk for each of the files, given as pairs.
func chunked(t testing.TB, pairs ...string) v1.Image {
	t.Helper()
	r := newRepo(t.(*testing.T), repo.ModeArchive)
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tree := repo.NewMutableTree()
	meta, err := object.EncodeDirMeta(&object.DirMeta{Mode: object.ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := txn.WriteMetadata(t.Context(), object.TypeDirMeta, meta)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/", "/usr"} {
		if err := tree.SetDirMeta(t.Context(), p, dir); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
		c, err := txn.WriteFile(t.Context(), h, int64(len(pairs[i+1])), strings.NewReader(pairs[i+1]))
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.SetFile(t.Context(), pairs[i], c); err != nil {
			t.Fatal(err)
		}
	}
	c := &object.Commit{Timestamp: 1}
	if c.Tree, c.Meta, err = tree.WriteTo(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	id, err := txn.WriteCommit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	content, err := repo.CommitContent(t.Context(), r, id)
	if err != nil {
		t.Fatal(err)
	}
	split := &chunking.Split{}
	for i := range content {
		split.Layers = append(split.Layers, chunking.Layer{Name: content[i].Path, Content: content[i : i+1]})
	}
	img, err := encapsulate.Build(t.Context(), r, id, encapsulate.Options{Split: split})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// plainHTTP accepts a registry without TLS.
var plainHTTP = source.Options{Registry: access.Options{InsecureSkipTLSVerify: true, Anonymous: true}}

// push pushes an image to a registry and returns its reference.
func push(t testing.TB, host, repository string, img v1.Image) imgref.OstreeImageReference {
	t.Helper()
	ref, err := name.ParseReference(host+"/"+repository, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return imgref.Unverified(imgref.ImageReference{Transport: imgref.Registry, Name: host + "/" + repository})
}

// read returns the content of a file of a commit, or what is wrong.
func read(t testing.TB, src repo.Source, commit object.Checksum, path string) string {
	t.Helper()
	view, err := repo.ViewCommit(t.Context(), src, commit)
	if err != nil {
		t.Fatal(err)
	}
	data, err := view.ReadFile(t.Context(), path, 1<<20)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// importNow imports what was prepared.
func importNow(t testing.TB, r *repo.Repo, ref imgref.OstreeImageReference, opts store.ImportOptions) *store.Imported {
	t.Helper()
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	res, err := p.Import(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return res
}
