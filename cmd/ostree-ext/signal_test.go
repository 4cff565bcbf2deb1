package main

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"
)

func TestASignalIsToldInOneWayAndHasTheStatusThatShellsGiveIt(t *testing.T) {
	t.Parallel()
	for signal, want := range map[syscall.Signal]struct {
		status int
		says   string
	}{
		syscall.SIGINT: {130, "error: interrupted\n"}, syscall.SIGTERM: {143, "error: ended by a signal: terminated\n"},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(&signalError{signal})
		var out bytes.Buffer
		args := []string{"container", "build", "--rootfs=" + t.TempDir(), "oci:" + t.TempDir() + "/image"}
		got := run(ctx, args, streams{in: strings.NewReader(""), out: &out, err: &out})
		if got != want.status || out.String() != want.says {
			t.Errorf("%s: status %d, want %d; said %q, want %q", signal, got, want.status, out.String(), want.says)
		}
	}
}
