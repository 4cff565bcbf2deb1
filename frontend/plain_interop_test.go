//go:build interop

package frontend_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// epoch is the time of images that are compared with images of the command line.
const epoch = "1700000123"

// attributes returns a Containerfile that sets everything that a build step can set.
func attributes() string {
	return "FROM " + env.host + `/debian
RUN --mount=type=bind,source=debs,target=/debs dpkg -i /debs/*.deb
RUN mkdir -p /srv/data && cd /srv/data && echo one >a && ln a b && ln -s a c && \
    chown 1234:4321 a && chown -h 12:34 c && chmod 4711 a && setfattr -n user.note -v remember b && \
    cp /bin/true capable && setcap cap_net_raw+ep capable
RUN chmod 1777 /srv/data && setfattr -n user.dir -v yes /srv/data
RUN mkfifo /srv/data/pipe
COPY hello.txt /srv/
COPY <<EOT /srv/here.txt
a heredoc
EOT
LABEL vendor=Test
ENV MODE=test
CMD ["/bin/cat", "/srv/hello.txt"]
`
}

// tree unpacks the result of BuildKit's own frontend.
func tree(t *testing.T, r request) string {
	t.Helper()
	dir := t.TempDir()
	r.plain, r.output = true, "type=tar,dest="+filepath.Join(dir, "tree.tar")
	env.daemon.build(t, r)
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, "tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", filepath.Join(dir, "tree.tar"), "-C", root)
	return root
}

// byCLI makes an image with the command line program.
func byCLI(t *testing.T, repository string, args ...string) *pulled {
	t.Helper()
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--prior=") }) {
		args = append(args, "--prior=none")
	}
	args = append([]string{"container", "build", "--insecure-skip-tls-verification"}, args...)
	cmd := exec.CommandContext(t.Context(), env.cli, append(args, "docker://"+env.host+"/"+repository)...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ostree-ext container build: %v\n%s", err, out)
	}
	return pull(t, repository)
}

func TestInterop_PlainImageHasTheLayersOfTheCommandLine(t *testing.T) {
	r := request{
		file: syntax("") + attributes(), dir: installed(t), name: "plain/frontend",
		opts: []string{"build-arg:SOURCE_DATE_EPOCH=" + epoch},
	}
	env.daemon.build(t, r)
	got := pull(t, r.name)
	want := byCLI(t, "plain/cli", "--rootfs", tree(t, r))
	if len(got.manifest.Layers) < 20 {
		t.Errorf("the image has %d layers: it is not split", len(got.manifest.Layers))
	}
	if diff := cmp.Diff(want.layers(), got.layers()); diff != "" {
		t.Errorf("layers differ from those of the command line (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.config.History, got.config.History); diff != "" {
		t.Errorf("history differs (-want +got):\n%s", diff)
	}
	want.config.Config.Labels["vendor"] = "Test"
	if diff := cmp.Diff(want.config.Config.Labels, got.config.Config.Labels); diff != "" {
		t.Errorf("labels differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/bin/cat", "/srv/hello.txt"}, got.config.Config.Cmd); diff != "" {
		t.Errorf("CMD (-want +got):\n%s", diff)
	}
	if env := strings.Join(got.config.Config.Env, " "); !strings.Contains(env, "MODE=test") {
		t.Errorf("ENV is %s", env)
	}
	t.Run("other programs accept it", func(t *testing.T) { accepted(t, r.name, "srv/data") })
}

// installed returns the files that attributes needs besides the Containerfile.
func installed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	packages(t, filepath.Join(dir, "debs"), 2, 1)
	writeFile(t, filepath.Join(dir, "hello.txt"), "hello\n")
	return dir
}

// accepted copies, unpacks and runs an image with other programs, and checks the result.
func accepted(t *testing.T, repository, data string) {
	dir := t.TempDir()
	layout, bundle := filepath.Join(dir, "oci")+":x", filepath.Join(dir, "bundle")
	ref := "docker://" + env.host + "/" + repository
	must(t, "skopeo", "copy", "--quiet", "--src-tls-verify=false", ref, "oci:"+layout)
	must(t, "umoci", "unpack", "--image", layout, bundle)
	plain := data == "srv/data"
	checkAttributes(t, filepath.Join(bundle, "rootfs", data), plain)
	if plain {
		got := strings.TrimSpace(must(t, "stat", "-c", "%F", filepath.Join(bundle, "rootfs/srv/data/pipe")))
		if got != "fifo" {
			t.Errorf("the pipe is a %s", got)
		}
	}
	if got, err := os.ReadFile(filepath.Join(bundle, "rootfs/usr/lib/test-package-1/0")); err != nil ||
		string(got) != packageContent(1, 1) {
		t.Errorf("a file of a package has %d bytes: %v", len(got), err)
	}
	if got := runInBundle(t, bundle, "/bin/cat", "/srv/here.txt"); got != "a heredoc\n" {
		t.Errorf("runc: %q", got)
	}
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
	defer must(t, "podman", append(storage, "system", "reset", "--force")...)
	got := must(t, "podman", append(storage,
		"run", "--quiet", "--rm", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
		"--security-opt=seccomp=unconfined", "--tls-verify=false", "--runtime=runc",
		env.host+"/"+repository)...)
	if !strings.HasSuffix(got, "hello\n") {
		t.Errorf("podman: %q", got)
	}
}

// runInBundle runs a command in an unpacked image and returns what it printed.
func runInBundle(t *testing.T, bundle string, args ...string) string {
	t.Helper()
	file := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["args"], process["terminal"] = args, false
	writeFile(t, file, jsonOf(t, config))
	return must(t, "runc", "--root", t.TempDir(), "run", "--bundle", bundle, "ostree-ext-frontend-test")
}
