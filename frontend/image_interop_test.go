//go:build interop

package frontend_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/testproc"
)

// copySources copies all files that git tracks or does not ignore.
func copySources(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), string(data))
	}
	return dir
}

func TestInterop_TheFrontendsImageIsTheSameWhereverItIsBuilt(t *testing.T) {
	build := func(dir, arg string) string {
		cmd := exec.CommandContext(t.Context(), "go", "run", "-buildvcs=false", "./cmd/ostree-ext/image", arg, "frontend")
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	here := build("..", "--push="+env.host+"/frontend-of-two-platforms")
	if there := build(copySources(t), "--layout="+filepath.Join(t.TempDir(), "layout")); here != there {
		t.Errorf("the image is %s here and %s in another directory", here, there)
	}
	r := smallRequest("", "by-index")
	_, steps, _ := strings.Cut(r.file, "\n")
	r.file = "# syntax=" + env.host + "/frontend-of-two-platforms@" + here + " prior=none\n" + steps
	env.daemon.build(t, r)
}

// The playground is one command. Then the commands that it prints work, and it leaves nothing behind.
func TestInterop_ThePlaygroundWorksAsItSays(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	text := func() string {
		data, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	cmd := exec.Command("../tools/playground")
	// The example starts from Debian, which is read from a registry here.
	cmd.Env = append(named(t), fmt.Sprintf("PORT=%d", port))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := testproc.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }()
	deadline := time.Now().Add(patience(5 * time.Minute))
	for ; !strings.Contains(text(), "Ready."); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("the playground is not ready:\n%s", text())
		}
	}
	var script []string
	for line := range strings.Lines(text()) {
		if strings.HasPrefix(line, "  ") {
			script = append(script, strings.TrimSpace(line))
		}
	}
	build := exec.CommandContext(t.Context(), "bash", "-e", "-c", strings.Join(script, "\n"))
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	dir := regexp.MustCompile(`BUILDX_CONFIG=(/\S+)/buildx`).FindStringSubmatch(text())
	if dir == nil {
		t.Fatalf("no directory is named:\n%s", text())
	}
	if err := syscall.Kill(cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(patience(time.Minute)):
		t.Fatal("the playground does not end")
	}
	if _, err := os.Stat(dir[1]); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir[1], err)
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir[1]) {
		t.Errorf("something is still mounted in %s", dir[1])
	}
	eventually(t, "its processes end", func() bool { return !commandsMention(dir[1]) })
}

// commandsMention reports whether the command line of any process contains a text.
func commandsMention(text string) bool {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range found {
		data, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(data), text) {
			return true
		}
	}
	return false
}
