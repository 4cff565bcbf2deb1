package component_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
)

const mib = 1 << 20

// goProgram is the part of a Go program that debug/buildinfo reads: an ELF file whose only segment, of data, begins
// with the build information.
func goProgram(t *testing.T, pkg string) tree.File {
	t.Helper()
	const guard = "0123456789abcdef" // precedes and follows the module information
	var data bytes.Buffer
	data.WriteString("\xff Go buildinf:\x08\x02")
	data.Write(make([]byte, 32-data.Len()))
	for _, s := range []string{"go1.26.0", guard + "path\t" + pkg + "\nmod\texample.org/m\t(devel)\t\n" + guard} {
		data.Write(binary.AppendUvarint(nil, uint64(len(s))))
		data.WriteString(s)
	}
	data.Write(make([]byte, mib))

	const start, address = 4096, 0x400000
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Entry: address,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	copy(header.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)})
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: start, Vaddr: address, Paddr: address,
		Filesz: uint64(data.Len()), Memsz: uint64(data.Len()), Align: start,
	}
	var file bytes.Buffer
	for _, v := range []any{header, segment} {
		if err := binary.Write(&file, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	file.Write(make([]byte, start-file.Len()))
	file.Write(data.Bytes())
	return tree.File{Content: file.String(), Mode: 0o755}
}

const site = "/usr/local/lib/python3.11/site-packages/"

func TestPythonPackagesOwnWhatTheyRecord(t *testing.T) {
	runAll(t, []ownership{
		{
			"a wheel: modules, compiled ones, scripts, and all of its metadata",
			tree.Empty(site+"Foo_Bar/__init__.py", site+"Foo_Bar/data, with comma",
				site+"Foo_Bar/__pycache__/__init__.cpython-311.pyc", "/usr/local/bin/foo", site+"own.py",
				site+"foo_bar-1.2.dist-info/METADATA").And(tree.Files{
				site +
					"foo_bar-1.2.dist-info/RECORD": tree.Text("Foo_Bar/__init__.py,sha256=x,0\n\"Foo_Bar/data, with comma\",,\n" +
					"../../../bin/foo,sha256=y,1\n/etc/gone,,\n,,\nfoo_bar-1.2.dist-info/RECORD,,\n"),
			}),
			map[string]string{
				site + "Foo_Bar/__init__.py": "python/foo-bar", site + "Foo_Bar/data, with comma": "python/foo-bar",
				site + "Foo_Bar/__pycache__/__init__.cpython-311.pyc": "python/foo-bar",
				"/usr/local/bin/foo": "python/foo-bar", site + "foo_bar-1.2.dist-info/METADATA": "python/foo-bar",
				site + "foo_bar-1.2.dist-info/RECORD": "python/foo-bar",
				site + "own.py":                       "unowned/usr/local",
			},
		},
		{
			"an egg",
			tree.Files{site + "old.egg-info/installed-files.txt": tree.Text("../old/a.py\nPKG-INFO\n"), site + "old/a.py": {},
				site + "old.egg-info/PKG-INFO": {}},
			map[string]string{site + "old.egg-info/installed-files.txt": "python/old", site + "old/a.py": "python/old",
				site + "old.egg-info/PKG-INFO": "python/old"},
		},
		{
			"what a package of the system owns stays with it, also where a list says otherwise",
			debian(deb{"python3-x", "x",
				"/usr/lib/python3/dist-packages/x.py /usr/lib/python3/dist-packages/x-1.dist-info/RECORD", ""}).And(tree.Files{
				"/usr/lib/python3/dist-packages/x.py":                 {},
				"/usr/lib/python3/dist-packages/x-1.dist-info/RECORD": tree.Text("x.py,,\n"),
				site + "y-1.dist-info/RECORD":                         tree.Text("../../../../lib/python3/dist-packages/x.py,,\n"),
			}),
			map[string]string{
				"/usr/lib/python3/dist-packages/x.py": "deb/x", "/usr/lib/python3/dist-packages/x-1.dist-info/RECORD": "deb/x",
				site + "y-1.dist-info/RECORD": "python/y",
			},
		},
		{
			"lists that make no sense",
			tree.Files{
				site + "a-1.dist-info/RECORD": tree.Text("\"open,,\n"), site + "-.dist-info/RECORD": {},
				site + "c-1.dist-info/RECORD": {Size: 1 << 30},
				site + "d-1.dist-info/RECORD": tree.Symlink("RECORD"),
				site + "e-1.dist-info/RECORD": tree.Text("../../../../../../../../../../etc/passwd,,\n\x00,,\n.,,\n"),
			},
			map[string]string{
				site + "a-1.dist-info/RECORD": "python/a",
				site + "-.dist-info/RECORD":   "unowned/usr/local",
				site + "c-1.dist-info/RECORD": "file/usr/local/lib/python/site-packages/c-1.dist-info/RECORD",
				site + "d-1.dist-info/RECORD": "unowned/usr/local", site + "e-1.dist-info/RECORD": "python/e",
			},
		},
	})
}

func TestNodePackagesOwnTheirDirectory(t *testing.T) {
	const modules = "/srv/app/node_modules/"
	manifest := tree.Text(`{"name": "x"}`)
	runAll(t, []ownership{
		{
			"large ones each, small ones together, scoped ones by both names, those inside another with it",
			tree.Files{
				modules + "large/package.json": manifest, modules + "large/index.js": {Size: 2 * mib},
				modules + "large/node_modules/inner/package.json": manifest,
				modules + "@babel/core/package.json":              manifest, modules + "@babel/core/x.js": {Size: mib},
				modules + "tiny/package.json": manifest, modules + "small/package.json": manifest,
				modules + ".bin/tiny": tree.Symlink("../tiny/package.json"), "/srv/app/package.json": manifest,
				modules + "broken/package.json": tree.Text("{"),
			},
			map[string]string{
				modules + "large/package.json": "node/large", modules + "large/index.js": "node/large",
				modules + "large/node_modules/inner/package.json": "node/large",
				modules + "@babel/core/package.json":              "node/@babel/core",
				modules + "@babel/core/x.js":                      "node/@babel/core",
				modules + "tiny/package.json":                     "node/small", modules + "small/package.json": "node/small",
				modules + ".bin/tiny": "node/small", "/srv/app/package.json": "unowned/srv",
				modules + "broken/package.json": "unowned/srv",
			},
		},
		{
			"in the store of another package manager",
			tree.Files{
				modules + ".pnpm/@a+b@1.0.0/node_modules/@a/b/package.json": manifest,
				modules + ".pnpm/@a+b@1.0.0/node_modules/@a/b/x":            {Size: mib},
				modules + ".pnpm/c@2/node_modules/c/package.json":           manifest,
			},
			map[string]string{
				modules + ".pnpm/@a+b@1.0.0/node_modules/@a/b/package.json": "node/@a/b",
				modules + ".pnpm/@a+b@1.0.0/node_modules/@a/b/x":            "node/@a/b",
				modules + ".pnpm/c@2/node_modules/c/package.json":           "node/small",
			},
		},
		{
			"what an update in place left unowned",
			debian(deb{"nodejs", "", "/usr/lib/node_modules/npm/package.json",
				""}).And(tree.Files{"/usr/lib/node_modules/npm/package.json": manifest,
				"/usr/lib/node_modules/npm/new.js": {Size: mib}}),
			map[string]string{"/usr/lib/node_modules/npm/package.json": "deb/nodejs",
				"/usr/lib/node_modules/npm/new.js": "node/npm"},
		},
	})
}

func TestRubyGemsAreNamedWithoutVersionAndPlatform(t *testing.T) {
	const gems = "/var/lib/gems/3.1.0/"
	files := tree.Files{}
	want := map[string]string{}
	for full, name := range map[string]string{
		"rack-2.2.4": "rack", "nokogiri-1.15.4-x86_64-linux": "nokogiri", "net-http-0.3.0": "net-http",
		"aws-sdk-s3-1.2.3.rc1": "aws-sdk-s3", "odd": "odd", "ffi-1.16.3-x86-mingw32": "ffi", "rack-2-1.0": "rack-2",
	} {
		for _, p := range []string{"specifications/" + full + ".gemspec", "gems/" + full + "/lib/a.rb",
			"cache/" + full + ".gem", "extensions/x86_64-linux/3.1.0/" + full + "/a.so",
			"extensions/x86_64-linux-gnu/3.1.0/" + full + "/b.so", "doc/" + full + "/ri"} {
			files[gems+p], want[gems+p] = tree.File{}, "gem/"+name
		}
	}
	files[gems+"gems/rack-2.2.40/own"], want[gems+"gems/rack-2.2.40/own"] = tree.File{}, "unowned/var/lib"
	files["/opt/x.gemspec"], want["/opt/x.gemspec"] = tree.File{}, "unowned/opt"
	runAll(t, []ownership{{"gems", files, want}})
}

func TestProgramsAndArchivesSayWhatTheyAre(t *testing.T) {
	program := goProgram(t, "example.org/m/cmd/tool")
	const id = "go/example.org/m/cmd/tool"
	runAll(t, []ownership{{
		"programs", debian(deb{"tool", "", "/usr/bin/tool", ""}).And(tree.Files{
			"/usr/local/bin/tool-1.2": program, "/usr/bin/tool": program, "/opt/data": {Content: program.Content, Mode: 0o644},
			"/opt/elf":                    {Content: "\x7fELF", Size: 2 * mib, Mode: 0o755},
			"/opt/broken":                 {Content: program.Content[:4160], Size: 2 * mib, Mode: 0o755},
			"/opt/app/guava-31.1-jre.jar": {Size: 3 * mib}, "/opt/app/tiny-1.0.jar": {}, "/opt/app/site.war": {Size: mib},
			"/opt/app/link.jar":                     tree.Symlink("guava-31.1-jre.jar"),
			"/srv/node_modules/esbuild/bin/esbuild": program, "/srv/node_modules/esbuild/package.json": tree.Text("{}"),
			"/srv/node_modules/esbuild/a.jar": {},
		}),
		map[string]string{
			"/usr/local/bin/tool-1.2": id, "/usr/bin/tool": "deb/tool", "/opt/data": "file/opt/data", "/opt/elf": "file/opt/elf",
			"/opt/broken":                 "file/opt/broken",
			"/opt/app/guava-31.1-jre.jar": "java/guava-jre", "/opt/app/tiny-1.0.jar": "java/small",
			"/opt/app/site.war": "java/site", "/opt/app/link.jar": "java/guava-jre",
			"/srv/node_modules/esbuild/bin/esbuild": "node/esbuild", "/srv/node_modules/esbuild/package.json": "node/esbuild",
			"/srv/node_modules/esbuild/a.jar": "node/esbuild",
		},
	}})
}

func TestUnpackedToolchainsAreOne(t *testing.T) {
	runAll(t, []ownership{
		{
			"Go and Java",
			tree.Files{
				"/usr/local/go/VERSION": {}, "/usr/local/go/bin/go": {Size: 2 * mib}, "/usr/local/go/src/runtime/runtime.go": {},
				"/usr/local/go/pkg/x":       {Size: 9 * mib},
				"/opt/jdk-17.0.2+8/release": {}, "/opt/jdk-17.0.2+8/bin/java": {},
				"/opt/jdk-17.0.2+8/lib/modules": {Size: 90 * mib}, "/opt/jdk-17.0.2+8/lib/a.jar": {},
			},
			map[string]string{
				"/usr/local/go/VERSION": "go/go", "/usr/local/go/bin/go": "go/go", "/usr/local/go/src/runtime/runtime.go": "go/go",
				"/usr/local/go/pkg/x":       "go/go",
				"/opt/jdk-17.0.2+8/release": "java/jdk+8", "/opt/jdk-17.0.2+8/bin/java": "java/jdk+8",
				"/opt/jdk-17.0.2+8/lib/modules": "java/jdk+8", "/opt/jdk-17.0.2+8/lib/a.jar": "java/jdk+8",
			},
		},
		{"not a whole system", tree.Empty("/usr/release", "/usr/bin/java", "/usr/lib/modules", "/usr/x"), map[string]string{
			"/usr/release": "unowned/usr", "/usr/bin/java": "unowned/usr/bin", "/usr/lib/modules": "unowned/usr/lib",
			"/usr/x": "unowned/usr",
		}},
	})
}

func TestLanguagePackagesSaySo(t *testing.T) {
	t.Parallel()
	files := tree.Files{site + "x-1.dist-info/RECORD": tree.Text("x.py,,\n"), site + "x.py": {}}
	set, _ := detect(t, files, component.Options{})
	if diff := cmp.Diff([]component.Component{{ID: "python/x", Packages: []string{"x"}}}, set.Components); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range set.Claims {
		if want := (component.Reason{Detector: "python",
			Text: "Python package x"}); c.Component >= 0 && set.Reasons[c.Reason] != want {
			t.Errorf("%+v", set.Reasons[c.Reason])
		}
	}
}

// FuzzLanguages runs the detectors on lists and specifications with any content.
func FuzzLanguages(f *testing.F) {
	f.Add("x-1.dist-info/RECORD", "x.py,,\n../../bin/x,sha256=a,1\n")
	f.Add("x.egg-info/installed-files.txt", "../x.py\n")
	f.Add("node_modules/@a/b/package.json", "{}")
	f.Add("node_modules/.pnpm/a@1/node_modules/a/package.json", "{}")
	f.Add("conda-meta/x.json", `{"name": "x", "files": ["bin/x", "../x"]}`)
	f.Add("vendor/composer/installed.json", `{"packages": [{"name": "a/b", "install-path": "../../.."}, 5], "dev": true}`)
	f.Add("vendor/composer/installed.json", `[{"name": "a/b", "type": "metapackage"}]`)
	f.Add("vendor/composer/installed.php", composerPHP)
	f.Add("R/library/x/DESCRIPTION", "Package: x\nPriority: base\nBuilt: R 4\n")
	f.Add("x.deps.json", `{"targets": {"a": {"B/1": {"runtime": {"lib/x.dll": {}}}}},
		"libraries": {"B/1": {"type": "package"}}}`)
	f.Add("gems/specifications/a-1.0-x86_64-linux.gemspec", "")
	f.Add("bin/tool", "\x7fELF\x02\x01\x01")
	f.Add("lib/a-1.0.jar", "PK")
	f.Fuzz(func(t *testing.T, name, content string) {
		p := "/opt/" + name
		if strings.ContainsRune(name, 0) || strings.Contains("/"+name+"/", "/../") || strings.Contains("/"+name+"/", "/./") ||
			strings.Contains(p+"/", "//") || len(name) > 4096 {
			return
		}
		files := tree.Files{p: {Content: content, Mode: 0o755, Size: mib}, "/bin/x": {}, "/opt/x.py": {},
			"/opt/x.dll": {}, "/opt/R/library/x/Meta/package.rds": {}}
		tr := tree.New(files)
		set, err := component.Detect(t.Context(), tr, component.Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkSet(t, tr, set)
	})
}
