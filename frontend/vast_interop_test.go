//go:build interop

package frontend_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// This runs after the tests that measure times: a file system is slow for minutes after so many files were deleted.

// The tree has more files than any distribution's desktop, all of them in packages.
func TestInterop_TheChunkStepNeedsLittleMemoryForManyFiles(t *testing.T) {
	const packages, each = 1600, 250
	root := t.TempDir()
	var status strings.Builder
	for n := range packages {
		name := fmt.Sprintf("a-package-%d", n)
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\n\n", name)
		dir := "/usr/share/" + name
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		var list strings.Builder
		fmt.Fprintf(&list, "/.\n/usr\n/usr/share\n%s\n", dir)
		for i := range each {
			file := fmt.Sprintf("%s/a-file-with-a-name-of-the-usual-length-%d", dir, i)
			fmt.Fprintln(&list, file)
			writeFile(t, filepath.Join(root, file), file)
		}
		info := filepath.Join(root, "var/lib/dpkg/info")
		if err := os.MkdirAll(info, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(info, name+".list"), list.String())
	}
	writeFile(t, filepath.Join(root, "var/lib/dpkg/status"), status.String())
	chunkInLittleMemory(t, root)
}
