package frontend

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/gateway/client"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

const (
	// startTimeout is how long to wait for the first line of a process.
	startTimeout = time.Minute
	// stopTimeout is how long to wait for a container to end.
	stopTimeout = 20 * time.Second
	// endTimeout is how long the news that a process has ended may take.
	endTimeout = 5 * time.Second
	// maxLine limits a line of a process in bytes.
	maxLine = 64 << 10
)

// errEnded is wrapped by errors that say that a process ended before it was stopped.
var errEnded = errors.New("build again")

// task is what our program does in a container of the builder.
type task struct {
	// name says what it is, for people, and until says before what it may not end.
	name, until string
	// root is the container's root directory, and program is the path of our program in it.
	root    client.Reference
	program string
	mounts  []client.Mount
	network pb.NetMode
	args    []string
	env     []string
}

// process is a container of the builder that runs our program.
type process struct {
	task  *task
	first string        // the first line that it wrote
	lines *bufio.Reader // its standard output
	stop  func()

	writing sync.Mutex
	answers io.WriteCloser

	messages tail          // its standard error
	ended    chan struct{} // closed when it has ended
	exit     error         // how it ended; valid after that
}

// start runs our program and waits for its first line.
func (b *job) start(ctx context.Context, do *task) (*process, error) {
	native := platforms.Normalize(b.native)
	ctr, err := b.client.NewContainer(ctx, client.NewContainerRequest{
		NetMode: do.network,
		Platform: &pb.Platform{
			OS: native.OS, Architecture: native.Architecture, Variant: native.Variant,
		},
		Mounts: append([]client.Mount{readonly("/", do.root)}, do.mounts...),
	})
	if err != nil {
		return nil, err
	}
	release := func() {
		// Release it even if the build was cancelled.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = ctr.Release(ctx)
	}
	out, stdout := io.Pipe()
	stdin, answers := io.Pipe()
	p := &process{
		task: do, lines: bufio.NewReaderSize(out, maxLine), answers: answers, ended: make(chan struct{}),
	}
	proc, err := ctr.Start(ctx, client.StartRequest{
		Args: append([]string{do.program}, do.args...), Cwd: "/", Stdin: stdin, Stdout: stdout, Stderr: &p.messages,
		Env: do.env,
	})
	if err != nil {
		release()
		return nil, err
	}
	go func() {
		p.exit = proc.Wait()
		close(p.ended)
		gone := p.failure()
		_, _ = stdout.CloseWithError(gone), stdin.CloseWithError(gone)
	}()
	p.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_, _ = out.Close(), answers.Close()
		_ = proc.Signal(ctx, syscall.SIGKILL)
		release()
		<-p.ended
	})
	timed, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	defer context.AfterFunc(timed, func() { _ = out.CloseWithError(context.Cause(timed)) })()
	if p.first, err = p.line(); err != nil {
		failure := p.failure()
		p.stop()
		if failure != nil {
			return nil, failure
		}
		return nil, fmt.Errorf("starting %s: %w", do.name, err)
	}
	return p, nil
}

// line reads a line. It must fit into the buffer.
func (p *process) line() (string, error) {
	line, err := p.lines.ReadSlice('\n')
	return strings.TrimSpace(string(line)), err
}

// awaitEnd waits until the process has ended, but not longer than d.
func (p *process) awaitEnd(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// failure returns an error that says how the process ended and what it wrote to standard error, or nil if it runs. The
// error wraps [errEnded].
func (p *process) failure() error {
	select {
	case <-p.ended:
	default:
		return nil
	}
	said := ""
	if text := p.messages.text(); text != "" {
		said = ", saying: " + text
	}
	return fmt.Errorf("%s %s before %s%s: %w", p.task.name, howEnded(p.exit), p.task.until, said, errEnded)
}

// howEnded describes the end of a process in a container.
func howEnded(err error) string {
	var exit *gateway.ExitError
	switch {
	case err == nil:
		// It ended by itself, or the news of its exit code came after that of its end, which happens if it was sent an
		// answer at the time.
		return "ended, the builder does not say how,"
	case !errors.As(err, &exit) || exit.ExitCode >= gateway.UnknownExitStatus:
		return "ended (" + printable.Line(firstLine(err.Error())) + ")"
	case exit.ExitCode == 128+uint32(syscall.SIGKILL):
		return "was killed by signal 9, which the kernel also sends if there is no memory left,"
	case exit.ExitCode > 128 && exit.ExitCode < 128+65:
		n := syscall.Signal(exit.ExitCode - 128)
		return fmt.Sprintf("was killed by signal %d (%v)", int(n), n)
	}
	return fmt.Sprintf("ended with exit code %d", exit.ExitCode)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

// maxTail limits a tail in bytes.
const maxTail = 1000

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-maxTail):]
	return len(p), nil
}

// Close implements [io.Closer].
func (t *tail) Close() error { return nil }

// text returns the end as one line for people.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return printable.Line(strings.Join(strings.Fields(string(t.data)), " "))
}
