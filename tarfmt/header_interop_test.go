//go:build interop

package tarfmt

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Sizes from 8 GiB do not fit into the field's eleven octal digits.
const hugeSize = 8<<30 + 1

func TestGNUTarReadsOurHugeSizes(t *testing.T) {
	t.Parallel()
	h := newHeader(typeRegular, attributes{mode: 0o644}, hugeSize)
	copy(h.name(), "huge")
	h.seal()
	stream := filepath.Join(t.TempDir(), "huge.tar")
	if err := os.WriteFile(stream, h[:], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(stream, blockSize+hugeSize+511+
		2*blockSize); err != nil { // padding to whole blocks, and the end mark
		t.Fatal(err)
	}
	out, err := exec.Command("tar", "-tvf", stream).CombinedOutput()
	if err != nil || !strings.Contains(string(out), " 8589934593 ") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("got %v\n%s", err, out)
	}
}

// GNU tar writes them in its own format or in that of PAX.
func TestWeReadGNUTarsHugeSizes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "huge")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, hugeSize); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "pax"} {
		script := `tar --format="$2" -C "$1" -c huge | head -c 10240`
		data, err := exec.Command("sh", "-c", script, "sh", dir, format).Output()
		if err != nil {
			t.Fatal(err)
		}
		e, err := newTarReader(bytes.NewReader(data)).next()
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if e.path != "huge" || e.size != hugeSize {
			t.Errorf("%s: got %q of %d bytes", format, e.path, e.size)
		}
	}
}
