package dest_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/container/dest/upload"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// pushTo pushes layers and reads them back.
func pushTo(t *testing.T, reg *testreg.Registry, layers ...*lazyLayer) error {
	t.Helper()
	ref := imgref.ImageReference{Transport: imgref.Registry, Name: reg.Host + "/a/b:c"}
	d, err := dest.Write(t.Context(), newImage(t, layers...), ref, dest.Options{Registry: plainHTTP})
	if err != nil {
		return err
	}
	src, err := source.Open(t.Context(), imgref.Unverified(ref), source.Options{Registry: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if src.Top.Digest != d {
		t.Errorf("the digest is %s, written as %s", src.Top.Digest, d)
	}
	for i, desc := range src.Manifest.Layers {
		z, err := gzip.NewReader(bytes.NewReader(readBlob(t, src, desc)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, layers[i].plain) {
			t.Errorf("layer %d has other content: %v", i, err)
		}
	}
	return nil
}

// count returns how many requests were answered with a status, or all of a method if the status is 0.
func count(list []testreg.Request, method string, status int) (n int) {
	for _, r := range list {
		if r.Method == method && (status == 0 || r.Status == status) {
			n++
		}
	}
	return n
}

// largest returns the size of the largest request that was taken.
func largest(list []testreg.Request) (size int64) {
	for _, r := range list {
		if r.Status/100 == 2 {
			size = max(size, r.Size)
		}
	}
	return size
}

func TestBlobsAreSentInTheWayThatTheRegistryTakes(t *testing.T) {
	t.Parallel()
	const blobs = 6
	many := layout.Parallelism()
	for i, c := range []struct {
		name  string
		how   testreg.Uploads
		check func(*testing.T, []testreg.Request)
	}{
		{"every way", testreg.Uploads{}, func(t *testing.T, r []testreg.Request) {
			if count(r, "PATCH", http.StatusAccepted) != blobs || len(r) != 3*blobs {
				t.Errorf("not one PATCH for each blob: %+v", r)
			}
		}},
		{"no PATCH, 405", testreg.Uploads{NoPatch: 405}, onlyWhole(many)},
		{"no PATCH, 404", testreg.Uploads{NoPatch: 404}, onlyWhole(many)},
		{"no PATCH, 400", testreg.Uploads{NoPatch: 400}, onlyWhole(many)},
		{"no PATCH, 501", testreg.Uploads{NoPatch: 501}, onlyWhole(many)},
		{"no PATCH, 403", testreg.Uploads{NoPatch: 403}, onlyWhole(many)},
		{"no PATCH, 415", testreg.Uploads{NoPatch: 415}, onlyWhole(many)},
		{"a length is demanded", testreg.Uploads{NeedLength: true}, onlyLengths},
		{"a length is demanded, no PATCH", testreg.Uploads{NeedLength: true, NoPatch: 405}, onlyLengths},
		{"a length is demanded, no chunks", testreg.Uploads{NeedLength: true, NoChunks: 416}, onlyLengths},
		{"requests are limited", testreg.Uploads{MaxRequest: 100_000}, atMost(100_000)},
		{"requests are limited, a length is demanded", testreg.Uploads{MaxRequest: 100_000, NeedLength: true},
			atMost(100_000)},
		{"large requests are cut off", testreg.Uploads{Cut: 100_000}, atMost(100_000)},
		{"requests are limited, and chunks have a least size", testreg.Uploads{MaxRequest: 300_000, MinChunk: 200_000},
			atMost(300_000)},
		{"the least size of chunks is more than is kept in memory", testreg.Uploads{NeedLength: true, MinChunk: 1 << 30},
			onlyLengths},
		{"chunks fail with 503, half of them kept", testreg.Uploads{MaxRequest: 100_000, FailChunks: 3, FailStatus: 503},
			resumed},
		{"connections break, half of the chunk kept", testreg.Uploads{MaxRequest: 200_000, FailChunks: 3}, resumed},
		{"half of a chunk is taken", testreg.Uploads{MaxRequest: 100_000, Partial: true}, nil},
		{"chunks fail, and nobody says how far they got",
			testreg.Uploads{NeedLength: true, FailChunks: 1, FailStatus: 503, NoStatus: 404}, nil},
		{"chunks are limited, and only the last one is kept",
			testreg.Uploads{NeedLength: true, MaxChunk: 100_000, LastChunk: true}, onlyLengths},
		{"an upload is forgotten", testreg.Uploads{NeedLength: true, Forget: 1}, nil},
		{"nobody may ask what is there", testreg.Uploads{NoHead: 405}, nil},
		{"nobody may ask what is there, no PATCH", testreg.Uploads{NoHead: 403, NoPatch: 405}, nil},
		{"only POST with content", testreg.Uploads{NoPatch: 405, NoPut: 405}, nil},
		{"only POST with content, uploads cannot be begun", testreg.Uploads{NoSession: 405}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reg := testreg.New(t)
			c.how.Absolute = i%2 == 0
			reg.TakeUploads(c.how)
			if err := pushTo(t, reg, sixBlobs()...); err != nil {
				t.Fatal(err)
			}
			if c.check != nil {
				c.check(t, reg.Uploads())
			}
		})
	}
}

// contents are those of a small layer, and of four that have some 500 KB when they are compressed.
var contents = sync.OnceValue(func() []*lazyLayer {
	layers := []*lazyLayer{newLazyLayer(6, 1000)}
	for i := range uint64(4) {
		layers = append(layers, newLazyLayer(i, 1_000_000))
	}
	return layers
})

// sixBlobs returns layers of an image that has six blobs with its configuration.
func sixBlobs() (layers []*lazyLayer) {
	for _, l := range contents() {
		layers = append(layers, &lazyLayer{plain: l.plain, packed: l.packed})
	}
	return layers
}

// onlyWhole checks that PATCH is tried by each of the first blobs, and not again.
func onlyWhole(first int) func(*testing.T, []testreg.Request) {
	return func(t *testing.T, r []testreg.Request) {
		t.Helper()
		if n := count(r, "PATCH", 0); n > first {
			t.Errorf("PATCH was tried %d times", n)
		}
	}
}

func onlyLengths(t *testing.T, r []testreg.Request) {
	t.Helper()
	for _, r := range r {
		if r.Status/100 == 2 && !r.Length {
			t.Errorf("there was no length: %+v", r)
		}
	}
	if n := count(r, "PATCH", http.StatusLengthRequired); n > layout.Parallelism() {
		t.Errorf("a PATCH without a length was tried %d times", n)
	}
}

func atMost(size int64) func(*testing.T, []testreg.Request) {
	return func(t *testing.T, r []testreg.Request) {
		t.Helper()
		if got := largest(r); got > size || got < size/4 {
			t.Errorf("the largest request had %d bytes, %d are allowed", got, size)
		}
	}
}

// resumed checks that each failed chunk was continued from where the registry had it.
func resumed(t *testing.T, r []testreg.Request) {
	t.Helper()
	if count(r, "GET", http.StatusNoContent) < 3 {
		t.Errorf("the registry was not asked how far it got: %+v", r)
	}
	if n := count(r, "PATCH", http.StatusRequestedRangeNotSatisfiable); n != 0 {
		t.Errorf("%d chunks began at a wrong position", n)
	}
}

func TestABlobThatIsTooLargeInEveryWay(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]testreg.Uploads{
		"no PATCH":                         {MaxRequest: 100_000, NoPatch: 405},
		"no chunks":                        {MaxRequest: 100_000, NoChunks: 405},
		"chunks have a least size":         {MaxRequest: 100_000, MinChunk: 200_000},
		"the limit is less than one chunk": {MaxRequest: 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := testreg.New(t)
			reg.TakeUploads(how)
			err := pushTo(t, reg, newLazyLayer(1, 1_000_000))
			if !errors.Is(err, upload.ErrTooLarge) || !strings.Contains(err.Error(), "413") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestARegistryMayIgnoreThatABlobIsInAnotherRepository(t *testing.T) {
	t.Parallel()
	reg := testreg.New(t)
	first := newLazyLayer(1, 100_000)
	if err := pushTo(t, reg, first); err != nil {
		t.Fatal(err)
	}
	from, err := name.NewTag(reg.Host + "/a/b:c")
	if err != nil {
		t.Fatal(err)
	}
	old, err := remote.Image(from)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := old.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := layers[0].(*remote.MountableLayer); !ok {
		t.Fatalf("the layer is a %T", layers[0])
	}
	img, err := mutate.AppendLayers(newImage(t), layers...)
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []testreg.Uploads{{}, {NoPatch: 405}, {NeedLength: true}, {MaxRequest: 70_000}} {
		other := testreg.New(t) // its blobs are in another registry
		other.TakeUploads(how)
		reg.TakeUploads(how)
		for _, host := range []string{other.Host, reg.Host} {
			ref := parse(t, "docker://"+host+"/other/b:c")
			if _, err := dest.Write(t.Context(), img, ref, dest.Options{Registry: plainHTTP}); err != nil {
				t.Errorf("%s %+v: %v", host, how, err)
				continue
			}
			checkSameLayer(t, ref, first)
		}
	}
}

func checkSameLayer(t *testing.T, ref imgref.ImageReference, want *lazyLayer) {
	t.Helper()
	src, err := source.Open(t.Context(), imgref.Unverified(ref), source.Options{Registry: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if got := readBlob(t, src, src.Manifest.Layers[0]); !bytes.Equal(got, want.packed) {
		t.Errorf("%s: the layer has other content", ref)
	}
}

func TestAnErrorOfTheLayerIsNotBlamedOnTheRegistry(t *testing.T) {
	t.Parallel()
	reason := errors.New("broken on purpose")
	for _, how := range []testreg.Uploads{{}, {NoPatch: 405}, {NeedLength: true}, {MaxRequest: 70_000}} {
		reg := testreg.New(t)
		reg.TakeUploads(how)
		bad := newLazyLayer(1, 1_000_000)
		bad.fail = reason
		if err := pushTo(t, reg, bad); !errors.Is(err, reason) {
			t.Errorf("%+v: got %v", how, err)
		}
	}
}
