//go:build interop

package frontend_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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

	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
	"github.com/ostree-ext/ostree-ext-go/frontend/image"
	"github.com/ostree-ext/ostree-ext-go/internal/aptsources"
	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

// env holds what the tests share: programs, a registry with the frontend and a base image, and a daemon.
var env struct {
	dir                         string
	frontend, cli               string
	buildkitd, buildctl, buildx string
	registry                    *httptest.Server
	host                        string // of the registry
	daemon                      *daemon
}

func TestMain(m *testing.M) {
	flag.Parse()
	made := os.Getenv("OSTREE_EXT_TEST_BASE") // testhome unsets it
	os.Exit(testhome.Tests{M: testhome.Func(func() int {
		dir, err := os.MkdirTemp("", "oef")
		if err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(dir)
		env.dir = dir
		if err := prepare(dir, made); err != nil {
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
	})}.Run())
}

// prepare builds the programs, starts the registry, and pushes the frontend and a base image to it. The base
// is a tar file that was made before, or a new one.
func prepare(dir, made string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience(20*time.Minute))
	defer cancel()
	env.frontend, env.cli = filepath.Join(dir, "frontend"), filepath.Join(dir, "ostree-ext")
	for out, pkg := range map[string]string{env.frontend: "../cmd/frontend", env.cli: "../cmd/ostree-ext"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-tags=containers_image_openpgp", "-trimpath",
			"-ldflags=-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", pkg, err, out)
		}
	}
	for program, at := range map[string]*string{"buildkitd": &env.buildkitd, "buildctl": &env.buildctl,
		"buildx": &env.buildx} {
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
		registry.WithBlobHandler(registry.NewDiskBlobHandler(filepath.Join(dir, "blobs"))),
		registry.Logger(log.New(io.Discard, "", 0))))
	env.host = strings.TrimPrefix(env.registry.URL, "http://")
	program, err := os.ReadFile(env.frontend)
	if err != nil {
		return err
	}
	img, err := programs.New(ctx, image.Of(image.Platform{
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, Program: program,
	}, image.Options{}))
	if err != nil {
		return err
	}
	if err := pushImage("frontend", img); err != nil {
		return err
	}
	return pushBase(ctx, dir, made)
}

// pushBase pushes a Debian system as an image of one layer.
func pushBase(ctx context.Context, dir, made string) error {
	file := made
	if file == "" {
		file = filepath.Join(dir, "base.tar")
		if err := debian(ctx, file); err != nil {
			return err
		}
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

// debian returns a tar file of a small Debian system.
func debian(ctx context.Context, file string) error {
	mirror, err := aptsources.Find("bookworm")
	if err != nil {
		return err
	}
	options := []string{"--include=attr,libcap2-bin"}
	for _, unneeded := range []string{"share/doc", "share/locale", "share/man", "share/zoneinfo", "lib/*/gconv"} {
		options = append(options, "--dpkgopt=path-exclude=/usr/"+unneeded+"/*")
	}
	args := aptsources.Mmdebstrap("bookworm", file, mirror.All(), options...)
	if out, err := exec.CommandContext(ctx, "mmdebstrap", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("mmdebstrap: %w: %s", err, out)
	}
	return nil
}

// pushScanner pushes an image of a program that makes an SBOM.
func pushScanner(base v1.Image) error {
	config, err := base.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	const statement = `{"_type":"https://in-toto.io/Statement/v0.1",` +
		`"predicateType":"https://spdx.dev/Document","predicate":{"name":"test"}}`
	config.Config.Entrypoint = []string{"/bin/sh", "-c",
		"echo '" + statement + "' >$BUILDKIT_SCAN_DESTINATION/test.spdx.json"}
	img, err := mutate.ConfigFile(base, config)
	if err != nil {
		return err
	}
	return pushImage("scanner", img)
}

func baseImage(layer v1.Layer) (v1.Image, error) {
	created := v1.Time{Time: time.Unix(1700000000, 0).UTC()}
	img, err := mutate.Append(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON),
		types.OCIManifestSchema1),
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

// request describes a build with buildctl.
type request struct {
	file   string            // the Containerfile
	files  map[string]string // beside it
	dir    string            // the context instead, if not empty
	opts   []string          // --opt
	args   []string          // others
	output string            // --output; a push if empty, to the name
	name   string
	plain  bool      // with BuildKit's own frontend
	log    io.Writer // gets the output, too, as it comes
}

// syntax returns the first line of a Containerfile.
func syntax(options string) string {
	return strings.TrimSpace("# syntax="+env.host+"/frontend "+options) + "\n"
}

// try builds and returns the output of buildctl.
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
		"--addr", d.addr, "build", "--progress=plain", "--frontend=dockerfile.v0", "--local=context=" + dir,
		"--local=dockerfile=" + dir,
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
	var out bytes.Buffer
	cmd.Stdout = &out
	if r.log != nil {
		cmd.Stdout = io.MultiWriter(&out, r.log)
	}
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	return out.String(), err
}

// build is like try, and fails the test if the build fails.
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

// must runs a program and returns its output.
func must(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pulled is an image from the registry.
type pulled struct {
	digest   string
	manifest *v1.Manifest
	config   *v1.ConfigFile
}

func pull(t testing.TB, repository string) *pulled {
	t.Helper()
	return read(t, imageOf(t, repository))
}

// imageOf reads an image from the registry.
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

// fileOf returns the content of a file in an image from the registry.
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

// layers lists the digest and the diff-id of each layer.
func (p *pulled) layers() []string {
	var out []string
	for i, l := range p.manifest.Layers {
		out = append(out, l.Digest.String()+" "+p.config.RootFS.DiffIDs[i].String())
	}
	return out
}

// jsonOf returns a value as text, for comparing.
func jsonOf(t testing.TB, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
