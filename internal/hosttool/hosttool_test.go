package hosttool_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
)

func TestRunReturnsStandardOutput(t *testing.T) {
	t.Parallel()
	out, err := hosttool.Run(t.Context(), "/bin/sh", "-c", "echo out; echo noise >&2")
	if err != nil || string(out) != "out\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestTheErrorOfAToolIsItsLastWord(t *testing.T) {
	t.Parallel()
	_, err := hosttool.Run(t.Context(), "/bin/sh", "-c", "echo first >&2; echo last >&2; exit 3")
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 3 {
		t.Fatalf("got %v, want exit status 3", err)
	}
	if text := err.Error(); !strings.HasPrefix(text, "sh -c: ") || !strings.HasSuffix(text, ": last") {
		t.Errorf("got %q", text)
	}
}
