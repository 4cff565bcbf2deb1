//go:build interop

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/commandimage"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
)

// commandImage makes the image of the command for this machine, as an OCI layout, and returns its directory and that of
// the static shell in it.
func commandImage(t *testing.T) (image, shell string) {
	t.Helper()
	shell = filepath.Join(t.TempDir(), "sh")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", shell,
		"github.com/ostree-ext/ostree-ext-go/cmd/ostree-ext/sh")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	index, err := programs.Index(t.Context(), []programs.Image{commandimage.Of(commandimage.Platform{
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Command:  read(program), Shell: read(shell),
	}, commandimage.Options{})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	to := programs.Destination{Layout: filepath.Join(t.TempDir(), "command")}
	if _, err := to.Write(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	return to.Layout, shell
}

// Recipes of chunkah 0.6's README and its Containerfile.splitter. Only the line with the image of chunkah is another.
const (
	splitter = `ARG CHUNKAH=quay.io/coreos/chunkah:latest
ARG CHUNKAH_ARGS=""
ARG CHUNKAH_CONFIG_STR

FROM overridden AS target
FROM ${CHUNKAH} AS chunkah
ARG CHUNKAH_CONFIG_STR
ARG CHUNKAH_ARGS
RUN --mount=type=bind,target=/run/src,rw \
    --mount=from=target,target=/chunkah,ro \
      chunkah build ${CHUNKAH_ARGS} --output oci:/run/src/out

FROM oci:out
`
	atBuildTime = `ARG CHUNKAH_CONFIG_STR

FROM quay.io/fedora/fedora-minimal:latest AS builder
RUN dnf install -y git-core && dnf clean all

FROM CHUNKAH AS chunkah
ARG CHUNKAH_CONFIG_STR
RUN --mount=type=bind,target=/run/src,rw \
    --mount=from=builder,target=/chunkah,ro \
      chunkah build --output oci:/run/src/out

FROM oci:out
ENTRYPOINT ["git"]
`
)

// TestInterop_TheImageTakesThePlaceOfChunkahs runs the recipes with buildah and podman. The image that they begin with
// has a shell and a program of the name dnf that writes a file.
func TestInterop_TheImageTakesThePlaceOfChunkahs(t *testing.T) {
	image, shell := commandImage(t)
	ownStorage(t)
	t.Setenv("BUILDAH_ISOLATION", "chroot")
	const img, ours = "quay.io/fedora/fedora-minimal:latest", "localhost/ours:latest"
	must(t, "skopeo", "copy", "--quiet", "oci:"+image, "containers-storage:"+ours)
	root := t.TempDir()
	sh(t, `cd "$1" && mkdir -p bin usr/bin usr/share/doc/app lib/apk/db && cp "$2" bin/sh
		printf '#!/bin/sh\nset -e\nif [ "$1" = install ]; then echo "$*" >/usr/bin/git; fi\n' >usr/bin/dnf
		chmod 4755 usr/bin/dnf && printf 'P:dnf\nV:1\nF:usr/bin\nR:dnf\n\n' >lib/apk/db/installed
		echo doc >usr/share/doc/app/doc && ln usr/share/doc/app/doc usr/share/doc/app/link
		ln -s doc usr/share/doc/app/symlink && chown 12:34 usr/share/doc/app/doc
		setfattr -n user.note -v hello usr/bin/dnf`, root, shell)
	base := filepath.Join(t.TempDir(), "base")
	must(t, program, "chunkah", "build", "--rootfs="+root, "--max-layers=1",
		`--config-str={"Cmd":["sh"],"Labels":{"of":"the base"}}`, "--output=oci:"+base)
	must(t, "skopeo", "copy", "--quiet", "oci:"+base, "containers-storage:"+img)
	build := func(t *testing.T, tool, containerfile string, args ...string) (rootfs string) {
		t.Helper()
		work := t.TempDir()
		writeFile(t, work+"/Containerfile", containerfile)
		config := must(t, "podman", "inspect", img)
		args = append([]string{"build", "--skip-unused-stages=false", "-v", work + ":/run/src",
			"--security-opt=label=disable", "--build-arg", "CHUNKAH_CONFIG_STR=" + config, "-t", "localhost/chunked",
			"-f", work + "/Containerfile"}, append(args, work)...)
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", tool, err, out)
		}
		to := t.TempDir()
		must(t, "skopeo", "copy", "--quiet", "containers-storage:localhost/chunked", "oci:"+to+"/image:x")
		must(t, "umoci", "unpack", "--image", to+"/image:x", to+"/bundle")
		return to + "/bundle/rootfs"
	}
	t.Run("the splitter", func(t *testing.T) {
		got := build(t, "buildah", splitter, "--from", img, "--build-arg", "CHUNKAH="+ours)
		sameTree(t, root, got)
		seen := must(t, "podman", "inspect", `--format={{.Config.Cmd}} {{index .Labels "of"}} {{.Architecture}}`,
			"localhost/chunked")
		if want := "[sh] the base " + runtime.GOARCH; seen != want {
			t.Errorf("the image says %q, want %q", seen, want)
		}
	})
	t.Run("the splitter with arguments", func(t *testing.T) {
		got := build(t, "buildah", splitter, "--from", img, "--build-arg", "CHUNKAH="+ours,
			"--build-arg", "CHUNKAH_ARGS=--prune /usr/share/doc/ --label of-")
		want := t.TempDir()
		sh(t, `cp -a "$1/." "$2" && rm -r "$2"/usr/share/doc/*`, root, want)
		sameTree(t, want, got)
	})
	t.Run("the splitter with podman", func(t *testing.T) {
		sameTree(t, root, build(t, "podman", splitter, "--from", img, "--build-arg", "CHUNKAH="+ours))
	})
	t.Run("at build time", func(t *testing.T) {
		got := build(t, "buildah", strings.Replace(atBuildTime, "CHUNKAH AS", ours+" AS", 1))
		if data, err := os.ReadFile(got + "/usr/bin/git"); err != nil || string(data) != "install -y git-core\n" {
			t.Errorf("the builder's file is %q, %v", data, err)
		}
		seen := must(t, "podman", "inspect", `--format={{.Config.Entrypoint}} {{index .Labels "of"}}`, "localhost/chunked")
		if seen != "[git] the base" {
			t.Errorf("the image says %q", seen)
		}
	})
}

// sameTree compares files, modes, owners, xattrs and hard links of two trees.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	const list = `cd "$1" && find . -mindepth 1 -printf '%P %y %m %U:%G %n %l\n' | LC_ALL=C sort
		find . -type f -exec sha256sum {} + | LC_ALL=C sort -k2
		find . -exec getfattr -h -m '^user\.note' -d {} + 2>/dev/null | LC_ALL=C sort`
	a, b := sh(t, list, want), sh(t, list, got)
	if a != b {
		t.Errorf("the trees differ: want\n%s\ngot\n%s", a, b)
	}
}

// TestInterop_AnInterruptEndsChunkahAsTheFirstProcess runs the program as the first process of a container, which a
// signal ends only if the process says so.
func TestInterop_AnInterruptEndsChunkahAsTheFirstProcess(t *testing.T) {
	dir := t.TempDir()
	must(t, "mkfifo", dir+"/config")
	if err := os.Symlink(program, dir+"/chunkah"); err != nil {
		t.Fatal(err)
	}
	// The program writes its number outside, and then waits for the configuration.
	cmd := exec.CommandContext(t.Context(), "unshare", "--pid", "--fork", "--kill-child", dir+"/chunkah", "build",
		"--rootfs="+dir, "--config="+dir+"/config", "--output=oci:"+dir+"/out")
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Opening a pipe for writing returns when the reader has it.
	pipe, err := os.OpenFile(dir+"/config", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	first := must(t, "pgrep", "-f", "^"+dir+"/chunkah")
	must(t, "kill", "-INT", first)
	err = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.ExitStatus() != 130 {
		t.Errorf("it ended with %v, want status 130", err)
	}
	if said.String() != "error: interrupted\n" {
		t.Errorf("it said %q", said.String())
	}
}
