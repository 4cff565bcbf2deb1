//go:build interop

package frontend_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestInterop_OSTreeImageHasTheLayersOfTheCommandLineAndGivesTheTreeBack(t *testing.T) {
	r := request{
		// A commit cannot hold pipes. There is a warning about it.
		file: syntax("format=ostree max-layers=20") + attributes() + "RUN mkdir -p /usr/srv && cp -a /srv/data /usr/srv/\n",
		dir:  installed(t), name: "ostree/frontend", opts: []string{"build-arg:SOURCE_DATE_EPOCH=" + epoch},
	}
	out := env.daemon.build(t, r)
	if !strings.Contains(out, "not kept: /srv/data/pipe") {
		t.Errorf("nothing is said of the pipe that a commit cannot have:\n%s", out)
	}
	got, want := pull(t, r.name), byCLI(t, "ostree/cli", "--format=ostree", "--max-layers=20", "--rootfs", tree(t, r))
	if diff := cmp.Diff(want.layers(), got.layers()); diff != "" {
		t.Errorf("layers differ from those of the command line (-want +got):\n%s", diff)
	}
	for _, key := range []string{"ostree.commit", "ostree.final-diffid", "ostree-ext.plan"} {
		if got, want := got.config.Config.Labels[key], want.config.Config.Labels[key]; got == "" || got != want {
			t.Errorf("label %s is %q, want %q", key, got, want)
		}
	}
	if diff := cmp.Diff(want.manifest.Annotations, got.manifest.Annotations); diff != "" {
		t.Errorf("annotations differ from those of the command line (-want +got):\n%s", diff)
	}
	dir := t.TempDir()
	repo, checkout := filepath.Join(dir, "repo"), filepath.Join(dir, "checkout")
	must(t, "ostree", "init", "--repo="+repo, "--mode=bare")
	must(t, env.cli, "container", "unencapsulate", "--insecure-skip-tls-verification", "--write-ref=test", "--repo="+repo,
		"ostree-unverified-image:docker://"+env.host+"/"+r.name)
	must(t, "ostree", "fsck", "--repo="+repo)
	must(t, "ostree", "checkout", "--repo="+repo, "test", checkout)
	checkAttributes(t, filepath.Join(checkout, "usr/srv/data"), true)
	for name, want := range map[string]string{"srv/hello.txt": "hello\n", "srv/here.txt": "a heredoc\n",
		"usr/lib/test-package-1/0": packageContent(1, 1)} {
		if data, err := os.ReadFile(filepath.Join(checkout, name)); err != nil || string(data) != want {
			t.Errorf("%s has %d bytes, want %d: %v", name, len(data), len(want), err)
		}
	}
	t.Run("other programs accept it", func(t *testing.T) { accepted(t, r.name, "usr/srv/data") })
}

// checkAttributes checks what the Containerfile set. Xattrs of directories are only in the commit's objects; unpacking
// the layers as files loses them.
func checkAttributes(t *testing.T, dir string, ofDirectories bool) {
	t.Helper()
	stat := func(name string) string {
		return strings.TrimSpace(must(t, "stat", "-c", "%u:%g %a %F", filepath.Join(dir, name)))
	}
	a := must(t, "stat", "-c", "%i", filepath.Join(dir, "a"))
	b := must(t, "stat", "-c", "%i", filepath.Join(dir, "b"))
	if a != b {
		t.Errorf("a and b are not the same file: %s %s", a, b)
	}
	if target, err := os.Readlink(filepath.Join(dir, "c")); err != nil || target != "a" {
		t.Errorf("c leads to %q, %v", target, err)
	}
	if ofDirectories {
		if got := must(t, "getfattr", "--absolute-names", "--only-values", "-n", "user.dir", dir); got != "yes" {
			t.Errorf("user.dir is %q", got)
		}
	}
	for name, want := range map[string]string{
		".": "0:0 1777 directory", "a": "1234:4321 4711 regular file", "b": "1234:4321 4711 regular file",
		"c": "12:34 777 symbolic link",
	} {
		if got := stat(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := must(t, "getcap", filepath.Join(dir, "capable")); !strings.Contains(got, "cap_net_raw") {
		t.Errorf("capability is gone: %q", got)
	}
	note := must(t, "getfattr", "--absolute-names", "--only-values", "-n", "user.note", filepath.Join(dir, "b"))
	if note != "remember" {
		t.Errorf("user.note is %q", note)
	}
}

// exampleRepo returns a repository with a commit that has the files of a few packages.
func exampleRepo(t *testing.T) (dir, ref, commit string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	for _, n := range []string{"one", "two", "three"} {
		writeFile(t, filepath.Join(root, "usr/bin", n), strings.Repeat(n+"\n", 20000))
		writeFile(t, filepath.Join(root, "usr/share/doc", n), n)
	}
	dir = filepath.Join(t.TempDir(), "repo")
	must(t, "ostree", "init", "--repo="+dir, "--mode=archive")
	ref = "example/stable"
	commit = strings.TrimSpace(must(t, "ostree", "commit", "--repo="+dir, "--branch="+ref, "--timestamp=@1700000000",
		root))
	return dir, ref, commit
}

func TestInterop_ACommitInANamedContextIsEncapsulated(t *testing.T) {
	repo, ref, commit := exampleRepo(t)
	rules := writeRules(t)
	meta := contentMeta(t, repo, ref)
	metaFile := filepath.Join(t.TempDir(), "meta.json")
	writeFile(t, metaFile, meta)
	for _, tt := range []struct {
		name, options string
		cli           []string
		layers        int
	}{
		{"single", "single-layer", []string{"--single-layer"}, 1},
		{"chunked", "mapping=rules.yaml", []string{"--mapping=" + rules}, 4},
		{"zstd", "mapping=rules.yaml compression=zstd", []string{"--mapping=" + rules, "--compression=zstd"}, 4},
		{"contentmeta", "contentmeta=meta.json", []string{"--contentmeta=" + metaFile}, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := "commit/" + tt.name
			env.daemon.build(t, request{
				file: syntax("ref="+ref+" "+tt.options) + "FROM scratch\nLABEL vendor=Test\nCMD [\"/usr/bin/one\"]\n", name: name,
				files: map[string]string{"rules.yaml": commitRules, "meta.json": meta},
				args:  []string{"--local=repo=" + repo}, opts: []string{"context:repo=local:repo"},
			})
			got := pull(t, name)
			if n := len(got.manifest.Layers); n != tt.layers {
				t.Errorf("the image has %d layers, want %d", n, tt.layers)
			}
			args := append([]string{"container", "encapsulate", "--insecure-skip-tls-verification", "--repo=" + repo,
				"--prior=none",
				"--label=vendor=Test", "--cmd=/usr/bin/one"}, tt.cli...)
			must(t, env.cli, append(args, ref, "docker://"+env.host+"/"+name+"-cli")...)
			want := pull(t, name+"-cli")
			if diff := cmp.Diff(want.layers(), got.layers()); diff != "" {
				t.Errorf("layers differ from those of the command line (-want +got):\n%s", diff)
			}
			// Every Containerfile sets these.
			got.config.Config.Env, got.config.Config.WorkingDir, got.config.Config.ArgsEscaped = nil, "", false
			if diff := cmp.Diff(jsonOf(t, want.config), jsonOf(t, got.config)); diff != "" {
				t.Errorf("configuration differs from that of the command line (-want +got):\n%s", diff)
			}
			if got := got.config.Config.Labels["ostree.commit"]; got != commit {
				t.Errorf("ostree.commit is %q, want %s", got, commit)
			}
		})
	}
}

func TestInterop_AnAbsoluteLinkInTheLastStageLeadsToTheRepository(t *testing.T) {
	repo, ref, commit := exampleRepo(t)
	dir := t.TempDir()
	must(t, "cp", "-a", repo, filepath.Join(dir, "repo"))
	if err := os.MkdirAll(filepath.Join(dir, "links/ostree"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "links/ostree/repo")
	for target, ok := range map[string]bool{"/srv/repo": true, "../../../srv/repo": true, "/ostree/repo": false} {
		_ = os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		out, err := env.daemon.try(t.Context(), t, request{dir: dir, name: "commit/linked",
			file: syntax("prior=none single-layer ref="+ref) + "FROM scratch\nCOPY repo /srv/repo\nCOPY links /\n"})
		switch {
		case !ok && err != nil:
			says(t, out, "ostree/repo: there are more than 40 symbolic links, the last one at /ostree/repo")
		case !ok || err != nil:
			t.Errorf("link to %s: %v\n%s", target, err, out)
		default:
			if got := pull(t, "commit/linked").config.Config.Labels["ostree.commit"]; got != commit {
				t.Errorf("link to %s: the commit is %s, want %s", target, got, commit)
			}
		}
	}
}

// contentMeta returns a file for upstream's command line: one layer each for two programs, and one for the rest.
func contentMeta(t *testing.T, repo, ref string) string {
	t.Helper()
	object := func(file string) string {
		return strings.Fields(must(t, "ostree", "ls", "-C", "--repo="+repo, ref, file))[4]
	}
	mapping := []string{`"` + object("/usr/bin/one") + `":"one"`, `"` + object("/usr/bin/two") + `":"two"`}
	for _, other := range []string{"bin/three", "share/doc/one", "share/doc/two", "share/doc/three"} {
		mapping = append(mapping, `"`+object("/usr/"+other)+`":"unpackaged"`)
	}
	return `{"version":1,"labels":{"from":"meta"},"layers":{"one":"Program one","two":"Program two",` +
		`"unpackaged":"Others"},"mapping":{` + strings.Join(mapping, ",") + `}}`
}

// commitRules split the commit of exampleRepo into three layers.
const commitRules = "- name: one\n  paths: [\"/usr/bin/one\"]\n  layer: exclusive\n" +
	"- name: two\n  paths: [\"/usr/bin/two\"]\n  layer: exclusive\n"

func writeRules(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	writeFile(t, file, commitRules)
	return file
}

func TestInterop_SeveralPlatformsAreOneIndexWithoutEmulation(t *testing.T) {
	repo, ref, commit := exampleRepo(t)
	for what, options := range map[string]string{"platforms/chunked": "mapping=rules.yaml",
		"platforms/single": "single-layer"} {
		t.Run(what, func(t *testing.T) {
			env.daemon.build(t, request{
				file:  syntax("prior=none "+options+" ref="+ref) + "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\n",
				name:  what,
				files: map[string]string{"rules.yaml": commitRules},
				args:  []string{"--local=repo=" + repo},
				opts:  []string{"context:repo=local:repo", "platform=linux/amd64,linux/arm64"},
			})
			equalOnBothPlatforms(t, what, repo, ref, commit)
		})
	}
}

// equalOnBothPlatforms compares both images of an index with the one that the command line makes of the commit.
func equalOnBothPlatforms(t *testing.T, repository, repo, ref, commit string) {
	t.Helper()
	flag := "--single-layer"
	if strings.HasSuffix(repository, "chunked") {
		flag = "--mapping=" + writeRules(t)
	}
	must(t, env.cli, "container", "encapsulate", "--insecure-skip-tls-verification", "--repo="+repo, "--prior=none", flag,
		ref, "docker://"+env.host+"/"+repository+"-cli")
	want := pull(t, repository+"-cli").layers()
	named, err := name.ParseReference(env.host + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := remote.Image(named, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, img)
		if labels := got.config.Config.Labels; labels["arch"] != arch || labels["ostree.commit"] != commit ||
			got.config.Architecture != arch {
			t.Errorf("%s: architecture %s, labels %v", arch, got.config.Architecture, labels)
		}
		if got := got.manifest.Annotations["ostree.commit"]; got != commit {
			t.Errorf("%s: annotations are %v", arch, got)
		}
		if diff := cmp.Diff(want, got.layers()); diff != "" {
			t.Errorf("%s: layers differ from those of the command line (-want +got):\n%s", arch, diff)
		}
	}
}
