package encapsulate_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// configFile builds an image and returns its configuration.
func configFile(t testing.TB, r *repo.Repo, commit object.Checksum, opts encapsulate.Options) *v1.ConfigFile {
	t.Helper()
	img, err := encapsulate.Build(t.Context(), r, commit, opts)
	if err != nil {
		t.Fatal(err)
	}
	consume(t, img)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestUpstream_EncapsulateSetsLabelsAndConfig is upstream's integration test of encapsulation into one layer.
func TestUpstream_EncapsulateSetsLabelsAndConfig(t *testing.T) {
	t.Parallel()
	r, release := release(t, 1)
	base, err := repo.LoadCommit(t.Context(), r, release)
	if err != nil {
		t.Fatal(err)
	}
	c := *base
	c.Subject = ""
	c.Metadata = c.Metadata.Set("ostree.container-cmd", gvariant.Strings([]string{"/usr/bin/bash"}))
	commit := writeCommit(t, r, &c)
	config := configFile(t, r, commit, encapsulate.Options{
		CopyMetaKeys: []string{"buildsys.checksum"}, CopyMetaOptKeys: []string{"nosuch"},
		Labels: map[string]string{"foo": "bar"},
		Config: []byte(`{"StopSignal":"SIGRTMIN+3","Labels":{"base":"kept","foo":"base"},"X-Unknown":1}`),
	})
	for key, want := range map[string]string{
		"buildsys.checksum": "41af286dc0b172ed2f1ca934fd2278de4a1192302ffa07087cea2682e7d372e3",
		"ostree.commit":     commit.String(), "org.opencontainers.image.version": "41.202601.0", "ostree.bootable": "true",
		"containers.bootc": "1", "foo": "bar", "base": "kept", "version": "", "nosuch": "",
	} {
		if got := config.Config.Labels[key]; got != want {
			t.Errorf("label %s is %q, want %q", key, got, want)
		}
	}
	if got := config.Config.Labels["ostree.final-diffid"]; got != config.RootFS.DiffIDs[0].String() {
		t.Errorf("label ostree.final-diffid is %s, the layer's diff-id %s", got, config.RootFS.DiffIDs[0])
	}
	if config.Config.StopSignal != "SIGRTMIN+3" {
		t.Errorf("the stop signal of the base is now %q", config.Config.StopSignal)
	}
	if got := strings.Join(config.Config.Cmd, " "); got != "/usr/bin/bash" {
		t.Errorf("command %q, want that of the commit", got)
	}
	if !config.Created.Time.Equal(c.Time()) {
		t.Errorf("created %s, want the commit's %s", config.Created, c.Time())
	}
	if got, want := config.History[0].CreatedBy, "ostree export of commit "+commit.String(); got != want {
		t.Errorf("history %q, want %q", got, want)
	}
}

func writeCommit(t testing.TB, r *repo.Repo, c *object.Commit) object.Checksum {
	t.Helper()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	id, err := txn.WriteCommit(t.Context(), c)
	if err == nil {
		_, err = txn.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestOptionsShowInTheImage(t *testing.T) {
	t.Parallel()
	r, commit := release(t, 1)
	created := time.Date(2001, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
	img, err := encapsulate.Build(t.Context(), r, commit, encapsulate.Options{
		Created: &created, Platform: &ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"},
		Annotations: map[string]string{"note": "ours"}, Cmd: []string{"/bin/a", "b"}, Compression: encapsulate.Zstd,
	})
	if err != nil {
		t.Fatal(err)
	}
	consume(t, img)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Created.UTC().Format(time.RFC3339Nano); got != "2001-02-03T03:05:06Z" {
		t.Errorf("created %s", got)
	}
	if config.Architecture != "arm" || config.Variant != "v7" || config.OS != "linux" {
		t.Errorf("platform %s/%s/%s", config.OS, config.Architecture, config.Variant)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.Annotations["note"] != "ours" || manifest.Annotations["ostree.commit"] != commit.String() {
		t.Errorf("annotations %v", manifest.Annotations)
	}
	if got := manifest.Layers[0].MediaType; got != ocispec.MediaTypeImageLayerZstd {
		t.Errorf("media type %s", got)
	}
}

func TestOptionsThatCannotBeMet(t *testing.T) {
	t.Parallel()
	r, commit := release(t, 1)
	far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		opts encapsulate.Options
		says string
	}{
		{"a key that is missing", encapsulate.Options{CopyMetaKeys: []string{"nosuch"}}, "could not find key: nosuch"},
		{"a key of another type", encapsulate.Options{CopyMetaKeys: []string{"ostree.bootable"}}, "expected string"},
		{"an optional key of another type", encapsulate.Options{CopyMetaOptKeys: []string{"ostree.bootable"}},
			"expected string"},
		{"no JSON", encapsulate.Options{Config: []byte("{")}, "container configuration"},
		{"two JSON objects", encapsulate.Options{Config: []byte("{} {}")}, "container configuration"},
		{"data after the JSON object", encapsulate.Options{Config: []byte("{} }")}, "after the JSON object"},
		{"a label that is not a string", encapsulate.Options{Config: []byte(`{"Labels":{"a":1}}`)},
			"container configuration"},
		{"a command that is not a list", encapsulate.Options{Config: []byte(`{"Entrypoint":"sh"}`)},
			"container configuration"},
		{"a number without canonical form", encapsulate.Options{Config: []byte(`{"X-Unknown":1.5}`)}, "no canonical JSON"},
		{"an unknown compression", encapsulate.Options{Compression: 9}, "unknown compression"},
		{"a time of five digits", encapsulate.Options{Created: &far}, "years 0 to 9999"},
		{"labels that are not an object", encapsulate.Options{Config: []byte(`{"Labels":[]}`)}, "Labels"},
		{"a level of gzip", encapsulate.Options{Level: 10}, "levels 1 to 9"},
		{"a level of zstd", encapsulate.Options{Compression: encapsulate.Zstd, Level: 23}, "levels 1 to 22"},
		{"a level of nothing", encapsulate.Options{Compression: encapsulate.Uncompressed, Level: 1}, "no level"},
		{"a split without content", encapsulate.Options{Split: &chunking.Split{}}, "invalid split"},
	} {
		if _, err := encapsulate.Build(t.Context(), r, commit, c.opts); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.says)
		}
	}
	_, err := encapsulate.Build(t.Context(), r, object.Checksum{1}, encapsulate.Options{})
	if !errors.Is(err, repo.ErrObjectNotFound) {
		t.Errorf("a commit that is absent: %v, want ErrObjectNotFound", err)
	}
}

// TestLayersAreMadeWhileTheyAreRead checks that digests are unknown before reading and known after, and that reading
// again gives the same bytes.
func TestLayersAreMadeWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	r, commit := release(t, 1)
	img, err := encapsulate.Build(t.Context(), r, commit, encapsulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := img.Layers()
	l := layers[0]
	_, digestErr := l.Digest()
	_, diffErr := l.DiffID()
	_, sizeErr := l.Size()
	_, manifestErr := img.RawManifest()
	_, configErr := img.RawConfigFile()
	for what, err := range map[string]error{"digest": digestErr, "diff-id": diffErr, "size": sizeErr,
		"manifest": manifestErr, "configuration": configErr} {
		if !errors.Is(err, stream.ErrNotComputed) {
			t.Errorf("%s before reading: %v, want ErrNotComputed", what, err)
		}
	}
	consume(t, img)
	if err := validate.Image(img); err != nil {
		t.Errorf("the image does not validate: %v", err)
	}
}

// What is written can be read by skopeo and podman, which refuse larger configurations.
func TestAConfigurationIsNotLargerThanOthersRead(t *testing.T) {
	t.Parallel()
	r, commit := release(t, 1)
	for size, want := range map[int]bool{4_000_000: true, 4 << 20: false} {
		config := []byte(`{"Labels":{"a":"` + strings.Repeat("x", size) + `"}}`)
		img, err := encapsulate.Build(t.Context(), r, commit, encapsulate.Options{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range layers {
			blob, err := l.Compressed()
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, blob)
			if err := errors.Join(err, blob.Close()); err != nil {
				t.Fatal(err)
			}
		}
		_, err = img.RawConfigFile()
		if (err == nil) != want || !want && !strings.Contains(err.Error(), "shorten its labels") {
			t.Errorf("a label of %d bytes: %v", size, err)
		}
	}
}

func TestALayerThatIsNotReadToTheEndLeavesNothingRunning(t *testing.T) {
	r, commit := release(t, 1)
	img, err := encapsulate.Build(t.Context(), r, commit, encapsulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := img.Layers()
	before := runtime.NumGoroutine()
	for range 8 {
		for _, open := range []func() (io.ReadCloser, error){layers[0].Compressed, layers[0].Uncompressed} {
			rc, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(rc, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			if err := rc.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before+2 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines ran before, %d do now", before, runtime.NumGoroutine())
}

var update = flag.Bool("update", false, "write testdata/golden")

// TestEqualInputGivesEqualBytes runs each compressor often, with one processor and with several.
func TestEqualInputGivesEqualBytes(t *testing.T) {
	r, commit := release(t, 2)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	golden, err := os.ReadFile("testdata/golden")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, c := range []struct {
		compression encapsulate.Compression
		level, runs int
	}{
		{encapsulate.Gzip, 0, 12},
		{encapsulate.Gzip, encapsulate.FastLevel, 4},
		{encapsulate.Gzip, 9, 2},
		{encapsulate.Zstd, 0, 12},
		{encapsulate.Zstd, 1, 4},
		{encapsulate.Zstd, 19, 2},
		{encapsulate.Uncompressed, 0, 2},
	} {
		sums := map[string]bool{}
		for n := range c.runs {
			runtime.GOMAXPROCS(1 + n%3)
			img, err := encapsulate.Build(t.Context(), r, commit,
				encapsulate.Options{Compression: c.compression, Level: c.level})
			if err != nil {
				t.Fatal(err)
			}
			layers, _ := img.Layers()
			rc, err := layers[0].Compressed()
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			if _, err := io.Copy(h, rc); err != nil {
				t.Fatal(err)
			}
			if err := rc.Close(); err != nil {
				t.Fatal(err)
			}
			sums[hex.EncodeToString(h.Sum(nil))] = true
		}
		if len(sums) != 1 {
			t.Errorf("%s at level %d: %d different outputs", c.compression, c.level, len(sums))
		}
		for sum := range sums {
			fmt.Fprintf(&got, "%s %d %s\n", c.compression, c.level, sum)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/golden", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got.String() != string(golden) {
		t.Errorf("digests of layers changed, so every host would fetch them again; got\n%swant\n%s", got.String(), golden)
	}
}

func TestProgressTellsOfEveryLayerAndNamesTheImage(t *testing.T) {
	t.Parallel()
	r, commit := release(t, 1)
	var kinds []progress.Kind
	img, err := encapsulate.Build(t.Context(), r, commit,
		encapsulate.Options{Name: "the image", Progress: func(e progress.Event) {
			kinds = append(kinds, e.Kind)
			if e.Image != "the image" {
				t.Errorf("got an event for image %q", e.Image)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	consume(t, img)
	if len(kinds) < 3 || kinds[0] != progress.Planned || kinds[1] != progress.Started ||
		kinds[len(kinds)-1] != progress.Finished {
		t.Errorf("events %v", kinds)
	}
}
