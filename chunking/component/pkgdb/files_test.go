package pkgdb_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

func TestFilesComeBackAsTheyWereAdded(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("content"))
	for name, want := range map[string][]pkgdb.File{
		"none":              nil,
		"paths that grow":   {{Path: "/a"}, {Path: "/a/b"}, {Path: "/a/b/c"}},
		"paths that shrink": {{Path: "/a/b/c"}, {Path: "/a/b"}, {Path: "/"}, {Path: ""}, {Path: "/x"}},
		"one twice":         {{Path: "/a"}, {Path: "/a"}},
		"all that is known": {{Path: "/a", Ghost: true, Digest: sum, Size: 1 << 40}, {Path: "/b", Digest: sum},
			{Path: "/c", Size: 1}, {Path: "/d", Ghost: true}},
		"long and odd names": {{Path: "/" + strings.Repeat("x", 5000)},
			{Path: "/" + strings.Repeat("x", 4999) + "\xff\x00"}},
		"a digest of zeros":    {{Path: "/a", Digest: [32]byte{}}},
		"a size below nothing": {{Path: "/a", Size: -1}},
	} {
		files := pkgdb.FilesOf(want...)
		if diff := cmp.Diff(want, slices.Collect(files.All())); diff != "" || files.Len() != len(want) {
			t.Errorf("%s: %d files (-want +got):\n%s", name, files.Len(), diff)
		}
		for f := range files.All() {
			if f != want[0] {
				t.Errorf("%s: begins with %+v", name, f)
			}
			break
		}
	}
}
