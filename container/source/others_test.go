package source_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// forest writes an OCI layout with images and indexes.
type forest struct {
	t   *testing.T
	dir string
}

// image writes an image that says what it is, and returns its entry in an index.
func (f forest) image(name string, p *ocispec.Platform) ocispec.Descriptor { return f.layered(name, p) }

// layered is image with layers of the given types.
func (f forest) layered(name string, p *ocispec.Platform, layers ...string) ocispec.Descriptor {
	f.t.Helper()
	config := []byte(`{"os":"linux","author":"` + name + `"}`)
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: put(f.t, f.dir, config),
			Size: int64(len(config))},
		Layers: []ocispec.Descriptor{},
	}
	for _, typ := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: typ, Digest: put(f.t, f.dir, []byte(typ)),
			Size: int64(len(typ))})
	}
	data := marshal(f.t, m)
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: put(f.t, f.dir, data),
		Size: int64(len(data)), Platform: p}
}

func (f forest) index(entries ...ocispec.Descriptor) ocispec.Descriptor {
	f.t.Helper()
	data := marshal(f.t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: entries})
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: put(f.t, f.dir, data),
		Size: int64(len(data))}
}

// top writes the index of the layout.
func (f forest) top(entries ...ocispec.Descriptor) {
	f.t.Helper()
	writeFile(f.t, filepath.Join(f.dir, "index.json"),
		marshal(f.t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: entries}))
}

func arch(name string) *ocispec.Platform { return &ocispec.Platform{OS: "linux", Architecture: name} }

func TestThePlatformIsFoundInIndexesOfIndexes(t *testing.T) {
	t.Parallel()
	of := func(d ocispec.Descriptor, p *ocispec.Platform) ocispec.Descriptor {
		d.Platform = p
		return d
	}
	for _, c := range []struct {
		name string
		make func(f forest) ocispec.Descriptor
		want string // the author of the image for s390x, or what the error says
		err  error
	}{
		{"in the second of two indexes", func(f forest) ocispec.Descriptor {
			return f.index(f.index(f.image("amd64", arch("amd64"))), f.index(f.image("s390x", arch("s390x"))))
		}, "s390x", nil},
		{"an index for each platform", func(f forest) ocispec.Descriptor {
			return f.index(of(f.index(f.image("amd64", nil)), arch("amd64")), of(f.index(f.image("s390x", nil)), arch("s390x")))
		}, "s390x", nil},
		{"an image is preferred to an index", func(f forest) ocispec.Descriptor {
			return f.index(f.index(f.image("nested", arch("s390x"))), f.image("near", arch("s390x")))
		}, "near", nil},
		{"an image that names no platform comes last", func(f forest) ocispec.Descriptor {
			return f.index(f.image("unnamed", nil), f.index(f.image("nested", arch("s390x"))))
		}, "nested", nil},
		{"an image that names no platform is taken if there is nothing better", func(f forest) ocispec.Descriptor {
			return f.index(f.index(f.image("amd64", arch("amd64"))), f.image("unnamed", nil))
		}, "unnamed", nil},
		{"what is not an image is left out", func(f forest) ocispec.Descriptor {
			signature, sbom := f.image("signature", nil), f.image("sbom", nil)
			signature.ArtifactType, sbom.MediaType = "application/vnd.example.signature", "application/spdx+json"
			return f.index(signature, sbom, f.index(f.image("s390x", arch("s390x"))))
		}, "s390x", nil},
		{"four deep", func(f forest) ocispec.Descriptor {
			return f.index(f.index(f.index(f.index(f.image("s390x", arch("s390x"))))))
		}, "s390x", nil},
		{"five deep", func(f forest) ocispec.Descriptor {
			return f.index(f.index(f.index(f.index(f.index(f.image("s390x", arch("s390x")))))))
		}, "nested", source.ErrInvalidManifest},
		{"an index that calls itself an image", func(f forest) ocispec.Descriptor {
			nested := f.index(f.image("s390x", arch("s390x")))
			nested.MediaType = ocispec.MediaTypeImageManifest
			return f.index(nested)
		}, "s390x", nil},
		{"many indexes without the image", func(f forest) ocispec.Descriptor {
			var all []ocispec.Descriptor
			for i := range 40 {
				all = append(all, f.index(f.image(fmt.Sprint(i), arch("amd64"))))
			}
			return f.index(all...)
		}, "more than 32", source.ErrInvalidManifest},
		{"the same index many times", func(f forest) ocispec.Descriptor {
			var all []ocispec.Descriptor
			for range 40 {
				all = append(all, f.index(f.image("amd64", arch("amd64"))))
			}
			return f.index(append(all, f.image("s390x", arch("s390x")))...)
		}, "s390x", nil},
		{"of two forms the one with tar layers", func(f forest) ocispec.Descriptor {
			return f.index(f.layered("erofs", arch("s390x"), "application/vnd.erofs.layer.v1"),
				f.layered("tar", arch("s390x"), ocispec.MediaTypeImageLayerZstd))
		}, "tar", nil},
		{"the first of two forms that cannot be read", func(f forest) ocispec.Descriptor {
			return f.index(f.layered("erofs", arch("s390x"), "application/vnd.erofs.layer.v1"),
				f.layered("other", arch("s390x"), "application/vnd.example.layer"), f.image("amd64", arch("amd64")))
		}, "erofs", nil},
		{"nowhere", func(f forest) ocispec.Descriptor {
			return f.index(f.index(f.image("amd64", arch("amd64"))), f.image("arm64", arch("arm64")))
		}, "linux/s390x", source.ErrNoPlatform},
		{"an index that is absent", func(f forest) ocispec.Descriptor {
			gone := f.index(f.image("s390x", arch("s390x")))
			remove(f.t, filepath.Join(f.dir, "blobs", "sha256", gone.Digest.Encoded()))
			return f.index(gone)
		}, "manifest", fs.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := forest{t, t.TempDir()}
			f.top(c.make(f))
			img, err := open(t, "oci:"+f.dir, source.Options{Platform: arch("s390x")})
			switch {
			case c.err == nil && err != nil:
				t.Fatal(err)
			case c.err != nil && (!errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v; want %v that says %q", err, c.err, c.want)
			case c.err == nil && (img.Config.Author != c.want || img.Index == nil || img.Index.Digest == img.Top.Digest):
				t.Errorf("got %s, index %v; want %s", img.Config.Author, img.Index, c.want)
			}
		})
	}
}

func TestIndexesOfIndexesInARegistry(t *testing.T) {
	t.Parallel()
	reg := testreg.New(t)
	index := func(entries ...mutate.IndexAddendum) v1.ImageIndex {
		return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), entries...)
	}
	var all []mutate.IndexAddendum
	digests := map[string]string{}
	for _, name := range []string{"amd64", "s390x"} {
		img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: name})
		if err != nil {
			t.Fatal(err)
		}
		h, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[name] = h.String()
		all = append(all, mutate.IndexAddendum{Add: index(mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: name}},
		})})
	}
	push(t, reg.Host+"/nested:x", index(all...))
	for name, want := range digests {
		opts := plainHTTP
		opts.Platform = arch(name)
		img, err := open(t, "docker://"+reg.Host+"/nested:x", opts)
		if err != nil {
			t.Fatal(err)
		}
		if img.Top.Digest.String() != want {
			t.Errorf("%s: got %s, want %s", name, img.Top.Digest, want)
		}
	}
}

// Nothing is fetched from the addresses in a manifest, neither for layers that are marked nor for others.
func TestLayersAreNotFetchedFromTheirURLs(t *testing.T) {
	t.Parallel()
	layer := bytes.Repeat([]byte("layer"), 1000)
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(layer)
	}))
	t.Cleanup(elsewhere.Close)
	url := elsewhere.URL + "/blob"
	reg := testreg.New(t)
	for _, mediaType := range []string{
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", ocispec.MediaTypeImageLayer,
	} {
		dir, m := newLayout(t, layer)
		m.Layers[0].MediaType, m.Layers[0].URLs = mediaType, []string{url}
		setIndex(t, dir, m)
		name := reg.Host + "/" + digest.FromString(mediaType).Encoded()[:12] + ":x"
		img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
			Layer: static.NewLayer(layer, types.MediaType(mediaType)), MediaType: types.MediaType(mediaType),
			URLs: []string{url},
		})
		if err != nil {
			t.Fatal(err)
		}
		push(t, name, img) // with layers that are marked, it does not push the blob
		marked := mediaType != ocispec.MediaTypeImageLayer
		for ref, there := range map[string]bool{"oci:" + dir: true, "docker://" + name: !marked} {
			src, err := open(t, ref, plainHTTP)
			if err != nil {
				t.Fatal(err)
			}
			if got := src.Layers[0].Foreign; marked != (got == mediaType) {
				t.Errorf("%s: the layer of type %s is marked with %q", ref, mediaType, got)
			}
			got, err := readAll(t, src, src.Layers[0].Descriptor)
			if there && (err != nil || !bytes.Equal(got, layer)) {
				t.Errorf("%s: got %d bytes, %v", ref, len(got), err)
			}
			if !there {
				checkForeign(t, err, src.Layers[0].Descriptor, url)
			}
		}
		remove(t, filepath.Join(dir, "blobs", "sha256", m.Layers[0].Digest.Encoded()))
		src, err := open(t, "oci:"+dir, source.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = readAll(t, src, src.Layers[0].Descriptor)
		checkForeign(t, err, m.Layers[0], url)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were sent to the address in the manifest", n)
	}
}

func checkForeign(t *testing.T, err error, d ocispec.Descriptor, url string) {
	t.Helper()
	if !errors.Is(err, source.ErrForeignLayer) || !strings.Contains(err.Error(), url) ||
		!strings.Contains(err.Error(), d.Digest.String()) {
		t.Errorf("got %v", err)
	}
}

func named(d ocispec.Descriptor, key, name string) ocispec.Descriptor {
	d.Annotations = map[string]string{key: name}
	return d
}

func TestAnImageInALayoutHasSeveralNames(t *testing.T) {
	t.Parallel()
	const tag, full = ocispec.AnnotationRefName, "io.containerd.image.name"
	host := arch("s390x")
	for _, c := range []struct {
		name string
		make func(f forest)
		want map[string]string // by name: the author of the image
		err  map[string]error
	}{
		{"two names of one image", func(f forest) {
			f.top(named(f.image("one", nil), tag, "a"), named(f.image("one", nil), tag, "b:c"))
		}, map[string]string{"": "one", ":a": "one", ":b:c": "one"}, map[string]error{":c": source.ErrNoImage}},
		{"one entry with two names", func(f forest) {
			d := named(f.image("one", nil), tag, "v1")
			d.Annotations[full] = "registry.example/a:v1"
			f.top(d)
		}, map[string]string{"": "one", ":v1": "one", ":registry.example/a:v1": "one"}, nil},
		{"two names of one image, and another", func(f forest) {
			one, two := f.image("one", nil), f.image("two", nil)
			f.top(named(one, tag, "a"), named(one, tag, "b"), named(two, tag, "c"))
		}, map[string]string{":a": "one", ":b": "one", ":c": "two"}, map[string]error{"": source.ErrAmbiguous}},
		{"images for platforms, without names", func(f forest) {
			f.top(f.image("amd64", arch("amd64")), f.image("s390x", host))
		}, map[string]string{"": "s390x"}, nil},
		{"images for platforms, with one name", func(f forest) {
			f.top(named(f.image("amd64", arch("amd64")), tag, "a"), named(f.image("s390x", host), tag, "a"))
		}, map[string]string{":a": "s390x"}, map[string]error{"": source.ErrAmbiguous}},
		{"two images of one name", func(f forest) {
			f.top(named(f.image("one", nil), tag, "a"), named(f.image("two", nil), tag, "a"))
		}, nil, map[string]error{":a": source.ErrAmbiguous}},
		{"images for other platforms", func(f forest) {
			f.top(f.image("amd64", arch("amd64")), f.image("arm64", arch("arm64")))
		}, nil, map[string]error{"": source.ErrNoPlatform}},
		{"one image for another platform", func(f forest) { f.top(f.image("amd64", arch("amd64"))) },
			map[string]string{"": "amd64"}, nil},
		{"an image and its signature", func(f forest) {
			s := f.image("signature", nil)
			s.ArtifactType = "application/vnd.example.signature"
			f.top(f.image("one", nil), s)
		}, map[string]string{"": "one"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := forest{t, t.TempDir()}
			c.make(f)
			archived := filepath.Join(t.TempDir(), "archive.tar")
			tarDir(t, f.dir, archived)
			for _, where := range []string{"oci:" + f.dir, "oci-archive:" + archived} {
				for name, want := range c.want {
					if img, err := open(t, where+name, source.Options{Platform: host}); err != nil || img.Config.Author != want {
						t.Errorf("%s: got %+v, %v; want %s", name, img, err, want)
					}
				}
				for name, want := range c.err {
					if _, err := open(t, where+name, source.Options{Platform: host}); !errors.Is(err, want) {
						t.Errorf("%s: got %v, want %v", name, err, want)
					}
				}
			}
		})
	}
}

func tarDir(t *testing.T, dir, name string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, b.Bytes())
}

// dockerArchive writes an archive as "docker save" does, with two images.
func dockerArchive(t *testing.T, manifest string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range map[string]string{
		"one.json": `{"os":"linux","author":"one","rootfs":{"type":"layers","diff_ids":[]}}`,
		"two.json": `{"os":"linux","author":"two","rootfs":{"type":"layers","diff_ids":[]}}`, "manifest.json": manifest,
	} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "archive")
	writeFile(t, name, b.Bytes())
	return name
}

func TestAnImageInADockerArchiveHasSeveralNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, manifest string
		want           map[string]string
		err            map[string]error
	}{
		{"two names of one image", `[{"Config":"one.json","RepoTags":["a:1","registry.example/b:2"],"Layers":[]}]`,
			map[string]string{"": "one", ":a:1": "one", ":registry.example/b:2": "one", ":docker.io/library/a:1": "one",
				":@0": "one"},
			map[string]error{":a:2": source.ErrNoImage, ":a": source.ErrNoImage, ":@1": source.ErrNoImage}},
		{"one image that is listed twice", `[{"Config":"one.json","RepoTags":["a:1"],"Layers":[]},` +
			`{"Config":"one.json","RepoTags":["b:1"],"Layers":[]}]`,
			map[string]string{"": "one", ":a:1": "one", ":b:1": "one"}, nil},
		{"two images", `[{"Config":"one.json","RepoTags":["a:1"],"Layers":[]},` +
			`{"Config":"two.json","RepoTags":["b:1"],"Layers":[]}]`,
			map[string]string{":a:1": "one", ":b:1": "two", ":@1": "two"}, map[string]error{"": source.ErrAmbiguous}},
		{"two images of one name", `[{"Config":"one.json","RepoTags":["a:1"],"Layers":[]},` +
			`{"Config":"two.json","RepoTags":["docker.io/library/a:1"],"Layers":[]}]`, nil,
			map[string]error{":a:1": source.ErrInvalidManifest, "": source.ErrInvalidManifest}},
		{"one image that is listed twice under one name", `[{"Config":"one.json","RepoTags":["a:1"],"Layers":[]},` +
			`{"Config":"one.json","RepoTags":["a:1"],"Layers":[]}]`,
			map[string]string{"": "one", ":a:1": "one"}, nil},
		{"no names", `[{"Config":"one.json","RepoTags":null,"Layers":[]}]`, map[string]string{"": "one"},
			map[string]error{":a:1": source.ErrNoImage}},
		{"no images", `[]`, nil, map[string]error{"": source.ErrNoImage, ":a:1": source.ErrNoImage}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := dockerArchive(t, c.manifest)
			for name, want := range c.want {
				if img, err := open(t, "docker-archive:"+file+name, source.Options{}); err != nil || img.Config.Author != want {
					t.Errorf("%s: got %+v, %v; want %s", name, img, err, want)
				}
			}
			for name, want := range c.err {
				if _, err := open(t, "docker-archive:"+file+name, source.Options{}); !errors.Is(err, want) {
					t.Errorf("%s: got %v, want %v", name, err, want)
				}
			}
		})
	}
}
