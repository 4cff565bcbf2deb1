//go:build interop

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/docblocks"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// TestInterop_TheCommandsInTheDocumentsRun runs the commands that need other programs, or a repository in /ostree,
// exactly as they are printed. They run in a root of their own, which is a copy on write of the machine's.
func TestInterop_TheCommandsInTheDocumentsRun(t *testing.T) {
	dir := t.TempDir()
	env := append(os.Environ(), testreg.Named(t, testreg.New(t), dir, "registry.example")...)
	env = append(env, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	run := func(where, script string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "unshare", "--mount", "bash", "-euc", `
			mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root
			mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
			for d in proc sys dev tmp; do mount --rbind "/$d" "/mnt/root/$d"; done
			mkdir -p /mnt/root/ostree
			exec chroot /mnt/root bash -euo pipefail -c \
				'cd "$1"; ostree-ext repo init --repo=/ostree/repo; eval "$2"' bash "$@"`,
			"bash", dir, script)
		c.Env = env
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s\n%s", where, err, script, out)
		}
	}
	root := filepath.Join(dir, "rootfs")
	for name, text := range map[string]string{
		"usr/lib/modules/6.1.0/vmlinuz": "kernel", "usr/lib/app/a": "a",
		"lib/apk/db/installed": "P:app\nV:1\nF:usr/lib/app\nR:a\n\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("what was there before", `
		ostree-ext container build --rootfs=rootfs --format=ostree docker://registry.example/os:latest
		ostree-ext repo init --repo=repo --mode=archive
		ostree-ext repo commit --repo=repo --branch=exampleos/x86_64/stable rootfs`)
	for _, b := range docblocks.Of(t, "../..", docblocks.Peers) {
		run(b.String(), b.Text)
	}
	// The examples of these commands need other programs, too.
	for _, command := range []string{"export", "import"} {
		_, examples, _ := strings.Cut(must(t, program, "tar", command, "--help"), "Examples:\n")
		examples, _, _ = strings.Cut(examples, "\n\n")
		run("tar "+command, examples+"\nostree-ext tar export --repo=repo exampleos/x86_64/stable >os.tar")
	}
}

// TestInterop_TheReadmeLeadsToARegistryOnLoopback runs what the README says after the installation on a bare Debian, in
// a network of its own.
func TestInterop_TheReadmeLeadsToARegistryOnLoopback(t *testing.T) {
	blocks, err := docblocks.Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// The registry takes that variable for its own configuration.
	script := "ip link set lo up\nunset REGISTRY_AUTH_FILE\n"
	for _, b := range blocks {
		if b.File != "README.md" || !strings.Contains(b.Text, "localhost:5555") {
			continue
		}
		script += b.Text
		if strings.Contains(b.Text, "docker-registry serve") {
			script += "trap \"kill $!\" EXIT\n" +
				"curl -fsS --retry 9 --retry-delay 1 --retry-connrefused http://localhost:5555/v2/\n"
		}
	}
	script += "skopeo inspect --tls-verify=false docker://localhost:5555/debian:latest >image.json\n"
	sh(t, `mkdir -p "$1"/rootfs/usr/bin && echo tool >"$1"/rootfs/usr/bin/tool`, dir)
	c := exec.CommandContext(t.Context(), "unshare", "--net", "bash", "-euo", "pipefail", "-c", script)
	c.Dir, c.Env = dir, append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), " new, 0 kept; ") {
		t.Errorf("%v\n%s\n%s", err, script, out)
	}
	image, err := os.ReadFile(filepath.Join(dir, "image.json"))
	if err != nil || !strings.Contains(string(image), `"ostree-ext.plan"`) {
		t.Errorf("got %v and %s", err, image)
	}
}
