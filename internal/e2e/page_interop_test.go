//go:build interop

package e2e

import (
	"encoding/json"
	"image"
	"image/color"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// share returns how much of a picture has a colour, from 0 to 1.
func share(img image.Image, is func(c color.RGBA) bool) float64 {
	n, b := 0, img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if is(color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)) {
				n++
			}
		}
	}
	return float64(n) / float64(b.Dx()*b.Dy())
}

func grey(c color.RGBA) bool {
	return max(c.R, c.G, c.B)-min(c.R, c.G, c.B) < 24 && c.R < 240
}

// shown is JavaScript for a list of elements that are not hidden or folded away.
const shown = `const shown = (what) => Array.from(document.querySelectorAll(what)).filter((e) => e.checkVisibility(
	{contentVisibilityAuto: true, visibilityProperty: true}));`

// count returns how many of the elements with a selector are shown.
func (b *browser) count(selector string) int {
	b.t.Helper()
	return eval[int](b, `(() => {`+shown+` return shown(`+string(quoted(selector))+`).length })()`)
}

func quoted(s string) []byte {
	data, _ := json.Marshal(s) // text can be marshalled
	return data
}

// find types into the search field.
func (b *browser) find(text string) {
	b.t.Helper()
	eval[bool](b, `(() => { const q = document.getElementById("q"); q.value = `+string(quoted(text))+`;
		return q.dispatchEvent(new Event("input")) })()`)
}

// tooWide returns the elements that are wider than the window.
func (b *browser) tooWide() []string {
	b.t.Helper()
	return eval[[]string](b, `(() => { const wide = innerWidth + 0.5, out = [];
		for (const d of document.querySelectorAll("details")) d.open = true;
		if (document.documentElement.scrollWidth > wide) out.push("the page");
		for (const e of document.body.querySelectorAll("*"))
			if (!e.closest("svg") && e.getBoundingClientRect().right > wide) out.push(e.outerHTML.slice(0, 200));
		return out })()`)
}

func TestInterop_ABrowserShowsThePages(t *testing.T) {
	root, dir := oddRoot(t), t.TempDir()
	sh(t, `for n in 'a<script>document.title="owned"<!--' 'b<img src=x onerror=document.title="owned">' $'c\u202egnp'; do
		head -c 1200000 /dev/urandom >"$1/opt/$n"; done
		dd if=/dev/urandom bs=1M count=2 of="$1/opt/$(printf 'long%.0s' {1..50})" status=none`, root)
	old, now, last := "oci:"+dir+"/image:old", "oci:"+dir+"/image:new", "oci:"+dir+"/image:last"
	build := func(dest string, options ...string) {
		must(t, program, append([]string{"container", "build", "-q", "--rootfs=" + root, dest}, options...)...)
	}
	build(old)
	sh(t, `head -c 70000 /dev/urandom >"$1/usr/bin/two"; sed -i '/^Package: two$/,/^$/s/^Version:.*/Version: 2-1/' \
		"$1/var/lib/dpkg/status"`, root)
	build(now, "--prior="+old, `--label=org.opencontainers.image.version=<script>document.title="owned"</script>`)
	sh(t, `head -c 1000000 /dev/urandom >"$1/opt/new"`, root)
	build(last, "--prior="+now)
	page := func(name string) string { return filepath.Join(dir, name+".html") }
	must(t, program, "chunks", "plan", "--rootfs="+root, "--html="+page("plan"))
	must(t, program, "chunks", "show", "--html="+page("show"), last)
	must(t, program, "chunks", "diff", "--html="+page("diff"), old, now)
	must(t, program, "chunks", "history", "--html="+page("history"), old, now, last)
	var diff struct {
		Download int64
		Layers   []any
		Shared   int `json:"shared_layers"`
	}
	if err := json.Unmarshal([]byte(must(t, program, "chunks", "diff", "--json", old, now)), &diff); err != nil {
		t.Fatal(err)
	}

	b := newBrowser(t)
	for _, width := range []int{420, 1200} {
		for _, name := range []string{"plan", "show", "diff", "history"} {
			b.open(page(name), width, true)
			if list := b.tooWide(); len(list) > 0 {
				t.Errorf("%s is wider than %d pixels: %s", name, width, strings.Join(list, "\n"))
			}
			for selector, want := range map[string]int{
				".map.wide, .chart.wide": 0, ".map.small, .chart.small": 1, "#search": 1,
			} {
				if width > 420 && selector != "#search" {
					want = 1 - want
				}
				if got := b.count(selector); got != want {
					t.Errorf("%s, %d pixels: %d %s are shown, want %d", name, width, got, selector, want)
				}
			}
			if title := eval[string](b, "document.title"); title == "owned" || title == "" {
				t.Errorf("the title of %s is %q", name, title)
			}
			if n := eval[int](b, `document.querySelectorAll("img, script:not(body > script:last-of-type)").length`); n > 0 {
				t.Errorf("%s has %d elements that come from names", name, n)
			}
		}
	}
	b.answers(page("diff"), sizes.Format(diff.Download), len(diff.Layers), diff.Shared)
	b.searches(page("diff"), len(diff.Layers), diff.Shared)
	b.colours(page)
}

// answers looks at the page of an update without scripts.
func (b *browser) answers(page, download string, layers, kept int) {
	t := b.t
	t.Helper()
	b.open(page, 420, false)
	if got := eval[string](b, `document.querySelector("h1 b").textContent`); got != download {
		t.Errorf("the page opens with %q, want %q", got, download)
	}
	if text := eval[string](b, `document.querySelector("#causes").innerText`); !strings.Contains(text, "1-1 → 2-1") {
		t.Errorf("the causes do not have the versions:\n%s", text)
	}
	for selector, want := range map[string]int{
		"#search": 0, "#downloads .row": layers, "#kept h2": 1, "#kept .row": 0, "#downloads table": 0,
	} {
		if got := b.count(selector); got != want {
			t.Errorf("without scripts %d of %s are shown, want %d", got, selector, want)
		}
	}
	b.click("#kept summary")
	if got := b.count("#kept .row"); got != kept {
		t.Errorf("unfolded without scripts, %d kept layers are shown, want %d", got, kept)
	}
}

// searches uses the search of the page of an update.
func (b *browser) searches(page string, layers, kept int) {
	t := b.t
	t.Helper()
	b.open(page, 1200, true)
	state := func() []int { return []int{b.count("#downloads .row"), b.count("#kept .row"), b.count("#causes")} }
	before := state()
	if !slices.Equal(before, []int{layers, 0, 1}) {
		t.Errorf("before a search: %v", before)
	}
	b.find("deb/TWO")
	if got := state(); !slices.Equal(got, []int{1, 0, 0}) {
		t.Errorf("deb/two: %v", got)
	}
	b.find("deb/one")
	if got := state(); got[0]+got[1] != 1 {
		t.Errorf("deb/one: %v", got)
	}
	b.find("nothing has this name")
	if got := state(); !slices.Equal(got, []int{0, 0, 0}) {
		t.Errorf("a name that nothing has: %v", got)
	}
	if got := eval[string](b, `document.getElementById("found").textContent`); !strings.HasPrefix(got, "0 of ") {
		t.Errorf("it says %q", got)
	}
	b.find("")
	if got := state(); !slices.Equal(got, before) {
		t.Errorf("after a search: %v, before it %v", got, before)
	}
}

// colours looks at the pictures, by day and by night.
func (b *browser) colours(page func(string) string) {
	t := b.t
	t.Helper()
	orange := func(c color.RGBA) bool { return int(c.R)-int(c.B) > 80 }
	blue := func(c color.RGBA) bool { return int(c.B)-int(c.R) > 8 }
	for _, night := range []bool{false, true} {
		b.dark(night)
		b.open(page("plan"), 1200, false)
		if n := share(b.screenshot(".map.wide"), blue); n < 0.8 {
			t.Errorf("night %t: how often layers change covers %.2f of the plan", night, n)
		}
		b.open(page("diff"), 1200, false)
		shot := b.screenshot(".map.wide")
		if kept, changed := share(shot, grey), share(shot, orange); kept < 0.5 || changed < 0.005 || changed > 0.3 {
			t.Errorf("night %t: kept layers cover %.2f of the update, changed ones %.3f", night, kept, changed)
		}
		back := eval[string](b, `getComputedStyle(document.body).backgroundColor`)
		if light := back == "rgb(255, 255, 255)"; light == night {
			t.Errorf("night %t: the background is %s", night, back)
		}
	}
}
