package simulate

import (
	"bytes"
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOurPackingWithPriorDownloadsLeast(t *testing.T) {
	t.Parallel()
	list, err := ReadList(fedoraList)
	if err != nil {
		t.Fatal(err)
	}
	layers := []int{16, 64, 120}
	packers := []Packer{Continued(0), Upstream(), RPMOstree(), Chunkah()}
	results, err := Run(t.Context(), list.World(16, 8, 1), packers, layers, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range layers {
		ours := results[i].Mean()
		for p := 1; p < len(packers); p++ {
			peer := results[p*len(layers)+i]
			if peer.Layers != k || peer.Packer != packers[p].Name {
				t.Fatalf("result of %s at %d layers is out of order", peer.Packer, peer.Layers)
			}
			if ours > peer.Mean() {
				t.Errorf("%d layers: %.1f MB, %s has %.1f MB", k, ours/1e6, peer.Packer, peer.Mean()/1e6)
			}
		}
	}
}

func TestAnUpdateDownloadsTheLayersWithNewContent(t *testing.T) {
	t.Parallel()
	world := &World{Images: []Image{
		{{Name: "a", Size: 1}, {Name: "b", Size: 10}, {Name: "c", Size: 100}},
		{{Name: "a", Size: 1}, {Name: "b", Size: 10, Version: 1}, {Name: "c", Size: 100}}, // b changes
		{{Name: "a", Size: 1}, {Name: "c", Size: 100}},                                    // b is removed
		{{Name: "a", Size: 1}, {Name: "c", Size: 100}, {Name: "d", Size: 1000}},           // d is added
	}}
	pairs := Packer{"pairs", func(image Image, _ int, _ *Prior) ([][]string, error) {
		all := names(image)
		return [][]string{all[:2], all[2:]}, nil
	}}
	results, err := Run(t.Context(), world, []Packer{pairs}, []int{2}, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []Result{{Packer: "pairs", Layers: 2, Bytes: []uint64{11, 101, 1000}, Bound: []uint64{10, 0, 1000}}}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if got := results[0].Excess(); math.Abs(got-1112.0/1010) > 1e-9 {
		t.Errorf("excess %v", got)
	}
}

func TestAPlanThatLosesContentIsRefused(t *testing.T) {
	t.Parallel()
	world := &World{Images: []Image{{{Name: "a"}, {Name: "b"}}}}
	for name, layers := range map[string][][]string{
		"one is missing":  {{"a"}},
		"one is twice":    {{"a", "b"}, {"b"}},
		"too many layers": {{"a"}, {"b"}, nil},
	} {
		packer := Packer{name, func(Image, int, *Prior) ([][]string, error) { return layers, nil }}
		if _, err := Run(t.Context(), world, []Packer{packer}, []int{2}, 1); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWorldsAreTheSameForTheSameSeed(t *testing.T) {
	t.Parallel()
	list, err := ReadList(fedoraList)
	if err != nil {
		t.Fatal(err)
	}
	first, second := list.World(4, 10, 1), list.World(4, 10, 1)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("second world differs:\n%s", diff)
	}
	came, went := 0, 0
	for i := 1; i < len(first.Images); i++ {
		before, after := first.Images[i-1].byName(), first.Images[i].byName()
		for name := range after {
			if before[name] == nil {
				came++
			}
		}
		for name := range before {
			if after[name] == nil {
				went++
			}
		}
	}
	if came == 0 || went == 0 {
		t.Errorf("%d packages came and %d went in 10 updates", came, went)
	}
}

const status = `Package: libexample1
Status: install ok installed
Installed-Size: 100
Source: example (1.2-3)

Package: example-utils
Status: install ok installed
Installed-Size: 20
Source: example

Package: gone
Status: deinstall ok config-files
Installed-Size: 7

Package: silent
Status: install ok installed
Installed-Size: 5
`

const changelog = `example (1.2-3) unstable; urgency=medium

  * Second.

 -- A Person <person@example.org>  Tue, 03 Jan 2023 12:00:00 +0100

example (1.2-2) unstable; urgency=medium

  * The date is broken.

 -- A Person <person@example.org>  Tue, 99 Foo 2022

example (1.2-1) unstable; urgency=medium

  * First.

 -- A Person <person@example.org>  Sun, 01 Jan 2023 23:30:00 +0000
`

// debianRoot makes an installation of one source with two binary packages, one removed package, and one without docs.
func debianRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "var/lib/dpkg/status"), []byte(status))
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write([]byte(changelog)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "usr/share/doc/libexample1/changelog.Debian.gz"), z.Bytes())
	if err := os.Symlink("libexample1", filepath.Join(root, "usr/share/doc/example-utils")); err != nil {
		t.Fatal(err)
	}
	return root
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDebianSourcesComeFromStatusAndChangelogs(t *testing.T) {
	t.Parallel()
	got, err := ReadDebian(debianRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []Source{{Name: "example", Size: 120 << 10, Days: []int{19358, 19360}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if got := Newest(got); !got.Equal(time.Date(2023, 1, 3, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("newest entry %v", got)
	}
}

func TestADebianPackageKnowsNothingOfItsFuture(t *testing.T) {
	t.Parallel()
	source := Source{Name: "example", Size: 1, Days: []int{100, 200, 500}}
	for day, want := range map[int]Package{
		50:  {Version: 0, Rates: Rates{Stability: 0.99}},
		200: {Version: 2, Rates: Rates{Days: []int{0, 100}, Frequency: 2, Stability: math.Exp(-0.14)}},
		500: {Version: 3, Rates: Rates{Days: []int{0, 300, 400}, Frequency: 2, Stability: math.Exp(-14.0 / 300)}},
	} {
		want.Name, want.Size = "example", 1
		if diff := cmp.Diff(want, source.on(day)); diff != "" {
			t.Errorf("day %d (-want +got):\n%s", day, diff)
		}
	}
}

func TestARootWithoutChangelogsIsAnError(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "var/lib/dpkg/status"), []byte(status))
	if _, err := ReadDebian(root); err == nil || !strings.Contains(err.Error(), "slim images have none") {
		t.Errorf("error %v, want one that names slim images", err)
	}
}

func TestTheTableHasARowForEachPacker(t *testing.T) {
	t.Parallel()
	world := &World{Name: "World", Images: make([]Image, 2)}
	var b strings.Builder
	err := Table(&b, world, []Result{
		{Packer: "one", Layers: 16, Bytes: []uint64{3e6}, Bound: []uint64{2e6}},
		{Packer: "one", Layers: 32, Bytes: []uint64{2e6}, Bound: []uint64{2e6}},
		{Packer: "two", Layers: 16, Bytes: []uint64{4e6}, Bound: []uint64{2e6}},
		{Packer: "two", Layers: 32, Bytes: []uint64{3e6}, Bound: []uint64{2e6}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `World; 1 updates; bound 2.0 MB

| MB × excess | 16 layers | 32 layers |
|---|---|---|
| one | 3.0 × 1.500 | 2.0 × 1.000 |
| two | 4.0 × 2.000 | 3.0 × 1.500 |
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
