package sysroot_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/keyfile"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

func sum(b byte) object.Checksum { return object.Checksum{b} }

// three are deployments of two stateroots, two of which share a kernel.
var three = []repotest.Deployment{
	{
		Stateroot: "default", Commit: sum(1), Boot: sum(11), Title: "Example OS (ostree:0)",
		KernelArgs: "root=UUID=1 quiet init=/ostree/boot.0/x",
		Origin:     "[origin]\ncontainer-image-reference=ostree-unverified-registry:registry.example/os:latest\n",
	},
	{
		Stateroot: "default", Commit: sum(2), Boot: sum(11), Title: "Example OS (ostree:1)",
		Origin: "[origin]\nrefspec=remote:os\noverride-commit=abc\nunconfigured-state=register first\n\n" +
			"[libostree-transient]\npinned=true\n\n[rpmostree]\nclientlayer=true\n",
	},
	{Stateroot: "other", Commit: sum(3), Boot: sum(12), Title: "Other OS (ostree:2)"},
}

// makeHost makes a sysroot whose deployment i is booted, and opens it. A negative i makes a host that runs from none.
func makeHost(t *testing.T, i int, deployments ...repotest.Deployment) (*sysroot.Sysroot, sysroot.Host) {
	t.Helper()
	root := repotest.MakeSysroot(t, deployments...)
	h := sysroot.Host{Root: t.TempDir(), Run: t.TempDir()}
	if i >= 0 {
		d := deployments[i]
		h.Root = filepath.Join(root, "ostree/deploy", d.Stateroot, "deploy", d.Commit.String()+".0")
		write(t, filepath.Join(h.Run, "ostree-booted"), "")
	}
	return open(t, h, root), h
}

func open(t *testing.T, h sysroot.Host, root string) *sysroot.Sysroot {
	t.Helper()
	s, err := h.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s *sysroot.Sysroot) sysroot.Deployments {
	t.Helper()
	list, err := s.Deployments()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestDeploymentsAreThoseOfTheBootMenu(t *testing.T) {
	t.Parallel()
	s, _ := makeHost(t, -1, three...)
	list := load(t, s)
	if len(list) != 3 {
		t.Fatalf("got %d deployments, want 3", len(list))
	}
	first, second, third := list[0], list[1], list[2]
	if first.Index != 0 || first.Stateroot != "default" || first.Commit != sum(1) || first.BootChecksum != sum(11) ||
		first.Serial != 0 || first.BootSerial != 0 || first.Title != "Example OS (ostree:0)" {
		t.Errorf("got %+v", first)
	}
	if want := "ostree/deploy/default/deploy/" + sum(1).String() + ".0"; first.Dir != want {
		t.Errorf("got the directory %s, want %s", first.Dir, want)
	}
	if got, want := first.KernelArgs, []string{"root=UUID=1", "quiet"}; !slices.Equal(got, want) {
		t.Errorf("got kernel arguments %q, want %q", got, want)
	}
	if want := "/ostree/default-" + sum(11).String() + "/vmlinuz-" + repotest.KernelVersion; first.Kernel != want {
		t.Errorf("got the kernel %s, want %s", first.Kernel, want)
	}
	if want := "ostree-unverified-registry:registry.example/os:latest"; first.Origin.Image != want || first.Pinned() {
		t.Errorf("got origin %+v, want %s and not pinned", first.Origin, want)
	}
	if o := second.Origin; second.BootSerial != 1 || !second.Pinned() || o.Refspec != "remote:os" ||
		o.OverrideCommit != "abc" || o.UnconfiguredState != "register first" {
		t.Errorf("got %+v with origin %+v", second, o)
	}
	if v, _ := second.Origin.File.Get("rpmostree", "clientlayer"); v != "true" {
		t.Error("want the groups of other programs in the origin")
	}
	if third.Stateroot != "other" || third.Origin != nil || third.Pinned() {
		t.Errorf("got %+v", third)
	}
	if list.Booted() != nil || list.Staged() != nil {
		t.Error("want neither a booted nor a staged deployment")
	}
}

func TestRolesFollowFromTheBootedDeployment(t *testing.T) {
	t.Parallel()
	fourth := repotest.Deployment{Stateroot: "default", Commit: sum(4), Boot: sum(11)}
	all := append(slices.Clone(three[:2]), fourth, three[2])
	for _, c := range []struct {
		name                             string
		booted                           int
		stateroot                        string
		pending, rollback, merge, isBoot byte
	}{
		{"nothing is booted", -1, "default", 1, 0, 1, 0},
		{"the default is booted", 0, "default", 0, 2, 1, 1},
		{"the second is booted", 1, "default", 1, 4, 2, 2},
		{"the last is booted", 2, "default", 1, 0, 4, 4},
		{"another stateroot is booted", 3, "default", 1, 0, 1, 3},
		{"a stateroot without deployments", 0, "new", 0, 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, _ := makeHost(t, c.booted, all...)
			list := load(t, s)
			pending, rollback := list.Around(c.stateroot)
			for _, r := range []struct {
				role string
				got  *sysroot.Deployment
				want byte
			}{
				{"pending", pending, c.pending}, {"rollback", rollback, c.rollback},
				{"merge", list.Merge(c.stateroot), c.merge}, {"booted", list.Booted(), c.isBoot},
			} {
				if r.want == 0 && r.got != nil || r.want != 0 && (r.got == nil || r.got.Commit != sum(r.want)) {
					t.Errorf("%s: got %+v, want commit %d", r.role, r.got, r.want)
				}
			}
		})
	}
}

func TestTheBootedDeploymentIsKnownBelowAnOverlay(t *testing.T) {
	t.Parallel()
	s, h := makeHost(t, 1, three...)
	info, err := os.Stat(h.Root)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	id := gvariant.Tuple(gvariant.Uint64(st.Dev), gvariant.Uint64(st.Ino))
	h.Root = t.TempDir()
	write(t, filepath.Join(h.Run, "ostree-booted"),
		string(gvariant.Dict{{Key: "backing-root-device-inode", Value: id}}.Encode()))
	if d := load(t, open(t, h, s.Path())).Booted(); d == nil || d.Commit != sum(2) {
		t.Errorf("got %+v, want the second deployment", d)
	}
}

func TestWithoutTheMarkOfABootedHostNothingIsBooted(t *testing.T) {
	t.Parallel()
	s, h := makeHost(t, 0, three...)
	if err := os.Remove(filepath.Join(h.Run, "ostree-booted")); err != nil {
		t.Fatal(err)
	}
	if d := load(t, s).Booted(); d != nil {
		t.Errorf("got %+v", d)
	}
}

// stage writes the file of a staged deployment, with the keys of its target replaced by those of change.
func stage(t *testing.T, run string, more gvariant.Dict, change map[string]string) {
	t.Helper()
	target := gvariant.Dict{}
	for _, key := range []string{"name", "osname", "bootcsum"} {
		value := map[string]string{"name": sum(9).String() + ".0", "osname": "default", "bootcsum": sum(13).String()}[key]
		if v, ok := change[key]; ok {
			value = v
		}
		target = target.Set(key, gvariant.String(value))
	}
	v, err := gvariant.New("a{sv}", target.Encode())
	if err != nil {
		t.Fatal(err)
	}
	all := append(gvariant.Dict{{Key: "target", Value: v}}, more...)
	write(t, filepath.Join(run, "ostree/staged-deployment"), string(all.Encode()))
}

func TestAStagedDeploymentComesFirst(t *testing.T) {
	t.Parallel()
	s, h := makeHost(t, 0, three...)
	dir := filepath.Join(s.Path(), "ostree/deploy/default/deploy", sum(9).String()+".0")
	write(t, dir+".origin", "[origin]\ncontainer-image-reference=ostree-image-signed:docker://registry.example/os:2\n")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	stage(t, h.Run, gvariant.Dict{{Key: "kargs", Value: gvariant.Strings([]string{"quiet", "ostree=x"})}}, nil)
	list := load(t, s)
	d := list.Staged()
	if d == nil || list[0] != d || len(list) != 4 || list[3].Index != 3 {
		t.Fatalf("got %+v", list)
	}
	if d.Commit != sum(9) || d.BootChecksum != sum(13) || d.BootSerial != -1 || d.Locked || d.Booted ||
		!slices.Equal(d.KernelArgs, []string{"quiet"}) || !strings.HasPrefix(d.Origin.Image, "ostree-image-signed:") {
		t.Errorf("got %+v", d)
	}
	if pending, _ := list.Around("default"); pending != d {
		t.Errorf("got %+v as pending", pending)
	}
	stage(t, h.Run, gvariant.Dict{{Key: "locked", Value: gvariant.Bool(true)}}, nil)
	if d := load(t, s).Staged(); d == nil || !d.Locked || d.KernelArgs != nil {
		t.Errorf("got %+v, want a locked one that inherits its kernel arguments", d)
	}
	stage(t, h.Run, nil, nil)
	write(t, filepath.Join(h.Run, "ostree/staged-deployment-locked"), "")
	if d := load(t, s).Staged(); d == nil || !d.Locked {
		t.Errorf("got %+v, want a locked one", d)
	}
}

func TestOnlyTheBootedSysrootHasAStagedDeployment(t *testing.T) {
	t.Parallel()
	s, h := makeHost(t, -1, three...)
	write(t, filepath.Join(h.Run, "ostree-booted"), "")
	stage(t, h.Run, nil, nil)
	if list := load(t, s); len(list) != 3 {
		t.Errorf("got %d deployments, want 3", len(list))
	}
}

func TestAStagedDeploymentIsCheckedBeforeItIsFollowed(t *testing.T) {
	t.Parallel()
	one := func(key string) gvariant.Dict { return gvariant.Dict{{Key: key, Value: gvariant.Byte(1)}} }
	for name, c := range map[string]struct {
		more   gvariant.Dict
		change map[string]string
		want   error
	}{
		"a stateroot outside":        {change: map[string]string{"osname": "../../.."}, want: sysroot.ErrInvalid},
		"the parent as stateroot":    {change: map[string]string{"osname": ".."}, want: sysroot.ErrInvalid},
		"a deployment outside":       {change: map[string]string{"name": "../x"}, want: sysroot.ErrInvalid},
		"an absent deployment":       {want: fs.ErrNotExist},
		"kernel arguments of a type": {more: one("kargs"), want: sysroot.ErrInvalid},
		"a lock of a type":           {more: one("locked"), want: sysroot.ErrInvalid},
		"a checksum that is none":    {change: map[string]string{"bootcsum": "x"}, want: sysroot.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, h := makeHost(t, 0, three...)
			stage(t, h.Run, c.more, c.change)
			if _, err := s.Deployments(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("not a dictionary", func(t *testing.T) {
		t.Parallel()
		s, h := makeHost(t, 0, three...)
		write(t, filepath.Join(h.Run, "ostree/staged-deployment"), "\xff\xff\xff")
		if _, err := s.Deployments(); !errors.Is(err, sysroot.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
	})
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := sysroot.Open(t.TempDir()); !errors.Is(err, sysroot.ErrNotSysroot) {
		t.Errorf("got %v, want ErrNotSysroot", err)
	}
	if _, err := sysroot.Open(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	s, _ := makeHost(t, -1, three...)
	for _, name := range []string{"default", "other"} {
		if err := s.CheckStateroot(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"absent", "", ".", "..", "../deploy", "a/b", "a\nb"} {
		if err := s.CheckStateroot(name); !errors.Is(err, sysroot.ErrNoStateroot) {
			t.Errorf("%q: got %v, want ErrNoStateroot", name, err)
		}
	}
}

func TestASysrootWithoutBootLoaderEntriesHasNoDeployments(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "ostree/repo"), 0o755); err != nil {
		t.Fatal(err)
	}
	if list := load(t, open(t, sysroot.Host{Run: t.TempDir()}, root)); len(list) != 0 {
		t.Errorf("got %+v", list)
	}
}

func TestNothingLeadsOutOfTheSysroot(t *testing.T) {
	t.Parallel()
	entry := "boot/loader.0/entries/ostree-1-other.conf"
	k := sum(12).String()
	bootLink := "ostree/boot.0.1/other/" + k + "/0"
	options := func(link string) string { return "version 1\noptions quiet ostree=" + link + "\n" }
	link := func(target, name string) func(t *testing.T, root string) {
		return func(t *testing.T, root string) {
			t.Helper()
			name := filepath.Join(root, name)
			if err := os.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(name, content string) func(t *testing.T, root string) {
		return func(t *testing.T, root string) { t.Helper(); write(t, filepath.Join(root, name), content) }
	}
	origin := "ostree/deploy/other/deploy/" + sum(3).String() + ".0.origin"
	outside := t.TempDir()
	write(t, filepath.Join(outside, "file"), "[origin]\nrefspec=stolen\n")
	for name, c := range map[string]struct {
		change func(t *testing.T, root string)
		want   error // nil: any
	}{
		"an entry with a path upwards":       {file(entry, options("/ostree/boot.0/../../../x/0")), sysroot.ErrInvalid},
		"an entry with the parent directory": {file(entry, options("/ostree/boot.0/../"+k+"/0")), sysroot.ErrInvalid},
		"an entry without ostree=":           {file(entry, "version 1\noptions quiet\n"), sysroot.ErrInvalid},
		"an entry with another argument":     {file(entry, options("/dev/sda")), sysroot.ErrInvalid},
		"an entry with a huge number": {file(entry, options("/ostree/boot.0/other/"+k+"/99999999999")),
			sysroot.ErrInvalid},
		"an entry of an absent link": {file(entry, options("/ostree/boot.0/other/"+k+"/7")), fs.ErrNotExist},
		"a kernel outside /boot": {file(entry, options("/ostree/boot.0/other/"+k+"/0")+
			"linux /../../etc/shadow\n"), sysroot.ErrInvalid},
		"an entry that is too long": {file(entry, strings.Repeat("x", 1<<20)), sysroot.ErrInvalid},
		"a boot link outside": {link("../../../../../../"+outside+"/"+sum(3).String()+".0", bootLink),
			sysroot.ErrInvalid},
		"a boot link elsewhere": {link("../../../deploy/default/deploy/"+sum(3).String()+".0", bootLink),
			sysroot.ErrInvalid},
		"a boot link to something else": {link("../../../deploy/other/deploy/x", bootLink), sysroot.ErrInvalid},
		"a boot link that is a file": {func(t *testing.T, root string) {
			t.Helper()
			link("x", bootLink)(t, root)
			if err := os.Remove(filepath.Join(root, bootLink)); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(root, bootLink), "")
		}, nil},
		"a loader outside":            {link(outside, "boot/loader"), sysroot.ErrInvalid},
		"a directory of entries":      {link("../../../"+outside, "boot/loader.0/entries"), nil},
		"an entry that is a link out": {link(filepath.Join(outside, "file"), entry), nil},
		"an origin outside":           {link(filepath.Join(outside, "file"), origin), nil},
		"an origin that is a FIFO": {func(t *testing.T, root string) {
			t.Helper()
			fifo(t, filepath.Join(root, origin))
		}, sysroot.ErrInvalid},
		"an origin that is too long":   {file(origin, strings.Repeat("#\n", keyfile.MaxSize)), sysroot.ErrInvalid},
		"an origin that is not a file": {file(origin, "\xff"), keyfile.ErrSyntax},
		"a deployment that is a link": {link(outside, "ostree/deploy/other/deploy/"+sum(3).String()+".0"),
			sysroot.ErrInvalid},
		"a stateroot outside": {link(outside, "ostree/deploy/other"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := makeHost(t, -1, three...)
			c.change(t, s.Path())
			list, err := s.Deployments()
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %+v and %v, want the error %v", list, err, c.want)
			}
		})
	}
}

func fifo(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFilesThatAreNotLibostreesAreSkipped(t *testing.T) {
	t.Parallel()
	s, _ := makeHost(t, -1, three...)
	entries := filepath.Join(s.Path(), "boot/loader.0/entries")
	write(t, filepath.Join(entries, "windows.conf"), "title Windows\n")
	write(t, filepath.Join(entries, "ostree-1.conf~"), "title backup\n")
	fifo(t, filepath.Join(entries, "ostree-fifo.conf"))
	if list := load(t, s); len(list) != 3 {
		t.Errorf("got %d deployments, want 3", len(list))
	}
}

func TestBootIsMeasuredInBlocks(t *testing.T) {
	t.Parallel()
	s, _ := makeHost(t, -1, three...)
	b, err := s.Boot()
	if err != nil {
		t.Fatal(err)
	}
	if !b.Shared || b.Free <= 0 || b.BlockSize <= 0 || len(b.Kernels) != 2 {
		t.Errorf("got %+v", b)
	}
	if !b.Has("default", sum(11)) || b.Has("other", sum(11)) || !b.Has("other", sum(12)) {
		t.Errorf("got the kernels %+v", b.Kernels)
	}
	if k := b.Kernels[0]; k.Bytes != 2*b.BlockSize {
		t.Errorf("got %d bytes for two small files, want %d", k.Bytes, 2*b.BlockSize)
	}
	if got, want := b.Room(0, 1, b.BlockSize, b.BlockSize+1), 4*b.BlockSize; got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
}
