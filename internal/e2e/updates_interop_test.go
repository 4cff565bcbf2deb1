//go:build interop

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/aptsources"
)

// difference is the part of `chunks diff --json` that this test uses, in compressed bytes.
type difference struct {
	Download uint64
	Shared   uint64
}

func diff(t *testing.T, from, to string) (d difference) {
	t.Helper()
	out := must(t, program, "chunks", "diff", "--json", from, to)
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("chunks diff printed %q: %v", out, err)
	}
	return d
}

// release makes a Debian system of the point release, with or without security and other updates.
func release(t *testing.T, updates bool) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	lines := bookworm(t).Release
	if updates {
		lines = bookworm(t).All()
	}
	must(t, "mmdebstrap", aptsources.Mmdebstrap("bookworm", root, lines, "--include=systemd,systemd-sysv,dbus",
		"--include=linux-image-amd64,python3,perl,openssl,openssh-server,curl,git,rsync,vim,nginx")...)
	return root
}

// TestInterop_ADebianUpdateDownloadsLittleMoreThanWhatChanged makes images of two states of a real distribution and
// counts the compressed bytes of the update. The bound is the size of the changed source packages: the same update with
// a layer for each source package.
func TestInterop_ADebianUpdateDownloadsLittleMoreThanWhatChanged(t *testing.T) {
	before, after := release(t, false), release(t, true)
	size, err := strconv.Atoi(sh(t, `du -s --apparent-size -BM "$1" | sed 's/M.*//'`, before))
	if err != nil {
		t.Fatal(err)
	}
	if size < 500 {
		t.Errorf("the tree has %d MB: less than a real system", size)
	}
	dir := t.TempDir()
	build := func(root, name string, args ...string) string {
		image := "oci:" + dir + "/" + name
		// Level 1 takes half of the time. It makes all sizes larger by about a tenth, those of the bound too.
		common := []string{"container", "build", "--quiet", "--format=ostree", "--compression-level=1", "--rootfs=" + root}
		measured(t, append(append(common, image), args...)...)
		return image
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	bound := diff(t, build(before, "each-old", "--max-layers=499"),
		build(after, "each-new", "--max-layers=499", "--prior=none")).Download
	single := diff(t, build(before, "single-old", "--single-layer"), build(after, "single-new", "--single-layer")).Download
	var table strings.Builder
	mb := func(n uint64) string { return fmt.Sprintf("%.1f MB, %.2f", float64(n)/1e6, float64(n)/float64(bound)) }
	fmt.Fprintf(&table, "tree of %d MB; to download, and times the bound of %.1f MB\n", size, float64(bound)/1e6)
	fmt.Fprintf(&table, "| layers | without prior | with prior |\n|---|---|---|\n| 1 | %s | |\n", mb(single))
	for _, layers := range []int{16, 32, 64, 120} {
		limit := "--max-layers=" + strconv.Itoa(layers)
		old := build(before, "old", limit, "--prior=none")
		fresh := diff(t, old, build(after, "fresh", limit, "--prior=none")).Download
		with := diff(t, old, build(after, "with", limit, "--prior="+old)).Download
		fmt.Fprintf(&table, "| %d | %s | %s |\n", layers, mb(fresh), mb(with))
		if with > fresh || fresh > single {
			t.Errorf("%d layers: %d bytes with the prior image, %d without, %d as a single layer", layers, with, fresh, single)
		}
		if layers == 64 && float64(with) > 1.3*float64(bound) {
			t.Errorf("%d layers: %d bytes with the prior image, more than 1.3 times the bound of %d", layers, with, bound)
		}
	}
	t.Log(table.String())
}
