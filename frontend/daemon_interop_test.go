//go:build interop

package frontend_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/testproc"
)

// usualLimit is the timeout of a package's tests that tools/test sets. It may be longer on a busy machine.
const usualLimit = 45 * time.Minute

// patience returns how long to wait for something that usually takes less than d. It grows with the timeout of all
// tests.
func patience(d time.Duration) time.Duration {
	limit, ok := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration)
	if !ok || limit < usualLimit {
		return d
	}
	return time.Duration(float64(d) * float64(limit) / float64(usualLimit))
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience(20 * time.Second)); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error(what)
			return
		}
	}
}

// daemonOptions say how a buildkitd runs.
type daemonOptions struct {
	program     string // the pinned one, if empty
	worker      string // lines for [worker.oci]
	entitlement bool   // network.host may be asked for
	rootless    bool   // in a user namespace
	containerd  string // the socket of a containerd, whose store it uses instead of its own
	env         []string
}

type daemon struct {
	dir, addr string
	cmd       *exec.Cmd
	log       *os.File
}

// startDaemon starts a daemon with its own root. It returns when the daemon is ready.
func startDaemon(o daemonOptions) (*daemon, error) {
	// The path of a socket must be short.
	dir, err := os.MkdirTemp("", "bk")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir, addr: "unix://" + dir + "/bk.sock"}
	workers := "[worker.containerd]\nenabled = false\n[worker.oci]\ngc = false\n" + o.worker
	if o.containerd != "" {
		workers = fmt.Sprintf("[worker.oci]\nenabled = false\n[worker.containerd]\nenabled = true\naddress = "+
			"%q\nnamespace = \"buildkit\"\n", o.containerd)
	}
	config := fmt.Sprintf("root = %q\n[grpc]\naddress = [%q]\n[otel]\nsocketPath = %q\n%s\n", dir+"/root", d.addr,
		dir+"/otel.sock", workers)
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
	d.cmd.Env = append(append(os.Environ(), o.env...), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if o.rootless {
		d.cmd.Env = append(d.cmd.Env, "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "TMPDIR="+dir, "USER=nobody")
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: subordinate, Size: 65536}}
		d.cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
			GidMappingsEnableSetgroups: true,
			Credential:                 &syscall.Credential{Uid: 0, Gid: 0},
		}
	}
	if err := testproc.Start(d.cmd); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience(time.Minute)); ; time.Sleep(100 * time.Millisecond) {
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

// unprivileged gives the root of a user namespace a directory with a copy of a program in it.
func unprivileged(dir, program string) (string, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	inside := filepath.Join(dir, "buildkitd")
	return inside, errors.Join(os.WriteFile(inside, data, 0o755), os.Chown(dir, subordinate, subordinate))
}

// newDaemon starts a daemon for the duration of the test.
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
	case <-time.After(patience(30 * time.Second)):
		_ = d.cmd.Process.Kill()
		<-done
	}
	_ = d.log.Close()
	_ = os.RemoveAll(d.dir)
}
