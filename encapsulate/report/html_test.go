package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

var update = flag.Bool("update", false, "write what the pages say into testdata")

// writer is a report.
type writer interface{ WriteHTML(w io.Writer) error }

func pageOf(t testing.TB, w writer) string {
	t.Helper()
	return page(t, func(b *bytes.Buffer) error { return w.WriteHTML(b) })
}

// pages are one of each kind.
func pages(t testing.TB) map[string]writer {
	t.Helper()
	a, b := older().open(t), newer().open(t)
	return map[string]writer{
		"image": report.OfImage(b), "update": report.Diff(a, b), "nothing": report.Diff(a, a),
		"history": report.NewHistory([]*oci.Image{a, b, a}), "plan": planned(t, 40, 9),
		"plain": report.OfImage(described{plain: true, name: "plain", layers: []layer{first}}.open(t)),
	}
}

// TestPagesSayWhatTheyShould compares the text of the pages, line by line. The folded parts are marked.
func TestPagesSayWhatTheyShould(t *testing.T) {
	t.Parallel()
	for name, w := range pages(t) {
		file := filepath.Join("testdata", name+".txt")
		got := visible(pageOf(t, w))
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPagesAreTheSameEveryTime(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for range 5 {
		for name, w := range pages(t) {
			got := pageOf(t, w)
			if want[name] == "" {
				want[name] = got
			} else if got != want[name] {
				t.Fatalf("%s: %s", name, cmp.Diff(want[name], got))
			}
		}
	}
}

func TestPagesHaveEveryLayerAndComponentAndTheTotals(t *testing.T) {
	t.Parallel()
	image := report.OfImage(newer().open(t))
	text := pageOf(t, image)
	ids := func(list []string) {
		for _, id := range list {
			system, name, _ := strings.Cut(id, "/")
			if !strings.Contains(text, "<i>"+system+"/</i>"+name) && !strings.Contains(text, "<td>"+id+"</td>") &&
				!strings.Contains(text, "</u>"+id+"</td>") {
				t.Errorf("%s is not on the page", id)
			}
		}
	}
	var total uint64
	for _, l := range image.Layers {
		total += l.Bytes
		if !strings.Contains(text, l.Digest) {
			t.Errorf("layer %s is not on the page", l.Digest)
		}
		ids(l.Components)
	}
	answer := func(n uint64) {
		if want := "<h1><b>" + sizes.Format(int64(n)) + "</b>"; !strings.Contains(text, want) {
			t.Errorf("the page does not have %s", want)
		}
	}
	answer(total)

	d := report.Diff(older().open(t), newer().open(t))
	text = pageOf(t, d)
	answer(d.Download)
	for _, l := range d.Layers {
		ids(append(l.Components, l.Removed...))
	}
	for _, l := range image.Layers { // downloaded or kept
		if !strings.Contains(text, l.Digest) {
			t.Errorf("layer %s is not on the page of the update", l.Digest)
		}
	}
	for _, p := range d.Packages {
		ids([]string{p.System + "/" + p.Name})
	}

	r := planned(t, 500, 30)
	text = pageOf(t, r)
	total = 0
	for _, l := range r.Layers {
		total += l.Bytes
		ids(l.Components)
	}
	answer(total)
}

func TestPagesNeedNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	reference := regexp.MustCompile(`(?i)https?:|//[a-z]|[ \n](src|href|style|on[a-z]+)=|url\([^#]|@import`)
	element := func(page, name string) string {
		_, rest, _ := strings.Cut(page, "<"+name+">")
		text, _, _ := strings.Cut(rest, "</"+name+">")
		sum := sha256.Sum256([]byte(text))
		return name + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	for name, w := range pages(t) {
		page := pageOf(t, w)
		if found := reference.FindString(page); found != "" {
			t.Errorf("%s: the page has %q", name, found)
		}
		_, policy, _ := strings.Cut(page, `http-equiv="Content-Security-Policy" content="`)
		policy, _, _ = strings.Cut(policy, `"`)
		policy = html.UnescapeString(policy)
		for _, want := range []string{"default-src 'none'", element(page, "style"), element(page, "script")} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy %q does not have %q", name, policy, want)
			}
		}
		if strings.Count(page, "<script") != 1 || strings.Count(page, "<style") != 1 {
			t.Errorf("%s: there is more than one script or style", name)
		}
	}
}

// TestTextOfImagesIsEscaped looks for anything of a hostile text that is not escaped. What a browser makes of it is
// tested in internal/e2e.
func TestTextOfImagesIsEscaped(t *testing.T) {
	t.Parallel()
	a, b := hostileImage("1").open(t), hostileImage("2").open(t)
	list := []byte(`[{"identifier":"deb/</script><script>alert(1)</script><img src=x>","size":5,"probability":0.5}]`)
	planned, err := report.PlanList(hostile, list, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]writer{
		"image": report.OfImage(a), "update": report.Diff(a, b), "plan": planned,
		"history": report.NewHistory([]*oci.Image{a, b}),
	} {
		page := pageOf(t, w)
		if !strings.Contains(page, "alert(1)") {
			t.Errorf("%s: the text is not on the page", name)
		}
		for _, bad := range []string{"<script>alert", "<img", "<b>y", "\u202e", "\u2066", "\x1b", "]]>", `"'`} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page has %q", name, bad)
			}
		}
		if strings.Count(page, "</title>") != 1+strings.Count(page, "<title>")-1 || strings.Count(page, "</script>") != 1 {
			t.Errorf("%s: elements end early", name)
		}
	}
}

func TestAPageOfManyComponentsIsSmall(t *testing.T) {
	t.Parallel()
	image := func(version string) *oci.Image {
		d := described{layers: []layer{first}}
		for i := range 100 {
			l := layer{content: fmt.Sprint(i, version), bytes: 1e6 + i}
			for n := range 40 {
				l.components = append(l.components, fmt.Sprintf("deb/component-%d-of-%d %s%d %d", n, i, version, n, 9000+n))
			}
			d.layers = append(d.layers, l)
		}
		return d.open(t)
	}
	a, b := image("a"), image("b")
	for name, w := range map[string]writer{"image": report.OfImage(b), "update": report.Diff(a, b)} {
		if n := len(pageOf(t, w)); n > 2e6 {
			t.Errorf("%s: the page of 4000 components has %d bytes", name, n)
		} else {
			t.Logf("%s: %d bytes", name, n)
		}
	}
}

// TestSizesThatCannotBeAreShown uses sizes whose sums overflow.
func TestSizesThatCannotBeAreShown(t *testing.T) {
	t.Parallel()
	const most = 1<<63 - 1
	huge := func(content string) *oci.Image {
		return described{layers: []layer{
			{content: "first" + content, bytes: most},
			{content: content, bytes: most, components: []string{
				"deb/a " + content + " 18446744073709551615", "deb/b x 18446744073709551615",
			}},
			{content: "other" + content, bytes: 0, components: []string{"deb/c " + content + " 0"}},
		}}.open(t)
	}
	a, b := huge("1"), huge("2")
	for name, w := range map[string]writer{
		"image": report.OfImage(a), "update": report.Diff(a, b), "history": report.NewHistory([]*oci.Image{a, b}),
	} {
		if page := pageOf(t, w); strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
			t.Errorf("%s: the page has numbers that are none", name)
		}
	}
}
