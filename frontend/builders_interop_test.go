//go:build interop

package frontend_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bridged returns a builder whose containers have their own network.
const bridged = "networkMode = \"bridge\"\ncniBinaryPath = \"/usr/lib/cni\""

func TestInterop_AnIsolatedBuilderNeedsTheEntitlement(t *testing.T) {
	d := newDaemon(t, daemonOptions{worker: bridged, entitlement: true})
	r := smallRequest("prior=none", "isolated")
	out, err := d.try(t.Context(), t, r)
	if err == nil || !strings.Contains(out, "add --allow network.host to the build") {
		t.Errorf("without the entitlement: %v\n%s", err, out)
	}
	if last := strings.TrimSpace(out[strings.LastIndex(out, "error: "):]); strings.Contains(last, "\n") {
		t.Errorf("the error is not one line: %s", last)
	}
	r.args = []string{"--allow=network.host"}
	d.build(t, r)
	r.args = nil
	t.Run("and otherwise gives a layout", func(t *testing.T) {
		r.opts = append(r.opts, "output=layout")
		r.output = "type=local,dest=" + filepath.Join(t.TempDir(), "layout")
		d.build(t, r)
	})
}

func TestInterop_ADaemonThatForbidsTheEntitlementSaysSo(t *testing.T) {
	d := newDaemon(t, daemonOptions{worker: bridged})
	r := smallRequest("prior=none", "forbidden")
	if out, err := d.try(t.Context(), t, r); err == nil || !strings.Contains(out, "or use output=layout") {
		t.Errorf("without asking: %v\n%s", err, out)
	}
	r.args = []string{"--allow=network.host"}
	if out, err := d.try(t.Context(), t, r); err == nil || !strings.Contains(out, "network.host is not allowed") {
		t.Errorf("asking: %v\n%s", err, out)
	}
}

func TestInterop_ARootlessBuilderGivesTheSameImage(t *testing.T) {
	d := newDaemon(t, daemonOptions{rootless: true,
		worker: "rootless = true\nnoProcessSandbox = true\nsnapshotter = \"native\""})
	r := smallRequest("prior=none", "rootless")
	d.build(t, r)
	rootless := pull(t, r.name)
	r.name = "rootful"
	env.daemon.build(t, r)
	if diff := cmp.Diff(pull(t, r.name).layers(), rootless.layers()); diff != "" {
		t.Errorf("layers (-root +rootless):\n%s", diff)
	}
}

func TestInterop_AnOldBuilderGivesTheSameImage(t *testing.T) {
	d := newDaemon(t, daemonOptions{program: oldBuildkitd(t)})
	r := smallRequest("prior=none", "old")
	d.build(t, r)
	old := pull(t, r.name)
	refusedBuild(t, d, trusting(t, r, policyOf(byKey1)), "too old for verify")
	r.name = "current"
	env.daemon.build(t, r)
	if diff := cmp.Diff(pull(t, "current").layers(), old.layers()); diff != "" {
		t.Errorf("layers (-current +old):\n%s", diff)
	}
	cache := filepath.Join(t.TempDir(), "cache")
	cached := r
	cached.args = []string{"--progress=rawjson", "--export-cache=type=local,mode=max,dest=" + cache}
	d.build(t, cached)
	cached.args = []string{"--progress=rawjson", "--import-cache=type=local,src=" + cache}
	if out := d.build(t, cached); !strings.Contains(warnings(t, out), "that needs BuildKit 0.31") {
		t.Errorf("nothing says that the cache is of no use:\n%s", out)
	}
	// It cannot reuse layers of a prior image, and makes the same bytes again.
	next := smallRequest("prior="+env.host+"/old", "old-next")
	next.files["b"] = "changed"
	d.build(t, next)
	old = pull(t, next.name)
	env.daemon.build(t, next)
	if diff := cmp.Diff(pull(t, next.name).layers(), old.layers()); diff != "" {
		t.Errorf("with a prior image: layers (-current +old):\n%s", diff)
	}
}

// oldBuildkitd builds the oldest supported daemon.
func oldBuildkitd(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run := func(dir string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "CGO_ENABLED=0", "GOWORK=off")
		var log strings.Builder
		cmd.Stderr = &log
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s: %v: %s", strings.Join(args, " "), err, log.String())
		}
		return string(out)
	}
	writeFile(t, filepath.Join(dir, "empty/go.mod"), "module example.invalid/empty\n")
	var module struct{ Dir string }
	out := run(filepath.Join(dir, "empty"), "mod", "download", "-json", "github.com/moby/buildkit@v0.12.5")
	if err := json.Unmarshal([]byte(out), &module); err != nil {
		t.Fatal(err)
	}
	// It must be the main module, because its go.mod replaces modules.
	source := filepath.Join(dir, "buildkit")
	if err := os.CopyFS(source, os.DirFS(module.Dir)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "buildkitd")
	run(source, "build", "-trimpath", "-o", program, "./cmd/buildkitd")
	return program
}

// buildx runs buildx with its own configuration.
type buildx struct{ config string }

// newBuildx creates a builder of several daemons, one for each platform.
func newBuildx(t *testing.T, nodes map[string]*daemon) buildx {
	t.Helper()
	x := buildx{t.TempDir()}
	first := true
	for platform, d := range nodes {
		args := []string{"create", "--name=test", "--driver=remote", "--platform=" + platform}
		if !first {
			args = append(args, "--append")
		}
		first = false
		if out, err := x.run(t.Context(), "", append(args, d.addr)...); err != nil {
			t.Fatalf("buildx create: %v\n%s", err, out)
		}
	}
	return x
}

func (x buildx) run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, env.buildx, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "BUILDX_CONFIG="+x.config, "DOCKER_CONFIG="+x.config, "BUILDX_BUILDER=test",
		"BUILDX_NO_DEFAULT_ATTESTATIONS=1", "SOURCE_DATE_EPOCH="+epoch)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestInterop_BuildxBuildsAndAsks(t *testing.T) {
	x := newBuildx(t, map[string]*daemon{"linux/amd64": env.daemon})
	r := smallRequest("prior=none", "buildx")
	env.daemon.build(t, r)
	want := pull(t, r.name)
	dir := t.TempDir()
	for p, content := range r.files {
		writeFile(t, filepath.Join(dir, p), content)
	}
	writeFile(t, filepath.Join(dir, "Containerfile"), r.file)
	t.Run("build", func(t *testing.T) {
		metadata := filepath.Join(t.TempDir(), "metadata")
		out, err := x.run(t.Context(), dir, "build", "--progress=plain", "--push", "-f", "Containerfile", "-t",
			env.host+"/buildx:x", "--metadata-file", metadata,
			"--label=by=buildx", "--annotation=note=here", "--no-cache", ".")
		if err != nil {
			t.Fatalf("buildx build: %v\n%s", err, out)
		}
		got := pull(t, "buildx:x")
		data, err := os.ReadFile(metadata)
		if err != nil || !strings.Contains(string(data), got.digest) {
			t.Errorf("the metadata do not name %s: %s %v", got.digest, data, err)
		}
		if got.config.Config.Labels["by"] != "buildx" || got.manifest.Annotations["note"] != "here" {
			t.Errorf("labels %v, annotations %v", got.config.Config.Labels, got.manifest.Annotations)
		}
		if diff := cmp.Diff(diffIDs(want), diffIDs(got)); diff != "" {
			t.Errorf("diff-ids (-buildctl +buildx):\n%s", diff)
		}
	})
	t.Run("contexts and network", func(t *testing.T) {
		layoutDir := filepath.Join(t.TempDir(), "layout")
		must(t, "skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://"+env.host+"/"+r.name,
			"oci:"+layoutDir+":latest")
		next := t.TempDir()
		writeFile(t, filepath.Join(next, "Containerfile"),
			syntax("")+"FROM "+env.host+"/debian AS net\nRUN cat /proc/net/dev | wc -l >/interfaces\n"+
				small+"COPY --from=net /interfaces /usr/share/files/\n")
		writeFile(t, filepath.Join(next, "a"), r.files["a"])
		writeFile(t, filepath.Join(next, "b"), "changed")
		out, err := x.run(t.Context(), next, "build", "--progress=plain", "--push", "-f", "Containerfile", "-t",
			env.host+"/buildx:z", "--network=none",
			"--build-context=prior=oci-layout://"+layoutDir, ".")
		if err != nil {
			t.Fatalf("buildx build: %v\n%s", err, out)
		}
		got := pull(t, "buildx:z")
		if n, _ := bytesBeyond(want, got); n == 0 || n == len(got.layers()) {
			t.Errorf("%d of %d layers are new:\n%s", n, len(got.layers()), out)
		}
		if data := fileOf(t, "buildx:z", "usr/share/files/interfaces"); data != "3\n" {
			t.Errorf("the steps had %q lines of interfaces", data)
		}
	})
	t.Run("warning", func(t *testing.T) {
		out, err := x.run(t.Context(), dir, "build", "--progress=plain", "--push", "-f", "Containerfile", "-t",
			env.host+"/buildx:y", "--build-arg=OSTREE_EXT_PRIOR="+env.host+"/buildx:absent", ".")
		if err != nil || !strings.Contains(out, "1 warning found") || !strings.Contains(out, "there is no prior image") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	for call, want := range map[string]string{"check": "Check complete", "outline": "NOTE", "targets": "TARGET",
		"subrequests.describe": "List available subrequest types"} {
		t.Run(call, func(t *testing.T) {
			out, err := x.run(t.Context(), dir, "build", "--call="+call, "-f", "Containerfile", ".")
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("buildx --call=%s: %v\n%s", call, err, out)
			}
		})
	}
	t.Run("check finds", func(t *testing.T) {
		writeFile(t, filepath.Join(dir, "Containerfile"), syntax("")+"FROM scratch as x\nCOPY a /\n")
		out, err := x.run(t.Context(), dir, "build", "--check", "-f", "Containerfile", ".")
		if err == nil || !strings.Contains(out, "FromAsCasing") {
			t.Errorf("buildx --check: %v\n%s", err, out)
		}
	})
}

func TestInterop_NodesOfOneBuilderMakeOneIndex(t *testing.T) {
	repo, ref, commit := exampleRepo(t)
	nodes := map[string]*daemon{"linux/amd64": newDaemon(t, daemonOptions{}), "linux/arm64": newDaemon(t, daemonOptions{})}
	x := newBuildx(t, nodes)
	for what, options := range map[string]string{"nodes/chunked": "mapping=rules.yaml", "nodes/single": "single-layer"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "rules.yaml"), commitRules)
			writeFile(t, filepath.Join(dir, "Containerfile"),
				syntax("prior=none "+options+" ref="+ref)+"FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\n")
			out, err := x.run(t.Context(), dir, "build", "--progress=plain", "--push", "-f", "Containerfile", "-t",
				env.host+"/"+what, "--platform=linux/amd64,linux/arm64",
				"--build-context=repo="+repo, ".")
			if err != nil {
				t.Fatalf("buildx build: %v\n%s", err, out)
			}
			equalOnBothPlatforms(t, what, repo, ref, commit)
		})
	}
	// Each daemon has split the tree of one platform: the output of the step is in its cache.
	for own, d := range nodes {
		if used := must(t, env.buildctl, "--addr", d.addr, "du", "--verbose"); !strings.Contains(used, " chunk --in=") {
			t.Errorf("the node of %s has not split:\n%s", own, used)
		}
	}
}
