package component_test

import (
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
)

// TestRealDatabases has the owners in trees that package managers made. testdata/README.md says how.
func TestRealDatabases(t *testing.T) {
	t.Parallel()
	const (
		env      = "/opt/env/"
		r        = "/usr/local/lib/R/"
		dotnet   = "/usr/share/dotnet/"
		store    = "/nix/store/"
		app      = "/var/lib/flatpak/app/org.example.Tool/"
		platform = "/var/lib/flatpak/runtime/org.example.Platform/x86_64/23.08/"
		commit   = "209d24bf84431d68d6c8eb953b1921a1050175d319d64f159ae8126d6fff4078/"
		object   = "b9/a8f8812427566161a3f2ad3dcdf0011384fbbccaa9ce56107211d9dfb9cbb5.file"
		shared   = "0a/bc56d9614addbe0188c8d353c24ca3e41567698e6b8cfce29a348d9c0e4bb8.file"
		dirtree  = "dd/9b2bb755bd03bb5e6b95934dbfcf2bab5b63681fb9228ef8fe33251cb0200f.dirtree"
		objects  = "/var/lib/flatpak/repo/objects/"
	)
	for name, want := range map[string]map[string]string{
		"composer": {
			"/srv/app/vendor/acme/console/src/App.php":     "composer/acme/console",
			"/srv/app/vendor/bin/console":                  "composer/acme/console",
			"/srv/app/vendor/acme/log/src/Log.php":         "composer/acme/log",
			"/srv/app/vendor/acme/local":                   "composer/acme/local",
			"/srv/app/packages/local/src/Local.php":        "composer/acme/local",
			"/srv/app/vendor/acme/test/test.php":           "composer/acme/test",
			"/srv/app/vendor/autoload.php":                 "composer/autoload",
			"/srv/app/vendor/composer/autoload_static.php": "composer/autoload",
			"/srv/app/vendor/composer/installed.json":      "composer/autoload",
			"/srv/app/vendor/composer/installed.php":       "composer/autoload",
			"/srv/app/src/index.php":                       "unowned/srv",
		},
		"conda": {
			env + "bin/tool":                                                   "conda/tool",
			env + "lib/libtool.so":                                             "conda/tool",
			env + "lib/libtool.so.1.2.13":                                      "conda/tool",
			env + "share/with space/a file":                                    "conda/tool",
			env + "bin/tool-lib":                                               "conda/tool-lib",
			env + "conda-meta/tool-lib-2.0-py_0.json":                          "conda/tool-lib",
			env + "lib/python3.12/site-packages/tool_lib/__init__.py":          "conda/tool-lib",
			env + "lib/python3.12/site-packages/tool_lib-2.0.dist-info/RECORD": "conda/tool-lib",
			env + "lib/python3.12/os.py":                                       "conda/python",
			env + "conda-meta/meta-1-0.json":                                   "conda/meta",
			env + "conda-meta/history":                                         component.PackageDatabase,
		},
		"r": {
			r + "site-library/tool/DESCRIPTION":            "r/tool",
			r + "site-library/tool/R/tool.rdb":             "r/tool",
			r + "site-library/tool/extdata/data":           "r/tool",
			r + "library/base/DESCRIPTION":                 "r/base",
			r + "library/stats/R/stats.rdb":                "r/base",
			r + "library/translations/de/LC_MESSAGES/R.mo": "r/base",
			r + "bin/R":       "r/base",
			r + "lib/libR.so": "r/base",
			r + "COPYING":     "r/base",
		},
		"dotnet": {
			dotnet + "dotnet":                                            "dotnet/host",
			dotnet + "host/fxr/3.1.23/libhostfxr.so":                     "dotnet/host",
			dotnet + "LICENSE.txt":                                       "dotnet/host",
			dotnet + "shared/Microsoft.NETCore.App/3.1.23/libcoreclr.so": "dotnet/Microsoft.NETCore.App",
			dotnet + "shared/Microsoft.NETCore.App/3.1.23/Microsoft.NETCore.App.deps.json": "dotnet/Microsoft.NETCore.App",
			"/app/Python.Runtime.dll":                      "unowned/app",
			"/app/Python.Runtime.deps.json":                "unowned/app",
			"/app/System.Memory.dll":                       "nuget/system.memory",
			"/app/System.Reflection.Emit.ILGeneration.dll": "nuget/system.reflection.emit.ilgeneration",
			"/app/System.Reflection.Emit.dll":              "nuget/system.reflection.emit",
		},
		"nix": {
			store + "5g1mw6hc30l98akxrjs199yc1g4xf2bq-bash-5.1-p16/bin/x":                         "nix/bash",
			store + "n5kssvhibi7pi2frw4lf06mc6jfwfn06-python3.11-requests-2.31.0.drv":             "nix/python3.11-requests",
			store + "vjq7zp7y3rhyxbyr2wm2p474zv69pbyp-system-path.drv":                            "nix/system-path",
			store + "8nj5f5fl11pczpkzvcp46b6k84svzq95-system-path/bin/x":                          "nix/system-path",
			store + "pa8b5m2hsqvrfli7kp3knjl88sysmna3-glib-2.78.4/lib/f":                          "nix/glib",
			store + "x3s7zdjy6h03iwn139klhincqf3iyi9p-glib-2.78.4-dev/lib/f":                      "nix/glib",
			store + "vh3qyzb4zrg497i5scdwz3kj5z9gqaqd-util-linux-minimal-2.39.2-lib/bin/x":        "nix/util-linux-minimal",
			store + "7p2kdw75zjw2fl9pxgc0aabg9i703l0i-0001-fix.patch/bin/x":                       "nix/0001-fix.patch",
			store + "lfmibfa3l76lzlv03lc4vgqjxyf3xqjg-linux-6.6.30-modules/bin/x":                 "nix/linux",
			store + "cnwzxa1k211khxks47hfiq7zipdrpjqc-nixos-system-host-23.11.5742.9b9fe0b/bin/x": "nix/nixos-system-host",
		},
		"flatpak": {
			app + "current":                                    "flatpak/org.example.Tool",
			app + "x86_64/stable/active":                       "flatpak/org.example.Tool",
			app + "x86_64/stable/" + commit + "metadata":       "flatpak/org.example.Tool",
			app + "x86_64/stable/" + commit + "files/bin/tool": "flatpak/org.example.Tool",
			"/var/lib/flatpak/exports/bin/org.example.Tool":    "flatpak/org.example.Tool",
			objects + object:                                   "flatpak/org.example.Tool",
			platform + "active":                                "flatpak/org.example.Platform",
			objects + shared:                                   "flatpak/org.example.Platform",
			objects + dirtree:                                  component.PackageDatabase,
			"/var/lib/flatpak/repo/refs/remotes/local/app/org.example.Tool/x86_64/stable": component.PackageDatabase,
			"/var/lib/flatpak/.changed": component.PackageDatabase,
		},
	} {
		files := tree.Archive(t, "testdata/"+name+".txtar")
		set, owners := detect(t, files, component.Options{Strict: true})
		for p, id := range want {
			if owners[p] != id {
				t.Errorf("%s: %s: %q, want %s", name, p, owners[p], id)
			}
		}
		if len(set.Warnings) > 0 {
			t.Errorf("%s: %q", name, set.Warnings)
		}
		for p, id := range owners {
			if (name == "nix" || name == "r") && strings.HasPrefix(id, "unowned/") {
				t.Errorf("%s: %s: %s", name, p, id)
			}
		}
	}
}
