package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

func TestMain(m *testing.M) {
	testscript.Main(testhome.Tests{M: m}, map[string]func(){"ostree-ext": main, "evmctl": evmctl, "gpg": gpg})
}

// evmctl is a program that signs each file with the same signature.
func evmctl() {
	if err := unix.Setxattr(os.Args[len(os.Args)-1], "user.ima", []byte("signature"), 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestScripts runs the scripts in testdata/script, which specify the command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SOURCE_DATE_EPOCH", "1700000000")
			home, err := testhome.Environ(filepath.Join(e.WorkDir, ".testhome"))
			e.Vars = append(e.Vars, home...)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"authorities": authorities(t), "closedpipe": closedPipe, "exits": exits, "interrupt": interrupt, "key": key,
			"noise": noise, "registry": registries(t), "typed": typed, "updates": updates(t),
		},
	})
}

// exits is the script command "exits STATUS COMMAND...". It fails if the command exits with another status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	status := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		status = strconv.Itoa(exit.ExitCode())
	}
	if status != args[0] {
		ts.Fatalf("exit status is %s, want %s", status, args[0])
	}
}

// noise is the script command "noise FILE MIB SEED". It writes a file that does not compress.
func noise(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: noise FILE MIB SEED")
	}
	mib, err := strconv.Atoi(args[1])
	ts.Check(err)
	seed, err := strconv.Atoi(args[2])
	ts.Check(err)
	data := make([]byte, mib<<20)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// closedPipe is the script command "closedpipe COMMAND...". It runs the command with a closed pipe as its standard
// output. The exit status must be that of SIGPIPE, and nothing may be on standard error.
func closedPipe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: closedpipe COMMAND...")
	}
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	r, w, err := os.Pipe()
	ts.Check(err)
	ts.Check(r.Close())
	defer w.Close()
	var said bytes.Buffer
	c := exec.Command(program, args[1:]...)
	c.Dir, c.Stdout, c.Stderr = ts.MkAbs("."), w, &said
	exit, ok := errors.AsType[*exec.ExitError](c.Run())
	if !ok || exit.ExitCode() != 128+int(syscall.SIGPIPE) || said.Len() > 0 {
		ts.Fatalf("status is %v, want that of SIGPIPE; said %q", exit, said.String())
	}
}

// interrupt is the script command "interrupt INPUT COMMAND...". It runs the command and sends SIGINT once the command
// waits for more input. The exit status must be 130, and standard error one line that says so. INPUT is "stdin", "tty",
// or the name of a pipe to make that is among the arguments.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt stdin|tty|PIPE COMMAND...")
	}
	program, err := exec.LookPath(args[1])
	ts.Check(err)
	c := exec.Command(program, args[2:]...)
	var said bytes.Buffer
	c.Dir, c.Stderr = ts.MkAbs("."), &said
	var from, to *os.File
	switch args[0] {
	case "stdin":
		from, to, err = os.Pipe()
		c.Stdin = from
	case "tty":
		to, from = terminal(ts)
		c.Stdin = from
	default:
		ts.Check(unix.Mkfifo(ts.MkAbs(args[0]), 0o600))
		from, err = os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
		to = from
	}
	ts.Check(err)
	defer from.Close()
	defer to.Close()
	_, err = to.WriteString("\n")
	ts.Check(err)
	wait := func(done func(unread int) bool) {
		for range 3000 {
			if n, err := unix.IoctlGetInt(int(from.Fd()), unix.TIOCINQ); err == nil && done(n) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		ts.Fatalf("%q does not read %s", args[1:], args[0])
	}
	wait(func(unread int) bool { return unread == 1 })
	ts.Check(c.Start())
	wait(func(unread int) bool { return unread == 0 })
	ts.Check(c.Process.Signal(os.Interrupt))
	exit, ok := errors.AsType[*exec.ExitError](c.Wait())
	if !ok || exit.ExitCode() != 130 || said.String() != "error: interrupted\n" {
		ts.Fatalf("status is %v, want 130; said %q", exit, said.String())
	}
}

// terminal returns both ends of a new terminal.
func terminal(ts *testscript.TestScript) (master, slave *os.File) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	ts.Check(err)
	ts.Check(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	ts.Check(err)
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	ts.Check(err)
	return master, slave
}
