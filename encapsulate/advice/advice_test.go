package advice_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// write makes a directory with the given files.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func open(t testing.TB, root string) rootfs.Tree {
	t.Helper()
	d, err := rootfs.Dir(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func tree(t testing.TB, files map[string]string) rootfs.Tree {
	t.Helper()
	return open(t, write(t, files))
}

// unread is a tree whose files cannot be opened.
type unread struct {
	rootfs.Tree
	t testing.TB
}

func (u unread) Open(context.Context, int) (io.ReadCloser, error) {
	u.t.Error("a file is read")
	return nil, os.ErrPermission
}

// byPath returns the name of the advice about each path.
func byPath(r *advice.Report) map[string]string {
	got := map[string]string{}
	for _, a := range r.Advice {
		for _, f := range a.Files {
			got[f.Path] = a.Name
		}
	}
	return got
}

func TestFilesAreJudgedByTheirNames(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"/var/lib/apt/lists/deb_dists_Packages":                        "apt-lists",
		"/var/lib/apt/lists/partial/x":                                 "apt-lists",
		"/var/cache/apt/archives/hello_1.deb":                          "apt-cache",
		"/var/cache/apt/pkgcache.bin":                                  "apt-cache",
		"/var/cache/dnf/fedora/repodata/repomd.xml":                    "dnf-cache",
		"/var/cache/libdnf5/x.solv":                                    "dnf-cache",
		"/var/lib/dnf/history.sqlite":                                  "dnf-history",
		"/usr/lib/sysimage/libdnf5/transaction_history.sqlite":         "dnf-history",
		"/var/cache/zypp/solv/x":                                       "zypper-cache",
		"/var/cache/apk/APKINDEX.tar.gz":                               "apk-cache",
		"/var/cache/pacman/pkg/x.pkg.tar.zst":                          "pacman-cache",
		"/var/lib/pacman/sync/core.db":                                 "pacman-cache",
		"/var/cache/distfiles/x.tar.gz":                                "portage-cache",
		"/root/.cache/pip/http/x":                                      "pip-cache",
		"/home/someone/.cache/pip/x":                                   "pip-cache",
		"/root/.npm/_cacache/x":                                        "npm-cache",
		"/root/.cargo/registry/x":                                      "build-cache",
		"/go/pkg/mod/cache/x":                                          "build-cache",
		"/opt/conda/pkgs/zlib-1.3-h1.conda":                            "pip-cache",
		"/opt/conda/pkgs/zlib-1.3-h1/lib/libz.so":                      "",
		"/root/.bun/install/cache/x":                                   "npm-cache",
		"/usr/local/rustup/downloads/x":                                "build-cache",
		"/usr/local/lib/ruby/gems/3.3.0/cache/rack-3.1.gem":            "build-cache",
		"/usr/local/lib/ruby/gems/3.3.0/gems/rack-3.1/x":               "",
		"/app/node_modules/.cache/babel-loader/x.json":                 "build-cache",
		"/app/node_modules/babel-loader/x.json":                        "",
		"/var/opkg-lists/base":                                         "opkg-lists",
		"/var/lib/systemd/coredump/core.sh.0.1.zst":                    "temporary-files",
		"/root/.ash_history":                                           "user-cache",
		"/root/.gnupg/random_seed":                                     "random-seed",
		"/root/.cache/other/x":                                         "user-cache",
		"/root/.bash_history":                                          "user-cache",
		"/var/cache/ldconfig/aux-cache":                                "ldconfig-cache",
		"/var/cache/fontconfig/x.cache-7":                              "fontconfig-cache",
		"/var/cache/man/index.db":                                      "man-index",
		"/usr/share/icons/hicolor/icon-theme.cache":                    "icon-cache",
		"/var/cache/some/thing":                                        "other-caches",
		"/var/log/dpkg.log":                                            "logs",
		"/var/log/apt/history.log":                                     "logs",
		"/tmp/x":                                                       "temporary-files",
		"/run/lock/x":                                                  "temporary-files",
		"/etc/machine-id":                                              "machine-id",
		"/var/lib/systemd/random-seed":                                 "random-seed",
		"/usr/etc/ssh/ssh_host_rsa_key":                                "host-keys",
		"/etc/ssh/ssh_host_ed25519_key.pub":                            "host-keys",
		"/etc/resolv.conf":                                             "build-container",
		"/usr/lib/sysimage/rpm/.rpm.lock":                              "package-locks",
		"/var/lib/rpm/__db.001":                                        "package-locks",
		"/var/lib/dpkg/status-old":                                     "old-versions",
		"/var/cache/debconf/config.dat-old":                            "old-versions",
		"/usr/share/factory/var/lib/dpkg/diversions-old":               "old-versions",
		"/etc/shadow-":                                                 "old-versions",
		"/var/lib/app/data.db-wal":                                     "database-journals",
		"/var/lib/app/data.db-journal":                                 "database-journals",
		"/var/lib/app/data.db":                                         "",
		"/var/lib/app/kept-journal":                                    "",
		"/var/lib/apt/extended_states":                                 "",
		"/var/lib/apt/listsomething":                                   "",
		"/var/lib/dpkg/status":                                         "",
		"/var/cache/debconf/config.dat":                                "",
		"/usr/lib/debug/var/log/x":                                     "",
		"/home/var/log/x":                                              "",
		"/etc/passwd":                                                  "",
		"/etc/ssh/sshd_config":                                         "",
		"/var/lib/dbus/machine-id":                                     "machine-id",
		"/usr/lib/modules/6.1/initramfs.img":                           "",
		"/srv/root/.cache/pip/x":                                       "",
		"/usr/lib/python3/dist-packages/x/__pycache__/x.pyc":           "",
		"/var/roothome/.cache/uv/x":                                    "pip-cache",
		"/usr/share/factory/var/cache/libdnf5/fedora/solv/primary.xml": "dnf-cache",
	}
	files := map[string]string{}
	for p := range want {
		files[p] = strings.Repeat("x", 40)
	}
	files["/var/lib/apt/lists/lock"] = ""
	files["/var/log/empty"] = ""
	got := byPath(advice.Of(unread{tree(t, files), t}, advice.Options{}))
	for p, name := range want {
		if got[p] != name {
			t.Errorf("%s: %q, want %q", p, got[p], name)
		}
	}
	for p, name := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%s: %q, and it is empty", p, name)
		}
	}
}

func TestAnIdentityThatIsStillToComeIsFine(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]int{"uninitialized\n": 0, "": 0, "0123456789abcdef0123456789abcdef\n": 1} {
		r := advice.Of(tree(t, map[string]string{"etc/machine-id": content, "x": "x"}), advice.Options{})
		if len(r.Advice) != want {
			t.Errorf("%q: %+v", content, r.Advice)
		}
	}
}

// TestBytesAreThoseOfContent also checks the order.
func TestBytesAreThoseOfContent(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{
		"var/log/a": "12345", "var/log/b": "1234567", "var/cache/apt/x": "123", "var/cache/apt/y": "123", "usr/bin/true": "1",
	})
	if err := os.Link(filepath.Join(root, "var/log/a"), filepath.Join(root, "var/log/c")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(root, "var/log/d")); err != nil {
		t.Fatal(err)
	}
	r := advice.Of(open(t, root), advice.Options{})
	var got []string
	for _, a := range r.Advice {
		for _, f := range a.Files {
			got = append(got, a.Name+" "+f.Path)
		}
	}
	want := []string{"logs /var/log/b", "logs /var/log/a", "apt-cache /var/cache/apt/x", "apt-cache /var/cache/apt/y"}
	if diff := cmp.Diff(want, got); diff != "" || r.Bytes != 18 || r.Download != 0 {
		t.Errorf("%d bytes, %d compressed (-want +got)\n%s", r.Bytes, r.Download, diff)
	}
}

func TestOnlyTheEstimateReadsFiles(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"var/log/a": strings.Repeat("a", 1000), "var/cache/apt/x": strings.Repeat("a", 4000), "opt/app": "x",
	}
	in := tree(t, files)
	r := advice.Of(unread{in, t}, advice.Options{})
	if r.Bytes != 5000 || r.Download != 0 {
		t.Errorf("%d bytes, %d compressed", r.Bytes, r.Download)
	}
	if err := r.Estimate(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if r.Bytes != 5000 || r.Download < 20 || r.Download > 200 {
		t.Errorf("%d bytes, about %d compressed", r.Bytes, r.Download)
	}
	log, ok := rootfs.NewIndex(in).Find("/var/log/a")
	r = advice.Of(in, advice.Options{Skip: func(i int) bool { return i == log }})
	if r.Bytes != 4000 || !ok {
		t.Errorf("%d bytes without those of the base", r.Bytes)
	}
}

func TestALargeFileThatNobodyOwnsIsNotPartOfEachUpdate(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{
		"opt/model": "", "usr/lib/big": "", "var/lib/dpkg/status": "Package: big\nStatus: install ok installed\n" +
			"Architecture: amd64\n\n", "var/lib/dpkg/info/big.list": "/usr/lib/big\n",
	})
	for _, name := range []string{"opt/model", "usr/lib/big"} {
		if err := os.Truncate(filepath.Join(root, name), 20<<20); err != nil {
			t.Fatal(err)
		}
	}
	in := open(t, root)
	set, err := component.Detect(t.Context(), in, component.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := advice.Of(in, advice.Options{Set: set})
	if diff := cmp.Diff(map[string]string{"/opt/model": "unowned-big"}, byPath(r)); diff != "" || r.Bytes != 0 {
		t.Errorf("%d bytes (-want +got)\n%s", r.Bytes, diff)
	}
	if lines := r.Lines("oci:x"); lines != nil {
		t.Errorf("lines %q", lines)
	}
}

func TestABuildEndsWithTwoLines(t *testing.T) {
	t.Parallel()
	r := advice.Of(tree(t, map[string]string{
		"var/log/a": strings.Repeat("a", 15000), "var/cache/apt/x": strings.Repeat("a", 150), "etc/resolv.conf": "abc",
	}), advice.Options{})
	want := []string{
		"advice: each update downloads 15.2\u00a0kB (before compression) more than it needs: " +
			"logs 15.0\u00a0kB, apt-cache 150 bytes",
		"advice: to end logs: find /var/log -type f -delete (all: ostree-ext advise oci:x)",
	}
	if diff := cmp.Diff(want, r.Lines("oci:x")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

var section = regexp.MustCompile(`(?m)^### (.*)$`)

func TestEveryNameHasASectionOnThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/advice.md")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, m := range section.FindAllStringSubmatch(string(page), -1) {
		got = append(got, m[1])
	}
	for _, r := range advice.Rules() {
		want = append(want, r.Name)
		if r.Summary == "" || r.End == "" {
			t.Errorf("%s has no text", r.Name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-rules +page)\n%s", diff)
	}
}

func BenchmarkOf(b *testing.B) {
	builder := rootfs.NewBuilder(1 << 20)
	dir := rootfs.Entry{Dir: "/", FileHeader: header(0o040755)}
	if err := builder.Add(dir); err != nil {
		b.Fatal(err)
	}
	file := header(0o100644)
	for d := range 1000 {
		name := "d" + string(rune('a'+d%26)) + string(rune('a'+d/26%26)) + string(rune('a'+d/676))
		if err := builder.Add(rootfs.Entry{Dir: "/", Name: name, FileHeader: header(0o040755)}); err != nil {
			b.Fatal(err)
		}
		for f := range 1000 {
			e := rootfs.Entry{Dir: "/" + name, Name: "file" + string(rune('a'+f%26)) + string(rune('a'+f/26%26)) +
				string(rune('a'+f/676)), FileHeader: file, Size: 100}
			if err := builder.Add(e); err != nil {
				b.Fatal(err)
			}
		}
	}
	list, _ := builder.List(nil)
	for b.Loop() {
		advice.Of(listed{list}, advice.Options{})
	}
}
