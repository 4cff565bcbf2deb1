package upstream_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// sizes is a source that knows only the sizes of files.
type sizes map[object.Checksum]int64

func (s sizes) FileInfo(_ context.Context, c object.Checksum) (*object.FileInfo, error) {
	size, ok := s[c]
	if !ok {
		return nil, repo.ErrObjectNotFound
	}
	return &object.FileInfo{Size: size}, nil
}

func (sizes) Metadata(context.Context, object.Name) ([]byte, error) {
	return nil, repo.ErrObjectNotFound
}

func (sizes) OpenFile(context.Context, object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	return nil, nil, repo.ErrObjectNotFound
}

// TestUpstream_ComponentsAreOrderedBySizeThenID checks the order in which upstream's packing gets the components,
// whatever the order of the list.
func TestUpstream_ComponentsAreOrderedBySizeThenID(t *testing.T) {
	t.Parallel()
	m := upstream.Mapping{
		Packages: []upstream.Package{{ID: "z", Name: "Z"}, {ID: "empty"}, {ID: "big", Size: 1}, {ID: "a"}},
		Objects:  []upstream.Assignment{{objectA, "z"}, {objectB, "a"}, {objectC, "big"}, {object.Checksum{0xd}, "big"}},
	}
	if err := m.Measure(t.Context(), sizes{objectA: 5, objectB: 5, objectC: 4, {0xd}: 2}); err != nil {
		t.Fatal(err)
	}
	want := []upstream.Package{{ID: "big", Size: 6}, {ID: "a", Size: 5}, {ID: "z", Name: "Z", Size: 5}}
	if diff := cmp.Diff(want, m.Packages); diff != "" {
		t.Error(diff)
	}
}

func TestMeasuringNeedsComponentsAndObjects(t *testing.T) {
	t.Parallel()
	m := upstream.Mapping{Objects: []upstream.Assignment{{objectA, "nosuch"}}}
	if err := m.Measure(t.Context(), sizes{objectA: 1}); !errors.Is(err, upstream.ErrUnknownPackage) {
		t.Errorf("got %v, want ErrUnknownComponent", err)
	}
	if err := m.Measure(t.Context(), sizes{}); !errors.Is(err, repo.ErrObjectNotFound) {
		t.Errorf("got %v, want ErrObjectNotFound", err)
	}
}

// TestUpstream_BinsOfExclusiveComponentsLeaveThePriorBuild checks that bins that became empty are removed, except the
// last.
func TestUpstream_BinsOfExclusiveComponentsLeaveThePriorBuild(t *testing.T) {
	t.Parallel()
	prior := [][]string{{"pkg1"}, {"pkg2"}, {"pkg3", "pkg4"}, {"pkg5", "pkg6"}, {""}}
	bins, err := upstream.Pack(list("3 1 4", "4 1 3", "5 1 2", "6 1 1"), 4, prior)
	if got, want := strings.Join(ids(bins), "|"), "3,4|5,6|"; err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

// TestUpstream_PackingKeepsEveryByte checks that the bins hold every byte of a Fedora CoreOS.
func TestUpstream_PackingKeepsEveryByte(t *testing.T) {
	t.Parallel()
	bins, err := upstream.Pack(fedora(t), 64, nil)
	if err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for _, bin := range bins {
		for _, c := range bin {
			total += c.Size
		}
	}
	if total != 1351235724 {
		t.Errorf("the bins hold %d bytes, want 1351235724", total)
	}
}
