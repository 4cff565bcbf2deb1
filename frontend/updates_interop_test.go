//go:build interop

package frontend_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// packages makes Debian packages of a few files each in a directory. The same version has the same content.
func packages(t *testing.T, dir string, n, version int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		writePackage(t, dir, i, 1)
	}
	if version > 1 {
		writePackage(t, dir, n/2, version)
	}
}

func writePackage(t *testing.T, dir string, number, version int) {
	t.Helper()
	name := fmt.Sprintf("test-package-%d", number)
	root := filepath.Join(t.TempDir(), name)
	source := rand.New(rand.NewPCG(uint64(number), uint64(version)))
	for file := range 4 {
		var text strings.Builder
		for text.Len() < 400_000 {
			// Words, so that it compresses about as programs do.
			fmt.Fprintf(&text, "%x %x word%d ", source.Uint64(), source.Uint32(), source.IntN(1000))
		}
		writeFile(t, filepath.Join(root, "usr/lib", name, fmt.Sprint(file)), text.String())
	}
	writeFile(t, filepath.Join(root, "DEBIAN/control"), fmt.Sprintf(
		"Package: %s\nVersion: %d\nArchitecture: all\nMaintainer: Test <test@example.invalid>\nDescription: for a test\n", name, version))
	must(t, "dpkg-deb", "--root-owner-group", "-Znone", "-b", root, filepath.Join(dir, name+".deb"))
}

// system is a Containerfile that installs the packages in one step, as people do.
func system() string {
	return "FROM " + env.host + "/debian\nRUN --mount=type=bind,source=debs,target=/debs dpkg -i /debs/*.deb\n"
}

func TestInterop_OnePackageUpgradedIsATenthOfTheBytesOfAPlainBuild(t *testing.T) {
	const n = 30
	d := newDaemon(t, daemonOptions{})
	dir := t.TempDir()
	packages(t, filepath.Join(dir, "debs"), n, 1)
	ours := request{dir: dir, name: "updates/ours"}
	plain := request{dir: dir, name: "updates/plain", plain: true}
	// What a plain build squashed to one layer costs.
	squashed := request{dir: dir, name: "updates/squashed", plain: true}
	files := map[*request]string{
		&ours:     syntax("prior="+env.host+"/updates/ours") + system(),
		&plain:    system(),
		&squashed: system() + "FROM scratch\nCOPY --from=0 / /\n",
	}
	timed := func(r *request) time.Duration {
		writeFile(t, filepath.Join(dir, "Containerfile"), files[r])
		start := time.Now()
		d.build(t, *r)
		return time.Since(start).Round(10 * time.Millisecond)
	}
	prune := func() { must(t, env.buildctl, "--addr", d.addr, "prune", "--all") }
	figures := map[string][2]time.Duration{}
	measure := func(what string) {
		a := timed(&squashed)
		if what == "cold" {
			prune()
		}
		figures[what] = [2]time.Duration{timed(&ours), a}
	}
	measure("cold")
	timed(&plain)
	// What is made of no prior image is the same as what is made of itself, and from then on nothing changes.
	timed(&squashed)
	timed(&ours)
	before, plainBefore := pull(t, ours.name), pull(t, plain.name)
	measure("unchanged")
	packages(t, filepath.Join(dir, "debs"), n, 2)
	measure("one package upgraded")
	timed(&plain)
	layers, size := bytesBeyond(before, pull(t, ours.name))
	plainLayers, plainSize := bytesBeyond(plainBefore, pull(t, plain.name))
	t.Logf("one package of %d upgraded: %d of %d layers with %d bytes changed; plain build: %d layers with %d bytes",
		n, layers, len(before.layers()), size, plainLayers, plainSize)
	if size*10 > plainSize {
		t.Errorf("%d bytes changed, more than a tenth of %d", size, plainSize)
	}
	for what, f := range figures {
		t.Logf("%s: %v, squashed by BuildKit %v: ratio %.2f", what, f[0], f[1], f[0].Seconds()/f[1].Seconds())
	}
}
