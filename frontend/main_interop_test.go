//go:build interop

package frontend_test

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/frontend/image"
	"github.com/ostree-ext/ostree-ext-go/internal/aptsources"
)

// env is what the tests share: programs, a registry with the frontend and a base image, and a daemon.
var env struct {
	dir                         string
	frontend, cli               string
	buildkitd, buildctl, buildx string
	registry                    *httptest.Server
	host                        string // of the registry
	daemon                      *daemon
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "oef")
		if err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(dir)
		env.dir = dir
		if err := prepare(dir); err != nil {
			log.Print(err)
			return 1
		}
		defer env.registry.Close()
		if env.daemon, err = startDaemon(daemonOptions{}); err != nil {
			log.Print(err)
			return 1
		}
		defer env.daemon.stop()
		return m.Run()
	}())
}

// prepare builds the programs, starts the registry, and puts the frontend and a base image into it.
func prepare(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	env.frontend, env.cli = filepath.Join(dir, "frontend"), filepath.Join(dir, "ostree-ext")
	for out, pkg := range map[string]string{env.frontend: "../cmd/frontend", env.cli: "../cmd/ostree-ext"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", pkg, err, out)
		}
	}
	for program, at := range map[string]*string{"buildkitd": &env.buildkitd, "buildctl": &env.buildctl, "buildx": &env.buildx} {
		out, err := exec.CommandContext(ctx, "go", "tool", "-modfile=../tools/go.mod", "-n", program).Output()
		if err != nil {
			return fmt.Errorf("building %s: %w", program, err)
		}
		*at = strings.TrimSpace(string(out))
	}
	if err := os.Mkdir(filepath.Join(dir, "blobs"), 0o755); err != nil {
		return err
	}
	env.registry = httptest.NewServer(registry.New(
		registry.WithBlobHandler(registry.NewDiskBlobHandler(filepath.Join(dir, "blobs"))), registry.Logger(log.New(io.Discard, "", 0))))
	env.host = strings.TrimPrefix(env.registry.URL, "http://")
	program, err := os.ReadFile(env.frontend)
	if err != nil {
		return err
	}
	img, err := image.New(program, ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH})
	if err != nil {
		return err
	}
	if err := pushImage("frontend", img); err != nil {
		return err
	}
	return pushBase(ctx, dir)
}

// pushBase puts a Debian system into the registry, as an image of one layer.
func pushBase(ctx context.Context, dir string) error {
	file := filepath.Join(dir, "base.tar")
	if made := os.Getenv("OSTREE_EXT_TEST_BASE"); made != "" {
		file = made
	} else if err := debian(ctx, file); err != nil {
		return err
	}
	layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(1))
	if err != nil {
		return err
	}
	img, err := baseImage(layer)
	if err != nil {
		return err
	}
	if err := pushImage("debian", img); err != nil {
		return err
	}
	return pushScanner(img)
}

// debian makes a small Debian system, as a tar file.
func debian(ctx context.Context, file string) error {
	mirror, err := aptsources.Find("bookworm")
	if err != nil {
		return err
	}
	args := []string{"--quiet", "--variant=minbase", "--include=attr,libcap2-bin"}
	for _, unneeded := range []string{"share/doc", "share/locale", "share/man", "share/zoneinfo", "lib/*/gconv"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/"+unneeded+"/*")
	}
	args = append(append(args, "bookworm", file), mirror.All()...)
	if out, err := exec.CommandContext(ctx, "mmdebstrap", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("mmdebstrap: %w: %s", err, out)
	}
	return nil
}

// pushScanner puts a program that makes an SBOM into the registry.
func pushScanner(base v1.Image) error {
	config, err := base.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	const statement = `{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","predicate":{"name":"test"}}`
	config.Config.Entrypoint = []string{"/bin/sh", "-c", "echo '" + statement + "' >$BUILDKIT_SCAN_DESTINATION/test.spdx.json"}
	img, err := mutate.ConfigFile(base, config)
	if err != nil {
		return err
	}
	return pushImage("scanner", img)
}

func baseImage(layer v1.Layer) (v1.Image, error) {
	created := v1.Time{Time: time.Unix(1700000000, 0).UTC()}
	img, err := mutate.Append(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1),
		mutate.Addendum{Layer: layer, History: v1.History{Created: created, CreatedBy: "test"}})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", runtime.GOARCH, created
	config.Config.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return mutate.ConfigFile(img, config)
}

func pushImage(repository string, img v1.Image) error {
	ref, err := name.ParseReference(env.host + "/" + repository)
	if err != nil {
		return err
	}
	return remote.Write(ref, img)
}

// daemonOptions say how a buildkitd runs.
type daemonOptions struct {
	program     string // the pinned one, if empty
	worker      string // lines for [worker.oci]
	entitlement bool   // network.host may be asked for
	rootless    bool   // in a user namespace
	containerd  string // the socket of a containerd, whose store it uses instead of its own
}

type daemon struct {
	dir, addr string
	cmd       *exec.Cmd
	log       *os.File
}

// startDaemon starts a daemon of its own root, which is ready when it returns.
func startDaemon(o daemonOptions) (*daemon, error) {
	// The path of a socket must be short.
	dir, err := os.MkdirTemp("", "bk")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir, addr: "unix://" + dir + "/bk.sock"}
	workers := "[worker.containerd]\nenabled = false\n[worker.oci]\ngc = false\n" + o.worker
	if o.containerd != "" {
		workers = fmt.Sprintf("[worker.oci]\nenabled = false\n[worker.containerd]\nenabled = true\naddress = %q\nnamespace = \"buildkit\"\n", o.containerd)
	}
	config := fmt.Sprintf("root = %q\n[grpc]\naddress = [%q]\n[otel]\nsocketPath = %q\n%s\n", dir+"/root", d.addr, dir+"/otel.sock", workers)
	file := filepath.Join(dir, "buildkitd.toml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	if d.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	program := o.program
	if program == "" {
		program = env.buildkitd
	}
	args := []string{"--config", file}
	if o.entitlement {
		args = append(args, "--allow-insecure-entitlement", "network.host")
	}
	if o.rootless {
		if program, err = unprivileged(dir, program); err != nil {
			return nil, err
		}
		args = append(args, "--rootless")
	}
	d.cmd = exec.Command(program, args...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if o.rootless {
		d.cmd.Env = append(d.cmd.Env, "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "TMPDIR="+dir, "USER=nobody")
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: subordinate, Size: 65536}}
		d.cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
			Credential: &syscall.Credential{Uid: 0, Gid: 0},
		}
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if exec.Command(env.buildctl, "--addr", d.addr, "debug", "workers").Run() == nil {
			return d, nil
		}
		if time.Now().After(deadline) {
			text := d.text()
			d.stop()
			return nil, fmt.Errorf("buildkitd does not answer: %s", text)
		}
	}
}

// subordinate is the first user of a user namespace.
const subordinate = 100000

// unprivileged lets a user namespace's root have a directory and a copy of a program in it.
func unprivileged(dir, program string) (string, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	inside := filepath.Join(dir, "buildkitd")
	return inside, errors.Join(os.WriteFile(inside, data, 0o755), os.Chown(dir, subordinate, subordinate))
}

// newDaemon starts a daemon that ends with the test.
func newDaemon(t testing.TB, o daemonOptions) *daemon {
	t.Helper()
	d, err := startDaemon(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of buildkitd: %s", d.text())
		}
		d.stop()
	})
	return d
}

func (d *daemon) text() string {
	data, err := os.ReadFile(d.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-8000):])
}

func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGINT)
	done := make(chan struct{})
	go func() { _ = d.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		_ = d.cmd.Process.Kill()
		<-done
	}
	_ = d.log.Close()
	_ = os.RemoveAll(d.dir)
}

// request is a build by buildctl.
type request struct {
	file   string            // the Containerfile
	files  map[string]string // beside it
	dir    string            // the context instead, if not empty
	opts   []string          // --opt
	args   []string          // others
	output string            // --output; a push if empty, to the name
	name   string
	plain  bool // with BuildKit's own frontend
}

// syntax is the first line of a Containerfile.
func syntax(options string) string {
	return strings.TrimSpace("# syntax="+env.host+"/frontend "+options) + "\n"
}

// try builds and returns what buildctl printed.
func (d *daemon) try(ctx context.Context, t testing.TB, r request) (string, error) {
	t.Helper()
	dir := r.dir
	if dir == "" {
		dir = t.TempDir()
		for p, content := range r.files {
			writeFile(t, filepath.Join(dir, p), content)
		}
	}
	if r.file != "" {
		writeFile(t, filepath.Join(dir, "Containerfile"), r.file)
	}
	output := r.output
	if output == "" {
		output = "type=image,push=true,name=" + env.host + "/" + r.name
	}
	args := []string{
		"--addr", d.addr, "build", "--progress=plain", "--frontend=dockerfile.v0", "--local=context=" + dir, "--local=dockerfile=" + dir,
		"--opt=filename=Containerfile", "--output=" + output,
	}
	for _, o := range r.opts {
		args = append(args, "--opt="+o)
	}
	if r.plain {
		args = append(args, "--opt=cmdline=none")
	}
	cmd := exec.CommandContext(ctx, env.buildctl, append(args, r.args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// build builds, and fails the test if that fails.
func (d *daemon) build(t testing.TB, r request) string {
	t.Helper()
	out, err := d.try(t.Context(), t, r)
	if err != nil {
		t.Fatalf("buildctl: %v\n%s", err, out)
	}
	return out
}

func writeFile(t testing.TB, file, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// must runs a program and returns what it printed.
func must(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pulled is an image of the registry.
type pulled struct {
	digest   string
	manifest *v1.Manifest
	config   *v1.ConfigFile
}

func pull(t testing.TB, repository string) *pulled {
	t.Helper()
	return read(t, imageOf(t, repository))
}

// imageOf is an image of the registry.
func imageOf(t testing.TB, repository string) v1.Image {
	t.Helper()
	ref, err := name.ParseReference(env.host + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// fileOf is the content of a file of an image of the registry.
func fileOf(t testing.TB, repository, file string) string {
	t.Helper()
	files := mutate.Extract(imageOf(t, repository))
	defer files.Close()
	for r := tar.NewReader(files); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s of %s: %v", file, repository, err)
		}
		if strings.Trim(h.Name, "./") != file {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

func read(t testing.TB, img v1.Image) *pulled {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return &pulled{digest.String(), manifest, config}
}

// layers lists digest and diff-id of each layer.
func (p *pulled) layers() []string {
	var out []string
	for i, l := range p.manifest.Layers {
		out = append(out, l.Digest.String()+" "+p.config.RootFS.DiffIDs[i].String())
	}
	return out
}

// jsonOf is a value as text, for comparing.
func jsonOf(t testing.TB, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
