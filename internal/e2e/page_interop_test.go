//go:build interop

package e2e

import (
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// screenshot renders a page in a browser and returns how much of the picture each colour covers.
func screenshot(t *testing.T, page string) map[color.RGBA]int {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "shot.png")
	must(t, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--user-data-dir="+dir,
		"--window-size=1240,1000", "--screenshot="+name, "file://"+page)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	area := map[color.RGBA]int{}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			area[color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)]++
		}
	}
	return area
}

func TestInterop_ABrowserShowsThePageOfAPlan(t *testing.T) {
	root := oddRoot(t)
	dir := t.TempDir()
	plan, update := filepath.Join(dir, "plan.html"), filepath.Join(dir, "update.html")
	must(t, program, "chunks", "plan", "--rootfs="+root, "--html="+plan)
	area := screenshot(t, plan)
	// Rates of change have colours between green and red; the page itself is white, black and grey.
	coloured := 0
	for c, n := range area {
		if max(c.R, c.G)-c.B > 40 && n > 1000 {
			coloured += n
		}
	}
	if coloured < 1240*1000/4 {
		t.Errorf("the treemap covers %d of %d points", coloured, 1240*1000)
	}
	must(t, program, "container", "build", "-q", "--rootfs="+root, "oci:"+dir+"/image:one")
	sh(t, `echo changed >>"$1/usr/share/doc/two"`, root)
	must(t, program, "container", "build", "-q", "--rootfs="+root, "--prior=oci:"+dir+"/image:one",
		"oci:"+dir+"/image:two")
	must(t, program, "chunks", "diff", "--html="+update, "oci:"+dir+"/image:one", "oci:"+dir+"/image:two")
	if kept := screenshot(t, update)[color.RGBA{0xb8, 0xbe, 0xc6, 0xff}]; kept < 1240*1000/10 {
		t.Errorf("what is kept covers %d of %d points", kept, 1240*1000)
	}

	dom := must(t, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+dir+"/profile", "--dump-dom", "file://"+plan)
	if n := strings.Count(dom, "<rect"); n < 10 {
		t.Errorf("the page has %d boxes:\n%s", n, dom)
	}
}
