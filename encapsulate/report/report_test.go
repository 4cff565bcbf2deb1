package report_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
)

// why is a line for each layer to download: its components or bytes, the reason, and what changed.
func why(d *report.Difference) (lines []string) {
	for _, l := range d.Layers {
		line := fmt.Sprintf("%d %s: %s", l.Bytes, l.Reason, strings.Join(l.Because, " "))
		for _, id := range l.Removed {
			line += " -" + id
		}
		for _, p := range l.Packages {
			line += fmt.Sprintf(" [%s %s>%s]", p.Name, p.From, p.To)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestEachLayerToDownloadHasItsReason(t *testing.T) {
	t.Parallel()
	d := report.Diff(older().open(t), newer().open(t))
	want := []string{
		"4100 changed: deb/openssl [libssl3 3.0.15>3.0.16] [openssl 3.0.15>3.0.16]",
		"3100 changed: deb/gnupg2 deb/tar [gpg 2.2.40>2.2.41] [gpgv 2.2.40>2.2.41] [tar 1.34>1.35]",
		"4900 compression: ",
		"400 changed:  -deb/vim [vim 9>]",
		"250 split: ",
		"260 split: ",
		"210 changed: sys/pkgdb",
		"600 changed: deb/jq [jq >1.6]",
		"50 unknown: ",
	}
	if diff := cmp.Diff(want, why(d)); diff != "" {
		t.Error(diff)
	}
	other := newer()
	other.layers[0].content = "other directories"
	if l := report.Diff(newer().open(t), other.open(t)).Layers; len(l) != 1 || l[0].Reason != report.First {
		t.Errorf("the layer with the directories: %+v", l)
	}
}

func TestCausesAddUpToTheDownload(t *testing.T) {
	t.Parallel()
	d := report.Diff(older().open(t), newer().open(t))
	var got []string
	var sum uint64
	for _, c := range d.Causes {
		got = append(got, fmt.Sprintf("%d %s %s", c.Bytes, c.Reason, c.Name))
		sum += c.Bytes
	}
	want := []string{
		"4900 compression deb/git", "4100 changed deb/openssl", "2067 changed deb/gnupg2", "1033 changed deb/tar",
		"600 added deb/jq", "400 removed deb/vim", "260 split file/b", "250 split file/a", "210 changed sys/pkgdb",
		"50 unknown RUN make install",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if sum != d.Download || sum != 13870 {
		t.Errorf("the causes are %d bytes, the download %d", sum, d.Download)
	}
}

func TestPackagesOfAnotherProgramsImageAreCompared(t *testing.T) {
	t.Parallel()
	image := func(version string) *oci.Image {
		return described{plain: true, layers: []layer{
			{content: "commit" + version, bytes: 10, history: "commit"},
			{content: "kernel" + version, bytes: 20, packages: "kernel", history: "kernel-" + version + "-1.x86_64"},
			{content: "many" + version, bytes: 30, packages: "a,b", history: "a and b"},
		}}.open(t)
	}
	want := []string{"10 unknown: ", "20 changed: kernel [kernel 6.1-1>6.2-1]", "30 unknown: "}
	if diff := cmp.Diff(want, why(report.Diff(image("6.1"), image("6.2")))); diff != "" {
		t.Error(diff)
	}
}

func TestPackagesAreFoundWithoutAnnotations(t *testing.T) {
	t.Parallel()
	strip := func(d described) *oci.Image {
		for i := range d.layers {
			d.layers[i].packages = ""
		}
		return d.open(t)
	}
	// gpg is of no package's source by name: without annotations only the versions of another one could tell.
	want := []string{
		"4100 changed: deb/openssl [libssl3 3.0.15>3.0.16] [openssl 3.0.15>3.0.16]",
		"3100 changed: deb/gnupg2 deb/tar [tar 1.34>1.35]",
	}
	if diff := cmp.Diff(want, why(report.Diff(strip(older()), strip(newer())))[:2]); diff != "" {
		t.Error(diff)
	}
}

func TestSizesOfComponentsAddUpToTheLayer(t *testing.T) {
	t.Parallel()
	r := report.OfImage(newer().open(t))
	n := 0
	for _, l := range r.Layers {
		var sum uint64
		for _, size := range l.CompressedSizes {
			sum += size
			n++
		}
		if len(l.CompressedSizes) > 0 && sum != l.Bytes {
			t.Errorf("%v: %d bytes of %d", l.Components, sum, l.Bytes)
		}
	}
	if n != 11 {
		t.Errorf("%d components have a size", n)
	}
	if c := r.Layers[1]; !slices.Equal(c.Changes, []int{1}) || !slices.Equal(c.LastChanged, []string{"2025-07-31"}) {
		t.Errorf("changes %v, last %v", c.Changes, c.LastChanged)
	}
}

func TestAHistoryAddsUpItsUpdates(t *testing.T) {
	t.Parallel()
	a, b := older().open(t), newer().open(t)
	h := report.NewHistory([]*oci.Image{a, b, b, a})
	back := report.Diff(b, a)
	if got := []uint64{h.Updates[0].Download, h.Updates[1].Download, h.Updates[2].Download}; !slices.Equal(got,
		[]uint64{13870, 0, back.Download}) {
		t.Errorf("downloads %v", got)
	}
	if h.Download != 13870+back.Download || h.Whole != 2*h.Images[1].Bytes+h.Images[0].Bytes {
		t.Errorf("%d of %d bytes", h.Download, h.Whole)
	}
	if p := h.Updates[0].Packages; p.Changed != 5 || p.Added != 1 || p.Removed != 1 {
		t.Errorf("packages: %+v", p)
	}
	if len(h.Updates[1].Causes) != 0 || h.Images[0].Version != "1" || h.Images[3].Image != "oci:os:older" {
		t.Errorf("%+v", h)
	}
}

// list is a list of components in content metadata.
func list(n int) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,{"identifier":"component-%05d-of-a-list","size":%d,"change_frequency":%d}`, i, 1000+i*i, i%50)
	}
	return []byte("[" + b.String()[1:] + "]")
}

func planned(t testing.TB, n, layers int) *report.Layers {
	t.Helper()
	r, err := report.PlanList("list.json", list(n), plan.Options{MaxLayers: layers})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTextSaysWhatTheUpdateIsFor(t *testing.T) {
	t.Parallel()
	d := report.Diff(older().open(t), newer().open(t))
	var b bytes.Buffer
	if err := d.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"because of deb/openssl (3.0.15 → 3.0.16)", "because of deb/vim (9 removed)", "only compressed otherwise",
		"only split otherwise", "changed  deb/gpg 2.2.40 → 2.2.41", "added    deb/jq 1.6\n", "removed  deb/vim 9\n",
		"to download: 13.9\u00a0kB in 9 layers",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, &b)
		}
	}
}
