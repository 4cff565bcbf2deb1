//go:build interop

package frontend_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInterop_ExamplesBuild builds each example, with our registry and base image instead of those in the example.
func TestInterop_ExamplesBuild(t *testing.T) {
	repo, _, commit := exampleRepo(t)
	must(t, "ostree", "refs", "--repo="+repo, "--create=exampleos/amd64/stable", commit)
	for _, tt := range []struct {
		dir   string
		opts  []string
		args  []string
		check func(t *testing.T, p *pulled)
	}{
		{".", nil, nil, func(t *testing.T, p *pulled) {
			if l := p.config.Config.Labels; l["ostree.bootable"] != "true" || l["ostree.commit"] == "" ||
				l["ostree.linux"] == "" {
				t.Errorf("no bootable commit: labels are %v", l)
			}
			if len(p.manifest.Layers) < 50 {
				t.Errorf("%d layers", len(p.manifest.Layers))
			}
			// Import it, as a host does.
			repo, image := filepath.Join(t.TempDir(), "repo"), "ostree-unverified-registry:"+env.host+"/examples/os"
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
		{"application", nil, nil, func(t *testing.T, p *pulled) {
			if p.config.Config.User != "65534:65534" || len(p.manifest.Layers) < 20 {
				t.Errorf("user %q, %d layers", p.config.Config.User, len(p.manifest.Layers))
			}
		}},
		{"commit", []string{"context:repo=local:repo", "platform=linux/amd64"}, []string{"--local=repo=" + repo},
			func(t *testing.T, p *pulled) {
				if got := p.config.Config.Labels["ostree.commit"]; got != commit {
					t.Errorf("commit %q, want %s", got, commit)
				}
			}},
		{"keep-base", nil, nil, func(t *testing.T, p *pulled) {
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
			file := filepath.Join(dir, "Containerfile")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, file, strings.ReplaceAll(string(data), "registry.example/ostree-ext-frontend", env.host+"/frontend"))
			name := "examples/" + strings.ReplaceAll(tt.dir, ".", "os")
			env.daemon.build(t, request{
				dir: dir, name: name, args: tt.args,
				opts: append(tt.opts, "context:debian:bookworm=docker-image://"+env.host+"/debian",
					"build-arg:OSTREE_EXT_PRIOR=none"),
			})
			tt.check(t, pull(t, name))
		})
	}
}
