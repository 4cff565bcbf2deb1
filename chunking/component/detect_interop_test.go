//go:build interop

package component_test

import (
	"archive/tar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// write makes files below a directory, with their parent directories. A name that ends in a slash is a directory.
// Content that begins with an arrow is a symlink's target.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = dir + "/" + name
		if err := os.MkdirAll(name[:strings.LastIndexByte(name, '/')], 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkOwners compares the owners of files in a tree on disk. It checks separately that the package managers' own files
// are in their component.
func checkOwners(t *testing.T, root string, want map[string]string) *component.Set {
	t.Helper()
	dir, err := rootfs.Dir(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	set, err := component.Detect(t.Context(), dir, component.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	got, databases := map[string]string{}, 0
	for i, c := range set.Claims {
		switch {
		case c.Component < 0:
		case set.Components[c.Component].ID == component.PackageDatabase:
			databases++
		default:
			got[dir.Entries().At(i).Path()] = set.Components[c.Component].ID
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if databases == 0 {
		t.Error("no component has the database")
	}
	return set
}

// toolSpec is a source with two packages. kernelSpec is installed in two versions.
const (
	toolSpec = `Name: tool
Version: 1.0
Release: 3
Summary: a tool
License: none
BuildArch: noarch
%description
A tool.
%package libs
Summary: its libraries
%description libs
Libraries.
%install
mkdir -p %{buildroot}/bin %{buildroot}/usr/lib/tool %{buildroot}/etc %{buildroot}/var/cache/tool
echo tool > %{buildroot}/bin/tool
ln %{buildroot}/bin/tool %{buildroot}/bin/tool-too
ln -s tool %{buildroot}/bin/alias
echo conf > %{buildroot}/etc/tool.conf
mkdir -p %{buildroot}/opt/tool
echo to be moved > %{buildroot}/opt/tool/file
echo lib > %{buildroot}/usr/lib/tool/lib.py
touch %{buildroot}/var/cache/tool/index
%files
/bin/*
/opt/tool
%config /etc/tool.conf
%ghost /var/cache/tool/index
%files libs
/usr/lib/tool
%changelog
* Wed Mar 05 2025 A Packager <a@example.org> - 1.0-3
- third
* Wed Mar 05 2025 A Packager <a@example.org> - 1.0-2
- second
* Tue Mar 04 2025 A Packager <a@example.org> - 1.0-1
- first
`
	// ghostSpec only lists a file of the other package.
	ghostSpec = `Name: aghost
Version: 1
Release: 1
Summary: a ghost
License: none
BuildArch: noarch
%description
A ghost.
%install
mkdir -p %{buildroot}/etc
touch %{buildroot}/etc/tool.conf %{buildroot}/etc/ghost
%files
%ghost /etc/tool.conf
%ghost /etc/ghost
`
	kernelSpec = `Name: kernel
Version: %{v}
Release: 1
Summary: a kernel
License: none
BuildArch: noarch
%description
A kernel.
%install
mkdir -p %{buildroot}/lib/modules/%{v}-1/kernel
echo image %{v} > %{buildroot}/lib/modules/%{v}-1/vmlinuz
echo module %{v} > %{buildroot}/lib/modules/%{v}-1/kernel/ext4.ko
touch %{buildroot}/lib/modules/%{v}-1/initramfs.img
%files
/lib/modules/*/vmlinuz
/lib/modules/*/kernel
%ghost /lib/modules/%{v}-1/initramfs.img
`
)

func TestInterop_ATreeMadeByRpm(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	write(t, dir, map[string]string{"tool.spec": toolSpec, "kernel.spec": kernelSpec, "ghost.spec": ghostSpec})
	build := func(spec string, defines ...string) {
		args := []string{"-bb", "--define", "_topdir " + dir, "--define", "_build_name_fmt %%{NAME}-%%{VERSION}.rpm"}
		for _, d := range defines {
			args = append(args, "--define", d)
		}
		run(t, "rpmbuild", append(args, filepath.Join(dir, spec))...)
	}
	build("tool.spec")
	build("ghost.spec")
	build("kernel.spec", "v 6.9.0")
	build("kernel.spec", "v 6.10.0")
	write(t, root, map[string]string{"usr/bin/": "", "bin": "-> usr/bin", "lib": "-> usr/lib"})
	rpms, err := filepath.Glob(filepath.Join(dir, "RPMS/*.rpm"))
	if err != nil || len(rpms) != 5 {
		t.Fatalf("%q, %v", rpms, err)
	}
	run(t, "rpm",
		append([]string{"--root", root, "--define", "_db_backend sqlite", "--dbpath", "/usr/lib/sysimage/rpm", "--nodeps",
			"--ignoreos", "--ignorearch", "--replacefiles", "-i"}, rpms...)...)
	if err := os.Rename(filepath.Join(root, "opt/tool"), filepath.Join(root, "usr/lib/opt-tool")); err != nil {
		t.Fatal(err)
	}
	write(t, root, map[string]string{
		"etc/ghost": "made later", "var/cache/tool/index": "made later",
		"usr/lib/tool/__pycache__/lib.cpython-313.pyc": "compiled", "usr/lib/modules/6.9.0-1/initramfs.img": "made later",
		"usr/lib/modules/6.9.0-1/modules.dep": "made later", "boot/vmlinuz-6.10.0-1": "copied", "opt/own": "own",
		"usr/bin/t": "-> /etc/alternatives/t", "etc/alternatives/t": "-> /usr/bin/tool",
	})
	set := checkOwners(t, root, map[string]string{
		"/bin": "unowned/root", "/lib": "unowned/root", "/opt/own": "unowned/opt",
		"/usr/bin/tool": "rpm/tool", "/usr/bin/tool-too": "rpm/tool", "/usr/bin/alias": "rpm/tool", "/usr/bin/t": "rpm/tool",
		"/etc/tool.conf": "rpm/tool", "/var/cache/tool/index": "rpm/tool",
		"/etc/ghost": "rpm/aghost", "/usr/lib/opt-tool/file": "rpm/tool",
		"/usr/lib/tool/lib.py": "rpm/tool", "/usr/lib/tool/__pycache__/lib.cpython-313.pyc": "rpm/tool",
		"/usr/lib/modules/6.10.0-1/vmlinuz": "rpm/kernel", "/usr/lib/modules/6.10.0-1/kernel/ext4.ko": "rpm/kernel",
		"/boot/vmlinuz-6.10.0-1":           "rpm/kernel",
		"/usr/lib/modules/6.9.0-1/vmlinuz": "rpm/kernel#2", "/usr/lib/modules/6.9.0-1/kernel/ext4.ko": "rpm/kernel#2",
		"/usr/lib/modules/6.9.0-1/modules.dep":   "rpm/kernel#2",
		"/usr/lib/modules/6.9.0-1/initramfs.img": component.Initramfs,
	})
	tool := find(t, set, "rpm/tool")
	if !slices.Equal(tool.Packages, []string{"tool", "tool-libs"}) || !slices.Equal(tool.Changes, []int64{20151, 20152}) ||
		tool.Built.IsZero() {
		t.Errorf("%+v", tool)
	}
}

func TestInterop_ATreeMadeByDpkg(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	build := func(name, source string, files map[string]string) string {
		home := filepath.Join(dir, name)
		write(t, home, files)
		write(t, home, map[string]string{
			"DEBIAN/control": "Package: " + name +
				"\nVersion: 1.0-1\nArchitecture: amd64\nMulti-Arch: same\nMaintainer: A <a@example.org>\n" + source +
				"Description: x\n",
			"usr/share/doc/" + name + "/changelog.Debian": name +
				" (1.0-1) stable; urgency=low\n\n  * x\n\n -- A <a@example.org>  Wed, 05 Mar 2025 10:00:00 +0100\n",
		})
		run(t, "dpkg-deb", "--root-owner-group", "-b", home, home+".deb")
		return home + ".deb"
	}
	dash := build("dash", "", map[string]string{"bin/sh": "dash", "bin/dash": "dash"})
	bash := build("bash", "Source: bash-source (0.9-1)\n",
		map[string]string{"bin/sh": "bash", "bin/bash": "bash", "etc/bash.rc": "rc", "DEBIAN/conffiles": "/etc/bash.rc\n"})
	write(t, root, map[string]string{"usr/bin/": "", "bin": "-> usr/bin", "var/lib/dpkg/status": "",
		"var/lib/dpkg/info/": "", "var/lib/dpkg/updates/": "", "etc/": ""})
	run(t, "dpkg-divert", "--root", root, "--package", "bash", "--divert", "/bin/sh.distrib", "--rename", "--add",
		"/bin/sh")
	run(t, "dpkg", "--root="+root, "--force-script-chrootless", "--force-architecture", "-i", dash)
	run(t, "dpkg", "--root="+root, "--force-script-chrootless", "--force-architecture", "--unpack", bash)
	run(t, "update-alternatives", "--root", root, "--install", "/usr/bin/shell", "shell", "/usr/bin/bash", "10")
	write(t, root, map[string]string{"usr/local/bin/own": "own"})
	checkOwners(t, root, map[string]string{
		"/bin": "unowned/root", "/usr/local/bin/own": "unowned/usr/local", "/usr/bin/sh": "deb/bash-source",
		"/usr/bin/bash": "deb/bash-source", "/usr/bin/shell": "deb/bash-source",
		// dpkg has yet to ask about it.
		"/etc/bash.rc.dpkg-new": component.Volatile, "/usr/bin/sh.distrib": "deb/dash", "/usr/bin/dash": "deb/dash",
		"/usr/share/doc/bash/changelog.Debian": "deb/bash-source", "/usr/share/doc/dash/changelog.Debian": "deb/dash",
	})
}

// pacmanPackage makes a package for pacman: a tar file with a description.
func pacmanPackage(t *testing.T, dir, name, base, version string, files ...string) string {
	t.Helper()
	file := filepath.Join(dir, name+"-"+version+"-any.pkg.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	add := func(h tar.Header, content string) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Name: ".PKGINFO", Mode: 0o644},
		"pkgname = "+name+"\npkgbase = "+base+"\npkgver = "+version+
			"\npkgdesc = x\nbuilddate = 1700000000\npackager = A\nsize = 1\narch = any\nbackup = etc/tool.conf\n")
	seen := map[string]bool{}
	for _, p := range files {
		for i := range p {
			if dir := p[:i+1]; p[i] == '/' && !seen[dir] {
				seen[dir] = true
				add(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}, "")
			}
		}
		add(tar.Header{Name: p, Mode: 0o644}, p)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestInterop_ATreeMadeByPacman(t *testing.T) {
	for _, home := range []string{"var/lib/pacman", "usr/lib/sysimage/lib/pacman", "usr/share/pacman/db"} {
		t.Run(home, func(t *testing.T) {
			dir, root := t.TempDir(), t.TempDir()
			conf := "[options]\nArchitecture = auto\nSigLevel = Never\nLocalFileSigLevel = Never\nDBPath = /" + home + "/\n"
			write(t, root, map[string]string{"etc/pacman.conf": conf, home + "/": "", "usr/bin/": "", "bin": "-> usr/bin",
				"lib": "-> usr/lib"})
			packages := []string{
				pacmanPackage(t, dir, "linux", "linux", "6.9.1.arch1-1", "usr/lib/modules/6.9.1-arch1-1/vmlinuz",
					"usr/lib/modules/6.9.1-arch1-1/kernel/ext4.ko.zst"),
				pacmanPackage(t, dir, "gcc", "gcc", "14.1-1", "usr/bin/gcc"),
				pacmanPackage(t, dir, "gcc-libs", "gcc", "14.1-1", "usr/lib/libgcc_s.so.1", "etc/tool.conf",
					"usr/share/with space/x"),
			}
			pacman := func(args ...string) string {
				return run(t, "pacman", append([]string{
					"--root", root, "--dbpath", filepath.Join(root, home), "--cachedir", filepath.Join(dir, "cache"), "--logfile",
					filepath.Join(root, "var/log/pacman.log"), "--hookdir", dir,
					"--config", filepath.Join(root, "etc/pacman.conf"), "--noconfirm",
				}, args...)...)
			}
			write(t, root, map[string]string{"var/log/pacman.log": ""})
			pacman(append([]string{"-U"}, packages...)...)
			write(t, root, map[string]string{
				"boot/vmlinuz-linux": "copied", "boot/initramfs-linux.img": "made later",
				"boot/initramfs-linux-fallback.img": "made later", "usr/lib/modules/6.9.1-arch1-1/modules.dep": "made later",
				"etc/tool.conf.pacnew": "new", "etc/passwd": "own",
			})
			want := map[string]string{
				"/bin": "unowned/root", "/lib": "unowned/root", "/etc/passwd": "unowned/etc", "/etc/pacman.conf": "unowned/etc",
				"/etc/tool.conf.pacnew": component.Volatile,
				"/boot/vmlinuz-linux":   "alpm/linux", "/boot/initramfs-linux.img": component.Initramfs,
				"/boot/initramfs-linux-fallback.img":         component.Initramfs,
				"/usr/lib/modules/6.9.1-arch1-1/modules.dep": "alpm/linux",
			}
			// Compare with the files that pacman lists for each package. All packages of gcc count as one.
			for line := range strings.Lines(pacman("-Ql")) {
				pkg, p, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
				if p = strings.TrimPrefix(p, root); !strings.HasSuffix(p, "/") {
					want[p] = "alpm/" + strings.TrimSuffix(pkg, "-libs")
				}
			}
			set := checkOwners(t, root, want)
			if gcc := find(t, set,
				"alpm/gcc"); !slices.Equal(gcc.Packages, []string{"gcc", "gcc-libs"}) || gcc.Built.Unix() != 1700000000 {
				t.Errorf("%+v", gcc)
			}
		})
	}
}
