package rootfs_test

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// files is a tree in memory. A path that ends with a slash is a directory, and one with an arrow a symlink; parent
// directories are added. Names before and after "=" are one file.
type files struct{ list *rootfs.List }

func treeOf(t testing.TB, names ...string) files {
	t.Helper()
	b, seen := rootfs.NewBuilder(0), map[string]bool{}
	var same []string
	add := func(p, file string, h object.FileHeader) {
		if seen[p] {
			return
		}
		seen[p] = true
		e := rootfs.Entry{FileHeader: &h}
		e.Dir, e.Name = rootfs.Split(p)
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
		same = append(same, file)
	}
	for _, name := range names {
		name, file, _ := strings.Cut(name, "=")
		name, target, link := strings.Cut(name, " -> ")
		p := path.Clean(name)
		for dir := path.Dir(p); ; dir = path.Dir(dir) {
			add(dir, dir, object.FileHeader{Mode: object.ModeDir | 0o755})
			if dir == "/" {
				break
			}
		}
		switch {
		case link:
			add(p, p, object.FileHeader{Mode: object.ModeSymlink | 0o777, Target: target})
		case strings.HasSuffix(name, "/"):
			add(p, p, object.FileHeader{Mode: object.ModeDir | 0o700})
		case strings.HasSuffix(name, "|"):
			add(strings.TrimSuffix(p, "|"), p, object.FileHeader{Mode: 0o010644})
		default:
			if file == "" {
				file = p
			}
			add(p, file, object.FileHeader{Mode: object.ModeRegular | 0o644})
		}
	}
	list, _ := b.List(func(i, j int) int { return strings.Compare(same[i], same[j]) })
	return files{list}
}

func (f files) Entries() *rootfs.List { return f.list }

func (f files) Open(_ context.Context, i int) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("")), nil
}

func TestPrepareLaysATreeOutAsASystemIsCommitted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tree    []string
		options rootfs.PrepareOptions
		want    []string // besides /, /ostree, /sysroot, /usr
		dropped []string
	}{
		"an empty tree": {tree: []string{"/"}},
		"etc is in usr": {tree: []string{"/etc/a/b"},
			want: []string{"/usr/etc", "/usr/etc/a", "/usr/etc/a/b"}},
		"an empty usr/etc is replaced": {tree: []string{"/etc/a", "/usr/etc/"}, want: []string{"/usr/etc", "/usr/etc/a"}},
		"an empty etc is left out": {tree: []string{"/etc/", "/usr/etc/a/b"},
			want: []string{"/usr/etc", "/usr/etc/a", "/usr/etc/a/b"}},
		"both empty":                     {tree: []string{"/etc/", "/usr/etc/"}, want: []string{"/usr/etc"}},
		"names that begin like etc stay": {tree: []string{"/etcetera"}, want: []string{"/etcetera"}},
		"what exists at run time only": {
			tree:    []string{"/run/a", "/tmp/", "/proc/b", "/dev/null|", "/sys/"},
			want:    []string{"/dev", "/proc", "/run", "/sys", "/tmp"},
			dropped: []string{"/dev/null", "/proc/b", "/run/a"},
		},
		"special files": {tree: []string{"/usr/fifo|"}, dropped: []string{"/usr/fifo"}},
		"var is kept":   {tree: []string{"/var/lib/a"}, want: []string{"/var", "/var/lib", "/var/lib/a"}},
		"var is dropped": {tree: []string{"/var/lib/a"}, options: rootfs.PrepareOptions{DropVar: true},
			want: []string{"/var"}, dropped: []string{"/var/lib", "/var/lib/a"}},
		"the repository of another system": {tree: []string{"/sysroot/ostree/repo/config", "/ostree/a"},
			dropped: []string{"/ostree", "/ostree/a", "/sysroot/ostree", "/sysroot/ostree/repo", "/sysroot/ostree/repo/config"}},
		"the symlink that stands for it": {tree: []string{"/ostree -> sysroot/ostree"}},
		"a kernel that is in boot": {tree: []string{"/boot/vmlinuz-6.1", "/boot/initrd.img-6.1",
			"/boot/grub/grub.cfg", "/usr/lib/modules/6.1/"}, want: []string{"/boot", "/usr/lib", "/usr/lib/modules",
			"/usr/lib/modules/6.1", "/usr/lib/modules/6.1/initramfs.img",
			"/usr/lib/modules/6.1/vmlinuz"}, dropped: []string{"/boot/grub", "/boot/grub/grub.cfg"}},
		"a kernel that is in both": {tree: []string{"/boot/vmlinuz-6.1", "/usr/lib/modules/6.1/vmlinuz"},
			want:    []string{"/boot", "/usr/lib", "/usr/lib/modules", "/usr/lib/modules/6.1", "/usr/lib/modules/6.1/vmlinuz"},
			dropped: []string{"/boot/vmlinuz-6.1"}},
		"a kernel without modules": {tree: []string{"/boot/vmlinuz-6.1"}, want: []string{"/boot"},
			dropped: []string{"/boot/vmlinuz-6.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prepared, dropped, err := rootfs.Prepare(treeOf(t, test.tree...), test.options)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range prepared.Entries().All() {
				switch p := e.Path(); p {
				case "/", "/sysroot", "/usr":
				case "/ostree":
					if e.Target != "sysroot/ostree" {
						t.Errorf("/ostree is a link to %q", e.Target)
					}
				default:
					got = append(got, p)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := prepared.Entries().Len() - len(got); n != 4 {
				t.Errorf("%d of the 4 that every system has", n)
			}
			got = nil
			for _, d := range dropped {
				got = append(got, d.Path)
			}
			if diff := cmp.Diff(test.dropped, got); diff != "" {
				t.Errorf("dropped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrepareRefusesWhatItCannotDecide(t *testing.T) {
	t.Parallel()
	for name, tree := range map[string][]string{
		"two etc directories":        {"/etc/a", "/usr/etc/b"},
		"an etc that is a file":      {"/etc"},
		"two initial RAM disks":      {"/boot/initrd.img-6.1", "/boot/initramfs-6.1.img", "/usr/lib/modules/6.1/"},
		"an etc that is a symlink":   {"/etc -> usr/etc"},
		"an etc that leads to usr's": {"/etc -> usr/etc", "/usr/etc/a"},
	} {
		if _, _, err := rootfs.Prepare(treeOf(t, tree...), rootfs.PrepareOptions{}); err == nil {
			t.Errorf("%s: it was prepared", name)
		}
	}
	if _, _, err := rootfs.Prepare(treeOf(t, "/etc/a", "/usr/etc/b"),
		rootfs.PrepareOptions{}); !errors.Is(err, rootfs.ErrTwoEtc) {
		t.Errorf("got %v, want ErrTwoEtc", err)
	}
}

func TestPrepareNamesEverythingThatNoCommitCanHold(t *testing.T) {
	t.Parallel()
	tree := treeOf(t, "/usr/good", "/usr/a\xff", "/usr/link -> \xe9x", "/run/gone\xff")
	_, _, err := rootfs.Prepare(tree, rootfs.PrepareOptions{})
	if !errors.Is(err, rootfs.ErrNotUTF8) {
		t.Fatalf("got %v, want ErrNotUTF8", err)
	}
	for _, part := range []string{`"/usr/a\xff"`, `"/usr/link", a symlink to "\xe9x"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
	if strings.Contains(err.Error(), "gone") {
		t.Errorf("%v names what is not kept", err)
	}
}

func TestPrepareKeepsHardLinksUnlessTheirLabelsDiffer(t *testing.T) {
	t.Parallel()
	tree := treeOf(t, "/etc/a=one", "/usr/b=one", "/usr/c=one", "/usr/d=two")
	label := func(p string, _ uint32) (string, error) {
		return map[bool]string{true: "b_t", false: "other_t"}[p == "/usr/b"], nil
	}
	for name, test := range map[string]struct {
		label func(string, uint32) (string, error)
		want  map[string]string
	}{
		"without labels": {nil, map[string]string{"/usr/b": "/usr/b", "/usr/c": "/usr/b", "/usr/etc/a": "/usr/b",
			"/usr/d": "/usr/d"}},
		"with labels": {label, map[string]string{"/usr/b": "/usr/b", "/usr/c": "/usr/c", "/usr/etc/a": "/usr/c",
			"/usr/d": "/usr/d"}},
	} {
		prepared, _, err := rootfs.Prepare(tree, rootfs.PrepareOptions{Label: test.label})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, e := range prepared.Entries().All() {
			if e.IsRegular() {
				got[e.Path()] = prepared.Entries().At(e.Link).Path()
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestATreeWithoutADirectoryCannotBeCommitted(t *testing.T) {
	t.Parallel()
	b := rootfs.NewBuilder(0)
	for _, p := range []string{"/", "/usr/a"} {
		e := rootfs.Entry{FileHeader: &object.FileHeader{Mode: object.ModeDir | 0o755}}
		e.Dir, e.Name = rootfs.Split(p)
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := b.List(nil)
	hashed, err := rootfs.Hash(t.Context(), files{list})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rootfs.NewSource(hashed); err == nil {
		t.Error("what is in no directory was lost")
	}
}

func TestWhatIsLostIsToldFirst(t *testing.T) {
	t.Parallel()
	list := []rootfs.Dropped{{Path: "/dev/null", RunTime: true}, {Path: "/srv/pipe"}, {Path: "/tmp/a", RunTime: true},
		{Path: "/usr/fifo"}}
	var got []string
	for _, d := range rootfs.LossesFirst(list) {
		got = append(got, d.Path)
	}
	if want := []string{"/srv/pipe", "/usr/fifo", "/dev/null", "/tmp/a"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if list[0].Path != "/dev/null" {
		t.Error("the list itself changed")
	}
}
