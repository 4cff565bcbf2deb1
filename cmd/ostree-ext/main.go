// Command ostree-ext turns OSTree commits into container images and container images back into OSTree commits.
//
// It has no logic of its own. Flags become the options of another package, results become text or JSON on standard
// output, and messages and progress go to standard error. The exit status is 0 for success, 1 for a failure, 2 for
// invalid arguments, and 128 more than the number of a signal that ended the program. A reader of standard output that
// goes away, as head does, ends it quietly with the status of SIGPIPE.
//
// Called by the name chunkah, it has the commands of chunkah.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/internal/heaplimit"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

func main() {
	// Writing to a closed pipe is an error like others, so that temporary files are removed: see results.
	signal.Ignore(syscall.SIGPIPE)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, ends...)
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			cancel(&signalError{s})
		}
		// A second one ends the program at once, also as the first process of a container, which no signal ends by itself.
		if s, ok := (<-signals).(syscall.Signal); ok {
			os.Exit(exitSignal + int(s))
		}
	}()
	heaplimit.Set()
	os.Exit(runAs(ctx, os.Args[0], os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// signalError is why a context ended: a signal asked the program to end.
type signalError struct{ signal syscall.Signal }

// Error implements error.
func (e *signalError) Error() string {
	if e.signal == syscall.SIGINT {
		return "interrupted"
	}
	return "ended by a signal: " + e.signal.String()
}

// streams are the standard streams of the program. Tests replace them.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	// exitSignal is added to the number of the signal that ended the program, as shells do.
	exitSignal = 128
)

// run runs the program under its own name.
func run(ctx context.Context, args []string, std streams) int {
	return runAs(ctx, "ostree-ext", args, std)
}

// runAs runs the program under the name that it was called by. Only here is an error turned into an exit status.
func runAs(ctx context.Context, name string, args []string, std streams) int {
	out := &results{to: std.out, w: ctxio.InterruptibleWriter(ctx, std.out)}
	std.out = out
	terminal, _ := std.in.(*os.File)
	if std.in != nil {
		std.in = ctxio.Interruptible(ctx, std.in)
	}
	root, args := rootOf(&app{streams: std, terminal: terminal, completing: completes(args)}, name, args)
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = out.failed
	}
	if err == nil {
		return exitOK
	}
	if ended, ok := errors.AsType[*signalError](context.Cause(ctx)); ok {
		// Whatever failed did so because of that.
		fmt.Fprintf(std.err, "error: %s\n", ended)
		return exitSignal + int(ended.signal)
	}
	if out.closed(err) {
		return exitSignal + int(syscall.SIGPIPE)
	}
	fmt.Fprintf(std.err, "error: %s\n", oneLine(err))
	if _, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(std.err, "Try '%s --help'.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailure
}

// usageError is an error in the arguments, as opposed to one in what they name.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef returns a usage error.
func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// oneLine returns the message of an error on a single line. A message from elsewhere may have several.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	return printable.Line(strings.Join(lines, ": "))
}
