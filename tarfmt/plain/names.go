package plain

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// ErrNames is wrapped by the error about files that no layer can hold.
var ErrNames = errors.New("a layer cannot hold these: rename them, or leave them out")

// maxNamed is how many paths an error names.
const maxNamed = 20

// CheckNames reports all entries that no layer can hold: those whose names begin with ".wh.", which hide files of lower
// layers, and those whose paths are longer than a reader accepts.
func CheckNames(entries *rootfs.List) error {
	var bad []string
	n := 0
	for _, e := range entries.All() {
		var why string
		p := e.Path()
		switch {
		case strings.HasPrefix(e.Name, whiteoutPrefix):
			why = "a name that hides files of lower layers"
		case len(p) >= maxPath:
			why = fmt.Sprintf("a path of %d bytes, and %d are possible", len(p), maxPath-1)
		case len(e.Name) > maxName:
			why = fmt.Sprintf("a name of %d bytes, and %d are possible", len(e.Name), maxName)
		case e.IsSymlink() && len(e.Target) >= maxPath:
			why = fmt.Sprintf("a symlink to a path of %d bytes, and %d are possible", len(e.Target), maxPath-1)
		default:
			continue
		}
		if n++; n <= maxNamed {
			bad = append(bad, fmt.Sprintf("%s, %s", shortened(p), why))
		}
	}
	switch {
	case n == 0:
		return nil
	case n > maxNamed:
		return fmt.Errorf("%w: %s and %d more", ErrNames, strings.Join(bad, "; "), n-maxNamed)
	}
	return fmt.Errorf("%w: %s", ErrNames, strings.Join(bad, "; "))
}

// shortened quotes a path without the middle of a long one.
func shortened(p string) string {
	const part = 150
	if len(p) <= 2*part {
		return fmt.Sprintf("%q", p)
	}
	return fmt.Sprintf("%q", p[:part]+"…"+p[len(p)-part:])
}
