package component_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
)

// deb is a Debian package of a test. Its list has one path for each word.
type deb struct {
	name, source, list string
	changelog          string
}

// debian returns a tree with a dpkg database of packages.
func debian(packages ...deb) tree.Files {
	files := tree.Files{}
	var status strings.Builder
	for _, p := range packages {
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n", p.name)
		if p.source != "" {
			fmt.Fprintf(&status, "Source: %s (0.9-1)\n", p.source)
		}
		status.WriteString("\n")
		files["/var/lib/dpkg/info/"+p.name+".list"] = tree.Text("/.\n" + strings.Join(strings.Fields(p.list), "\n") + "\n")
		if p.changelog != "" {
			files["/usr/share/doc/"+p.name+"/changelog.Debian"] = tree.Text(p.changelog)
		}
	}
	files["/var/lib/dpkg/status"] = tree.Text(status.String())
	return files
}

func detect(t *testing.T, files tree.Files, opts component.Options) (*component.Set, map[string]string) {
	t.Helper()
	tr := tree.New(files)
	set, err := component.Detect(t.Context(), tr, opts)
	if err != nil {
		t.Fatal(err)
	}
	checkSet(t, tr, set)
	owners := map[string]string{}
	for i, c := range set.Claims {
		if c.Component >= 0 {
			owners[tr.Entries().At(i).Path()] = set.Components[c.Component].ID
		}
	}
	return set, owners
}

// checkSet checks the invariants of a set.
func checkSet(t *testing.T, tr *tree.Tree, set *component.Set) {
	t.Helper()
	files := make([]int, len(set.Components))
	for i, c := range set.Claims {
		if dir := tr.Entries().At(i).IsDir(); dir != (c.Component < 0) {
			t.Errorf("%s: component %d, is a directory: %v", tr.Entries().At(i).Path(), c.Component, dir)
		}
		if c.Component >= 0 {
			files[c.Component]++
			if why := set.Explain(tr.Entries(), i); why.Detector == "" || why.Text == "" {
				t.Errorf("%s: nothing says why", tr.Entries().At(i).Path())
			}
		}
	}
	for i, c := range set.Components {
		if files[i] == 0 || len(c.Packages) == 0 {
			t.Errorf("%s: %d files, packages %v", c.ID, files[i], c.Packages)
		}
		if i > 0 && set.Components[i-1].ID >= c.ID {
			t.Errorf("%s stands after %s", c.ID, set.Components[i-1].ID)
		}
		if !slices.IsSorted(c.Changes) || len(slices.Compact(slices.Clone(c.Changes))) != len(c.Changes) {
			t.Errorf("%s: changes %v", c.ID, c.Changes)
		}
	}
	if len(set.Claims) != tr.Entries().Len() {
		t.Errorf("%d claims for %d entries", len(set.Claims), tr.Entries().Len())
	}
}

func find(t *testing.T, set *component.Set, id string) component.Component {
	t.Helper()
	i := slices.IndexFunc(set.Components, func(c component.Component) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("there is no component %s", id)
	}
	return set.Components[i]
}

// ownership is a table of trees and the owners of their files, by path.
type ownership struct {
	name  string
	files tree.Files
	want  map[string]string
}

func (o ownership) run(t *testing.T) {
	t.Parallel()
	_, owners := detect(t, o.files, component.Options{})
	for p := range owners {
		if strings.HasPrefix(p, "/var/lib/dpkg/") || strings.HasPrefix(p, "/usr/share/doc/") {
			delete(owners, p)
		}
	}
	if diff := cmp.Diff(o.want, owners); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func runAll(t *testing.T, table []ownership) {
	t.Parallel()
	for _, o := range table {
		t.Run(o.name, o.run)
	}
}

var merged = tree.Files{"/bin": tree.Symlink("usr/bin"), "/lib": tree.Symlink("usr/lib"),
	"/sbin": tree.Symlink("/usr/sbin")}

func with(owners map[string]string, more map[string]string) map[string]string {
	all := maps.Clone(owners)
	maps.Copy(all, more)
	return all
}

// mergedOwners are the owners of the links with merged /usr, in trees where base-files does not own them.
var mergedOwners = map[string]string{"/bin": "unowned/root", "/lib": "unowned/root", "/sbin": "unowned/root"}

func TestPackagesOwnTheirFiles(t *testing.T) {
	runAll(t, []ownership{
		{
			"files of all packages of a source are one component",
			debian(deb{"libssl3", "openssl", "/usr /usr/lib /usr/lib/libssl.so.3", ""},
				deb{"openssl", "", "/usr/bin/openssl", ""}).And(
				tree.Empty("/usr/lib/libssl.so.3", "/usr/bin/openssl")),
			map[string]string{"/usr/lib/libssl.so.3": "deb/openssl", "/usr/bin/openssl": "deb/openssl"},
		},
		{
			"the list says /bin/ls, and /bin is a link to usr/bin",
			debian(deb{"coreutils", "", "/bin /bin/ls", ""},
				deb{"base-files", "", "/lib /lib64", ""}).And(merged).And(tree.Empty("/usr/bin/ls", "/usr/sbin/x", "/usr/lib/y")),
			map[string]string{
				"/usr/bin/ls": "deb/coreutils", "/bin": "unowned/root", "/sbin": "unowned/root", "/lib": "deb/base-files",
				"/usr/sbin/x": "unowned/usr/sbin", "/usr/lib/y": "unowned/usr/lib",
			},
		},
		{
			"the link belongs to the package that lists it, its target does not",
			debian(deb{"vi", "", "/usr/bin/vi", ""},
				deb{"vim", "", "/usr/bin/vim", ""}).And(tree.Files{"/usr/bin/vi": tree.Symlink("vim"), "/usr/bin/vim": {}}),
			map[string]string{"/usr/bin/vi": "deb/vi", "/usr/bin/vim": "deb/vim"},
		},
		{
			"a file of several packages belongs to the first by the component's name",
			debian(deb{"zsh", "", "/usr/share/common", ""},
				deb{"ash", "", "/usr/share/common", ""}).And(tree.Empty("/usr/share/common")),
			map[string]string{"/usr/share/common": "deb/ash"},
		},
		{
			"a listed file that is missing, or is a directory now, has no owner",
			debian(deb{"gone", "", "/usr/bin/gone /usr/share/gone", ""},
				deb{"here", "", "/usr/bin/here", ""}).And(tree.Empty("/usr/share/gone/own", "/usr/bin/here")),
			map[string]string{"/usr/share/gone/own": "unowned/usr/share", "/usr/bin/here": "deb/here"},
		},
		{
			"in a commit, what the list has in /etc is in /usr/etc, and initial content of /var is in the factory",
			debian(deb{"pam", "", "/etc/pam.conf /var/lib/pam/x", ""}).And(tree.Empty("/usr/etc/pam.conf",
				"/usr/share/factory/var/lib/pam/x", "/usr/etc/own")),
			map[string]string{"/usr/etc/pam.conf": "deb/pam", "/usr/share/factory/var/lib/pam/x": "deb/pam",
				"/usr/etc/own": "unowned/etc"},
		},
		{
			"a diverted file belongs to its package, the file in its place to the package that diverted it",
			debian(deb{"dash", "", "/bin/sh", ""}, deb{"bash", "", "/bin/sh", ""}).And(merged).And(tree.Files{
				"/var/lib/dpkg/diversions": tree.Text("/usr/bin/sh\n/usr/bin/sh.distrib\nbash\n"), "/usr/bin/sh": {},
				"/usr/bin/sh.distrib": {},
			}),
			with(mergedOwners, map[string]string{"/usr/bin/sh": "deb/bash", "/usr/bin/sh.distrib": "deb/dash"}),
		},
		{
			"a local diversion moves the file of every package",
			debian(deb{"tool", "", "/usr/bin/tool", ""}).And(tree.Files{
				"/var/lib/dpkg/diversions": tree.Text("/usr/bin/tool\n/usr/bin/tool.real\n:\n"), "/usr/bin/tool": {},
				"/usr/bin/tool.real": {},
			}),
			map[string]string{"/usr/bin/tool": "unowned/usr/bin", "/usr/bin/tool.real": "deb/tool"},
		},
	})
}

func TestNamesThatCannotStandInAListAreMadeWords(t *testing.T) {
	t.Parallel()
	set, _ := detect(t,
		debian(deb{"x", "a,b", "/usr/bin/x", ""}).And(tree.Files{"/usr/bin/x": {}, "/opt/\xff \x01": {Size: 1 << 20}}),
		component.Options{})
	for _, c := range set.Components {
		for _, s := range append(c.Packages, c.ID) {
			if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == ',' || r == '\uFFFD' }) {
				t.Errorf("%q", s)
			}
		}
		if len(c.Packages) == 1 && c.Packages[0] == "" || path.Base(c.ID) == "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestAnEmptyTreeHasNoComponents(t *testing.T) {
	t.Parallel()
	set, _ := detect(t, tree.Files{}, component.Options{Strict: true})
	if len(set.Components) != 0 || len(set.Warnings) != 0 || !set.Reference.IsZero() {
		t.Errorf("%+v", set)
	}
}

func TestACommitsOwnersAreThoseOfTheTreeItWasMadeOf(t *testing.T) {
	t.Parallel()
	const release = "6.1.0-21-amd64"
	content := tree.Empty("/usr/bin/tool", "/lib/modules/"+release+"/kernel/ext4.ko", "/opt/app/x",
		"/srv/y").And(tree.Files{"/usr/bin/also": tree.Symlink("/etc/alternatives/also")})
	origin := debian(deb{"tool", "", "/usr/bin/tool /etc/tool.conf", ""},
		deb{"linux", "", "/boot/vmlinuz-" + release + " /lib/modules/" + release + "/kernel/ext4.ko",
			""}).And(content).And(tree.Empty(
		"/etc/tool.conf", "/boot/vmlinuz-"+release, "/boot/initrd.img-"+release)).And(tree.Files{
		"/opt/app":               {Dir: true, Xattrs: map[string]string{"user.component": "app"}},
		"/etc/alternatives/also": tree.Symlink("/usr/bin/tool"),
	})
	// The xattr and the database are missing, and /etc and the kernel have moved.
	prepared := content.And(tree.Empty("/usr/etc/tool.conf", "/lib/modules/"+release+"/vmlinuz",
		"/lib/modules/"+release+"/initramfs.img")).And(tree.Files{
		"/usr/etc/alternatives/also": tree.Symlink("/usr/bin/tool"), "/ostree": tree.Symlink("sysroot/ostree"),
	})
	set, owners := detect(t, prepared, component.Options{Origin: tree.New(origin),
		Rules: parse(t, "- {name: own, paths: [/srv]}")})
	if diff := cmp.Diff(map[string]string{
		"/usr/bin/tool": "deb/tool", "/usr/etc/tool.conf": "deb/tool", "/usr/bin/also": "deb/tool",
		"/usr/etc/alternatives/also": "sys/pkgdb", "/opt/app/x": "user/app", "/srv/y": "user/own",
		"/lib/modules/" + release + "/kernel/ext4.ko": "deb/linux", "/lib/modules/" + release + "/vmlinuz": "deb/linux",
		"/lib/modules/" + release + "/initramfs.img": "sys/initramfs",
		"/ostree": "unowned/root",
	}, owners); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(set.Warnings) > 0 || !find(t, set, "user/app").Exclusive {
		t.Errorf("warnings: %q", set.Warnings)
	}
}

func TestTheSameTreeGivesTheSameSet(t *testing.T) {
	t.Parallel()
	const a, b = "6.1-a", "6.1-b"
	files := suse(t).And(alpine(t)).And(debian(deb{"x", "",
		"/lib/modules/" + a + "/1 /lib/modules/" + b + "/1 /usr/bin/bash", ""}, deb{"y", "",
		"/lib/modules/" + a + "/2 /lib/modules/" + b + "/2", ""})).And(
		tree.Empty("/lib/modules/"+a+"/1", "/lib/modules/"+a+"/2", "/lib/modules/"+b+"/1", "/lib/modules/"+b+"/2",
			"/lib/modules/"+a+"/m", "/lib/modules/"+b+"/m", "/boot/config-"+a+b))
	first, _ := detect(t, files, component.Options{})
	for range 10 {
		again, _ := detect(t, files, component.Options{})
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	}
}

func TestAContextThatIsDoneEndsIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := component.Detect(ctx, tree.New(alpine(t)), component.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
