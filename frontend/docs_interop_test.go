//go:build interop

package frontend_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/docblocks"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// named returns the environment of a program that finds the tests' registry at registry.example, with a Debian at
// Docker's and the frontend at GitHub's.
func named(t *testing.T) []string {
	t.Helper()
	for to, from := range map[string]string{
		"library/debian:bookworm": "debian", "ostree-ext-frontend": "frontend", "ostree-ext/ostree-ext-frontend": "frontend",
	} {
		if err := pushImage(to, imageOf(t, from)); err != nil {
			t.Fatal(err)
		}
	}
	return append(os.Environ(), testreg.Named(t, env.registry.Config.Handler, t.TempDir(), "registry.example",
		"registry-1.docker.io", "ghcr.io")...)
}

// newcomer is where somebody tries commands: with a builder, the program docker, and a registry at registry.example.
type newcomer struct{ env []string }

func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	n := &newcomer{env: named(t)}
	d := newDaemon(t, daemonOptions{env: n.env})
	bin := t.TempDir()
	// Without Docker, buildx is a program of its own.
	writeFile(t, filepath.Join(bin, "docker"), "#!/bin/sh -e\n[ \"$1\" = buildx ]\nshift\nexec "+env.buildx+" \"$@\"\n")
	if err := os.Chmod(filepath.Join(bin, "docker"), 0o755); err != nil {
		t.Fatal(err)
	}
	n.env = append(n.env, "PATH="+bin+":"+filepath.Dir(env.cli)+":"+os.Getenv("PATH"), "BUILDX_CONFIG="+t.TempDir(),
		"BUILDX_BUILDER=docs")
	n.run(t, "the builder", t.TempDir(), "docker buildx create --name docs --driver remote "+d.addr)
	return n
}

// run runs a script in a directory and reports whether it succeeded.
func (n *newcomer) run(t *testing.T, where, dir, script string) bool {
	t.Helper()
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	c.Dir, c.Env = dir, n.env
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s\n%s", where, err, script, out)
	}
	return err == nil
}

// TestInterop_TheCommandsInTheDocumentsBuild runs them exactly as they are printed, one after the other. A block that
// is a Containerfile is the one that the next commands build.
func TestInterop_TheCommandsInTheDocumentsBuild(t *testing.T) {
	n := newNewcomer(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "site/index.html"), "hello")
	repo, _, commit := exampleRepo(t)
	must(t, "ostree", "refs", "--repo="+repo, "--create=exampleos/stable", commit)
	if err := os.CopyFS(filepath.Join(dir, "repo"), os.DirFS(repo)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "trust/keys"), 0o755); err != nil {
		t.Fatal(err)
	}
	n.run(t, "the keys", dir, `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out cosign.key
		chmod 600 cosign.key
		openssl pkey -in cosign.key -pubout -out trust/keys/cosign.pub`)
	for _, b := range docblocks.Of(t, "..", docblocks.Builds) {
		switch {
		case strings.HasPrefix(b.Text, "{"):
			writeFile(t, filepath.Join(dir, "trust/policy.json"), b.Text)
		case strings.HasPrefix(b.Text, "docker:"):
			writeFile(t, filepath.Join(dir, "trust/trust.d/os.yaml"), b.Text)
			n.run(t, "the credentials", dir, "mkdir -p $HOME/.docker && echo {} >$HOME/.docker/config.json")
		case strings.HasPrefix(b.Text, "# syntax="):
			writeFile(t, filepath.Join(dir, "Containerfile"), b.Text)
		case strings.HasPrefix(b.Text, "make "):
			n.run(t, b.String(), "..", b.Text)
		case strings.HasPrefix(b.Text, "--"): // options of a build, one a line
			n.run(t, "earlier images", dir, `mkdir images
				skopeo copy -q docker://registry.example/web docker://registry.example/web:stable
				skopeo copy -q docker://registry.example/web oci:images/web:latest`)
			for option := range strings.Lines(b.Text) {
				n.run(t, b.String(), dir, "docker buildx build -f Containerfile "+strings.TrimSpace(option)+
					" --push -t registry.example/web .")
			}
		default:
			n.run(t, b.String(), dir, b.Text)
		}
	}
	for _, name := range []string{"app", "web"} {
		if got := pull(t, name); got.config.Config.Labels["ostree-ext.plan"] == "" {
			t.Errorf("%s was not split: labels are %v", name, got.config.Config.Labels)
		}
	}
	if got := pull(t, "os").config.Config.Labels["ostree.commit"]; got != commit {
		t.Errorf("os holds commit %q, want %s", got, commit)
	}
}
