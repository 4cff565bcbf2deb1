package component_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// The second version of Composer's list, with two packages.
const (
	composerStart = "{\n\"packages\": [\n"
	composerLog   = `{"name": "acme/log", "type": "library", "install-path": "../acme/log"}` + ",\n"
	composerTool  = `{"name": "acme/tool", "type": "library", "install-path": "../acme/tool", "bin": ["bin/tool"]}` + "\n"
	composerEnd   = "],\n\"dev\": true,\n\"dev-package-names\": []\n}\n"
	composerWhole = composerStart + composerLog + composerTool + composerEnd
	composerPHP   = `<?php return array(
    'root' => array(
        'name' => 'example/app',
        'install_path' => __DIR__ . '/../../',
    ),
    'versions' => array(
        'acme/log' => array(
            'install_path' => __DIR__ . '/../acme/log',
        ),
        'acme/all' => array(
            'install_path' => NULL,
        ),
        'acme/replaced' => array(
            'dev_requirement' => false,
        ),
        'acme/tool' => array(
            'install_path' => __DIR__ . '/../acme/tool',
        ),
        'example/app' => array(
            'install_path' => __DIR__ . '/../../',
        ),
    ),
);
`
)

func TestListsOfComposerInEveryForm(t *testing.T) {
	t.Parallel()
	const vendor = "/srv/vendor/"
	rest := tree.Empty(vendor+"acme/log/a.php", vendor+"acme/tool/b.php", vendor+"autoload.php", "/srv/index.php",
		vendor+"composer/autoload_real.php", vendor+"composer/semver/c.php")
	for name, files := range map[string]tree.Files{
		"version 2": {vendor + "composer/installed.json": tree.Text(composerWhole)},
		"version 1": {vendor + "composer/installed.json": tree.Text(`[{"name": "acme/log", "type": "library"},
			{"name": "acme/all", "type": "metapackage"}, {"name": "acme/tool", "type": "library"}]`)},
		"PHP beside a directory": {vendor + "composer/installed.php": tree.Text(composerPHP),
			vendor + "composer/installed.json": {Dir: true}},
		"only PHP": {vendor + "composer/installed.php": tree.Text(composerPHP)},
		"both": {vendor + "composer/installed.php": tree.Text("not read"),
			vendor + "composer/installed.json": tree.Text(composerWhole)},
	} {
		_, owners := detect(t, rest.And(files), component.Options{Strict: true})
		for p, want := range map[string]string{
			vendor + "acme/log/a.php":             "composer/acme/log",
			vendor + "acme/tool/b.php":            "composer/acme/tool",
			vendor + "autoload.php":               "composer/autoload",
			vendor + "composer/autoload_real.php": "composer/autoload",
			vendor + "composer/semver/c.php":      "unowned/srv",
			"/srv/index.php":                      "unowned/srv",
		} {
			if owners[p] != want {
				t.Errorf("%s: %s: %s, want %s", name, p, owners[p], want)
			}
		}
	}
}

func TestPackagesOfComposerInOtherPlaces(t *testing.T) {
	t.Parallel()
	list := func(paths ...string) tree.File {
		var entries []string
		for i, p := range paths {
			entries = append(entries, fmt.Sprintf(`{"name": "a/p%d", "install-path": %q}`, i, p))
		}
		return tree.Text(`{"packages": [` + strings.Join(entries, ",") + `]}`)
	}
	const vendor = "/srv/vendor/"
	_, owners := detect(t, tree.Files{
		vendor + "composer/installed.json": list("../../web/module", "../linked",
			"../../", "/", "..", "../gone", "./x"),
		"/srv/web/module/a.php":                       {},
		vendor + "linked":                             tree.Symlink("../packages/b"),
		"/srv/packages/b/b.php":                       {},
		"/srv/web/other/c.php":                        {},
		vendor + "composer/x/d.php":                   {},
		vendor + "z/vendor/composer/installed.json":   list("../inner"),
		vendor + "z/vendor/inner/e.php":               {},
		vendor + "lost/f.php":                         {},
		"/srv/outside/vendor/composer/installed.json": list("../../../../../../../../srv/outside/x"),
		"/srv/outside/x/g.php":                        {},
	}, component.Options{Strict: true})
	for p, want := range map[string]string{
		"/srv/web/module/a.php":         "composer/a/p0",
		vendor + "linked":               "composer/a/p1",
		"/srv/packages/b/b.php":         "composer/a/p1",
		"/srv/web/other/c.php":          "unowned/srv",
		vendor + "composer/x/d.php":     "composer/a/p6",
		vendor + "z/vendor/inner/e.php": "unowned/srv", // inside a package that the outer list lacks
		vendor + "lost/f.php":           "unowned/srv",
		"/srv/outside/x/g.php":          "composer/a/p0",
	} {
		if owners[p] != want {
			t.Errorf("%s: %s, want %s", p, owners[p], want)
		}
	}
}

func TestABrokenListOfALanguagePackageIsAWarningWithTheLine(t *testing.T) {
	t.Parallel()
	const (
		json = "/srv/vendor/composer/installed.json"
		php  = "/srv/vendor/composer/installed.php"
		log  = "/srv/vendor/acme/log/a.php"
		r    = "/usr/local/lib/R/site-library/x/"
		desc = r + "DESCRIPTION"
		deps = "/srv/app.deps.json"

		rGood    = "Package: x\nVersion: 1\nBuilt: R 4.2.2; ; 2026-11-29; unix\n"
		depsGood = `{"targets": {"n": {"A/1": {"runtime": {"lib/A.dll": {}}}}},
			"libraries": {"A/1": {"type": "package"}}}`
	)
	rest := tree.Empty(log, "/srv/app.dll", "/srv/A.dll", r+"Meta/package.rds", r+"R/x.rdb")
	rest[desc] = tree.Text(rGood)
	entry := func(s string) tree.File { return tree.Text(composerStart + composerLog + s + composerEnd) }
	const composer = composerStart + composerLog + composerTool
	for name, test := range map[string]struct {
		list  string
		file  tree.File
		where string // in the warning
		rest  bool   // what is valid counts
	}{
		"Composer: cut":            {json, tree.Text(composer[:len(composer)-20]), json + ":4: ", true},
		"Composer: cut at the end": {json, tree.Text(composer + "],\n"), json + ":6: ", true},
		"Composer: no path":        {json, entry(`{"name": "a/b"}` + "\n"), json + ":4: ", true},
		"Composer: no name":        {json, entry(`{"install-path": "x"}` + "\n"), json + ":4: ", true},
		"Composer: odd name":       {json, entry(`{"name": "a", "install-path": "x"}`), json + ":4: ", true},
		"Composer: a number":       {json, entry("5\n"), json + ":4: ", true},
		"Composer: other types":    {json, entry(`{"name": {}, "bin": 5}`), json + ":4: ", true},
		"Composer: no list":        {json, tree.Text("{\n\"dev\": true}\n"), json + ":2: ", false},
		"Composer: a string":       {json, tree.Text(`"x"`), json + ":1: ", false},
		"Composer: null":           {json, tree.Text(`{"packages": null}`), json + ":1: ", false},
		"Composer: empty":          {json, tree.File{}, json + ":1: ", false},
		"Composer: large":          {json, tree.File{Size: 1 << 40}, json + " has more than 33.6\u00a0MB", false},
		"Composer: PHP cut": {
			php, tree.Text(composerPHP[:strings.Index(composerPHP, "'acme/tool'")]), php + ":16: ", true,
		},
		"Composer: PHP empty": {php, tree.File{}, php + ":1: ", false},
		"R: empty":            {desc, tree.File{}, desc + " has no name", false},
		"R: no name":          {desc, tree.Text("Version: 1\n"), desc + " has no name", false},
		"R: odd name":         {desc, tree.Text("Package: a b\n"), desc + ":1: ", false},
		"R: cut":              {desc, tree.Text(rGood[:20]), desc + ":2: ", true},
		"R: rubbish":          {desc, tree.Text("rubbish\n" + rGood), desc + ":1: ", true},
		"R: large":            {desc, tree.File{Size: 1 << 40}, desc + " has more than 4.2\u00a0MB", false},
		"Python: large": {"/usr/lib/python3/x.egg-info/installed-files.txt", tree.File{Size: 1 << 40},
			"installed-files.txt has more than 33.6\u00a0MB", false},
		".NET: cut":         {deps, tree.Text("{\n" + depsGood[1:40]), deps + ":2: ", false},
		".NET: empty":       {deps, tree.File{}, deps + ":1: ", false},
		".NET: other types": {deps, tree.Text("{\n\"targets\": 5}"), deps + ":2: ", false},
		".NET: large":       {deps, tree.File{Size: 1 << 40}, deps + " has more than 4.2\u00a0MB", false},
	} {
		files := rest.And(tree.Files{test.list: test.file})
		set, owners := detect(t, files, component.Options{})
		if len(set.Warnings) != 1 || !strings.Contains(set.Warnings[0], test.where) {
			t.Errorf("%s: %q, want %s", name, set.Warnings, test.where)
		}
		if got := owners[log] == "composer/acme/log"; test.list != desc && got != test.rest {
			t.Errorf("%s: %s", name, owners[log])
		}
		if got := owners[r+"R/x.rdb"] == "r/x"; got != (test.rest || test.list != desc) {
			t.Errorf("%s: %s", name, owners[r+"R/x.rdb"])
		}
		_, err := component.Detect(t.Context(), tree.New(files), component.Options{Strict: true})
		if !errors.Is(err, pkgdb.ErrBroken) {
			t.Errorf("%s: strict: %v", name, err)
		}
	}
	_, owners := detect(t, rest.And(tree.Files{
		deps: tree.Text("\ufeff" + depsGood),
		// These only have the names of such lists.
		"/srv/other.deps.json": tree.Text("rubbish"), "/srv/DESCRIPTION": tree.Text("rubbish"),
		"/srv/composer/other.json": tree.Text("rubbish"),
	}), component.Options{Strict: true})
	if owners[r+"R/x.rdb"] != "r/x" || owners["/srv/A.dll"] != "nuget/a" || owners["/srv/app.dll"] != "unowned/srv" {
		t.Errorf("%v", owners)
	}
}

func TestInstallationsOfDotnet(t *testing.T) {
	t.Parallel()
	const d = "/opt/dotnet/"
	files := tree.Empty(d+"dotnet", d+"host/fxr/6.0.36/libhostfxr.so", d+"host/fxr/8.0.11/libhostfxr.so",
		d+"shared/Microsoft.NETCore.App/6.0.36/a.dll", d+"shared/Microsoft.NETCore.App/8.0.11/a.dll",
		d+"shared/Microsoft.NETCore.App/10.0.0/a.dll", d+"shared/Microsoft.AspNetCore.App/8.0.11/b.dll",
		d+"packs/Microsoft.NETCore.App.Ref/8.0.11/c.dll", d+"sdk/8.0.404/d.dll", d+"sdk-manifests/8.0.100/e.json",
		d+"templates/8.0.11/f.nupkg", d+"own/g", "/usr/host/fxr/1/libhostfxr.so", "/usr/shared/x/1/h")
	files["/root/.dotnet/tools/.store/csharpier/0.29.2/csharpier/0.29.2/x.dll"] = tree.File{}
	_, owners := detect(t, files, component.Options{Strict: true})
	for p, want := range map[string]string{
		d + "dotnet":                                                         "dotnet/host",
		d + "host/fxr/6.0.36/libhostfxr.so":                                  "dotnet/host",
		d + "shared/Microsoft.NETCore.App/10.0.0/a.dll":                      "dotnet/Microsoft.NETCore.App",
		d + "shared/Microsoft.NETCore.App/8.0.11/a.dll":                      "dotnet/Microsoft.NETCore.App#2",
		d + "shared/Microsoft.NETCore.App/6.0.36/a.dll":                      "dotnet/Microsoft.NETCore.App#3",
		d + "shared/Microsoft.AspNetCore.App/8.0.11/b.dll":                   "dotnet/Microsoft.AspNetCore.App",
		d + "packs/Microsoft.NETCore.App.Ref/8.0.11/c.dll":                   "dotnet/Microsoft.NETCore.App.Ref",
		d + "sdk/8.0.404/d.dll":                                              "dotnet/sdk",
		d + "sdk-manifests/8.0.100/e.json":                                   "dotnet/sdk",
		d + "templates/8.0.11/f.nupkg":                                       "dotnet/sdk",
		d + "own/g":                                                          "unowned/opt",
		"/usr/shared/x/1/h":                                                  "unowned/usr/shared",
		"/root/.dotnet/tools/.store/csharpier/0.29.2/csharpier/0.29.2/x.dll": "nuget/csharpier",
	} {
		if owners[p] != want {
			t.Errorf("%s: %s, want %s", p, owners[p], want)
		}
	}
}

func TestPackagesOfADotnetProgram(t *testing.T) {
	t.Parallel()
	_, owners := detect(t, tree.Files{
		"/app/x.runtimeconfig.json": {},
		"/app/x.deps.json": tree.Text(`{"targets": {".NETCoreApp,Version=v8.0/linux-x64": {
			"x/1.0.0": {"runtime": {"x.dll": {}}},
			"Lib/2.0.0": {"runtime": {"lib/net6.0/Lib.dll": {"fileVersion": "2"}},
				"native": {"runtimes/linux-x64/native/libn.so": {}},
				"resources": {"lib/net6.0/de/Lib.resources.dll": {"locale": "de"}},
				"runtimeTargets": {"runtimes/win/lib/Lib.dll": {"rid": "win"}, "../../etc/passwd": {}}},
			"runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1": {"runtime": {"System.Text.Json.dll": {}}}}},
			"libraries": {"x/1.0.0": {"type": "project"}, "Lib/2.0.0": {"type": "package"},
			"runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1": {"type": "runtimepack"}}}`),
		"/app/x.dll": {}, "/app/Lib.dll": {}, "/app/libn.so": {}, "/app/de/Lib.resources.dll": {},
		"/app/runtimes/win/lib/Lib.dll": {}, "/app/System.Text.Json.dll": {}, "/lib/net6.0/Lib.dll": {},
	}, component.Options{Strict: true})
	for p, want := range map[string]string{
		"/app/x.dll":                    "unowned/app",
		"/app/Lib.dll":                  "nuget/lib",
		"/app/libn.so":                  "nuget/lib",
		"/app/de/Lib.resources.dll":     "nuget/lib",
		"/app/runtimes/win/lib/Lib.dll": "nuget/lib",
		"/app/System.Text.Json.dll":     "dotnet/Microsoft.NETCore.App",
		"/lib/net6.0/Lib.dll":           "unowned/lib",
	} {
		if owners[p] != want {
			t.Errorf("%s: %s, want %s", p, owners[p], want)
		}
	}
}

func TestAListMayBeASymlinkToAFile(t *testing.T) {
	t.Parallel()
	const site = "/usr/lib/python3/site-packages/"
	lists := map[string]string{
		site + "demo-1.dist-info/RECORD":      "demo.py,,\n",
		"/opt/conda/conda-meta/demo-1-0.json": `{"name": "demo", "files": ["lib/demo.so"]}`,
		"/srv/vendor/composer/installed.json": composerWhole,
		"/opt/r/library/demo/DESCRIPTION":     "Package: demo\nBuilt: R 4\n",
		"/srv/app/demo.deps.json": `{"targets": {"a": {"demo/1": {"runtime": {"x.dll": {}}}}},
			"libraries": {"demo/1": {"type": "package"}}}`,
	}
	owned := map[string]string{
		site + "demo.py": "python/demo", "/opt/conda/lib/demo.so": "conda/demo",
		"/srv/vendor/acme/log/a.php": "composer/acme/log",
		"/opt/r/library/demo/R/demo": "r/demo", "/srv/app/x.dll": "nuget/demo",
	}
	for name, target := range map[string]string{
		"a file": "", "nothing": "/nothing", "itself": "/srv/loop", "a directory": "/srv",
	} {
		files := tree.Files{"/srv/loop": tree.Symlink("loop"), "/opt/r/library/demo/Meta/package.rds": {},
			"/srv/app/demo.dll": {}, "/srv/vendor/acme/tool/b.php": {}}
		for p := range owned {
			files[p] = tree.File{}
		}
		n := 0
		for p, list := range lists {
			n++
			to := target
			if to == "" {
				to = fmt.Sprintf("/var/lists/%d", n)
				files[to] = tree.Text(list)
			}
			files[p] = tree.Symlink(to)
		}
		set, owners := detect(t, files, component.Options{})
		if target == "" {
			for p, id := range owned {
				if owners[p] != id {
					t.Errorf("%s: %s belongs to %s, want %s", name, p, owners[p], id)
				}
			}
			continue
		}
		const says = "is a symlink that does not lead to a file"
		if len(set.Warnings) != len(lists) || !strings.Contains(set.Warnings[0], says) {
			t.Errorf("%s: the warnings are %q", name, set.Warnings)
		}
		_, err := component.Detect(t.Context(), tree.New(files), component.Options{Strict: true})
		if !errors.Is(err, pkgdb.ErrBroken) {
			t.Errorf("%s, strict: %v", name, err)
		}
	}
}
