package dpkg_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/dpkg"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

func filesAt(list ...string) (files pkgdb.Files) {
	for _, p := range list {
		files.Add(pkgdb.File{Path: p})
	}
	return files
}

func TestTheDatabasesThatOpkgWrote(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		installed    int64
		kernel       string
		tool, module pkgdb.Files
	}{
		"openwrt": {
			1795956534, "linux",
			filesAt("/etc/tool.conf", "/bin/alias", "/bin/tool", "/usr/share/tool/with space/a file"),
			filesAt("/lib/modules/5.15.137/tool.ko"),
		},
		"yocto": {
			1795956563, "linux-yocto",
			filesAt("/usr", "/etc/tool.conf", "/etc", "/bin/alias", "/usr/share", "/bin", "/bin/tool",
				"/usr/share/tool/with space/a file", "/usr/share/tool", "/usr/share/tool/with space"),
			filesAt("/lib", "/lib/modules", "/lib/modules/5.15.137", "/lib/modules/5.15.137/tool.ko"),
		},
	} {
		db, err := dpkg.ReadOpkg(t.Context(), tree.Index(tree.Archive(t, "testdata/"+name+".txtar")))
		if err != nil || len(db.Faults) > 0 {
			t.Fatal(name, err, db)
		}
		lib := filesAt("/usr/lib/libtool1.so.1")
		if name == "yocto" {
			lib = filesAt("/usr/lib", "/usr/lib/libtool1.so.1")
		}
		installed := time.Unix(test.installed, 0).UTC()
		if diff := cmp.Diff([]pkgdb.Package{
			{Name: "kmod-tool", Source: test.kernel, Version: "5.15.137-1", Arch: "all", Built: installed, Files: test.module},
			{Name: "libtool1", Source: "tool", Version: "1.36.1-1", Arch: "all", Built: installed, Files: lib},
			{Name: "meta", Source: "meta", Version: "1", Arch: "all", Built: installed},
			{Name: "tool", Source: "tool", Version: "1.36.1-1", Arch: "all", Built: installed, Files: test.tool},
		}, db.Packages); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTheRecipeIsInTheControlFile(t *testing.T) {
	t.Parallel()
	const status = "Package: x\nVersion: 1\nStatus: install ok installed\nSource: old_1.bb\n\n"
	for control, want := range map[string]string{
		"Source: package/utils/tool\n":                     "tool",
		"Source: feeds/luci/applications/luci-app-tool/\n": "luci-app-tool",
		"Source: tool_1.2.bb\n":                            "tool",
		"Source: with_line\n":                              "with_line",
		"OE: recipe\nSource: tool_1.2.bb\n":                "recipe",
		"Source: https://example.org/tool-1.tar.gz\n":      "old",
		"Source: file://a file://b\n":                      "old",
		"Description: x\n":                                 "old",
		"":                                                 "old",
	} {
		files := tree.Files{"/usr/lib/opkg/status": tree.Text(status), "/usr/lib/opkg/info/x.list": {}}
		if control != "" {
			files["/usr/lib/opkg/info/x.control"] = tree.Text("Package: x\n" + control)
		}
		db, err := dpkg.ReadOpkg(t.Context(), tree.Index(files))
		if err != nil || len(db.Faults) > 0 || len(db.Packages) != 1 || db.Packages[0].Source != want {
			t.Errorf("%q: %+v, %v, want %s", control, db, err, want)
		}
	}
	broken := tree.Files{"/usr/lib/opkg/status": tree.Text(status), "/usr/lib/opkg/info/x.list": {},
		"/usr/lib/opkg/info/x.control": tree.Text("Package: x\nrubbish\n")}
	db, err := dpkg.ReadOpkg(t.Context(), tree.Index(broken))
	if err != nil || len(db.Packages) != 1 || len(db.Faults) != 1 ||
		!strings.Contains(db.Faults[0].Error(), "/usr/lib/opkg/info/x.control:2: ") {
		t.Errorf("%+v, %v", db, err)
	}
}
