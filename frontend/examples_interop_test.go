//go:build interop

package frontend_test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// command matches the line of an example that says how to build it.
var command = regexp.MustCompile(`(?m)^#   (docker buildx build .* -t registry\.example/(\S+) \.)$`)

// TestInterop_ExamplesBuild builds each example with the command in it, as it is printed.
func TestInterop_ExamplesBuild(t *testing.T) {
	n := newNewcomer(t)
	repo, _, commit := exampleRepo(t)
	must(t, "ostree", "refs", "--repo="+repo, "--create=exampleos/"+runtime.GOARCH+"/stable", commit)
	for _, tt := range []struct {
		dir   string
		check func(t *testing.T, p *pulled)
	}{
		{".", func(t *testing.T, p *pulled) {
			if l := p.config.Config.Labels; l["ostree.bootable"] != "true" || l["ostree.commit"] == "" ||
				l["ostree.linux"] == "" {
				t.Errorf("no bootable commit: labels are %v", l)
			}
			if len(p.manifest.Layers) < 50 {
				t.Errorf("%d layers", len(p.manifest.Layers))
			}
			// Import it, as a host does.
			repo, image := filepath.Join(t.TempDir(), "repo"), "ostree-unverified-registry:"+env.host+"/os"
			must(t, "ostree", "init", "--repo="+repo, "--mode=bare-user")
			must(t, env.cli, "container", "unencapsulate", "--quiet", "--insecure-skip-tls-verification", "--repo="+repo,
				"--write-ref=os", image)
			kernel := strings.TrimSpace(must(t, "ostree", "ls", "--repo="+repo, "--nul-filenames-only", "os",
				"/usr/lib/modules"))
			modules := strings.Split(strings.Trim(kernel, "\x00"), "\x00")
			version := modules[len(modules)-1]
			for _, name := range []string{"vmlinuz", "initramfs.img"} {
				must(t, "ostree", "ls", "--repo="+repo, "os", version+"/"+name)
			}
		}},
		{"application", func(t *testing.T, p *pulled) {
			if p.config.Config.User != "65534:65534" || len(p.manifest.Layers) < 20 {
				t.Errorf("user %q, %d layers", p.config.Config.User, len(p.manifest.Layers))
			}
		}},
		{"commit", func(t *testing.T, p *pulled) {
			if got := p.config.Config.Labels["ostree.commit"]; got != commit {
				t.Errorf("commit %q, want %s", got, commit)
			}
		}},
		{"keep-base", func(t *testing.T, p *pulled) {
			if got, want := p.layers()[0], pull(t, "debian").layers()[0]; got != want {
				t.Errorf("first layer %s, want that of the base, %s", got, want)
			}
		}},
	} {
		t.Run(tt.dir, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("../examples", tt.dir))); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(dir, "repo"), os.DirFS(repo)); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(filepath.Join(dir, "Containerfile"))
			if err != nil {
				t.Fatal(err)
			}
			m := command.FindStringSubmatch(string(data))
			if m == nil {
				t.Fatal("the example does not say how to build it")
			}
			if n.run(t, tt.dir, dir, m[1]) {
				tt.check(t, pull(t, m[2]))
			}
		})
	}
}
