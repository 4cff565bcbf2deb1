//go:build interop

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/ostree-ext/ostree-ext-go/internal/docblocks"
	"github.com/ostree-ext/ostree-ext-go/internal/release"
)

// moduleProxy makes a directory that is a proxy for Go modules, with the sources as a version of this module.
func moduleProxy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	versions := filepath.Join(dir, filepath.FromSlash(release.Module), "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(made.sources, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"list": tag + "\n", tag + ".info": `{"Version":"` + tag + `","Time":"2026-01-02T03:04:05Z"}`,
		tag + ".mod": string(mod),
	} {
		if err := os.WriteFile(filepath.Join(versions, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(versions, tag+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	// As a proxy does: of what is committed, without the release beside it.
	err = zip.CreateFromVCS(f, module.Version{Path: release.Module, Version: tag}, made.sources, tag, "")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// moduleCache makes a cache of modules that has all of this machine's, and into which others can be put. What the go
// command has in the cache/download of the other is a proxy, too.
func moduleCache(t *testing.T) (dir, proxy string) {
	t.Helper()
	dir, real := t.TempDir(), must(t, "go", "env", "GOMODCACHE")
	proxy = filepath.Join(real, "cache/download")
	for _, own := range []string{"", "github.com", "cache", "cache/download", "cache/download/github.com"} {
		if err := os.MkdirAll(filepath.Join(dir, own), 0o755); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Join(real, own))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := filepath.Join(own, e.Name())
			switch name {
			case "github.com", "cache", "cache/download", "cache/download/github.com", "cache/lock", "cache/vcs":
				continue
			}
			if strings.HasPrefix(e.Name(), "ostree-ext") {
				continue
			}
			if err := os.Symlink(filepath.Join(real, name), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir, proxy
}

func TestInterop_GoInstallsTheVersionThatAProxyHas(t *testing.T) {
	proxy := moduleProxy(t)
	cache, rest := moduleCache(t)
	bin := t.TempDir()
	env := []string{
		"GOPROXY=file://" + proxy + ",file://" + rest, "GOSUMDB=off", "GOBIN=" + bin, "GOMODCACHE=" + cache,
		"GOFLAGS=-trimpath -modcacherw", "CGO_ENABLED=0",
	}
	ran := 0
	for _, b := range docblocks.Of(t, "../../..", docblocks.Releases) {
		if !strings.HasPrefix(b.Text, "go install ") {
			continue
		}
		ran++
		mustIn(t, t.TempDir(), env, "sh", "-euc", b.Text)
		got := must(t, filepath.Join(bin, "ostree-ext"), "version")
		if !strings.HasPrefix(got, "ostree-ext "+tag+" (") || strings.Contains(got, "without the policies") {
			t.Errorf("%s: the program prints %q", b, got)
		}
	}
	if ran != 2 {
		t.Errorf("%d documents say how Go installs the program, want the README and the page about it", ran)
	}
}

func TestInterop_TheDocumentedCheckOfADownloadWorks(t *testing.T) {
	for _, b := range docblocks.Of(t, "../../..", docblocks.Releases) {
		if !strings.HasPrefix(b.Text, "sha256sum ") {
			continue
		}
		dir := t.TempDir()
		must(t, "cp", native(), dist("SHA256SUMS"), dir)
		if got, want := mustIn(t, dir, nil, "sh", "-euc", b.Text), filepath.Base(native())+": OK"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(native())), []byte("other"), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := output(dir, nil, "sh", "-euc", b.Text); err == nil {
			t.Errorf("another program is accepted: %s", out)
		}
		return
	}
	t.Error("no document says how to check a download")
}
