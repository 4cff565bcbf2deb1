package deploy

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

const (
	unverified = "ostree-unverified-registry:registry.example/os:latest"
	signed     = "ostree-image-signed:docker://registry.example/os:latest"
	remote     = "ostree-remote-image:vendor:docker://registry.example/os:latest"
)

func parse(t *testing.T, s string) imgref.OstreeImageReference {
	t.Helper()
	ref, err := imgref.ParseOstreeImageReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func imageOrigin(ref string) string { return "[origin]\ncontainer-image-reference=" + ref + "\n" }

// host is a sysroot with commits, one of which has no deployment.
type host struct {
	path    string
	host    sysroot.Host
	repo    *repo.Repo
	commits []object.Checksum // the oldest first
}

func kernelOf(i int) string { return "kernel " + string(rune('a'+i)) }

// newHost makes a sysroot with a deployment of the stateroot "default" for each origin, the newest first. The host runs
// from the deployment booted, counted as in the boot menu, or from none if that is -1.
func newHost(t *testing.T, booted int, origins ...string) *host {
	t.Helper()
	h := &host{host: sysroot.Host{Root: t.TempDir(), Run: t.TempDir()}}
	from := repotest.Init(t, repo.ModeArchive)
	for i := range len(origins) + 1 {
		h.commits = append(h.commits, repotest.CommitWith(t, from, repotest.BootTree(kernelOf(i), "initramfs", nil), "",
			gvariant.Dict{{Key: "version", Value: gvariant.String("v" + string(rune('1'+i)))}}, nil))
	}
	var list []repotest.Deployment
	for i, origin := range origins {
		n := len(origins) - 1 - i
		list = append(list, repotest.Deployment{
			Stateroot: "default", Commit: h.commits[n], Boot: repotest.BootChecksum(kernelOf(n), "initramfs"),
			KernelArgs: "root=UUID=1 quiet n=" + string(rune('1'+n)), Origin: origin,
		})
	}
	h.path = repotest.MakeSysroot(t, list...)
	if booted >= 0 {
		h.host.Root = filepath.Join(h.path, "ostree/deploy/default/deploy", list[booted].Commit.String()+".0")
		write(t, filepath.Join(h.host.Run, "ostree-booted"), "")
	}
	var err error
	if h.repo, err = repo.Init(filepath.Join(h.path, "ostree/repo"), repo.ModeBareUser); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.repo.Close() })
	if err := h.repo.SetConfig("core", "fsync", "false"); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range h.commits {
		names = append(names, c.String())
	}
	if _, err := h.repo.PullLocal(t.Context(), from, names, repo.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	return h
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

// options deploy the commit that has no deployment.
func (h *host) options(t *testing.T) Options {
	t.Helper()
	return Options{
		Sysroot: h.path, Commit: h.commits[len(h.commits)-1], Origin: parse(t, unverified), Host: h.host,
	}
}

// stage forges a staged deployment of the first commit.
func (h *host) stage(t *testing.T, origin string, locked bool) {
	t.Helper()
	name := h.commits[0].String() + ".7"
	dir := filepath.Join(h.path, "ostree/deploy/default/deploy", name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir+".origin", origin)
	target, err := gvariant.New("a{sv}", gvariant.Dict{
		{Key: "name", Value: gvariant.String(name)}, {Key: "osname", Value: gvariant.String("default")},
		{Key: "bootcsum", Value: gvariant.String(repotest.BootChecksum(kernelOf(0), "initramfs").String())},
	}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(h.host.Run, "ostree/staged-deployment"), string(gvariant.Dict{
		{Key: "target", Value: target}, {Key: "locked", Value: gvariant.Bool(locked)},
	}.Encode()))
}

func plan(t *testing.T, opts Options) *Plan {
	t.Helper()
	p, err := NewPlan(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPlanSaysWhatWouldBeDone(t *testing.T) {
	t.Parallel()
	h := newHost(t, 1, imageOrigin(unverified), imageOrigin(unverified)+"unconfigured-state=register\n\n"+
		"[libostree-transient]\npinned=false\n\n[packages]\nrequested=vim;\n", imageOrigin(unverified))
	p := plan(t, h.options(t))
	name := func(i int) string { return h.commits[i].String() + ".0" }
	want := &Plan{
		Sysroot: h.path, Stateroot: "default", Commit: h.commits[3].String(), Image: unverified,
		Origin: imageOrigin(unverified), Previous: unverified, Staged: true, Kernel: repotest.KernelVersion,
		KernelArgs: []string{"root=UUID=1", "quiet", "n=2"},
		Lost:       []string{"origin/unconfigured-state", "packages/requested"},
		Boot:       Room{Path: filepath.Join(h.path, "boot"), Free: p.Boot.Free},
		Keep:       []Deployed{{Stateroot: "default", Name: name(1), State: StateBooted, Image: unverified}},
		Drop: []Deployed{
			{Stateroot: "default", Name: name(2), State: StatePending, Image: unverified},
			{Stateroot: "default", Name: name(0), State: StateRollback, Image: unverified},
		},
		Commands: [][]string{{
			"ostree", "admin", "deploy", "--sysroot=" + h.host.Root, "--os=default", "--origin-file=ORIGIN", "--stage",
			h.commits[3].String(),
		}},
	}
	if diff := cmp.Diff(want, p, cmpopts.IgnoreUnexported(Plan{})); diff != "" {
		t.Error(diff)
	}
	if p.Boot.Free <= 0 {
		t.Error("want the free space of /boot")
	}
}

func TestStagingIsTheDefaultOnABootedHostOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		booted int
		mode   StageMode
		staged bool
		want   error
	}{
		{"booted", 0, StageAuto, true, nil},
		{"booted, never", 0, StageNever, false, nil},
		{"booted, always", 0, StageAlways, true, nil},
		{"not booted", -1, StageAuto, false, nil},
		{"not booted, never", -1, StageNever, false, nil},
		{"not booted, always", -1, StageAlways, false, ErrNotBooted},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, c.booted, "")
			opts := h.options(t)
			opts.Stage = c.mode
			p, err := NewPlan(t.Context(), opts)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && (p.Staged != c.staged || slices.Contains(p.Commands[0], "--stage") != c.staged) {
				t.Errorf("got staged %v and %q", p.Staged, p.Commands)
			}
		})
	}
}

func TestKernelArgumentsAreInheritedOrReplaced(t *testing.T) {
	t.Parallel()
	h := newHost(t, -1, imageOrigin(unverified))
	for _, c := range []struct {
		name  string
		args  []string
		want  []string
		flags []string
	}{
		{"inherited", nil, []string{"root=UUID=1", "quiet", "n=1"}, nil},
		{"none", []string{}, []string{}, []string{"--karg-none"}},
		{"replaced", []string{"console=tty0", "console=ttyS0"}, []string{"console=tty0", "console=ttyS0"},
			[]string{"--karg-none", "--karg-append=console=tty0", "--karg-append=console=ttyS0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := h.options(t)
			opts.KernelArgs = c.args
			p := plan(t, opts)
			flags := slices.Clone(p.Commands[0])
			flags = slices.DeleteFunc(flags, func(s string) bool { return !strings.HasPrefix(s, "--karg") })
			if !slices.Equal(p.KernelArgs, c.want) || !slices.Equal(flags, c.flags) {
				t.Errorf("got %q and %q, want %q and %q", p.KernelArgs, flags, c.want, c.flags)
			}
		})
	}
	for _, arg := range []string{"", " ", "quiet\ninitrd /evil", "ostree=/x", "quiet ostree=/x", "a\x00b"} {
		opts := h.options(t)
		opts.KernelArgs = []string{arg}
		if _, err := NewPlan(t.Context(), opts); !errors.Is(err, ErrInvalidKernelArg) {
			t.Errorf("%q: got %v, want ErrInvalidKernelArg", arg, err)
		}
	}
}

func TestTheStaterootIsTheBootedOneAndMustExist(t *testing.T) {
	t.Parallel()
	h := newHost(t, -1, "")
	opts := h.options(t)
	opts.Stateroot = "absent"
	_, err := NewPlan(t.Context(), opts)
	if _, ok := errors.AsType[*StaterootError](err); !ok || !errors.Is(err, sysroot.ErrNoStateroot) ||
		!strings.Contains(err.Error(), "ostree admin os-init absent --sysroot="+h.path) {
		t.Errorf("got %v, want how the stateroot is made", err)
	}
	if err := os.Mkdir(filepath.Join(h.path, "ostree/deploy/absent"), 0o755); err != nil {
		t.Fatal(err)
	}
	if p := plan(t, opts); p.Stateroot != "absent" || p.Previous != "" || len(p.KernelArgs) != 0 || len(p.Keep) != 1 {
		t.Errorf("got %+v, want a first deployment", p)
	}
}

func TestAStagedDeploymentIsNotDroppedSilently(t *testing.T) {
	t.Parallel()
	h := newHost(t, 0, imageOrigin(unverified))
	const other = "ostree-unverified-registry:registry.example/other:1"
	h.stage(t, imageOrigin(other), true)
	if err := os.Mkdir(filepath.Join(h.path, "ostree/deploy/new"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []StageMode{StageAuto, StageNever} {
		opts := h.options(t)
		opts.Stage = mode
		_, err := NewPlan(t.Context(), opts)
		e, ok := errors.AsType[*StagedError](err)
		if !ok || e.Image != other || !e.Locked || e.Name != h.commits[0].String()+".7" ||
			!strings.Contains(err.Error(), other) || !strings.Contains(err.Error(), "held back") {
			t.Errorf("got %v, want what is staged", err)
		}
		opts.ReplaceStaged = true
		// It goes even if the new one is of another stateroot.
		for _, opts.Stateroot = range []string{"default", "new"} {
			if p := plan(t, opts); len(p.Drop) != 1 || p.Drop[0].State != StateStaged || p.Drop[0].Image != other {
				t.Errorf("%s: got %+v", opts.Stateroot, p.Drop)
			}
		}
	}
}

func TestAnOriginKeepsItsVerification(t *testing.T) {
	t.Parallel()
	refspec := func(s string) string { return "[origin]\nrefspec=" + s + "\n" }
	for _, c := range []struct {
		name, old, to string
		config        map[string]string
		refused       bool
	}{
		{"none to none", imageOrigin(unverified), unverified, nil, false},
		{"none to signed", imageOrigin(unverified), signed, nil, false},
		{"signed to none", imageOrigin(signed), unverified, nil, true},
		{"signed to another transport without", imageOrigin(signed), "ostree-unverified-image:oci:/x", nil, true},
		{"remote to none", imageOrigin(remote), unverified, nil, true},
		{"signed to remote", imageOrigin(signed), remote, nil, false},
		{"remote to signed", imageOrigin(remote), signed, nil, false},
		{"something new to none", imageOrigin("ostree-future-verified:docker://x"), unverified, nil, true},
		{"no origin", "", unverified, nil, false},
		{"a local ref", refspec("os"), unverified, nil, false},
		{"a remote with libostree's default", refspec("vendor:os"), unverified, nil, true},
		{"a remote with GPG", refspec("vendor:os"), unverified, map[string]string{"gpg-verify": "true"}, true},
		{"a remote without", refspec("vendor:os"), unverified, map[string]string{"gpg-verify": "false"}, false},
		{"a remote with other signatures", refspec("vendor:os"), unverified,
			map[string]string{"gpg-verify": "false", "sign-verify": "ed25519;"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, -1, c.old)
			for key, value := range c.config {
				if err := h.repo.SetConfig(`remote "vendor"`, key, value); err != nil {
					t.Fatal(err)
				}
			}
			opts := h.options(t)
			opts.Origin = parse(t, c.to)
			_, err := NewPlan(t.Context(), opts)
			if e, ok := errors.AsType[*WeakerError](err); ok != c.refused || !ok && err != nil {
				t.Errorf("got %v, want a refusal: %v", err, c.refused)
			} else if ok && (e.Old == "" || e.New != c.to) {
				t.Errorf("got %+v", e)
			}
			opts.AllowUnverified = true
			plan(t, opts)
		})
	}
}

func TestAStagedOriginKeepsItsVerificationToo(t *testing.T) {
	t.Parallel()
	h := newHost(t, 0, imageOrigin(unverified))
	h.stage(t, imageOrigin(signed), false)
	opts := h.options(t)
	opts.ReplaceStaged = true
	if err := Check(opts); err == nil || !strings.Contains(err.Error(), signed) {
		t.Errorf("got %v before the commit is fetched, want a refusal", err)
	}
	if _, err := NewPlan(t.Context(), opts); err == nil || !strings.Contains(err.Error(), signed) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestACommitMustBeThereAndComplete(t *testing.T) {
	t.Parallel()
	h := newHost(t, -1, "")
	opts := h.options(t)
	opts.Commit = object.Checksum{1}
	if _, err := NewPlan(t.Context(), opts); !errors.Is(err, repo.ErrObjectNotFound) {
		t.Errorf("got %v, want ErrObjectNotFound", err)
	}
	opts = h.options(t)
	write(t, filepath.Join(h.repo.Path(), "state", opts.Commit.String()+".commitpartial"), "")
	if _, err := NewPlan(t.Context(), opts); !errors.Is(err, ErrPartial) {
		t.Errorf("got %v, want ErrPartial", err)
	}
	opts.Commit = repotest.Commit(t, h.repo, []repotest.Entry{{Mode: object.ModeDir | 0o755}}, "")
	if _, err := NewPlan(t.Context(), opts); !errors.Is(err, repo.ErrNoKernel) {
		t.Errorf("got %v, want ErrNoKernel", err)
	}
}

func TestImagesInUseAreThoseOfAllDeployments(t *testing.T) {
	t.Parallel()
	h := newHost(t, 0, imageOrigin(unverified), imageOrigin(signed), "", "[origin]\nrefspec=vendor:os\n")
	h.stage(t, imageOrigin("ostree-image-signed:oci:/x"), false)
	images := func() ([]imgref.ImageReference, error) {
		s, err := h.host.Open(h.path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return ImagesInUse(s)
	}
	got, err := images()
	want := []imgref.ImageReference{parse(t, "ostree-unverified-image:oci:/x").Image, parse(t, unverified).Image}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v and %v, want %v", got, err, want)
	}
	origin := filepath.Join(h.path, "ostree/deploy/default/deploy", h.commits[1].String()+".0.origin")
	write(t, origin, imageOrigin("future:x"))
	if got, err := images(); !errors.Is(err, imgref.ErrInvalid) {
		t.Errorf("got %v and %v, want that an origin cannot be read", got, err)
	}
}

func TestOSTreeIsNamedIfItIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	h := newHost(t, -1, "")
	if _, err := Deploy(t.Context(), h.options(t)); !errors.Is(err, ErrNoOSTree) {
		t.Errorf("got %v, want ErrNoOSTree", err)
	}
}

// Only versions from 2023.7 remove what goes before they write what comes, and only on the running system.
func TestRoomInBoot(t *testing.T) {
	const block, kernel, free = 4096, 50 << 20, 20 << 20
	for _, c := range []struct {
		name            string
		booted          int
		version, opts   string
		shared, present bool
		needed, freed   int64
		fits            bool
	}{
		{"on the filesystem of the repository", 1, "2022.7", "", true, false, 0, 0, true},
		{"the kernel is there", 1, "2022.7", "", false, true, 0, 0, true},
		{"an old ostree", 1, "2022.7", "", false, false, kernel, 0, false},
		{"a newer ostree drops the one before first", 1, "2023.7", "", false, false, kernel, kernel, true},
		{"a much newer one", 1, "2026.4", "", false, false, kernel, kernel, true},
		{"switched off", 1, "2026.4", "no-early-prune", false, false, kernel, 0, false},
		{"not booted", -1, "2026.4", "", false, false, kernel, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin := t.TempDir()
			write(t, filepath.Join(bin, "ostree"), "#!/bin/sh\nprintf \"libostree:\\n Version: '"+c.version+"'\\n\"\n")
			if err := os.Chmod(filepath.Join(bin, "ostree"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin)
			t.Setenv("OSTREE_SYSROOT_OPTS", c.opts)
			h := newHost(t, c.booted, imageOrigin(unverified), imageOrigin(unverified))
			opts := h.options(t)
			target, err := openTarget(&opts)
			if err != nil {
				t.Fatal(err)
			}
			defer target.sysroot.Close()
			b := &sysroot.Boot{Path: "/boot", Free: free, BlockSize: block, Shared: c.shared}
			for _, d := range target.list {
				b.Kernels = append(b.Kernels, sysroot.BootKernel{Stateroot: "default", Checksum: d.BootChecksum, Bytes: kernel})
			}
			b.Kernels = append(b.Kernels, sysroot.BootKernel{Stateroot: "default", Checksum: object.Checksum{1}, Bytes: block})
			sum := object.Checksum{2}
			if c.present {
				sum = target.list[1].BootChecksum
			}
			r, err := target.roomIn(t.Context(), b, sum, []int64{kernel - 1})
			if err != nil {
				t.Fatal(err)
			}
			if c.needed > 0 {
				// What ostree cleans up in any case, and what the directories take.
				c.needed, c.freed = c.needed+overheadBlocks*block, c.freed+block
			}
			if r.Needed != c.needed || r.Freed != c.freed || r.Free != free {
				t.Errorf("got %+v, want %d needed and %d freed", r, c.needed, c.freed)
			}
			err = r.Check()
			if (err == nil) != c.fits {
				t.Errorf("got %v", err)
			}
			if e, ok := errors.AsType[*RoomError](err); !c.fits && (!ok || !errors.Is(err, syscall.ENOSPC) ||
				e.Missing() != c.needed-c.freed-free || !strings.Contains(err.Error(), "/boot: 31.5")) {
				t.Errorf("got %v, want how much is missing where", err)
			}
		})
	}
}

func TestMeasureRoomIsForANewKernel(t *testing.T) {
	t.Parallel()
	h := newHost(t, -1, "")
	r, err := MeasureRoom(t.Context(), Options{Sysroot: h.path, Host: h.host}, 1<<20, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	// The test's boot directory is on the filesystem of the repository.
	if r.Needed != 0 || r.Free <= 0 || r.Check() != nil {
		t.Errorf("got %+v", r)
	}
	if _, err := MeasureRoom(t.Context(), Options{Sysroot: t.TempDir()}); !errors.Is(err, sysroot.ErrNotSysroot) {
		t.Errorf("got %v, want ErrNotSysroot", err)
	}
}

// plannedImage is an image with labels and a plan of its first layer, and layers on top of that.
func plannedImage(t *testing.T, onTop int, labels map[string]string) *oci.Image {
	t.Helper()
	var ids []digest.Digest
	var layers []string
	for i := range 1 + onTop {
		id := digest.FromString(string(rune('a' + i)))
		ids = append(ids, id)
		layers = append(layers, `{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":1,"digest":"`+id.String()+`"}`)
	}
	record := chunking.Record{Format: "ostree-1"}
	if err := record.Bind(0, []string{ids[0].String()}); err != nil {
		t.Fatal(err)
	}
	label, err := record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	labels = maps.Clone(labels)
	labels[chunking.LabelRecord] = label
	config, err := json.Marshal(map[string]any{
		"config": map[string]any{"Labels": labels}, "rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := oci.FromStored([]byte(`{"schemaVersion":2,"layers":[`+strings.Join(layers, ",")+`]}`), config)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestTheRoomForAKernelIsKnownBeforeItIsFetchedOnlyIfItIsNew(t *testing.T) {
	t.Parallel()
	const present = int64(len("kernel a") + len("initramfs"))
	deployed := []string{imageOrigin(unverified)}
	for _, c := range []struct {
		name           string
		origins        []string
		version, bytes string
		onTop          int
		needed         int64 // 0, or the sum of the sizes before they take whole blocks
		sure           bool
	}{
		{"another kernel", deployed, "9.9", "50000000", 0, 50_000_000, true},
		{"another kernel on an empty host", nil, "9.9", "50000000", 0, 50_000_000, true},
		{"a version that is there", deployed, repotest.KernelVersion, "50000000", 0, 0, false},
		{"no version", deployed, "", "50000000", 0, present, false},
		{"no size", deployed, "9.9", "", 0, present, false},
		{"no size on an empty host", nil, "9.9", "", 0, 0, false},
		{"a negative size", deployed, "9.9", "-5", 0, present, false},
		{"a huge size", deployed, "9.9", "9000000000000000000", 0, present, false},
		{"layers on top may have another kernel", deployed, "9.9", "50000000", 1, present, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, -1, c.origins...)
			opts := h.options(t)
			target, err := openTarget(&opts)
			if err != nil {
				t.Fatal(err)
			}
			defer target.sysroot.Close()
			b := &sysroot.Boot{Path: "/boot", Free: 1 << 20, BlockSize: 1}
			img := plannedImage(t, c.onTop, map[string]string{labelKernel: c.version, oci.LabelBootBytes: c.bytes})
			room, sure, err := target.estimateIn(t.Context(), h.repo, b, img)
			if err != nil {
				t.Fatal(err)
			}
			if c.needed > 0 {
				c.needed += overheadBlocks
			}
			if room.Needed != c.needed || sure != c.sure {
				t.Errorf("got %+v, sure: %t; want %d needed, sure: %t", room, sure, c.needed, c.sure)
			}
		})
	}
}
