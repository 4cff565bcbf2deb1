package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

func TestMain(m *testing.M) {
	testscript.Main(testhome.Tests{M: m}, map[string]func(){"ostree-ext": main})
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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "closedpipe": closedPipe,
			"noise": noise, "registry": registries(t)},
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

// closedPipe is the script command "closedpipe FILE COMMAND...". It runs the command with a closed pipe as its standard
// output. The exit status must be 1, and standard error goes to FILE.
func closedPipe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: closedpipe FILE COMMAND...")
	}
	program, err := exec.LookPath(args[1])
	ts.Check(err)
	r, w, err := os.Pipe()
	ts.Check(err)
	ts.Check(r.Close())
	defer w.Close()
	var said bytes.Buffer
	c := exec.Command(program, args[2:]...)
	c.Dir, c.Stdout, c.Stderr = ts.MkAbs("."), w, &said
	exit, ok := errors.AsType[*exec.ExitError](c.Run())
	if !ok || exit.ExitCode() != 1 {
		ts.Fatalf("status is %v, want 1; said %q", exit, said.String())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), said.Bytes(), 0o600))
}
