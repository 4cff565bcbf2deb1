//go:build interop

package rpm_test

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/rpm"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// spec describes two packages of one source, with a ghost, a hard link, a changelog and a config file.
const spec = `Name: tool
Version: 1.0
Release: 3
Epoch: 2
Summary: a tool
License: none
BuildArch: noarch
%description
A tool.
%package data
Summary: its data
%description data
Data.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/share/tool %{buildroot}/etc %{buildroot}/var/lib/tool
echo tool > %{buildroot}/usr/bin/tool
ln %{buildroot}/usr/bin/tool %{buildroot}/usr/bin/tool-too
ln -s tool %{buildroot}/usr/bin/alias
echo conf > %{buildroot}/etc/tool.conf
touch %{buildroot}/var/lib/tool/state
for i in $(seq 400); do echo $i > %{buildroot}/usr/share/tool/a-rather-long-name-of-a-file-with-data-$i; done
%files
/usr/bin/*
%config /etc/tool.conf
%ghost /var/lib/tool/state
%files data
/usr/share/tool
%changelog
* Wed Mar 05 2025 A Packager <a@example.org> - 2:1.0-3
- third
* Tue Mar 04 2025 A Packager <a@example.org> - 2:1.0-2
- second
`

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// build builds the packages and returns their files.
func build(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "tool.spec")
	if err := os.WriteFile(file, []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "rpmbuild", "-bb", "--define", "_topdir "+dir, "--define", "_build_name_fmt %%{NAME}.rpm", file)
	return []string{filepath.Join(dir, "RPMS/tool.rpm"), filepath.Join(dir, "RPMS/tool-data.rpm")}
}

// install installs packages into a new root with a database of the given backend.
func install(t *testing.T, backend string, packages []string) string {
	t.Helper()
	root := t.TempDir()
	run(t, "rpm",
		append([]string{"--root", root, "--define", "_db_backend " + backend, "--dbpath", "/var/lib/rpm", "--nodeps",
			"--ignoreos", "--ignorearch", "-i"}, packages...)...)
	return root
}

func read(t *testing.T, root string) []pkgdb.Package {
	t.Helper()
	tree, err := rootfs.Dir(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	db, err := rpm.Read(t.Context(), rootfs.NewIndex(tree))
	if err != nil {
		t.Fatal(err)
	}
	if len(db.Faults) > 0 {
		t.Error(db.Faults)
	}
	return db.Packages
}

// check compares the packages with the output of rpm.
func check(t *testing.T, root, backend string, pkgs []pkgdb.Package) {
	t.Helper()
	query := func(args ...string) []string {
		out := run(t, "rpm",
			append([]string{"--root", root, "--define", "_db_backend " + backend, "--dbpath", "/var/lib/rpm"}, args...)...)
		list := strings.Fields(out)
		slices.Sort(list)
		return list
	}
	var names, files []string
	for _, p := range pkgs {
		names = append(names, fmt.Sprintf("%s|%s|%s|%s|%d|%d", p.Name, p.Version, p.Arch, p.Source, p.Built.Unix(),
			len(p.Changes)))
		for f := range p.Files.All() {
			files = append(files, p.Name+"|"+f.Path)
		}
	}
	slices.Sort(names)
	slices.Sort(files)
	if diff := gocmp.Diff(query("-qa", "--qf", `%{NAME}|%{EPOCH}:%{VERSION}-%{RELEASE}|%{ARCH}|tool|%{BUILDTIME}|2\n`),
		names); diff != "" {
		t.Errorf("packages (-rpm +ours):\n%s", diff)
	}
	if diff := gocmp.Diff(query("-qa", "--qf", `[%{=NAME}|%{FILENAMES}\n]`), files); diff != "" {
		t.Errorf("files (-rpm +ours):\n%s", diff)
	}
}

func TestInterop_EachFormOfTheDatabaseGivesWhatRpmSays(t *testing.T) {
	packages := build(t)
	// Debian's rpm is built without ndb. TestRealDatabasesAreRead has a database that SUSE's rpm wrote.
	t.Run("sqlite", func(t *testing.T) {
		root := install(t, "sqlite", packages)
		check(t, root, "sqlite", read(t, root))
	})
	// Rpm no longer writes Berkeley DB, so the tools of Berkeley DB make a file of the same headers.
	t.Run("bdb", func(t *testing.T) {
		from := install(t, "sqlite", packages)
		root := t.TempDir()
		dir := filepath.Join(root, "var/lib/rpm")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		load := exec.CommandContext(t.Context(), "db5.3_load", "-t", "hash", filepath.Join(dir, "Packages"))
		load.Stdin = strings.NewReader(dump(t, filepath.Join(from, "var/lib/rpm/rpmdb.sqlite")))
		if out, err := load.CombinedOutput(); err != nil {
			t.Fatalf("db5.3_load: %v\n%s", err, out)
		}
		pkgs := read(t, root)
		check(t, root, "bdb_ro", pkgs)
	})
}

// dump is the input of db_load: keys are the numbers of headers, values their blobs.
func dump(t *testing.T, database string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("VERSION=3\nformat=bytevalue\ntype=hash\nh_nelem=16\nHEADER=END\n 00000000\n 02000000\n")
	for i, blob := range rpm.Blobs(t, database) {
		fmt.Fprintf(&b, " %02x000000\n %s\n", i+1, hex.EncodeToString(blob))
	}
	b.WriteString("DATA=END\n")
	return b.String()
}

func TestInterop_WhatIsOnlyInTheLogOfTheDatabaseIsRead(t *testing.T) {
	root := install(t, "sqlite", build(t)[:1])
	database := filepath.Join(root, "var/lib/rpm/rpmdb.sqlite")
	rpm.AddWithoutCheckpoint(t, database, filepath.Join(t.TempDir(), "copy"))
	names := []string{}
	for _, p := range read(t, root) {
		names = append(names, p.Name)
	}
	if slices.SortFunc(names, cmp.Compare[string]); !slices.Equal(names, []string{"tool", "tool"}) {
		t.Errorf("read %v, want the package and its copy in the log", names)
	}
}
