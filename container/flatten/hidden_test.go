package flatten_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/container/flatten"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

func TestHiddenFilesAreThoseThatNoNameOfTheTreeHas(t *testing.T) {
	t.Parallel()
	blobs := plainBlobs(
		layer(t, file("kept", "kept"), file("replaced", "first"), file("deleted", "12"), file("linked", "123"),
			link("name", "linked"), file("d/below", "1234"), file("empty", ""), symlink("s", "kept")),
		layer(t, file("replaced", "second"), file(".wh.deleted", ""), file(".wh.linked", ""), file(".wh.empty", ""),
			file(".wh.s", "")),
		layer(t, file("twice", "a"), file("twice", "bc"), file("d/.wh..wh..opq", "")),
	)
	img, err := flatten.Open(t.Context(), image(t, blobs), flatten.Options{TempDir: t.TempDir(), Hidden: true})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	var got []string
	for _, h := range img.Hidden() {
		got = append(got, fmt.Sprintf("%s %d in %d", h.Path, h.Size, h.Layer))
	}
	want := []string{"/replaced 5 in 0", "/deleted 2 in 0", "/d/below 4 in 0", "/twice 1 in 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	x := rootfs.NewIndex(img)
	for p, want := range map[string]int{"/kept": 0, "/name": 0, "/replaced": 1, "/twice": 2} {
		if i, ok := x.Find(p); !ok || img.LayerOf(i) != want {
			t.Errorf("%s: layer %d, want %d", p, img.LayerOf(i), want)
		}
	}
}

func TestContentOfOneLayerIsTheSame(t *testing.T) {
	t.Parallel()
	shared := layer(t, file("a", "content"), file("b", "content"))
	var images [2]*flatten.Image
	for i := range images {
		var err error
		if images[i], err = open(t, plainBlobs(shared, layer(t, file("c", strings.Repeat("c", i+1))))); err != nil {
			t.Fatal(err)
		}
	}
	find := func(img *flatten.Image, p string) int {
		i, ok := rootfs.NewIndex(img).Find(p)
		if !ok {
			t.Fatalf("%s is not there", p)
		}
		return i
	}
	for pair, want := range map[[2]string]bool{{"/a", "/a"}: true, {"/a", "/b"}: false, {"/c", "/c"}: false} {
		if got := images[0].SameContent(find(images[0], pair[0]), images[1], find(images[1], pair[1])); got != want {
			t.Errorf("%q: %v, want %v", pair, got, want)
		}
	}
}
