package source_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// plainHTTP has the options for the registries of the tests.
var plainHTTP = source.Options{Registry: access.Options{InsecureSkipTLSVerify: true}}

// newLayout writes an OCI layout of an image with one layer.
func newLayout(t *testing.T, blob []byte) (dir string, manifest ocispec.Manifest) {
	t.Helper()
	dir = t.TempDir()
	config := []byte(`{"os":"linux"}`)
	manifest = ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: put(t, dir, config),
			Size: int64(len(config))},
		Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: put(t, dir, blob),
			Size: int64(len(blob))}},
	}
	setIndex(t, dir, manifest)
	return dir, manifest
}

func put(t *testing.T, dir string, data []byte) digest.Digest {
	t.Helper()
	d := digest.FromBytes(data)
	writeFile(t, filepath.Join(dir, "blobs", "sha256", d.Encoded()), data)
	return d
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func setIndex(t *testing.T, dir string, manifests ...ocispec.Manifest) {
	t.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	for _, m := range manifests {
		data := marshal(t, m)
		index.Manifests = append(index.Manifests,
			ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: put(t, dir, data), Size: int64(len(data))})
	}
	writeFile(t, filepath.Join(dir, "index.json"), marshal(t, index))
}

func open(t *testing.T, ref string, opts source.Options) (*oci.Image, error) {
	t.Helper()
	r, err := imgref.ParseImageReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.Open(t.Context(), imgref.Unverified(r), opts)
	if err == nil {
		t.Cleanup(func() {
			if err := src.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return src, err
}

func readAll(t *testing.T, src *oci.Image, d ocispec.Descriptor) ([]byte, error) {
	t.Helper()
	r, err := src.Blob(t.Context(), d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedLayoutsAreNoticed(t *testing.T) {
	t.Parallel()
	blob := bytes.Repeat([]byte("layer"), 1000)
	blobFile := func(dir string, d digest.Digest) string {
		return filepath.Join(dir, "blobs", "sha256", d.Encoded())
	}
	for _, c := range []struct {
		name   string
		damage func(dir string, m ocispec.Manifest)
		want   error
	}{
		{"layer flipped", func(dir string, m ocispec.Manifest) {
			writeFile(t, blobFile(dir, m.Layers[0].Digest), bytes.Replace(blob, []byte("r"), []byte("s"), 1))
		}, oci.ErrMismatch},
		{"layer cut", func(dir string, m ocispec.Manifest) { writeFile(t, blobFile(dir, m.Layers[0].Digest), blob[:10]) },
			oci.ErrMismatch},
		{"layer longer", func(dir string, m ocispec.Manifest) {
			writeFile(t, blobFile(dir, m.Layers[0].Digest), append(blob, 'x'))
		}, oci.ErrMismatch},
		{"layer absent", func(dir string, m ocispec.Manifest) {
			remove(t, blobFile(dir, m.Layers[0].Digest))
		}, os.ErrNotExist},
		{"config flipped", func(dir string, m ocispec.Manifest) {
			writeFile(t, blobFile(dir, m.Config.Digest), []byte(`{"os":"linus"}`))
		}, oci.ErrMismatch},
		{"manifest flipped", func(dir string, m ocispec.Manifest) {
			data := marshal(t, m)
			d := digest.FromBytes(data)
			data[len(data)/2] ^= 1
			writeFile(t, blobFile(dir, d), data)
		}, oci.ErrMismatch},
		{"layer is a FIFO's neighbour: a directory", func(dir string, m ocispec.Manifest) {
			remove(t, blobFile(dir, m.Layers[0].Digest))
			if err := os.Mkdir(blobFile(dir, m.Layers[0].Digest), 0o755); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"layer is a link to outside", func(dir string, m ocispec.Manifest) {
			remove(t, blobFile(dir, m.Layers[0].Digest))
			if err := os.Symlink("/etc/passwd", blobFile(dir, m.Layers[0].Digest)); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"two images, no tag", func(dir string, m ocispec.Manifest) {
			other := m
			other.Annotations = map[string]string{"a": "b"}
			setIndex(t, dir, m, other)
		}, source.ErrAmbiguous},
		{"one image twice, no tag", func(dir string, m ocispec.Manifest) { setIndex(t, dir, m, m) }, errNone},
		{"no image", func(dir string, _ ocispec.Manifest) { setIndex(t, dir) }, source.ErrNoImage},
		{"no index", func(dir string, _ ocispec.Manifest) { remove(t, filepath.Join(dir, "index.json")) }, os.ErrNotExist},
		{"index is garbage", func(dir string, _ ocispec.Manifest) {
			writeFile(t, filepath.Join(dir, "index.json"), []byte("{"))
		}, source.ErrInvalidManifest},
		{"nothing", func(string, ocispec.Manifest) {}, errNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, m := newLayout(t, blob)
			c.damage(dir, m)
			err := func() error {
				src, err := open(t, "oci:"+dir, source.Options{})
				if err != nil {
					return err
				}
				_, err = readAll(t, src, m.Layers[0])
				return err
			}()
			if c.want == errNone {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

var errNone = errors.New("no error")

func TestOtherTransportsAndContradictionsAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := open(t, "docker-daemon:x:y", source.Options{}); !errors.Is(err, source.ErrUnsupportedTransport) {
		t.Errorf("docker-daemon: got %v", err)
	}
	conflict := source.Options{Registry: access.Options{Anonymous: true, AuthFile: "x"}}
	if _, err := open(t, "dir:/", conflict); !errors.Is(err, access.ErrAuthConflict) {
		t.Errorf("got %v", err)
	}
	gz := filepath.Join(t.TempDir(), "x.tar.gz")
	writeFile(t, gz, []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00"))
	if _, err := open(t, "oci-archive:"+gz, source.Options{}); err == nil || !strings.Contains(err.Error(), "gzip -d") {
		t.Errorf("a compressed archive: got %v", err)
	}
}

// pushed is an image in a registry, with a layer that is large enough for its transfer to be interrupted.
func pushed(t *testing.T, reg *testreg.Registry, size int) (ref string, layer []byte) {
	t.Helper()
	layer = bytes.Repeat([]byte("0123456789abcdef"), size/16)
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, static.NewLayer(layer, types.OCIUncompressedLayer))
	if err != nil {
		t.Fatal(err)
	}
	push(t, reg.Host+"/a/b:c", img)
	return "docker://" + reg.Host + "/a/b:c", layer
}

func push(t *testing.T, ref string, what remote.Taggable) {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	switch w := what.(type) {
	case v1.Image:
		err = remote.Write(tag, w)
	case v1.ImageIndex:
		err = remote.WriteIndex(tag, w)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestARegistryThatMisbehaves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		faults testreg.Faults
		want   error
	}{
		{"works", testreg.Faults{}, errNone},
		{"fails twice, then works", testreg.Faults{Fail: 2}, errNone},
		{"fails for ever", testreg.Faults{Fail: 1000}, nil},
		{"cuts the connection, then resumes", testreg.Faults{Cut: 100_000}, errNone},
		{"sends a wrong bit", testreg.Faults{Flip: true}, oci.ErrMismatch},
		{"is slow", testreg.Faults{Delay: 50 * time.Millisecond}, errNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reg := testreg.New(t)
			ref, layer := pushed(t, reg, 1<<20)
			reg.Misbehave(c.faults)
			var got []byte
			src, err := open(t, ref, plainHTTP)
			if err == nil {
				got, err = readAll(t, src, src.Manifest.Layers[0])
			}
			if c.want == errNone {
				if err != nil || !bytes.Equal(got, layer) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			} else if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if (c.faults.Cut > 0) != (reg.Resumed() > 0) {
				t.Errorf("the blob was resumed %d times", reg.Resumed())
			}
		})
	}
}

func TestWhatRegistriesAnswerAboutAnImageThatIsNotThere(t *testing.T) {
	t.Parallel()
	const coded = `{"errors":[{"code":"%s","message":"%s"}]}`
	for name, test := range map[string]struct {
		status  int
		body    string
		missing bool
	}{
		"the specification's code":        {404, fmt.Sprintf(coded, "MANIFEST_UNKNOWN", "manifest unknown"), true},
		"no such repository":              {404, fmt.Sprintf(coded, "NAME_UNKNOWN", "repository name not known"), true},
		"no body":                         {404, "", true},
		"text":                            {404, "404 page not found\n", true},
		"JSON of another kind":            {404, "{}", true},
		"Harbor":                          {404, fmt.Sprintf(coded, "NOT_FOUND", "repository a/b not found"), true},
		"registry.redhat.io":              {404, fmt.Sprintf(coded, "UNKNOWN", "Not Found"), true},
		"no rights, although it is 404":   {404, fmt.Sprintf(coded, "UNAUTHORIZED", "authentication required"), false},
		"no rights":                       {403, "StatusCode: 404, no", false},
		"no rights, as a code":            {403, fmt.Sprintf(coded, "DENIED", "requested access is denied"), false},
		"a fault of the registry":         {500, "404", false},
		"a fault of the registry, a code": {400, fmt.Sprintf(coded, "UNKNOWN", "unknown error"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if !strings.Contains(req.URL.Path, "/manifests/") {
					return
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer s.Close()
			_, err := open(t, "docker://"+strings.TrimPrefix(s.URL, "http://")+"/a/b:c", plainHTTP)
			if err == nil || errors.Is(err, source.ErrNoImage) != test.missing {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The configuration comes with the manifest, so the first request for a layer is that for the layer.
func TestTheNextProcessContinuesALayer(t *testing.T) {
	t.Parallel()
	reg := testreg.New(t)
	ref, layer := pushed(t, reg, 1<<20)
	opts := plainHTTP
	opts.Fetch.Dir = t.TempDir()
	first, err := open(t, ref, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancel(t.Context())
	r, err := first.Blob(ctx, first.Manifest.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadFull(r, make([]byte, 600_000))
	kill()
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if reg.Resumed() > 0 {
		t.Error("the layer was resumed already")
	}
	second, err := open(t, ref, opts)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, second, second.Manifest.Layers[0])
	if err != nil || !bytes.Equal(got, layer) || reg.Resumed() != 1 {
		t.Errorf("got %d bytes, %v; %d requests for a part", len(got), err, reg.Resumed())
	}
	if left, err := os.ReadDir(opts.Fetch.Dir); err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

func TestARegistryThatLetsNobodyInIsNamedWithTheCredentials(t *testing.T) {
	t.Parallel()
	reg := testreg.New(t)
	ref, _ := pushed(t, reg, 1000)
	reg.Misbehave(testreg.Faults{User: "me", Password: "secret"})
	file := filepath.Join(t.TempDir(), "auth.json")
	writeFile(t, file, []byte(`{"auths":{"`+reg.Host+`":{"auth":"bWU6d3Jvbmc="}}}`)) // me:wrong
	opts := plainHTTP
	opts.Registry.AuthFile = file
	_, err := open(t, ref, opts)
	if !errors.Is(err, access.ErrDenied) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{reg.Host + "/a/b", file, `as user "me"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestAReferenceWithADigestHoldsTheRegistryToIt(t *testing.T) {
	t.Parallel()
	reg := testreg.New(t)
	ref, _ := pushed(t, reg, 1024)
	src, err := open(t, ref, plainHTTP)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, ref+"@"+src.Top.Digest.String(), plainHTTP); err != nil {
		t.Error(err)
	}
	reg.Misbehave(testreg.Faults{FlipManifest: true})
	if _, err := open(t, ref+"@"+src.Top.Digest.String(), plainHTTP); err == nil {
		t.Error("a changed manifest was taken")
	}
}

func TestThePlatformIsChosenFromAnIndex(t *testing.T) {
	t.Parallel()
	reg := testreg.New(t)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	digests := map[string]string{}
	for _, arch := range []string{"amd64", "arm64", "s390x"} {
		img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch})
		if err != nil {
			t.Fatal(err)
		}
		h, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[arch] = h.String()
		index = mutate.AppendManifests(index,
			mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	push(t, reg.Host+"/multi:x", index)
	for _, arch := range []string{"", "s390x", "arm64"} {
		opts := plainHTTP
		want := runtime.GOARCH
		if arch != "" {
			want = arch
			opts.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		}
		src, err := open(t, "docker://"+reg.Host+"/multi:x", opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := src.Top.Digest; got.String() != digests[want] {
			t.Errorf("%q: got %s, want the one of %s", arch, got, want)
		}
	}
	opts := plainHTTP
	opts.Platform = &ocispec.Platform{OS: "linux", Architecture: "mips64le"}
	if _, err := open(t, "docker://"+reg.Host+"/multi:x", opts); err == nil || !strings.Contains(err.Error(), "mips64le") {
		t.Errorf("got %v", err)
	}
}

func TestBlobsAreReadSideBySide(t *testing.T) {
	t.Parallel()
	blob := bytes.Repeat([]byte("layer"), 100_000)
	dir, m := newLayout(t, blob)
	src, err := open(t, "oci:"+dir, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !src.Parallel() {
		t.Error("an OCI directory can be read side by side")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := readAll(t, src, m.Layers[0]); err != nil || !bytes.Equal(got, blob) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
}
