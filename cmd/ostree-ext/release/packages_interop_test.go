//go:build interop

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// system is a root filesystem with a shell and nothing else, and a package manager's database.
type system struct {
	root string
	// calls is where the system's systemctl writes its arguments.
	calls string
}

// newSystem makes a system. Its shell is that of the command's image, and systemctl writes what it is called with.
func newSystem(t *testing.T, dirs ...string) *system {
	t.Helper()
	s := &system{root: t.TempDir()}
	s.calls = filepath.Join(s.root, "calls")
	sh := filepath.Join(s.root, "bin/sh")
	for _, dir := range append(dirs, "bin", "dev", "usr/bin", "var/tmp", "tmp") {
		if err := os.MkdirAll(filepath.Join(s.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	img := unpacked(t, nativeArch)
	data, err := os.ReadFile(filepath.Join(img, "bin/sh"))
	if err == nil {
		err = os.WriteFile(sh, data, 0o755)
	}
	systemctl := "#!/bin/sh\necho \"$@\" >>/calls\n"
	err = errors.Join(err, os.WriteFile(s.calls, nil, 0o644),
		os.WriteFile(filepath.Join(s.root, "usr/bin/systemctl"), []byte(systemctl), 0o755),
		syscall.Mknod(filepath.Join(s.root, "dev/null"), syscall.S_IFCHR|0o666, 1<<8|3))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// files lists what is in the system, except for the database of the package manager.
func (s *system) files(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(s.root, func(name string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(name, s.root)
		if strings.HasPrefix(rel, "/var/") {
			return err
		}
		names = append(names, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// called returns what systemctl was called with since the last time.
func (s *system) called(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(s.calls)
	if err == nil {
		err = os.WriteFile(s.calls, nil, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// kinds are the packages that are installed into a system, with the commands that do it.
var kinds = []struct {
	name            string
	dirs            []string
	file            string
	install, remove []string
	// own are the paths that only this kind of package has, instead of those of others.
	own []string
}{
	{
		name: "deb", dirs: []string{"var/lib/dpkg/updates", "var/lib/dpkg/info"}, file: "*_" + nativeArch + ".deb",
		install: []string{"dpkg", "--root=ROOT", "--log=/dev/null", "--install", "FILE"},
		remove:  []string{"dpkg", "--root=ROOT", "--log=/dev/null", "--purge", "ostree-ext"},
		own:     []string{"/usr/share/doc/ostree-ext/copyright", "/usr/share/zsh/vendor-completions/_ostree-ext"},
	},
	{
		// rpm leaves directories that no package owns. In a distribution, others own these.
		name: "rpm", file: "*.x86_64.rpm", dirs: []string{
			"usr/lib/systemd/system", "usr/lib/systemd/system-preset", "usr/share/bash-completion/completions",
			"usr/share/doc", "usr/share/fish/vendor_completions.d", "usr/share/licenses", "usr/share/man/man1",
			"usr/share/zsh/site-functions", "var/lib/rpm",
		},
		install: []string{"rpm", "--root=ROOT", "--define=_dbpath /var/lib/rpm", "--nosignature", "--install", "FILE"},
		remove:  []string{"rpm", "--root=ROOT", "--define=_dbpath /var/lib/rpm", "--erase", "ostree-ext"},
		own:     []string{"/usr/share/licenses/ostree-ext/LICENSE", "/usr/share/zsh/site-functions/_ostree-ext"},
	},
	{
		name: "pacman", dirs: []string{"var/lib/pacman", "var/cache/pacman/pkg", "etc"}, file: "*-x86_64.pkg.tar.zst",
		install: []string{"pacman", "--root=ROOT", "--config=CONFIG", "--noconfirm", "--upgrade", "FILE"},
		remove:  []string{"pacman", "--root=ROOT", "--config=CONFIG", "--noconfirm", "--remove", "--nosave", "ostree-ext"},
		own:     []string{"/usr/share/licenses/ostree-ext/LICENSE", "/usr/share/zsh/site-functions/_ostree-ext"},
	},
}

// nativeArch is the architecture of the machines that run these tests.
const nativeArch = "amd64"

// shared are the files that all kinds of packages have, except for manual pages.
var shared = []string{
	"/usr/bin/ostree-ext",
	"/usr/lib/systemd/system-preset/95-ostree-ext.preset",
	"/usr/lib/systemd/system/ostree-ext-update.service",
	"/usr/lib/systemd/system/ostree-ext-update.timer",
	"/usr/share/bash-completion/completions/ostree-ext",
	"/usr/share/fish/vendor_completions.d/ostree-ext.fish",
	"/usr/share/man/man1/ostree-ext-container-image-deploy.1.gz",
	"/usr/share/man/man1/ostree-ext.1.gz",
	"/usr/share/doc/ostree-ext/hosts.md",
	"/usr/share/doc/ostree-ext/README.md",
}

func TestInterop_APackageIsInstalledAndRemoved(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			s := newSystem(t, k.dirs...)
			if k.name == "deb" {
				if err := os.WriteFile(filepath.Join(s.root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			config := filepath.Join(t.TempDir(), "pacman.conf")
			// There is no such repository, and nothing is signed with a key of the distribution.
			err := os.WriteFile(config, []byte("[options]\nArchitecture = auto\nSigLevel = Never\nLocalFileSigLevel = Never\n"),
				0o644)
			if err != nil {
				t.Fatal(err)
			}
			found, err := filepath.Glob(dist(k.file))
			if err != nil || len(found) != 1 {
				t.Fatalf("packages %q: %v", found, err)
			}
			command := func(args []string) {
				t.Helper()
				var c []string
				for _, a := range args {
					c = append(c, strings.NewReplacer("ROOT", s.root, "FILE", found[0], "CONFIG", config).Replace(a))
				}
				must(t, c[0], c[1:]...)
			}
			before := s.files(t)
			command(k.install)
			s.checkInstalled(t, append(slices.Clone(shared), k.own...), before)
			if got := s.called(t); got != "" {
				t.Errorf("without a running systemd, installing called systemctl %s", got)
			}
			command(k.remove)
			if got, want := s.called(t), "disable --quiet ostree-ext-update.timer"; got != want {
				t.Errorf("removing called systemctl %q, want %q", got, want)
			}
			if diff := cmp.Diff(before, s.files(t)); diff != "" {
				t.Errorf("after it was removed:\n%s", diff)
			}
		})
	}
}

// checkInstalled checks the files of an installed package and runs the program.
func (s *system) checkInstalled(t *testing.T, want, before []string) {
	t.Helper()
	for _, name := range want {
		if _, err := os.Stat(filepath.Join(s.root, name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range s.files(t) {
		if slices.Contains(before, name) {
			continue
		}
		info, err := os.Lstat(filepath.Join(s.root, name))
		if err != nil {
			t.Fatal(err)
		}
		mode := fs.FileMode(0o644)
		switch {
		case info.IsDir():
			mode = fs.ModeDir | 0o755
		case name == "/usr/bin/ostree-ext":
			mode = 0o755
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if !ok || info.Mode() != mode || owner.Uid != 0 || owner.Gid != 0 {
			t.Errorf("%s: %s of %d:%d, want %s of root", name, info.Mode(), owner.Uid, owner.Gid, mode)
		}
	}
	if got := must(t, "chroot", s.root, "/usr/bin/ostree-ext", "version"); !strings.HasPrefix(got, "ostree-ext "+tag+" ") {
		t.Errorf("the program prints %q", got)
	}
	// No preset enables the timer, but an administrator can.
	units := filepath.Join(s.root, "etc/systemd/system/timers.target.wants/ostree-ext-update.timer")
	systemctl := func(args ...string) string {
		out, err := output("", nil, "systemctl", append([]string{"--root=" + s.root}, args...)...)
		if err != nil && !strings.Contains(err.Error(), "is-enabled") {
			t.Error(err)
		}
		if err != nil {
			return err.Error()
		}
		return out
	}
	systemctl("preset", "ostree-ext-update.timer")
	if got := systemctl("is-enabled", "ostree-ext-update.timer"); !strings.HasSuffix(strings.TrimSpace(got), "disabled") {
		t.Errorf("with its preset, the timer is %s", got)
	}
	systemctl("enable", "ostree-ext-update.timer")
	if _, err := os.Lstat(units); err != nil {
		t.Error(err)
	}
	systemctl("disable", "ostree-ext-update.timer")
	for dir := filepath.Dir(units); dir != s.root && !slices.Contains(before, strings.TrimPrefix(dir, s.root)); {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		dir = filepath.Dir(dir)
	}
}

func TestInterop_SystemdAcceptsTheUnits(t *testing.T) {
	root := t.TempDir()
	must(t, "dpkg-deb", "--extract", dist("ostree-ext_1.98.7-1_amd64.deb"), root)
	// It asks whether the program exists, and knows only that of this machine.
	for _, unit := range []string{"ostree-ext-update.service", "ostree-ext-update.timer"} {
		file := filepath.Join(root, "usr/lib/systemd/system", unit)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data = bytes.ReplaceAll(data, []byte("=/usr/bin/ostree-ext "), []byte("="+root+"/usr/bin/ostree-ext "))
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := []string{"verify", "--man=no", "--recursive-errors=no", file}
		if out, err := combined("systemd-analyze", cmd...); err != nil || out != "" {
			t.Errorf("%s: %v: %s", unit, err, out)
		}
	}
	calendar := must(t, "systemd-analyze", "calendar", "daily")
	if !strings.Contains(calendar, "Normalized form: *-*-* 00:00:00") {
		t.Errorf("daily is %s", calendar)
	}
}

// There is no apk for Debian. The format is https://wiki.alpinelinux.org/wiki/Apk_spec: three archives one after
// another, each compressed, the first of which is the signature and may be absent.
func TestInterop_AnAPKHasItsMembersAndChecksums(t *testing.T) {
	data, err := os.ReadFile(dist("ostree-ext_1.98.7-r1_x86_64.apk"))
	if err != nil {
		t.Fatal(err)
	}
	control, rest := member(t, data)
	content, rest := member(t, rest)
	if len(rest) != 0 {
		t.Errorf("%d bytes follow", len(rest))
	}
	meta := entries(t, control.plain)
	info := string(meta[".PKGINFO"].data)
	sum := sha256.Sum256(content.compressed)
	for _, want := range []string{
		"pkgname = ostree-ext\n", "pkgver = 1.98.7-r1\n", "arch = x86_64\n", "license = Apache-2.0\n",
		"datahash = " + hex.EncodeToString(sum[:]) + "\n",
	} {
		if !strings.Contains(info, want) {
			t.Errorf(".PKGINFO is\n%s\nwant %q", info, want)
		}
	}
	if got := slices.Sorted(maps.Keys(meta)); !slices.Equal(got,
		[]string{".PKGINFO", ".post-deinstall", ".post-install", ".pre-deinstall"}) {
		t.Errorf("the control archive has %q", got)
	}
	got := entries(t, content.plain)
	for _, name := range append(slices.Clone(shared), "/usr/share/licenses/ostree-ext/LICENSE") {
		if _, ok := got[strings.TrimPrefix(name, "/")]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	size := 0
	for name, e := range got {
		mode := int64(0o644)
		if e.header.Typeflag == tar.TypeDir {
			mode = 0o755
		} else {
			sum := sha1.Sum(e.data) //nolint:gosec // the format has it
			if want := hex.EncodeToString(sum[:]); e.header.PAXRecords["APK-TOOLS.checksum.SHA1"] != want {
				t.Errorf("%s: the checksum is %q, want %s", name, e.header.PAXRecords["APK-TOOLS.checksum.SHA1"], want)
			}
		}
		if name == "usr/bin/ostree-ext" {
			mode = 0o755
		}
		if e.header.Mode&0o7777 != mode || e.header.Uid != 0 || e.header.Gid != 0 || e.header.Uname != "root" {
			t.Errorf("%s: mode %o of %s", name, e.header.Mode, e.header.Uname)
		}
		size += len(e.data)
	}
	if want := fmt.Sprintf("size = %d\n", size); !strings.Contains(info, want) {
		t.Errorf(".PKGINFO is\n%s\nwant %q", info, want)
	}
}

type archive struct{ compressed, plain []byte }

// member returns the first stream of gzip, and what follows.
func member(t *testing.T, data []byte) (archive, []byte) {
	t.Helper()
	r := bytes.NewReader(data)
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	end := len(data) - r.Len()
	return archive{data[:end], plain}, data[end:]
}

type entry struct {
	header *tar.Header
	data   []byte
}

// entries returns the files of an archive by name.
func entries(t *testing.T, data []byte) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(h.Name, "/")] = entry{h, content}
	}
}
