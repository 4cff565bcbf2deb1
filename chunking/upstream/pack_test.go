package upstream_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
)

// fedora returns the list of the 396 packages of a Fedora CoreOS.
func fedora(t testing.TB) []upstream.Package {
	t.Helper()
	var out []upstream.Package
	data := testfiles.Read(t, "testdata/fedora-coreos-contentmeta.json.gz")[0].Data
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func load(t testing.TB, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ids returns the IDs of the packages, one line for each bin.
func ids(bins [][]upstream.Package) []string {
	rows := make([]string, len(bins))
	for i, bin := range bins {
		var row []string
		for _, c := range bin {
			row = append(row, c.ID)
		}
		rows[i] = strings.Join(row, ",")
	}
	return rows
}

// TestUpstream_PackingOfFedoraCoreOS compares hashes over the bins with those of upstream's program.
func TestUpstream_PackingOfFedoraCoreOS(t *testing.T) {
	t.Parallel()
	packages := fedora(t)
	for _, c := range []struct {
		layers, bins int
		sum          string
	}{
		{4, 4, "81b7e28426fb535cde3d6e5142721a4f1e89567b0a92a2acc85be27d38d0de6f"},
		{8, 8, "0d898a1b14b4517812c0e25f07e2a072ba4e88ed6872e7722ebe5340251b279c"},
		{16, 16, "32eb850a5250d60c5c6dc7408c873f9d68d715cb67788b097a1105744c12f25a"},
		{32, 32, "72ae0f435c44189b4c9468b60fce183f3e9dcf6053590db8692f1fe2c2a61d2b"},
		{64, 64, "5d1525b0a9a4200f09e7cbc91ba65d0a5df16e413692f9fa766da8bcd2c95297"},
		{96, 96, "c3a7136bf6785fa2550dfe9f69b1e5870d4031df7eeb477aacf12d1ac76958a8"},
		{128, 128, "e863be6f1d08c231af701ba8d7512848c03eae339b9cec15aaab0b9947944167"},
		{256, 256, "5249a69928295dfb0147eec40999cf03314b104474cfa2cd0462cac5ee5511e1"},
		{300, 274, "ced27885e477fda5330ca696be68f3997cf11f46dcd138086e32f53691fcf9c0"},
		{396, 274, "ced27885e477fda5330ca696be68f3997cf11f46dcd138086e32f53691fcf9c0"},
		{397, 397, "61c2eb735a203de87e92dab86e5cda4d6477e36289107eeb7d579fb271b410cc"},
		{500, 397, "61c2eb735a203de87e92dab86e5cda4d6477e36289107eeb7d579fb271b410cc"},
	} {
		bins, err := upstream.Pack(packages, c.layers, nil)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(strings.Join(ids(bins), "\n") + "\n"))
		if got := hex.EncodeToString(sum[:]); got != c.sum || len(bins) != c.bins {
			t.Errorf("%d layers: %d bins with sum %s, want %d and %s", c.layers, len(bins), got, c.bins, c.sum)
		}
	}
}

// TestUpstream_PackingOfEveryFixture compares each bin with what upstream's program wrote, with and without a prior
// image.
func TestUpstream_PackingOfEveryFixture(t *testing.T) {
	t.Parallel()
	dir := fixtures.Dir(t, "packing")
	var next []upstream.Package
	load(t, filepath.Join(dir, "fcos-next.json"), &next)
	check := func(file string, packages []upstream.Package, layers int, prior string) {
		t.Run(file, func(t *testing.T) {
			var bins [][]string
			if prior != "" {
				var err error
				if bins, err = upstream.PriorBins(annotations(t, filepath.Join(dir, prior))); err != nil {
					t.Fatal(err)
				}
			}
			packed, err := upstream.Pack(packages, layers, bins)
			if err != nil {
				t.Fatal(err)
			}
			got := make([][][2]string, len(packed))
			for i, bin := range packed {
				got[i] = [][2]string{}
				for _, c := range bin {
					got[i] = append(got[i], [2]string{c.ID, c.Name})
				}
			}
			var want [][][2]string
			load(t, filepath.Join(dir, file), &want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, k := range []int{4, 5, 8, 16, 32, 64, 100, 200, 396, 397, 500} {
		check(fmt.Sprintf("pack-%d.json", k), fedora(t), k, "")
	}
	check("next-64.json", next, 64, "")
	for _, k := range [][2]int{{8, 8}, {32, 32}, {32, 64}, {64, 32}, {64, 64}, {65, 64}} {
		check(fmt.Sprintf("next-%d-prior-%d.json", k[0], k[1]), next, k[0], fmt.Sprintf("prior-%d.json", k[1]))
	}
}

// annotations returns the annotations of a manifest's layers.
func annotations(t testing.TB, path string) (out []map[string]string) {
	t.Helper()
	var m struct {
		Layers []struct{ Annotations map[string]string }
	}
	load(t, path, &m)
	for _, l := range m.Layers {
		out = append(out, l.Annotations)
	}
	return out
}

// list returns the packages of lines "id frequency size". The frequency MAX stands for component.AlwaysChanges.
func list(lines ...string) (out []upstream.Package) {
	for _, l := range lines {
		var c upstream.Package
		var frequency string
		if _, err := fmt.Sscan(l, &c.ID, &frequency, &c.Size); err != nil {
			panic(err)
		}
		if frequency == "MAX" {
			c.ChangeFrequency = component.AlwaysChanges
		} else if _, err := fmt.Sscan(frequency, &c.ChangeFrequency); err != nil {
			panic(err)
		}
		c.Name = "pkg" + strings.TrimSuffix(c.ID, ".1")
		out = append(out, c)
	}
	return out
}

func TestUpstream_PackingOfSmallLists(t *testing.T) {
	t.Parallel()
	eight := list("e1 1 100", "e2 2 100", "e3 3 100", "e4 4 100", "e5 5 100", "e6 6 100", "e7 7 100", "e8 8 100")
	letters := list("a 5 1000", "b 50 900", "c 5 800", "d 500 90", "e 5 80", "f 40 70", "g 30 60",
		"h 20 50", "i 10 40", "j 1 30", "k 2 20", "l 3 10", "m MAX 5", "n 1 0")
	advanced := list("1 MAX 100000", "2 MAX 99999", "3 30 99998", "4 100 99997", "10 51 1000",
		"8 50 500", "9 1 200", "11 100000 199", "6 30 2", "7 30 1")
	for _, c := range []struct {
		packages []upstream.Package
		layers   int
		want     string
	}{
		{nil, 4, ""},
		{list("a 1 1"), 4, "a|"},
		{eight, 4, "e1|e2,e3,e4,e5,e6,e7,e8|"},
		{eight, 5, "e1|e2,e3,e4|e5,e6,e7|e8|"},
		{eight, 6, "e1|e2|e3,e4,e5|e6,e7,e8|"},
		{eight, 8, "e1|e2|e3|e4|e5|e8|e6,e7|"},
		{letters, 4, "a,c,b|j,k,l,e,i,h,g,f,n,d|m|"},
		{letters, 5, "a|b,j,k,l,e,i,h,g,f|c,n,d|m|"},
		{letters, 6, "a|b,j,k,l,e,i|h,g,f,n,d|c|m|"},
		{letters, 7, "a|b|h,g,f|n,d|c,j,k,l,e,i|m|"},
		{letters, 8, "a|b|c|j,k,l,e|n,d|i,h,g,f|m|"},
		{letters, 10, "a|b|c|n|d|j,k|g,f|l,e,i,h|m|"},
		{advanced, 6, "3|4|6,7,11|9,8,10|1,2|"},
	} {
		bins, err := upstream.Pack(c.packages, c.layers, nil)
		if got := strings.Join(ids(bins), "|"); err != nil || got != c.want {
			t.Errorf("%d components in %d layers: %s, %v, want %s", len(c.packages), c.layers, got, err, c.want)
		}
	}
}

// TestUpstream_PackingWithPriorBuild packs a set of packages through two updates.
func TestUpstream_PackingWithPriorBuild(t *testing.T) {
	t.Parallel()
	prior := [][]string{{"pkg3"}, {"pkg4"}, {"pkg6", "pkg7", "pkg11"}, {"pkg9", "pkg8", "pkg10"}, {"pkg1", "pkg2"}, {""}}
	second := list("1.1 MAX 100000", "2 MAX 99999", "3 30 99998", "4 100 99997", "10 51 1000",
		"8 50 500", "9 1 200", "11 100000 199", "6 30 2", "5 30 1")
	bins, err := upstream.Pack(second, 6, prior)
	if got, want := strings.Join(ids(bins), "|"), "3|4|6,11|9,8,10|1.1,2|5"; err != nil || got != want {
		t.Errorf("second image: %s, %v, want %s", got, err, want)
	}
	third := append(slices.Clone(second), list("12 2 0")...)
	bins, err = upstream.Pack(third, 6,
		[][]string{{"pkg3"}, {"pkg4"}, {"pkg6", "pkg11"}, {"pkg9", "pkg8", "pkg10"}, {"pkg1", "pkg2"}, {"pkg5"}})
	if got, want := strings.Join(ids(bins), "|"), "3|4|6,11|9,8,10|1.1,2|5,12"; err != nil || got != want {
		t.Errorf("third image: %s, %v, want %s", got, err, want)
	}
}

func TestPackingThatHasNoAnswerIsAnError(t *testing.T) {
	t.Parallel()
	always := make([]upstream.Package, 0, 71)
	for i := range 70 {
		always = append(always, upstream.Package{ID: fmt.Sprint("m", i), ChangeFrequency: component.AlwaysChanges, Size: 100})
	}
	always = append(always, upstream.Package{ID: "one", Size: 1})
	for _, c := range []struct {
		name     string
		packages []upstream.Package
		layers   int
		prior    [][]string
		want     error
	}{
		{"one layer", list("a 1 1"), 1, nil, upstream.ErrTooFewLayers},
		{"three layers", list("a 1 1"), 3, nil, upstream.ErrTooFewLayers},
		{"no component of medium size", always, 64, nil, upstream.ErrCannotPack},
		{"a name twice", []upstream.Package{{ID: "1", Name: "n"}, {ID: "2", Name: "n"}}, 4,
			[][]string{{"n"}, {""}}, upstream.ErrCannotPack},
	} {
		if bins, err := upstream.Pack(c.packages, c.layers, c.prior); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, ids(bins), err, c.want)
		}
	}
	if _, err := upstream.PriorBins([]map[string]string{{}, {upstream.AnnotationComponents: "a"}, {}}); err == nil {
		t.Error("a prior image with a layer without components is accepted")
	}
}

// TestPackingKeepsEveryComponent checks for any packages that each is in one bin, and that there are at most as many
// bins as allowed.
func TestPackingKeepsEveryComponent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, layers := rapid.IntRange(0, 80).Draw(t, "n"), rapid.IntRange(4, 40).Draw(t, "layers")
		var packages []upstream.Package
		for i := range n {
			c := upstream.Package{
				ID: fmt.Sprint(i), Size: rapid.Uint64Range(0, 1<<30).Draw(t, "size"),
				ChangeFrequency: rapid.Uint32Range(0, 300).Draw(t, "frequency"),
			}
			if rapid.IntRange(0, 9).Draw(t, "always") == 0 {
				c.ChangeFrequency = component.AlwaysChanges
			}
			packages = append(packages, c)
		}
		slices.SortStableFunc(packages, func(a, b upstream.Package) int { return int(int64(b.Size) - int64(a.Size)) })
		bins, err := upstream.Pack(packages, layers, nil)
		if errors.Is(err, upstream.ErrCannotPack) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(bins) > layers {
			t.Errorf("%d bins for %d layers", len(bins), layers)
		}
		seen := map[string]int{}
		for _, bin := range bins {
			for _, c := range bin {
				seen[c.ID]++
			}
		}
		for _, c := range packages {
			if seen[c.ID] != 1 {
				t.Errorf("component %s is in %d bins", c.ID, seen[c.ID])
			}
		}
	})
}
