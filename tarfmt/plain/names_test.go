package plain_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// What the reader of layers refuses is found before one is written, and all of it is named.
func TestNamesThatNoLayerCanHoldAreListed(t *testing.T) {
	t.Parallel()
	file, link := uint32(object.ModeRegular), uint32(object.ModeSymlink)
	deep := strings.Repeat("/"+strings.Repeat("d", 99), 40) // 4000 bytes
	list := func(entries ...rootfs.Entry) *rootfs.List {
		b := rootfs.NewBuilder(0)
		for _, e := range entries {
			if err := b.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		l, _ := b.List(nil)
		return l
	}
	entry := func(dir, name string, mode uint32, target string) rootfs.Entry {
		return rootfs.Entry{Dir: dir, Name: name, FileHeader: &object.FileHeader{Mode: mode, Target: target}}
	}
	if err := plain.CheckNames(list(
		entry("/", "a.wh.b", file, ""), entry("/", ".wh", file, ""), entry(deep, strings.Repeat("x", 94), file, ""),
		entry("/", "l", link, strings.Repeat("t", 4095)),
	)); err != nil {
		t.Errorf("possible names: %v", err)
	}
	err := plain.CheckNames(list(
		entry("/a", ".wh.b", file, ""), entry("/", ".wh..wh..opq", file, ""), entry(deep, strings.Repeat("x", 95), file, ""),
		entry("/", strings.Repeat("n", 256), file, ""), entry("/", "l", link, strings.Repeat("t", 4096)),
	))
	if !errors.Is(err, plain.ErrNames) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`"/a/.wh.b", a name that hides`, `"/.wh..wh..opq", a name`, "a path of 4096 bytes, and 4095", "a name of 256 bytes",
		`"/l", a symlink to a path of 4096 bytes`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	var many []rootfs.Entry
	for range 30 {
		many = append(many, entry("/", ".wh."+strings.Repeat("x", len(many)+1), file, ""))
	}
	if err := plain.CheckNames(list(many...)); !strings.HasSuffix(err.Error(), " and 10 more") {
		t.Errorf("got %v", err)
	}
}
