package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// asShell says that this process is the shell: a shell may become another program, which the tests must not.
const asShell = "OSTREE_EXT_TEST_SHELL"

func TestMain(m *testing.M) {
	switch os.Getenv(asShell) {
	case "":
		os.Exit(m.Run())
	case "sleeps":
		// A program that waits for a signal, and says that it is there.
		_, _ = os.Stdout.WriteString("here\n")
		time.Sleep(time.Minute)
		os.Exit(9)
	}
	_ = os.Unsetenv(asShell)
	os.Args[0] = "sh"
	main()
}

// shell returns a process of the shell.
func shell(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = []string{asShell + "=1", "PATH=" + os.Getenv("PATH"), "CHUNKAH_ARGS=--max-layers 8", "SELF=" + self}
	cmd.Dir = t.TempDir()
	return cmd
}

func TestTheShellRunsScripts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "script")
	if err := os.WriteFile(file, []byte("echo \"$0 $1\"\nset -e\nfalse\necho not reached\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		stdin  string
		out    string
		status int
	}{
		{"words of a variable", []string{"-c", "printf '<%s>' ${CHUNKAH_ARGS} --output oci:out"}, "",
			"<--max-layers><8><--output><oci:out>", 0},
		{"parameters", []string{"-c", `echo "$0 $1 $#"`, "name", "one", "two"}, "", "name one 2\n", 0},
		{"exit status", []string{"-c", "exit 3"}, "", "", 3},
		{"a program that is not there", []string{"-c", "no-such-program --flag"}, "",
			"\"no-such-program\": executable file not found in $PATH\n", 127},
		{"set -e", []string{"-ec", "false; echo not reached"}, "", "", 1},
		{"set -x", []string{"-c", "set -x; cd /; pwd"}, "", "+ cd /\n+ pwd\n/\n", 0},
		{"set -u", []string{"-uc", "echo $nothing"}, "", "nothing: unbound variable\n", 1},
		{"an option by name", []string{"-o", "pipefail", "-c", "false | true"}, "", "", 1},
		{"redirections", []string{"-c", "echo one >file && echo two >>file && while read l; do echo =$l; done <file 2>&1"},
			"",
			"=one\n=two\n", 0},
		{"a here document", []string{"-c", "while read l; do echo =$l; done <<EOF\none\nEOF\n"}, "", "=one\n", 0},
		{"a file", []string{file, "arg"}, "", file + " arg\n", 1},
		{"standard input", nil, "echo one\nexit 4\necho not reached\n", "one\n", 4},
		{"what a trap asked for", []string{"-c", "trap 'echo bye' EXIT; echo hi"}, "", "hi\nbye\n", 0},
		{"the same from standard input", []string{"-s"}, "trap 'echo bye' EXIT; (exit 5)\n", "bye\n", 5},
		{"no script", []string{"-c"}, "", "sh: -c: the script is missing\n", 2},
		{"a file that is not there", []string{"/nonexistent"}, "", "sh: open /nonexistent: no such file or directory\n", 2},
		{"an unknown option", []string{"-Z", "-c", "true"}, "", "sh: invalid option: \"-Z\"\n", 2},
		{"a mistake", []string{"-c", "echo )"}, "",
			"sh:1:6: a command can only contain words and redirects; encountered `)`\n", 2},
		{"an exported variable", []string{"-c", "export A=b; sh=$SELF; " + asShell + "=1 $sh -c 'echo =$A'"}, "",
			"=b\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := shell(t, tt.args...)
			cmd.Stdin = strings.NewReader(tt.stdin)
			out, err := cmd.CombinedOutput()
			if status := exitStatus(err); status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			if diff := cmp.Diff(tt.out, string(out)); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func exitStatus(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return 0
}

func TestAShellThatOnlyStartsAProgramBecomesIt(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]bool{
		asShell + "=sleeps $SELF":            true,
		asShell + "=sleeps $SELF >&1":        false,
		asShell + "=sleeps $SELF $(true)":    false,
		"true; " + asShell + "=sleeps $SELF": false,
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			cmd := shell(t, "-c", script)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, len("here\n"))); err != nil {
				t.Fatal(err)
			}
			// The program's environment has the shell's variable, and the shell's own has the tests'.
			env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "environ"))
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Contains(env, []byte(asShell+"=sleeps")); got != want {
				t.Errorf("the process is the program: %t, want %t", got, want)
			}
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait()
			if want { // a program of Go without a handler
				if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
					t.Errorf("the program ended with %v", err)
				}
			} else if got := exitStatus(err); got != 130 {
				t.Errorf("status %d, want 130", got)
			}
		})
	}
}

func TestARequestToEndIsPassedOn(t *testing.T) {
	t.Parallel()
	cmd := shell(t, "-c", "true; "+asShell+"=sleeps $SELF; echo not reached")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("here\n"))); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil || len(rest) > 0 {
		t.Errorf("more output: %q, %v", rest, err)
	}
	if got := exitStatus(cmd.Wait()); got != 143 {
		t.Errorf("status %d, want 143", got)
	}
}
