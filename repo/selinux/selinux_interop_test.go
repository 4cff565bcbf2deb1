//go:build interop

package selinux_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/aptsources"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
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

// debian makes a small Debian with its policy, changed as an administrator would change it.
func debian(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	mirror, err := aptsources.Find("bookworm")
	if err != nil {
		t.Fatal(err)
	}
	run(t, "mmdebstrap", aptsources.Mmdebstrap("bookworm", root, mirror.All(),
		"--include=selinux-policy-default,policycoreutils,systemd,openssh-server,perl")...)
	// Debian's ostree puts the label after the ACLs of this directory, an order that newer versions do not accept.
	run(t, "bash", "-euc", `cd "$1"; rm -rf dev/* run/* var/log/journal
		cd etc/selinux/default/contexts/files
		printf '%s\n' '/srv/www(/.*)?  system_u:object_r:httpd_sys_content_t:s0' \
			'/usr/bin/perl -- system_u:object_r:local_t:s0' '/usr/lib/.*\.so -l <<none>>' >file_contexts.local
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
			kinds := map[string]bool{}
			for _, label := range compare(t, root) {
				kinds[label] = true
			}
			if len(kinds) < 50 {
				t.Errorf("%d labels: too few to show anything", len(kinds))
			}
		})
	}
}

// odd is a policy with lines that no distribution has but that libselinux accepts.
var odd = `
/.* default
/a|/b alternative
/x/(a|b)c? choice
/x/. -- any
/x/[^/]{2} two
/x/a plain
/x/[[:digit:]\-]+ class
/x/[]a][^]b] bracket
/x/[a|(]y inclass
/x/\s[\s]\S space
/x/\d+\-\_\.\w escapes
/x/e$ dollar
/x/ab{2}c* repeat
/x/a{0}z{,2} braces
/x\.y/.* dot
/d/?	trailing
/d/e/? trailing
/d(/.*)? -d directories
/d/none(/.*)? <<none>>
/d/none/not -l link
.*/anywhere anywhere
/(?:d|x)/group grouped
/d/(a+)?b$|/d/q either
`

func TestOddLinesMeanTheSameToLibselinux(t *testing.T) {
	root := t.TempDir()
	run(t, "bash", "-euc",
		`cd "$1"; mkdir -p etc/selinux/odd/contexts/files etc/selinux/odd/policy a b x x.y/z xxy d/e d/none d/q d/aab
		printf 'SELINUX=enforcing\nSELINUXTYPE=odd\n' >etc/selinux/config
		echo any >etc/selinux/odd/policy/policy.33 # ostree wants its checksum
		printf '%s\n' "$2" >etc/selinux/odd/contexts/files/file_contexts
		printf '/lib /d\n/lib /x\n/deep/er /lib\n/etc/../x /a\n/top /\n' >etc/selinux/odd/contexts/files/file_contexts.subs
		printf '/d/q /x\n/x/two /d\n' >etc/selinux/odd/contexts/files/file_contexts.subs_dist
		cd x; touch a b ac bc ab abb abbc abbccc ä ö q z zz 'z{,2}' $'\n' $'e\n' e
		touch 1 1-2 ']c' ']b' aa 'a]' '|y' '(y' y '12-_.a' '12-_xa' $'\v\va' '  a' anywhere group
		mkdir two; touch two/aab; cd ..
		touch x.y/.. 'x.y/a' xxy/a d/b d/group d/aab/b d/none/not d/none/a bx b/x d/q/a
		ln -s not d/none/link; ln -s x d/none/notlink; ln -s x d/s
		mkdir -p lib deep/er/none top/x/two top/d
		touch lib/a lib/ä lib/aab deep/er/none/not deep/er/q top/x/a top/d/b libx`,
		"bash", root, odd)
	compare(t, root)
}

// compare compares the labels of all paths with those of a commit that ostree makes. It returns ostree's labels.
func compare(t *testing.T, root string) map[string]string {
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
	for _, e := range tree.Entries().All() {
		got, err := policy.Label(e.Path(), e.Mode)
		if err != nil {
			t.Fatal(err)
		}
		w, ok := want[e.Path()]
		if !ok {
			t.Fatalf("ostree does not list %q", e.Path())
		}
		if got != w {
			t.Errorf("%q: got %q, want %q", e.Path(), got, w)
		}
	}
	if len(want) != tree.Entries().Len() {
		t.Errorf("%d paths, ostree has %d", tree.Entries().Len(), len(want))
	}
	return want
}

// committed returns the labels that `ostree commit` sets.
func committed(t *testing.T, root string) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	run(t, "ostree", "--repo="+dir, "init", "--mode=bare-user")
	commit := run(t, "ostree", "--repo="+dir, "commit", "--branch=labels", "--tree=dir="+root,
		"--selinux-policy-from-base")
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := object.ParseChecksum(strings.TrimSpace(commit))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := rootfs.Commit(t.Context(), r, c)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for _, e := range tree.Entries().All() {
		labels[e.Path()] = ""
		for _, x := range e.Xattrs {
			if x.Name == "security.selinux" {
				labels[e.Path()] = strings.TrimSuffix(string(x.Value), "\x00")
			}
		}
	}
	return labels
}
