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

// packages builds Debian packages of a few files each in a directory. The same version has the same content.
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
		writeFile(t, filepath.Join(root, "usr/lib", name, fmt.Sprint(file)), words(source))
	}
	writeFile(t, filepath.Join(root, "DEBIAN/control"), fmt.Sprintf(
		"Package: %s\nVersion: %d\nArchitecture: all\nMaintainer: Test <test@example.invalid>\nDescription: for a test\n",
		name, version))
	must(t, "dpkg-deb", "--root-owner-group", "-Znone", "-b", root, filepath.Join(dir, name+".deb"))
}

// words returns text that compresses about as well as programs do.
func words(source *rand.Rand) string {
	var text strings.Builder
	for text.Len() < 400_000 {
		fmt.Fprintf(&text, "%x %x word%d ", source.Uint64(), source.Uint32(), source.IntN(1000))
	}
	return text.String()
}

// packageContent returns the content of the first file of a package.
func packageContent(number, version int) string {
	return words(rand.New(rand.NewPCG(uint64(number), uint64(version))))
}

// system returns a Containerfile that installs the packages in one step, as people do.
func system() string {
	return "FROM " + env.host + "/debian\nRUN --mount=type=bind,source=debs,target=/debs dpkg -i /debs/*.deb\n"
}

// BuildKit and our frontend are timed side by side. Each has its own daemon, so that neither finds the other's results.
// If OSTREE_EXT_TEST_BASE names a tar of a larger system, that is the base.
func TestInterop_OnePackageUpgradedIsATenthOfTheBytesOfAPlainBuild(t *testing.T) {
	const n = 30
	dir := t.TempDir()
	packages(t, filepath.Join(dir, "debs"), n, 1)
	type build struct {
		request
		file   string
		daemon *daemon
	}
	alone := newDaemon(t, daemonOptions{})
	ours := build{
		request{dir: dir, name: "updates/ours"}, syntax("prior="+env.host+"/updates/ours") + system(),
		newDaemon(t, daemonOptions{}),
	}
	// Time a plain build that is squashed to one layer.
	squashed := build{
		request{dir: dir, name: "updates/squashed", plain: true}, system() + "FROM scratch\nCOPY --from=0 / /\n", alone,
	}
	plain := build{request{dir: dir, name: "updates/plain", plain: true}, system(), alone}
	timed := func(b build) time.Duration {
		writeFile(t, filepath.Join(dir, "Containerfile"), b.file)
		start := time.Now()
		b.daemon.build(t, b.request)
		return time.Since(start)
	}
	var figures []string
	measure := func(what string) {
		a, b := timed(squashed), timed(ours)
		figures = append(figures, fmt.Sprintf("%s: %.2f s, squashed by BuildKit %.2f s: ratio %.2f", what, b.Seconds(),
			a.Seconds(), b.Seconds()/a.Seconds()))
	}
	measure("cold")
	timed(plain)
	// Without a prior image, the result is the same as with itself as the prior image. After that nothing changes.
	timed(ours)
	before, plainBefore := pull(t, ours.name), pull(t, plain.name)
	measure("unchanged")
	packages(t, filepath.Join(dir, "debs"), n, 2)
	measure("one package upgraded")
	timed(plain)
	layers, size := bytesBeyond(before, pull(t, ours.name))
	plainLayers, plainSize := bytesBeyond(plainBefore, pull(t, plain.name))
	t.Logf("one package of %d upgraded: %d of %d layers with %d bytes changed; plain build: %d layers with %d bytes",
		n, layers, len(before.layers()), size, plainLayers, plainSize)
	if size*10 > plainSize {
		t.Errorf("%d bytes changed, more than a tenth of %d", size, plainSize)
	}
	for _, f := range figures {
		t.Log(f)
	}
}
