//go:build interop

// Package e2e runs the built program against real programs and real input: a Debian root filesystem, ostree, skopeo,
// umoci, runc, full disks and killed processes. Everything here needs root.
package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/aptsources"
	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

// program is the built ostree-ext.
var program string

func TestMain(m *testing.M) {
	os.Exit(testhome.Tests{M: testhome.Func(func() int { return build(m) })}.Run())
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ostree-ext-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "ostree-ext")
	cmd := exec.Command("go", "build", "-tags=containers_image_openpgp", "-trimpath", "-o", program,
		"github.com/ostree-ext/ostree-ext-go/cmd/ostree-ext")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	// A test sets the path, so it is not known yet.
	defer func() { _ = os.RemoveAll(debian.dir) }()
	return m.Run()
}

// must runs a command and returns its standard output, trimmed. If the command fails, the test ends with its output.
func must(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, errText, err := try(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errText)
	}
	return out
}

// try runs a command and returns both outputs, trimmed, and its error.
func try(t testing.TB, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), err
}

// sh runs a shell script; its arguments are $1, $2, ….
func sh(t testing.TB, script string, args ...string) string {
	t.Helper()
	return must(t, "bash", append([]string{"-euo", "pipefail", "-c", script, "bash"}, args...)...)
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// newRepo makes an empty repository of a mode with the real ostree. Neither program syncs what it writes there, which
// would only matter after a power failure.
func newRepo(t testing.TB, mode string) string {
	t.Helper()
	dir := newSyncedRepo(t, mode)
	must(t, "ostree", "config", "--repo="+dir, "set", "core.fsync", "false")
	return dir
}

// newSyncedRepo makes a repository with default settings.
func newSyncedRepo(t testing.TB, mode string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), mode)
	must(t, "ostree", "init", "--repo="+dir, "--mode="+mode)
	return dir
}

// fsck checks a repository with the real ostree.
func fsck(t testing.TB, repo string) {
	t.Helper()
	must(t, "ostree", "fsck", "--repo="+repo)
}

// bookworm returns Debian 12 on the mirror of this machine.
func bookworm(t testing.TB) aptsources.Debian {
	t.Helper()
	d, err := aptsources.Find("bookworm")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// debian is a root filesystem in the form of an OSTree commit, made once.
var debian struct{ dir, root string }

// debianRoot returns a Debian root filesystem with systemd and a kernel, whose /etc is at /usr/etc. Tests share it and
// only read it.
func debianRoot(t testing.TB) string {
	t.Helper()
	if debian.root != "" {
		return debian.root
	}
	dir, err := os.MkdirTemp("", "ostree-ext-debian")
	if err != nil {
		t.Fatal(err)
	}
	debian.dir = dir
	root := filepath.Join(dir, "root")
	lines := bookworm(t).All()
	must(t, "mmdebstrap", aptsources.Mmdebstrap("bookworm", root, lines, "--include=systemd,linux-image-amd64")...)
	sh(t, `cd "$1" && mv etc usr/etc && find . \( -type b -o -type c -o -type p -o -type s \) -delete
		setcap cap_net_raw+ep usr/bin/ls && setfattr -n user.note -v "made for the test" usr/bin/cat`, root)
	debian.root = root
	return root
}
