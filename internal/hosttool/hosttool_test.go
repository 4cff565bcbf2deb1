package hosttool_test

import (
	"context"
	"errors"
	"os/exec"
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

func TestTheErrorOfAToolIsWhatItGaveAsTheCause(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, says, want string }{
		{"lines", "first\nlast\n", "sh -c: last"},
		{"nothing", "", "sh -c: exit status 3"},
		{"skopeo", `time="2026-01-02T03:04:05Z" level=fatal msg="Invalid name \"App\": it must be lower case"` + "\n",
			`sh -c: Invalid name "App": it must be lower case`},
		{"skopeo, with a warning last", `time="2026-01-02T03:04:05Z" level=error msg=broken` + "\n" +
			`time="2026-01-02T03:04:06Z" level=warning msg="by the way"` + "\n", "sh -c: broken"},
		{"podman", "Getting image source signatures\nError: writing blob: no space left on device\n",
			"sh -c: writing blob: no space left on device"},
		{"two errors", `time="T" level=error msg="the cause"` + "\nError: it failed\n", "sh -c: the cause; it failed"},
	} {
		_, err := hosttool.Run(t.Context(), "/bin/sh", "-c", `printf %s "$1" >&2; exit 3`, "sh", c.says)
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 3 {
			t.Fatalf("%s: got %v, want exit status 3", c.name, err)
		}
		if err.Error() != c.want {
			t.Errorf("%s: got %q, want %q", c.name, err, c.want)
		}
	}
}

func TestAToolIsKilledWithTheContext(t *testing.T) {
	t.Parallel()
	why := errors.New("the reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := hosttool.Run(ctx, "/bin/sleep", "60"); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}
