package dest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// lazyLayer is a layer whose digest is known only after it has been read once. It can be read again.
type lazyLayer struct {
	plain, packed []byte
	fail          error // of reading

	mu   sync.Mutex
	read int
}

func newLazyLayer(seed uint64, size int) *lazyLayer {
	l := &lazyLayer{plain: make([]byte, size)}
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range l.plain {
		l.plain[i] = byte(r.IntN(16))
	}
	l.packed = gzipBytes(l.plain)
	return l
}

func gzipBytes(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

func (l *lazyLayer) known() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.read == 0 {
		return stream.ErrNotComputed
	}
	return nil
}

func hashOf(b []byte) v1.Hash {
	h, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		panic(err)
	}
	return h
}

func (l *lazyLayer) Digest() (v1.Hash, error) { return hashOf(l.packed), l.known() }
func (l *lazyLayer) DiffID() (v1.Hash, error) { return hashOf(l.plain), l.known() }
func (l *lazyLayer) Size() (int64, error)     { return int64(len(l.packed)), l.known() }
func (l *lazyLayer) MediaType() (types.MediaType, error) {
	return types.OCILayer, nil
}

func (l *lazyLayer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.plain)), nil
}

func (l *lazyLayer) Compressed() (io.ReadCloser, error) {
	if l.fail != nil {
		return io.NopCloser(io.MultiReader(bytes.NewReader(l.packed[:10]), failing{l.fail})), nil
	}
	return &closer{Reader: bytes.NewReader(l.packed), l: l}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type closer struct {
	io.Reader
	l *lazyLayer
}

func (c *closer) Close() error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.read++
	return nil
}

func newImage(t *testing.T, layers ...*lazyLayer) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img,
		&v1.ConfigFile{Architecture: "amd64", OS: "linux", RootFS: v1.RootFS{Type: "layers"},
			Config: v1.Config{Labels: map[string]string{"a": "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// plainHTTP is for the registry of the tests.
var plainHTTP = access.Options{InsecureSkipTLSVerify: true}

// destinations returns a reference for every transport that needs no tool.
func destinations(t *testing.T) map[string]imgref.ImageReference {
	dir := t.TempDir()
	return map[string]imgref.ImageReference{
		"registry":         {Transport: imgref.Registry, Name: testreg.New(t).Host + "/a/b:c"},
		"oci":              {Transport: imgref.OCIDir, Name: filepath.Join(dir, "oci")},
		"oci with a tag":   {Transport: imgref.OCIDir, Name: filepath.Join(dir, "tagged") + ":a:b"},
		"oci-archive":      {Transport: imgref.OCIArchive, Name: filepath.Join(dir, "x.ociarchive")},
		"oci-archive, tag": {Transport: imgref.OCIArchive, Name: filepath.Join(dir, "y.ociarchive") + ":latest"},
		"dir":              {Transport: imgref.Dir, Name: filepath.Join(dir, "dir")},
		"docker-archive":   {Transport: imgref.DockerArchive, Name: filepath.Join(dir, "x.dockerarchive")},
		"docker-archive, named": {Transport: imgref.DockerArchive,
			Name: filepath.Join(dir, "y.dockerarchive") + ":localhost/a/b:c"},
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	for name, ref := range destinations(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			layers := []*lazyLayer{newLazyLayer(1, 300_000), newLazyLayer(2, 0), newLazyLayer(3, 70_000), newLazyLayer(2, 0)}
			img := newImage(t, layers...)
			d, err := dest.Write(t.Context(), img, ref, dest.Options{Registry: plainHTTP})
			if err != nil {
				t.Fatal(err)
			}
			src, err := source.Open(t.Context(), imgref.Unverified(ref), source.Options{Registry: plainHTTP})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			if src.Top.Digest != d {
				t.Errorf("the digest is %s, written as %s", src.Top.Digest, d)
			}
			if want, _ := img.RawConfigFile(); string(src.RawConfig) != string(want) {
				t.Errorf("config: got %s; want %s", src.RawConfig, want)
			}
			for i, desc := range src.Manifest.Layers {
				got := readBlob(t, src, desc)
				if desc.MediaType == ocispec.MediaTypeImageLayerGzip {
					z, err := gzip.NewReader(bytes.NewReader(got))
					if err != nil {
						t.Fatal(err)
					}
					if got, err = io.ReadAll(z); err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(got, layers[i].plain) {
					t.Errorf("layer %d has other content", i)
				}
			}
		})
	}
}

func readBlob(t *testing.T, src *oci.Image, d ocispec.Descriptor) []byte {
	t.Helper()
	r, err := src.Blob(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTheSameImageGivesTheSameFiles(t *testing.T) {
	t.Parallel()
	var sums []map[string]string
	for range 3 {
		dir := t.TempDir()
		for _, ref := range []string{"oci:" + dir + "/oci:t", "oci-archive:" + dir + "/a:t", "dir:" + dir + "/dir",
			"docker-archive:" + dir + "/d:x/y:z"} {
			write(t, newImage(t, newLazyLayer(1, 100_000), newLazyLayer(2, 5000)), ref)
		}
		sums = append(sums, sumTree(t, dir))
	}
	for _, s := range sums[1:] {
		if diff := cmp.Diff(sums[0], s); diff != "" {
			t.Error(diff)
		}
	}
}

func sumTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		sum := sha256.Sum256(data)
		sums[strings.TrimPrefix(path, dir)] = digest.NewDigestFromBytes(digest.SHA256, sum[:]).String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func write(t *testing.T, img v1.Image, ref string) digest.Digest {
	t.Helper()
	d, err := dest.Write(t.Context(), img, parse(t, ref), dest.Options{})
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	return d
}

func parse(t *testing.T, s string) imgref.ImageReference {
	t.Helper()
	ref, err := imgref.ParseImageReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestTagsInAnOCIDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "oci")
	one := write(t, newImage(t, newLazyLayer(1, 100)), "oci:"+dir+":one")
	write(t, newImage(t, newLazyLayer(2, 100)), "oci:"+dir+":two")
	two := write(t, newImage(t, newLazyLayer(3, 100)), "oci:"+dir+":two")
	if diff := cmp.Diff(map[string]digest.Digest{"one": one, "two": two}, tagsIn(t, dir)); diff != "" {
		t.Errorf("a tag is added or replaced (-want +got):\n%s", diff)
	}
	only := write(t, newImage(t, newLazyLayer(4, 100)), "oci:"+dir)
	if diff := cmp.Diff(map[string]digest.Digest{"": only}, tagsIn(t, dir)); diff != "" {
		t.Errorf("an image without tag replaces all (-want +got):\n%s", diff)
	}
}

func tagsIn(t *testing.T, dir string) map[string]digest.Digest {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		t.Fatal(err)
	}
	tags := map[string]digest.Digest{}
	for _, d := range index.Manifests {
		tags[d.Annotations[ocispec.AnnotationRefName]] = d.Digest
		if d.Platform == nil || d.Platform.Architecture != "amd64" {
			t.Errorf("the entry has no platform: %+v", d)
		}
	}
	return tags
}

func TestBlobsThatAreThereAreNotWrittenAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "oci")
	l := newLazyLayer(1, 1000)
	write(t, newImage(t, l), "oci:"+dir+":a")
	read := l.read
	write(t, newImage(t, l), "oci:"+dir+":b")
	if l.read != read {
		t.Error("the layer was made again although its digest is known and its blob is there")
	}
}

func TestAFailureShowsNoImage(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken on purpose")
	for name, ref := range destinations(t) {
		if ref.Transport == imgref.DockerArchive {
			continue // it reads the uncompressed form, which does not fail here
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := newLazyLayer(2, 1000)
			bad.fail = broken
			img := newImage(t, newLazyLayer(1, 1000), bad)
			if _, err := dest.Write(t.Context(), img, ref, dest.Options{Registry: plainHTTP}); !errors.Is(err, broken) {
				t.Fatalf("got %v", err)
			}
			src, err := source.Open(t.Context(), imgref.Unverified(ref), source.Options{Registry: plainHTTP})
			if err == nil {
				defer src.Close()
				t.Error("there is an image")
			}
		})
	}
}

func TestAFailureLeavesTheOldArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, newImage(t, newLazyLayer(1, 100)), "oci-archive:"+dir+"/a")
	before := sumTree(t, dir)
	bad := newLazyLayer(2, 1000)
	bad.fail = io.ErrUnexpectedEOF
	if _, err := dest.Write(t.Context(), newImage(t, bad), parse(t, "oci-archive:"+dir+"/a"), dest.Options{}); err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff(before, sumTree(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestACancelledWriteStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ref := range destinations(t) {
		_, err := dest.Write(ctx, newImage(t, newLazyLayer(1, 100)), ref, dest.Options{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestForeignDirectoriesAndTransportsAreRefused(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "thesis.tex"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]error{
		"dir:" + home:           dest.ErrNotAnImageDir,
		"oci:" + home:           dest.ErrNotAnImageDir,
		"docker-daemon:x:y":     dest.ErrUnsupportedTransport,
		"oci:" + home + "/a/b":  os.ErrNotExist,
		"dir:" + home + "/a/b":  os.ErrNotExist,
		"oci-archive:" + home:   nil,
		"docker://x/y@sha256:z": nil,
		"docker-archive:/a:B:c": nil,
	} {
		_, err := dest.Write(t.Context(), newImage(t, newLazyLayer(1, 100)), parse(t, ref), dest.Options{})
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", ref, err, want)
		}
	}
}

func TestADirectoryKeepsNothingOfTheImageBefore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	write(t, newImage(t, newLazyLayer(1, 100)), "dir:"+dir)
	hash := strings.Repeat("0", 64)
	stale := []string{"signature-1", hash + ".manifest.json", hash + ".signature-2", "dir-put-blob123"}
	own := []string{"README", "notes/" + hash, "manifest.json.bak"}
	for _, n := range slices.Concat(stale, own) {
		name := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(t, newImage(t, newLazyLayer(2, 100)), "dir:"+dir)
	for _, n := range own { // whoever put them there still has them
		if err := os.Remove(filepath.Join(dir, n)); err != nil {
			t.Error(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "notes")); err != nil {
		t.Error(err)
	}
	if n := len(sumTree(t, dir)); n != 4 {
		t.Errorf("got %d files, want version, manifest, config and layer", n)
	}
}

func TestCredentialsComeFromTheFileThatIsNamed(t *testing.T) {
	t.Parallel()
	reg := testreg.New(t)
	reg.Misbehave(testreg.Faults{User: "me", Password: "secret"})
	ref := parse(t, "docker://"+reg.Host+"/a/b:c")
	auth := filepath.Join(t.TempDir(), "auth.json")
	for key, ok := range map[string]bool{reg.Host: true, reg.Host + "/a/b": true, reg.Host + "/a": true,
		reg.Host + "/z": false} {
		// base64 of me:secret
		if err := os.WriteFile(auth, []byte(`{"auths":{"`+key+`":{"auth":"bWU6c2VjcmV0"}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := dest.Write(t.Context(), newImage(t, newLazyLayer(1, 100)), ref,
			dest.Options{Registry: access.Options{AuthFile: auth, InsecureSkipTLSVerify: true}})
		if (err == nil) != ok {
			t.Errorf("%s: got %v", key, err)
		}
		if !ok {
			continue
		}
		src, err := source.Open(t.Context(), imgref.Unverified(ref),
			source.Options{Registry: access.Options{AuthFile: auth, InsecureSkipTLSVerify: true}})
		if err != nil {
			t.Errorf("%s: reading: %v", key, err)
			continue
		}
		defer src.Close()
	}
	absent := dest.Options{Registry: access.Options{AuthFile: auth + ".none", InsecureSkipTLSVerify: true}}
	if _, err := dest.Write(t.Context(), newImage(t, newLazyLayer(1, 100)), ref, absent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: got %v", err)
	}
}

func TestAnArchiveGoesToAStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	img := newImage(t, newLazyLayer(1, 100_000))
	for _, transport := range []string{"oci-archive", "docker-archive"} {
		file := filepath.Join(dir, transport)
		want := write(t, img, transport+":"+file+":a/b:c")
		var got bytes.Buffer
		d, err := dest.Write(t.Context(), img, parse(t, transport+":-:a/b:c"), dest.Options{Stdout: &got})
		if err != nil || d != want {
			t.Errorf("%s: got %s, %v; want %s", transport, d, err, want)
		}
		if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, got.Bytes()) {
			t.Errorf("%s: standard output got %d other bytes than the file's %d, %v", transport, got.Len(), len(data), err)
		}
		_, err = dest.Write(t.Context(), img, parse(t, transport+":-"), dest.Options{})
		if !errors.Is(err, dest.ErrNoStandardOutput) {
			t.Errorf("%s: got %v", transport, err)
		}
	}
	for ref, want := range map[string]bool{
		"oci-archive:-:x": true, "docker-archive:-": true, "oci-archive:/dev/null": true,
		"oci-archive:" + dir + "/oci-archive": false, "oci-archive:" + dir + "/none": false, "oci:-": false, "dir:-": false,
		"docker://-": false,
	} {
		if got := dest.IsStream(parse(t, ref)); got != want {
			t.Errorf("%s: got %v", ref, got)
		}
	}
}
