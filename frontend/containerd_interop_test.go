//go:build interop

package frontend_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/internal/testproc"
)

// newContainerd starts a containerd for the duration of the test, and returns its socket.
func newContainerd(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cd") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	socket := filepath.Join(dir, "c.sock")
	config := filepath.Join(dir, "config.toml")
	writeFile(t, config, fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = "+
		"[\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("containerd", "--config", config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := testproc.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = log.Close()
	})
	eventually(t, "containerd answers",
		func() bool { return exec.Command("ctr", "--address", socket, "version").Run() == nil })
	return socket
}

func TestInterop_TheStoreOfContainerdHasTheLayers(t *testing.T) {
	socket := newContainerd(t)
	d := newDaemon(t, daemonOptions{containerd: socket})
	r := smallRequest("prior=none", "containerd/pushed")
	env.daemon.build(t, r)
	want := pull(t, r.name)

	name := env.host + "/containerd/stored:latest"
	r.output = "type=image,name=" + name
	d.build(t, r)
	ctr := func(args ...string) string {
		return must(t, "ctr", append([]string{"--address", socket, "--namespace", "buildkit"}, args...)...)
	}
	var digest string
	for line := range strings.Lines(ctr("images", "list")) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == name {
			digest = words[2]
		}
	}
	if digest == "" {
		t.Fatalf("there is no image %s: %s", name, ctr("images", "list"))
	}
	var got ocispec.Manifest
	if err := json.Unmarshal([]byte(ctr("content", "get", digest)), &got); err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, l := range got.Layers {
		digests = append(digests, l.Digest.String())
		// Check that the blob is there, not only its name.
		if size := len(ctr("content", "get", l.Digest.String())); int64(size) != l.Size {
			t.Errorf("layer %s has %d bytes, want %d", l.Digest, size, l.Size)
		}
	}
	var wanted []string
	for _, l := range want.manifest.Layers {
		wanted = append(wanted, l.Digest.String())
	}
	if diff := cmp.Diff(wanted, digests); diff != "" {
		t.Errorf("layers differ (-want +got):\n%s", diff)
	}
	// Unpack it with the snapshotter, as a host does to run the image.
	r.output += ",unpack=true"
	d.build(t, r)
	if got := ctr("images", "check", "name=="+name); !strings.Contains(got, "true") {
		t.Errorf("the image is not unpacked: %s", got)
	}
}
