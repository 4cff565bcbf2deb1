package cleanup_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/cleanup"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// files is a tree in memory: the content of files by path. A path that ends with a slash is a directory, and content
// that begins with an arrow makes a symlink. Parent directories are added.
type files map[string]string

// memory is the tree of files.
type memory struct {
	list     *rootfs.List
	contents []string
}

func (m memory) Entries() *rootfs.List { return m.list }

func (m memory) Open(_ context.Context, i int) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(m.contents[i])), nil
}

func (f files) tree(t testing.TB) rootfs.Tree {
	t.Helper()
	all := files{"/": ""}
	for p, content := range f {
		all[p] = content
		for dir := path.Dir(path.Clean(p)); dir != "/"; dir = path.Dir(dir) {
			if _, own := all[dir+"/"]; !own {
				all[dir+"/"] = ""
			}
		}
	}
	b := rootfs.NewBuilder(0)
	var contents []string
	for _, p := range slices.Sorted(maps.Keys(all)) {
		content := all[p]
		e := rootfs.Entry{FileHeader: &object.FileHeader{Mode: object.ModeRegular | 0o644}}
		e.Dir, e.Name = rootfs.Split(path.Clean(p))
		target, link := strings.CutPrefix(content, "-> ")
		switch {
		case strings.HasSuffix(p, "/"):
			e.FileHeader = &object.FileHeader{Mode: object.ModeDir | 0o755}
			if strings.Contains(content, "700") { // of user and group 7
				e.FileHeader = &object.FileHeader{Mode: object.ModeDir | 0o700, UID: 7, GID: 7}
			}
		case link:
			e.FileHeader = &object.FileHeader{Mode: object.ModeSymlink | 0o777, Target: target}
			content = ""
		default:
			e.Size = int64(len(content))
		}
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
		contents = append(contents, content)
	}
	list, order := b.List(nil)
	m := memory{list: list}
	for _, o := range order {
		m.contents = append(m.contents, contents[o])
	}
	return m
}

// read returns the files of a tree, and its directories that are empty.
func read(t testing.TB, tree rootfs.Tree) files {
	t.Helper()
	out, x := files{}, rootfs.NewIndex(tree)
	for i, e := range tree.Entries().All() {
		switch {
		case e.IsDir():
			empty := true
			for range x.Children(e.Path()) {
				empty = false
			}
			if empty {
				out[e.Path()+"/"] = ""
			}
		case e.IsSymlink():
			out[e.Path()] = "-> " + e.Target
		default:
			r, err := tree.Open(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			out[e.Path()] = string(data)
		}
	}
	return out
}

const (
	altfiles = "passwd: files altfiles systemd\n# group: files\ngroup: files altfiles # for hosts\n"
	root     = "root:x:0:0:Super User:/root:/bin/zsh\n"
	alice    = "alice:x:990:990::/:/sbin/nologin\n"
	bob      = "bob:x:991:991::/:/sbin/nologin\n"
	conf     = "/usr/lib/tmpfiles.d/ostree-ext-var.conf"
)

func TestCleanUpsOfATree(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tree, want files
		edits      []string // name: items
	}{
		"nothing to do": {
			tree: files{"/usr/bin/a": "a", "/etc/passwd": root, "/etc/nsswitch.conf": altfiles, "/var/": ""},
			want: files{"/usr/bin/a": "a", "/etc/passwd": root, "/etc/nsswitch.conf": altfiles, "/var/": ""},
		},
		"accounts move": {
			tree: files{"/etc/passwd": root + alice, "/etc/group": "root:x:0:\nwheel:x:10:bob\nsudo:x:27:\nalice:x:990:\n",
				"/usr/lib/passwd": bob, "/etc/nsswitch.conf": altfiles},
			want: files{"/etc/passwd": root, "/etc/group": "root:x:0:\nwheel:x:10:bob\nsudo:x:27:\n",
				"/usr/lib/passwd": bob + alice, "/usr/lib/group": "alice:x:990:\n", "/etc/nsswitch.conf": altfiles},
			edits: []string{"passwd: alice", "group: alice"},
		},
		"an account of /etc replaces that of /usr/lib in its line": {
			tree: files{"/etc/passwd": root + alice, "/usr/lib/passwd": "alice:x:1:1::/:/x\n" + bob,
				"/etc/nsswitch.conf": altfiles},
			want:  files{"/etc/passwd": root, "/usr/lib/passwd": alice + bob, "/etc/nsswitch.conf": altfiles},
			edits: []string{"passwd: alice"},
		},
		"accounts that /usr/lib has leave /etc": {
			tree:  files{"/etc/passwd": root + alice, "/usr/lib/passwd": alice, "/etc/nsswitch.conf": altfiles},
			want:  files{"/etc/passwd": root, "/usr/lib/passwd": alice, "/etc/nsswitch.conf": altfiles},
			edits: []string{"passwd: alice"},
		},
		"accounts are copied where nobody looks in /usr/lib": {
			tree: files{"/etc/passwd": root + alice, "/etc/nsswitch.conf": "passwd: files\n"},
			want: files{"/etc/passwd": root + alice, "/usr/lib/passwd": alice,
				"/etc/nsswitch.conf": "passwd: files\n"},
			edits: []string{"passwd: alice"},
		},
		"lines that are not accounts stay": {
			tree: files{"/etc/passwd": root + "# local\n+::::::\nshort:x\n" + alice, "/etc/nsswitch.conf": altfiles},
			want: files{"/etc/passwd": root + "# local\n+::::::\nshort:x\n", "/usr/lib/passwd": alice,
				"/etc/nsswitch.conf": altfiles},
			edits: []string{"passwd: alice"},
		},
		"a root account is added": {
			tree: files{"/etc/passwd": "\n" + alice, "/etc/nsswitch.conf": altfiles},
			want: files{"/etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "/usr/lib/passwd": alice,
				"/etc/nsswitch.conf": altfiles},
			edits: []string{"passwd: alice"},
		},
		"nothing but a root account is missing": {
			tree:  files{"/etc/group": "wheel:x:10:\n", "/etc/nsswitch.conf": altfiles},
			want:  files{"/etc/group": "root:x:0:\nwheel:x:10:\n", "/etc/nsswitch.conf": altfiles},
			edits: []string{"group: root"},
		},
		"the tree of a commit, with a symlink that is right on hosts": {
			tree: files{"/usr/etc/passwd": root + alice, "/usr/etc/nsswitch.conf": "-> /etc/authselect/nsswitch.conf",
				"/usr/etc/authselect/nsswitch.conf": altfiles},
			want: files{"/usr/etc/passwd": root, "/usr/lib/passwd": alice,
				"/usr/etc/nsswitch.conf":            "-> /etc/authselect/nsswitch.conf",
				"/usr/etc/authselect/nsswitch.conf": altfiles},
			edits: []string{"passwd: alice"},
		},
		"locks, backups and the mark of Docker": {
			tree: files{"/.dockerenv": "", "/etc/.pwd.lock": "", "/etc/passwd-": "", "/etc/group-": "", "/etc/shadow-": "",
				"/etc/gshadow-": "", "/etc/subuid-": "", "/etc/subgid-": "", "/etc/shadow": "s", "/etc/opasswd-": "",
				"/usr/.dockerenv": ""},
			want: files{"/etc/shadow": "s", "/etc/opasswd-": "", "/usr/.dockerenv": ""},
			edits: []string{"backups: /.dockerenv /etc/.pwd.lock /etc/group- /etc/gshadow- /etc/passwd- /etc/shadow- " +
				"/etc/subgid- /etc/subuid-"},
		},
		"a backup in /usr/etc": {tree: files{"/usr/etc/passwd-": ""}, want: files{"/usr/etc/": ""},
			edits: []string{"backups: /usr/etc/passwd-"}},
		"a directory of such a name": {tree: files{"/etc/passwd-/a": "a"}, want: files{"/etc/passwd-/a": "a"}},
		"/usr/etc wins over /etc": {
			tree: files{"/etc/a": "old", "/etc/b": "b", "/etc/d/x": "x", "/usr/etc/a": "new", "/usr/etc/c": "c",
				"/usr/etc/d/y": "y", "/usr/etc/passwd": root + alice, "/etc/passwd": root + bob,
				"/usr/etc/nsswitch.conf": altfiles, "/usr/etc/passwd-": ""},
			want: files{"/etc/a": "new", "/etc/b": "b", "/etc/c": "c", "/etc/d/x": "x", "/etc/d/y": "y",
				"/etc/passwd": root, "/usr/lib/passwd": alice, "/etc/nsswitch.conf": altfiles},
			edits: []string{"passwd: alice", "backups: /usr/etc/passwd-",
				"usr-etc: /usr/etc/a /usr/etc/c /usr/etc/d/y /usr/etc/nsswitch.conf"},
		},
		"an empty /usr/etc": {
			tree: files{"/etc/a": "a", "/usr/etc/": ""}, want: files{"/etc/a": "a", "/usr/etc/": ""},
		},
		"/var/lib moves": {
			tree: files{"/var/lib/app/state": "s", "/var/lib/same/new": "n", "/var/lib/same/both": "var",
				"/usr/lib/same/both": "lib", "/usr/lib/same/old": "o", "/var/lib/file": "f", "/usr/lib/file/": ""},
			want: files{"/usr/lib/app/state": "s", "/usr/lib/same/new": "n", "/usr/lib/same/both": "var",
				"/usr/lib/same/old": "o", "/usr/lib/file": "f", "/var/": "",
				conf: "d /var/lib 0755 0 0 - -\nd /var/lib/app 0755 0 0 - -\nd /var/lib/same 0755 0 0 - -\n"},
			edits: []string{"var-lib: /var/lib/app/state /var/lib/file /var/lib/same/both /var/lib/same/new",
				"var-tmpfiles: /var/lib /var/lib/app /var/lib/same"},
		},
		"a package database": {
			tree: files{"/var/lib/dpkg/status": "s", "/var/lib/dpkg/info/": "", "/var/lib/dpkgs/": "",
				"/usr/lib/dpkg/methods/x": "x"},
			want: files{"/usr/lib/dpkg/status": "s", "/usr/lib/dpkg/info/": "", "/usr/lib/dpkg/methods/x": "x", "/var/": "",
				"/usr/lib/dpkgs/": "",
				conf: "d /var/lib 0755 0 0 - -\nL /var/lib/dpkg - - - - ../../usr/lib/dpkg\n" +
					"d /var/lib/dpkgs 0755 0 0 - -\n"},
			edits: []string{"var-lib: /var/lib/dpkg/status", "var-tmpfiles: /var/lib /var/lib/dpkg /var/lib/dpkgs"},
		},
		"what a directory of /usr/lib has the place of": {
			tree: files{"/var/lib/rpm": "-> ../../usr/share/rpm", "/usr/lib/rpm/macros": "m"},
			want: files{"/usr/lib/rpm/macros": "m", "/var/": "",
				conf: "d /var/lib 0755 0 0 - -\nL /var/lib/rpm - - - - ../../usr/share/rpm\n"},
			edits: []string{"var-lib-conflicts: /var/lib/rpm", "var-tmpfiles: /var/lib /var/lib/rpm"},
		},
		"the rest of /var goes to the factory": {
			tree: files{"/var/cache/a b/f": "f", "/var/run": "-> ../run", "/var/spool/": "700",
				"/usr/share/factory/var/cache/old": "o"},
			want: files{"/usr/share/factory/var/cache/a b/f": "f", "/usr/share/factory/var/cache/old": "o",
				"/usr/share/factory/var/run": "-> ../run", "/usr/share/factory/var/spool/": "", "/var/": "",
				conf: "d /var/cache 0755 0 0 - -\nd \"/var/cache/a b\" 0755 0 0 - -\nC \"/var/cache/a b/f\" 0644 0 0 - -\n" +
					"L /var/run - - - - ../run\nd /var/spool 0700 7 7 - -\n"},
			edits: []string{"var-factory: /var/cache/a b/f /var/run",
				"var-tmpfiles: /var/cache /var/cache/a b /var/cache/a b/f /var/run /var/spool"},
		},
		"names that need care in tmpfiles.d": {
			tree: files{"/var/%h": "", "/var/q\"'\\": "", "/var/new\nline": "", "/var/l": "-> a b\\%"},
			want: files{"/usr/share/factory/var/%h": "", "/usr/share/factory/var/q\"'\\": "", "/var/": "",
				"/usr/share/factory/var/new\nline": "", "/usr/share/factory/var/l": "-> a b\\%",
				conf: "C /var/%%h 0644 0 0 - -\nL /var/l - - - - a\\x20b\\x5c%%\nC \"/var/q\\\"'\\\\\" 0644 0 0 - -\n"},
			edits: []string{"var-factory: /var/%h /var/l /var/new\nline /var/q\"'\\",
				"var-tmpfiles: /var/%h /var/l /var/q\"'\\"},
		},
		"paths that the system's own files create": {
			tree: files{"/var/log/": "", "/var/a b/": "", "/var/mine/": "", "/var/not/": "", "/var/tmp/": "",
				"/usr/lib/tmpfiles.d/x.conf": "d /var/log/ 0755 - - -\nd! \"/var/a b\" - - -\nx /var/not\n",
				"/etc/tmpfiles.d/y.conf":     "q /var/tmp 1777 root root 30d\n", "/usr/lib/tmpfiles.d/README": "d /var/mine\n",
				conf: "d /var/old 0755 0 0 - -\n"},
			want: files{"/usr/share/factory/var/log/": "", "/usr/share/factory/var/a b/": "",
				"/usr/share/factory/var/mine/": "", "/usr/share/factory/var/not/": "", "/usr/share/factory/var/tmp/": "",
				"/var/":                      "",
				"/usr/lib/tmpfiles.d/x.conf": "d /var/log/ 0755 - - -\nd! \"/var/a b\" - - -\nx /var/not\n",
				"/etc/tmpfiles.d/y.conf":     "q /var/tmp 1777 root root 30d\n", "/usr/lib/tmpfiles.d/README": "d /var/mine\n",
				conf: "d /var/old 0755 0 0 - -\nd /var/mine 0755 0 0 - -\nd /var/not 0755 0 0 - -\n"},
			edits: []string{"var-tmpfiles: /var/mine /var/not"},
		},
		"a /var that is a symlink": {tree: files{"/var": "-> data"}, want: files{"/var": "-> data"}},
		"a /var/lib that is a symlink": {
			tree: files{"/var/lib": "-> ../srv/lib", "/usr/": ""},
			want: files{"/usr/share/factory/var/lib": "-> ../srv/lib", "/var/": "",
				conf: "L /var/lib - - - - ../srv/lib\n"},
			edits: []string{"var-factory: /var/lib", "var-tmpfiles: /var/lib"},
		},
		"links by build id": {
			tree:  files{"/usr/lib/.build-id/ab/c": "-> ../x", "/usr/lib/.build-ids": "x"},
			want:  files{"/usr/lib/.build-ids": "x"},
			edits: []string{"build-id: /usr/lib/.build-id/ab/c"},
		},
		"the copy of the package database": {
			tree: files{"/usr/share/rpm/rpmdb.sqlite": "new", "/usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite": "old",
				"/usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite-shm": "old"},
			want: files{"/usr/share/rpm/rpmdb.sqlite": "new", "/usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite": "new"},
			edits: []string{"rpm-base-db: /usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite-shm " +
				"/usr/share/rpm/rpmdb.sqlite"},
		},
		"a database without a copy": {tree: files{"/usr/share/rpm/a": "a"}, want: files{"/usr/share/rpm/a": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := test.tree.tree(t)
			before := read(t, tree)
			got, edits, err := cleanup.Clean(t.Context(), tree)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, read(t, got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var said []string
			for _, e := range edits {
				said = append(said, e.Name+": "+strings.Join(e.Items, " "))
			}
			if diff := cmp.Diff(test.edits, said); diff != "" {
				t.Errorf("edits (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, read(t, tree)); diff != "" {
				t.Errorf("the tree itself was changed (-before +after):\n%s", diff)
			}
			checkParents(t, got)
			again, edits, err := cleanup.Clean(t.Context(), got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, read(t, again)); diff != "" || len(edits) > 0 {
				t.Errorf("the second time %v (-want +got):\n%s", edits, diff)
			}
		})
	}
}

// checkParents checks what each tree promises: that the parent of an entry is a directory in front of it.
func checkParents(t *testing.T, tree rootfs.Tree) {
	t.Helper()
	seen := map[string]bool{"/": true}
	for _, e := range tree.Entries().All() {
		if p := e.Path(); p != "/" && seen[p] || !seen[e.Dir] {
			t.Errorf("%s is there twice, or is in no directory", p)
		}
		if e.IsDir() {
			seen[e.Path()] = true
		}
	}
}

func TestTheCopyOfThePackageDatabaseIsLinkedToIt(t *testing.T) {
	t.Parallel()
	const base = "/usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite"
	tree, _, err := cleanup.Clean(t.Context(), files{"/usr/share/rpm/rpmdb.sqlite": "new", base: "old"}.tree(t))
	if err != nil {
		t.Fatal(err)
	}
	i, ok := rootfs.NewIndex(tree).Find("/usr/share/rpm/rpmdb.sqlite")
	if !ok {
		t.Fatal("the database is not there")
	}
	if at := tree.Entries().At(tree.Entries().At(i).Link).Path(); at != base {
		t.Errorf("the database is a link to %s", at)
	}
}

func TestAnotherContentHasNoSignatureOfTheOldOne(t *testing.T) {
	t.Parallel()
	b := rootfs.NewBuilder(0)
	const content = "wheel:x:10:\n"
	for _, e := range []rootfs.Entry{
		{Dir: "/", FileHeader: &object.FileHeader{Mode: object.ModeDir | 0o755}},
		{Dir: "/", Name: "etc", FileHeader: &object.FileHeader{Mode: object.ModeDir | 0o755}},
		{Dir: "/etc", Name: "group", Size: int64(len(content)), FileHeader: &object.FileHeader{
			Mode: object.ModeRegular | 0o600, GID: 3, Xattrs: object.Xattrs{
				{Name: "security.evm", Value: []byte("s")}, {Name: "security.ima", Value: []byte("s")},
				{Name: "user.note", Value: []byte("n")},
			}}},
		{Dir: "/etc", Name: "nsswitch.conf", Size: int64(len(altfiles)),
			FileHeader: &object.FileHeader{Mode: object.ModeRegular | 0o644}},
	} {
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := b.List(nil)
	tree, _, err := cleanup.Clean(t.Context(), memory{list, []string{"", "", content, altfiles}})
	if err != nil {
		t.Fatal(err)
	}
	i, _ := rootfs.NewIndex(tree).Find("/etc/group")
	want := object.FileHeader{Mode: object.ModeRegular | 0o600, GID: 3,
		Xattrs: object.Xattrs{{Name: "user.note", Value: []byte("n")}}}
	if diff := cmp.Diff(want, *tree.Entries().At(i).FileHeader); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCleanUpsRefuseWhatTheyCannotDo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tree files
		says string
	}{
		"a /usr/lib that is a file": {files{"/var/lib/a": "a", "/usr/lib": "x"}, "/usr/lib is not a directory"},
		"a factory that is a symlink": {files{"/var/a": "a", "/usr/share/factory": "-> x"},
			"/usr/share/factory is not a directory"},
		"more accounts than one reads": {files{"/etc/passwd": strings.Repeat("x", 1<<20+1)}, "/etc/passwd"},
	} {
		_, _, err := cleanup.Clean(t.Context(), test.tree.tree(t))
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(name, "more") && !errors.Is(err, repo.ErrTooLarge) {
			t.Errorf("%s: %v does not wrap ErrTooLarge", name, err)
		}
	}
}
