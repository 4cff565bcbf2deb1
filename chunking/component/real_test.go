package component_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
)

// TestRealDatabases has the owners in trees that package managers made. testdata/README.md says how they were made or
// where they come from.
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
		guix     = "/gnu/store/"
		template = "development-templates-c++"
		pack     = template + "-docker-pack.tar.zst"
		keg      = "/home/kali/.linuxbrew/Cellar/"
		local    = "/usr/local/"
		units    = "/etc/systemd/system/"
		wants    = units + "multi-user.target.wants/"
		snapd    = "/var/lib/snapd/"
		digest   = "ff9f43347a4e27c772ac5996ec21a23f662f1d2a64808e2525dad0071bc15f5c0f90f9a72f21f33b428d17ea4b5a807c"
		ssm      = "snap/amazon-ssm-agent"
		vendor   = "/srv/app/vendor/"
	)
	complete := []string{"nix", "r", "guix", "brew", "composer1"} // all of their files belong to packages
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
		"guix": {
			guix + "149q8hs1l9vblr5qwi6dry0i5jqmsc7y-python-3.10.7/bin/x":                   "guix/python",
			guix + "rcq6448hglszg33iy2wi0hy6g6n0b6s2-python-3.10.7/bin/x":                   "guix/python",
			guix + "lvip6h5pamjwmvnkwg60sjb63ph8698k-python-3.9.9/bin/x":                    "guix/python",
			guix + "0yfa08vx7wmz4b2z8i6wn9myjfm0ay5a-python-packaging-bootstrap-21.3/lib/x": "guix/python-packaging-bootstrap",
			guix + "720rj90bch716isd8z7lcwrnvz28ap4y-bash-static-5.1.8/bin/x":               "guix/bash-static",
			guix + "6mjww4iz4xdan74d5bbjfh7il8rngfkk-linux-libre-headers-5.10.35/include/x": "guix/linux-libre-headers",
			guix + "2iavgf3br0ryvqn4aghr3l6wxw7qjm1m-gcc-11.3.0-lib/lib/x":                  "guix/gcc",
			guix + "w35brdms2p5bp90788q52gzxjadarbwx-glibc-2.33-debug/lib/x":                "guix/glibc",
			guix + "4jdghmc65q7i7ib89zmvq66l0ghf7jc4-glibc-2.33-static/lib/x":               "guix/glibc",
			guix + "y757kw8rmx5hymn32wjp4ys48f2glbri-glibc-utf8-locales-2.33/lib/x":         "guix/glibc-utf8-locales",
			guix + "qia4ap8j15qmg3w1cd96fla1wjarqdw6-libedit-20191231-3.1/lib/x":            "guix/libedit",
			guix + "9rrnm5hdjw7cy96a2a9rfgh6y08wsbmf-ncurses-6.2.20210619/bin/x":            "guix/ncurses",
			guix + "fa43ijbrb96x08621qigxxiphp503lsi-libx11-1.7.3.1/lib/x":                  "guix/libx11",
			guix + "rnqqnmy60r70qa3cb63i0ilchm54lbry-openssh-9.1p1/bin/x":                   "guix/openssh",
			guix + "dxxac3v1gswxbkl3gw2cql6vy73lih4w-less-590/bin/x":                        "guix/less",
			guix + "1l5ppmc1hbz7vj9ygj8fp4mcibcmyxck-ld-wrapper-0/bin/x":                    "guix/ld-wrapper",
			guix + "py9w6x95p3gj8my6h5r779k194g8ibfi-" + template + "-20230621/bin/hello":   "guix/" + template,
			guix + "npqmgjhj8mf0frqbz8dmp0kb589wxfqw-" + template + "-20230621.drv":         "guix/" + template,
			guix + "5jq1nz9nv2hgcnkc5grvx3rpjy6y95nc-" + pack + ".drv":                      "guix/" + pack,
			guix + "8vxxvmwj2kh7xxj0ji3wqynymj9l0wdz-config.scm.drv":                        "guix/config.scm",
			guix + "84jp5qz9q8wp956wihi2mrw5lfxa6gy3-profile.drv":                           "guix/profile",
			guix + "vcsr8llvqi5rnxyb2vwclrnijzy7l7im-profile/include":                       "guix/profile",
			guix + "pvqw03ax02qj46wnd6p8zpj7k35b230s-nginx-1.23.3/etc/ld.so.cache":          "guix/nginx",
			"/bin": "guix/profile",
		},
		"brew": {
			keg + "autoconf/2.64/.brew/autoconf.rb":                        "brew/autoconf",
			keg + "bash/4.4.12/INSTALL_RECEIPT.json":                       "brew/bash",
			keg + "bash-completion/1.3_3/etc/bash_completion":              "brew/bash-completion",
			keg + "bdw-gc/make.info":                                       "brew/bdw-gc",
			keg + "bdw-gc/7.6.0/lib/libgc.so.1":                            "brew/bdw-gc",
			keg + "berkeley-db@4/4.8.30":                                   "brew/berkeley-db@4",
			keg + "jdk/1.8.0-144/bin/jar":                                  "brew/jdk",
			keg + "kafka/0.11.0.0/.bottle/etc/kafka/server.properties":     "brew/kafka",
			keg + "kafka/0.11.0.0/libexec/config":                          "brew/kafka",
			keg + "openssl/1.0.2l/bin/openssl":                             "brew/openssl",
			keg + "openssl@1.1/1.1.0f_1/bin/openssl":                       "brew/openssl@1.1",
			keg + "python/2.7.13_1":                                        "brew/python",
			keg + "python3/3.6.2/lib/python3.6/site-packages":              "brew/python3",
			local + "Cellar/postgresql/14.2_1/homebrew.postgresql.service": "brew/postgresql",
			local + "include/autotest.h":                                   "brew/unixodbc",
			local + "include/boost":                                        "brew/boost",
			local + "lib/cmake/zstd":                                       "brew/zstd",
			local + "lib/libboost_context-mt.a":                            "brew/boost",
			local + "lib/postgresql":                                       "brew/postgresql",
			local + "opt/boost@1.78":                                       "brew/boost",
			local + "opt/openssl":                                          "brew/openssl@3",
			local + "opt/openssl@1.1":                                      "brew/openssl@1.1",
			local + "opt/pzstd":                                            "brew/zstd",
		},
		"snap": {
			"/snap/amazon-ssm-agent/current":                         ssm,
			"/snap/core/current":                                     "snap/core",
			"/snap/core18/2128/snap/manifest.yaml":                   "snap/core18",
			"/snap/lxd/21029/lib/python2.7/cgi.py":                   "snap/lxd",
			"/snap/snapd/16292/usr/lib/snapd/snap-confine":           "snap/snapd",
			"/root/snap/amazon-ssm-agent/current":                    ssm,
			"/var/snap/core/current":                                 "snap/core",
			snapd + "snaps/amazon-ssm-agent_1566.snap":               ssm,
			snapd + "snaps/core_9665.snap":                           "snap/core",
			snapd + "cache/" + digest:                                ssm,
			snapd + "seed/snaps/amazon-ssm-agent_1566.snap":          ssm,
			snapd + "apparmor/profiles/snap-confine.core.9665":       "snap/core",
			snapd + "apparmor/profiles/snap-update-ns.lxd":           "snap/lxd",
			snapd + "apparmor/profiles/snap.lxd.lxc-to-lxd":          "snap/lxd",
			snapd + "seccomp/bpf/snap.core.hook.configure.bin":       "snap/core",
			snapd + "cookie/snap.amazon-ssm-agent":                   ssm,
			units + `snap-amazon\x2dssm\x2dagent-2012.mount`:         ssm,
			wants + `snap-amazon\x2dssm\x2dagent-2012.mount`:         ssm,
			units + "snap-core20-1587.mount":                         "snap/core20",
			wants + "snap.amazon-ssm-agent.amazon-ssm-agent.service": ssm,
			"/etc/udev/rules.d/70-snap.core.rules":                   "snap/core",
			snapd + "seed/seed.yaml":                                 component.PackageDatabase,
			snapd + "seed/assertions/core_9289.assert":               component.PackageDatabase,
			snapd + "sequence/lxd.json":                              component.PackageDatabase,
			snapd + "state.json":                                     component.PackageDatabase,
			snapd + "system-key":                                     component.PackageDatabase,
		},
		"composer1": {
			vendor + "bin/phpunit":                                                     "composer/phpunit/phpunit",
			vendor + "phpunit/phpunit/phpunit":                                         "composer/phpunit/phpunit",
			vendor + "phpunit/phpunit/src/Framework/TestCase.php":                      "composer/phpunit/phpunit",
			vendor + "phpunit/phpunit-mock-objects/composer.json":                      "composer/phpunit/phpunit-mock-objects",
			vendor + "phpunit/php-text-template/Text/Template.php":                     "composer/phpunit/php-text-template",
			vendor + "sebastian/recursion-context/composer.json":                       "composer/sebastian/recursion-context",
			vendor + "symfony/yaml/Symfony/Component/Yaml/Yaml.php":                    "composer/symfony/yaml",
			vendor + "symfony/yaml/Symfony/Component/Yaml/Exception/DumpException.php": "composer/symfony/yaml",
			vendor + "autoload.php":                                                    "composer/autoload",
			vendor + "composer/include_paths.php":                                      "composer/autoload",
			vendor + "composer/installed.json":                                         "composer/autoload",
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
			if slices.Contains(complete, name) && strings.HasPrefix(id, "unowned/") {
				t.Errorf("%s: %s: %s", name, p, id)
			}
		}
	}
}
