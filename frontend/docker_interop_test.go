//go:build interop

package frontend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
	"github.com/ostree-ext/ostree-ext-go/frontend/image"
	"github.com/ostree-ext/ostree-ext-go/internal/testproc"
)

// engine is a Docker Engine with a registry. Both run in their own network namespace, because the engine creates
// bridges and firewall rules.
type engine struct {
	t      *testing.T
	dir    string
	pid    int
	socket string
}

// engineRegistry is the registry's address in the namespace.
const engineRegistry = "localhost:5000"

// newEngine starts an engine with the given flags for the duration of the test.
func newEngine(t *testing.T, flags ...string) *engine {
	t.Helper()
	tool := func(modfile, name string) string {
		cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../tools/"+modfile, "-n", name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=") // the default: drivers of the engine are in C
		// Standard error shows what it fetches to build the program.
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("building %s: %v", name, err)
		}
		return strings.TrimSpace(string(out))
	}
	dockerd, registry := tool("docker/go.mod", "dockerd"), tool("go.mod", "registry")
	dir, err := os.MkdirTemp("", "dk") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e := &engine{t: t, dir: dir, socket: filepath.Join(dir, "d.sock")}
	args := append([]string{
		"--net", "--mount", "sh", "-c", `ip link set lo up && exec "$@"`, "sh", dockerd, "--userland-proxy=false",
		"--host=unix://" + e.socket,
		"--data-root=" + filepath.Join(dir, "data"), "--exec-root=" + filepath.Join(dir, "exec"),
		"--pidfile=" + filepath.Join(dir, "pid"),
	}, flags...)
	e.pid = e.start("dockerd", exec.Command("unshare", args...))
	eventually(t, "the engine answers", func() bool {
		resp, err := e.client().Get("http://docker/_ping")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	e.start("registry", exec.Command("nsenter", e.inside(registry, "-port", "5000")...))
	program, err := os.ReadFile(env.frontend)
	if err != nil {
		t.Fatal(err)
	}
	img, err := programs.New(t.Context(), image.Of(image.Platform{
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, Program: program,
	}, image.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})
	if _, err := layout.Write(filepath.Join(dir, "image"), index); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the registry takes the frontend", func() bool {
		return exec.Command("nsenter", e.inside("skopeo", "copy", "--quiet", "--dest-tls-verify=false",
			"oci:"+filepath.Join(dir, "image"), "docker://"+engineRegistry+"/frontend")...).Run() == nil
	})
	return e
}

// start runs a program for the duration of the test.
func (e *engine) start(name string, cmd *exec.Cmd) int {
	e.t.Helper()
	log, err := os.Create(filepath.Join(e.dir, name+".log"))
	if err != nil {
		e.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if err := testproc.Start(cmd); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
		_ = log.Close()
		if data, err := os.ReadFile(log.Name()); e.t.Failed() && err == nil {
			e.t.Logf("%s: %s", name, data[max(0, len(data)-4000):])
		}
	})
	return cmd.Process.Pid
}

// inside returns the arguments of nsenter for running a program in the engine's network.
func (e *engine) inside(args ...string) []string {
	return append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", e.pid)}, args...)
}

func (e *engine) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", e.socket)
	}}}
}

// dockerSteps are the steps of a Containerfile. They do not copy the Containerfile itself, which names a registry.
const dockerSteps = "FROM scratch\nCOPY a /usr/share/a\nCOPY b /etc/b\n"

// wantOfEngine returns the image that an ordinary builder makes.
func wantOfEngine(t *testing.T) *pulled {
	t.Helper()
	r := smallRequest("prior=none", "docker/buildkit")
	r.file = syntax("prior=none") + dockerSteps
	env.daemon.build(t, r)
	return pull(t, r.name)
}

// build runs buildx with the engine's own builder.
func (e *engine) build(options string, args ...string) (string, error) {
	e.t.Helper()
	dir := e.t.TempDir()
	for name, content := range smallRequest("", "").files {
		writeFile(e.t, filepath.Join(dir, name), content)
	}
	writeFile(e.t, filepath.Join(dir, "Containerfile"), "# syntax="+engineRegistry+"/frontend "+options+"\n"+dockerSteps)
	args = append([]string{"build", "--progress=plain", "--provenance=false",
		"--file=" + filepath.Join(dir, "Containerfile")}, append(args, dir)...)
	cmd := exec.CommandContext(e.t.Context(), env.buildx, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+e.socket, "BUILDX_CONFIG="+e.dir, "DOCKER_CONFIG="+e.dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestInterop_DockersOwnBuilderWithContainerdsStoreGivesTheSameLayers(t *testing.T) {
	want := wantOfEngine(t)
	e := newEngine(t, "--feature", "containerd-snapshotter=true")
	out, err := e.build("prior=none", "--output=type=image,push=true,name="+engineRegistry+"/app")
	if err == nil || strings.Count(out, "--allow network.host") != 1 {
		t.Errorf("without the flag: %v, want one line that names it\n%s", err, out)
	}
	if out, err := e.build("prior=none", "--allow=network.host",
		"--output=type=image,push=true,name="+engineRegistry+"/app"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got v1.Manifest
	raw := must(t, "nsenter",
		e.inside("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+engineRegistry+"/app")...)
	if err := json.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.manifest.Layers, got.Layers); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

func TestInterop_DockersOwnBuilderWithAGraphDriverGivesTheSameContent(t *testing.T) {
	want := wantOfEngine(t)
	e := newEngine(t, "--feature", "containerd-snapshotter=false", "--storage-driver=overlay2")
	if out, err := e.build("prior=none", "--allow=network.host", "--tag=app"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	resp, err := e.client().Get("http://docker/images/app/json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		RootFS struct{ Layers []string }
		Config struct{ Labels map[string]string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	var diffs []string
	for _, d := range diffIDs(want) {
		diffs = append(diffs, d.String())
	}
	if diff := cmp.Diff(diffs, got.RootFS.Layers); diff != "" {
		t.Errorf("diff-ids (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.config.Config.Labels, got.Config.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if out, err := e.build("keep-base", "--allow=network.host", "--tag=app"); err == nil ||
		!strings.Contains(out, "containerd image store") {
		t.Errorf("keep-base: %v, want an error that says what is needed\n%s", err, out)
	}
}
