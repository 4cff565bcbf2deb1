//go:build interop

package selinux_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/repo/selinux"
)

// run runs a command and returns its standard output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// debian makes a small Debian with its policy, changed as an administrator would.
func debian(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	run(t, "mmdebstrap", "--quiet", "--variant=minbase", "--include=selinux-policy-default,policycoreutils,systemd,openssh-server,perl",
		"bookworm", root)
	// Debian's ostree puts the label behind the ACLs of this directory, which is no order that newer ones accept.
	run(t, "bash", "-euc", `cd "$1"; rm -rf dev/* run/* var/log/journal
		cd etc/selinux/default/contexts/files
		printf '%s\n' '/srv/www(/.*)?  system_u:object_r:httpd_sys_content_t:s0' '/usr/bin/perl -- system_u:object_r:local_t:s0' '/usr/lib/.*\.so -l <<none>>' >file_contexts.local
		echo '/opt/root /' >file_contexts.subs
		echo '/export/home /home' >>file_contexts.subs_dist
		cd "$1"; mkdir -p opt/root/etc opt/root/usr/bin export/home/me/.ssh srv/www/a home/you/.ssh
		touch opt/root/etc/shadow opt/root/usr/bin/passwd export/home/me/.ssh/id home/you/.ssh/id srv/www/a/index.html
		touch $'usr/lib/two\nlines.so.1' 'usr/lib/ä.so'`, "bash", root)
	return root
}

func TestEveryPathOfADebianHasTheLabelThatOSTreeGivesIt(t *testing.T) {
	root := debian(t)
	for _, layout := range []string{"etc", "usr/etc"} {
		t.Run(layout, func(t *testing.T) {
			if layout == "usr/etc" {
				run(t, "mv", filepath.Join(root, "etc"), filepath.Join(root, "usr/etc"))
			}
			compare(t, root)
		})
	}
}

// compare compares the labels of all paths with those of a commit that ostree makes.
func compare(t *testing.T, root string) {
	tree, err := rootfs.Dir(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	policy, err := selinux.Load(t.Context(), rootfs.NewIndex(tree))
	if err != nil {
		t.Fatal(err)
	}
	want := committed(t, root)
	labels := map[string]bool{}
	for _, e := range tree.Entries() {
		got, err := policy.Label(e.Path, e.Mode)
		if err != nil {
			t.Fatal(err)
		}
		w, ok := want[e.Path]
		if !ok {
			t.Fatalf("ostree does not list %q", e.Path)
		}
		if got != w {
			t.Errorf("%q: got %q, want %q", e.Path, got, w)
		}
		labels[got] = true
	}
	if len(want) != len(tree.Entries()) || len(want) < 5000 || len(labels) < 50 {
		t.Errorf("%d paths, %d listed, with %d labels: too few to show anything", len(tree.Entries()), len(want), len(labels))
	}
}

// committed returns the labels that ostree commit gives.
func committed(t *testing.T, root string) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	run(t, "ostree", "--repo="+dir, "init", "--mode=bare-user")
	commit := run(t, "ostree", "--repo="+dir, "commit", "--branch=labels", "--tree=dir="+root, "--selinux-policy-from-base")
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := repo.ParseChecksum(strings.TrimSpace(commit))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := rootfs.Commit(t.Context(), r, c)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for _, e := range tree.Entries() {
		labels[e.Path] = ""
		for _, x := range e.Xattrs {
			if x.Name == "security.selinux" {
				labels[e.Path] = strings.TrimSuffix(string(x.Value), "\x00")
			}
		}
	}
	return labels
}
