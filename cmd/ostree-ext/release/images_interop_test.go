//go:build interop

package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// emulators are the programs of QEMU's user mode, by architecture of Go.
var emulators = map[string]string{
	"arm64": "qemu-aarch64-static", "riscv64": "qemu-riscv64-static", "ppc64le": "qemu-ppc64le-static",
	"s390x": "qemu-s390x-static",
}

// combined runs a command and returns all that it printed.
func combined(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// imageOf returns the image of one architecture in an image of the release.
func imageOf(t *testing.T, name, arch string) v1.Image {
	t.Helper()
	index, err := programs.ReadLayout(dist(imagesDir, name))
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != len(made.arches) {
		t.Errorf("%s has %d images, want one for each of %v", name, len(m.Manifests), made.arches)
	}
	for _, d := range m.Manifests {
		if d.Platform.OS == "linux" && d.Platform.Architecture == arch {
			img, err := index.Image(d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			return img
		}
	}
	t.Fatalf("%s has no image for %s", name, arch)
	return nil
}

// unpackedImage returns the root filesystem of an image of the release.
func unpackedImage(t *testing.T, name, arch string) string {
	t.Helper()
	root := t.TempDir()
	r := mutate.Extract(imageOf(t, name, arch))
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), "tar", "--extract", "--same-permissions", "--directory="+root)
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return root
}

// unpacked returns the root filesystem of the command's image.
func unpacked(t *testing.T, arch string) string { return unpackedImage(t, command, arch) }

// enter returns a command in a root filesystem of an architecture, which has /proc then. Foreign programs are emulated.
func enter(t *testing.T, root, arch string) []string {
	t.Helper()
	if err := os.Mkdir(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := []string{"unshare", "--mount", "sh", "-euc", `mount -t proc proc "$0/proc" && exec chroot "$0" "$@"`, root}
	emulator, foreign := emulators[arch]
	if !foreign {
		return in
	}
	file, err := exec.LookPath(emulator)
	if err != nil {
		t.Fatal(err)
	}
	must(t, "cp", file, filepath.Join(root, "qemu"))
	return append(in, "/qemu")
}

// buildSomething makes an image of two files in the root filesystem and returns the digests of its layers.
func buildSomething(t *testing.T, root string, enter []string) (layers []string) {
	t.Helper()
	for name, content := range map[string]string{"usr/bin/a": "one\n", "usr/share/doc/b": "two\n"} {
		name = filepath.Join(root, "chunkah", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args := append(enter, "/usr/bin/ostree-ext", "container", "build", "--quiet", "--prior=none",
		"--rootfs=/chunkah", "oci:/srv/out")
	must(t, args[0], args[1:]...)
	blob := func(digest string, v any) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(root, "srv/out/blobs", strings.Replace(digest, ":", "/", 1)))
		if err == nil {
			err = json.Unmarshal(data, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var index, manifest struct{ Manifests, Layers []struct{ Digest string } }
	data, err := os.ReadFile(filepath.Join(root, "srv/out/index.json"))
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%v: %s", err, data)
	}
	blob(index.Manifests[0].Digest, &manifest)
	for _, l := range manifest.Layers {
		layers = append(layers, l.Digest)
	}
	return layers
}

func TestInterop_TheCommandsImageRunsOnEachProcessor(t *testing.T) {
	var want []string
	for _, arch := range made.arches {
		t.Run(arch, func(t *testing.T) {
			root := unpacked(t, arch)
			in := enter(t, root, arch)
			run := func(args ...string) string {
				t.Helper()
				args = append(in[1:len(in):len(in)], args...)
				return must(t, in[0], args...)
			}
			if got := run("/usr/bin/ostree-ext", "version"); !strings.HasPrefix(got, "ostree-ext "+tag+" ") ||
				!strings.Contains(got, "linux/"+arch) {
				t.Errorf("the program prints %q", got)
			}
			if got := run("/usr/bin/chunkah", "--version"); !strings.HasPrefix(got, "ostree-ext "+tag+" ") {
				t.Errorf("chunkah prints %q", got)
			}
			if got := run("/bin/sh", "-c", `echo "$((6*7)) $0"`, "words"); got != "42 words" {
				t.Errorf("the shell prints %q", got)
			}
			layers := buildSomething(t, root, in)
			if want == nil {
				want = layers
			}
			if got := strings.Join(layers, " "); got == "" || got != strings.Join(want, " ") {
				t.Errorf("an image made on %s has the layers %s, elsewhere %s", arch, got, want)
			}
		})
	}
}

func TestInterop_TheFrontendsImageRunsOnEachProcessor(t *testing.T) {
	for _, arch := range made.arches {
		t.Run(arch, func(t *testing.T) {
			root := unpackedImage(t, frontend, arch)
			info, err := buildinfo.ReadFile(filepath.Join(root, "ostree-ext-frontend"))
			if err != nil {
				t.Fatal(err)
			}
			// Without these tags, its judge would refuse every image that a policy is about.
			if !slices.Contains(info.Settings, debug.BuildSetting{Key: "-tags", Value: tags}) {
				t.Errorf("the program was built with %v", info.Settings)
			}
			in := enter(t, root, arch)
			must(t, in[0], append(in[1:len(in):len(in)], "/ostree-ext-frontend", "nothing")...)
			args := append(in[1:len(in):len(in)], "/ostree-ext-frontend", "odd")
			if out, err := combined(in[0], args...); err == nil || !strings.Contains(out, "this is the BuildKit frontend") {
				t.Errorf("it prints %q, and %v", out, err)
			}
		})
	}
}

func TestInterop_PodmanRunsTheCommandsImage(t *testing.T) {
	// The name of its directory must be short.
	run, err := os.MkdirTemp("", "pod")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	// A reset removes the directory for state, which is that of other tests otherwise.
	storage := []string{"--root", filepath.Join(run, "storage"), "--runroot", filepath.Join(run, "run"), "--tmpdir",
		filepath.Join(run, "state"), "--storage-driver=overlay", "--cgroup-manager=cgroupfs"}
	podman := func(args ...string) string {
		t.Helper()
		return must(t, "podman", append(storage[:len(storage):len(storage)], args...)...)
	}
	defer podman("system", "reset", "--force")
	id := podman("pull", "--quiet", "oci:"+dist(imagesDir, command))
	start := []string{"run", "--quiet", "--rm", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
		"--security-opt=seccomp=unconfined", "--runtime=runc"}
	if got := podman(append(start, "--entrypoint=ostree-ext", id, "version")...); !strings.HasPrefix(got,
		"ostree-ext "+tag+" ") {
		t.Errorf("the program prints %q", got)
	}
	if got := podman(append(start, "--entrypoint=/bin/sh", id, "-c", `echo "$CHUNKAH_ROOTFS"; cd .; pwd`)...); got !=
		"/chunkah\n/srv" {
		t.Errorf("the shell prints %q", got)
	}
	// As chunkah's documentation splits an image, which is that of the command here.
	archive := filepath.Join(run, "split.ociarchive")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	args := append(storage[:len(storage):len(storage)], start...)
	args = append(args, "--mount=type=image,src="+id+",dst=/chunkah",
		"--env=CHUNKAH_CONFIG_STR="+podman("inspect", id), id, "build")
	c := exec.CommandContext(t.Context(), "podman", args...)
	c.Stdout, c.Stderr = f, t.Output()
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if got := must(t, "skopeo", "inspect", "--config", "oci-archive:"+archive); !strings.Contains(got,
		"CHUNKAH_ROOTFS=/chunkah") || !strings.Contains(got, "ostree-ext.plan") {
		t.Errorf("the image that was split has the configuration %s", got)
	}
}

func TestInterop_ImagesArePublishedAndSigned(t *testing.T) {
	dir := t.TempDir()
	key, public := filepath.Join(dir, "os.key"), filepath.Join(dir, "os.pub")
	must(t, "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
	must(t, "openssl", "pkey", "-in", key, "-pubout", "-out", public)
	reg := testreg.New(t)
	rules := filepath.Join(dir, "config/ostree-ext/trust.d")
	if err := os.MkdirAll(rules, 0o755); err != nil {
		t.Fatal(err)
	}
	rule := "docker:\n  registry.example/tools:\n    signedBy: [{keyPath: " + public + "}]\n"
	if err := os.WriteFile(filepath.Join(rules, "tools.yaml"), []byte(rule), 0o644); err != nil {
		t.Fatal(err)
	}
	env := append(testreg.Named(t, reg, dir, "registry.example"), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"))
	out := mustIn(t, made.sources, env, "make", "-s", "publish", "REGISTRY=registry.example/tools", "SIGN="+key)
	for _, name := range []string{command, frontend} {
		index, err := programs.ReadLayout(dist(imagesDir, name))
		if err != nil {
			t.Fatal(err)
		}
		digest, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		image := "registry.example/tools/" + name
		if want := image + ":" + tag + "@" + digest.String(); !strings.Contains(out, want) {
			t.Errorf("make publish prints\n%s\nwant %s", out, want)
		}
		for _, ref := range []string{":" + tag, ":latest"} {
			got := mustIn(t, "", env, native(), "container", "trust", "check", "docker://"+image+ref)
			if !strings.Contains(got, "admitted") || !strings.Contains(got, digest.String()) &&
				!strings.Contains(got, "Signed by:") {
				t.Errorf("%s%s: %s", image, ref, got)
			}
		}
	}
	// Unsigned images are pushed too, and refused by whoever asks for signatures.
	mustIn(t, made.sources, env, "make", "-s", "publish", "REGISTRY=registry.example/tools/unsigned")
	_, err := output("", env, native(), "container", "trust", "check", "docker://registry.example/tools/unsigned/"+command+
		":latest")
	if err == nil || !strings.Contains(err.Error(), "the image would be refused") {
		t.Errorf("got %v", err)
	}
}

func TestInterop_PublishingNeedsARegistryAKeyAndARelease(t *testing.T) {
	for args, want := range map[string]string{
		"REGISTRY= SIGN=":                               "say where to",
		"REGISTRY=registry.example SIGN=/nowhere":       "the key to sign with: stat /nowhere",
		"REGISTRY=registry.example SIGN=keyless":        "SIGNING_CONFIG",
		"REGISTRY=registry.example DIST=" + t.TempDir(): "has no release, which make release makes",
		"REGISTRY=Registry/UPPER.example":               "is not the name of an image",
	} {
		_, err := output(made.sources, nil, "make", append([]string{"-s", "publish"}, strings.Fields(args)...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", args, err, want)
		}
	}
}
