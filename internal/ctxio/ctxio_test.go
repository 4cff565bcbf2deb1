package ctxio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
)

func TestReadingAndWritingEndWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := ctxio.Reader(ctx, strings.NewReader("abc"))
	var out bytes.Buffer
	w := ctxio.Writer(ctx, &out)
	one := make([]byte, 1)
	if n, err := r.Read(one); n != 1 || err != nil {
		t.Errorf("reading before the end: %d, %v", n, err)
	}
	if n, err := w.Write(one); n != 1 || err != nil {
		t.Errorf("writing before the end: %d, %v", n, err)
	}
	cancel()
	if rest, err := io.ReadAll(r); len(rest) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("reading after the end: %q, %v", rest, err)
	}
	if n, err := w.Write(one); n != 0 || !errors.Is(err, context.Canceled) || out.String() != "a" {
		t.Errorf("writing after the end: %d, %v, and %q was written", n, err, out.String())
	}
}

// ends runs do with a context that ends while it waits, and reports whether it then failed with the cause.
func ends(t *testing.T, what string, do func(context.Context) error) {
	t.Helper()
	why := errors.New("the reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		t.Fatalf("%s did not wait: %v", what, err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel(why)
	select {
	case err := <-done:
		if !errors.Is(err, why) {
			t.Errorf("%s: got %v, want the cause of the context's end", what, err)
		}
	case <-time.After(time.Minute):
		t.Fatalf("%s does not end with the context", what)
	}
}

func TestWaitingForSomebodyElseEndsWithTheContext(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	ends(t, "reading from a pipe that nobody writes to", func(ctx context.Context) error {
		_, err := ctxio.Interruptible(ctx, r).Read(make([]byte, 1))
		return err
	})
	ends(t, "writing to a pipe that nobody reads from", func(ctx context.Context) error {
		_, err := ctxio.InterruptibleWriter(ctx, w).Write(make([]byte, 1<<20))
		return err
	})
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ends(t, "opening a pipe that nobody has opened", func(ctx context.Context) error {
		_, err := ctxio.ReadFile(ctx, fifo)
		return err
	})
}

func TestInterruptibleTransfersAreComplete(t *testing.T) {
	t.Parallel()
	want := strings.Repeat("0123456789", 100_000)
	var got bytes.Buffer
	n, err := ctxio.InterruptibleWriter(t.Context(), &got).Write([]byte(want))
	if err != nil || n != len(want) || got.String() != want {
		t.Errorf("wrote %d of %d bytes, %v", n, len(want), err)
	}
	read, err := io.ReadAll(ctxio.Interruptible(t.Context(), strings.NewReader(want)))
	if err != nil || string(read) != want {
		t.Errorf("read %d of %d bytes, %v", len(read), len(want), err)
	}
	full := errors.New("full")
	if n, err := ctxio.InterruptibleWriter(t.Context(), limited{3, full}).Write([]byte("12345")); n != 3 ||
		!errors.Is(err, full) {
		t.Errorf("wrote %d bytes, %v; want 3 and the error", n, err)
	}
}

// limited is a writer that takes a number of bytes and then fails.
type limited struct {
	n   int
	err error
}

func (l limited) Write(p []byte) (int, error) { return min(l.n, len(p)), l.err }

func TestReadFileReadsFilesAndPipes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.WriteFile(file, []byte("content"), 0o600)); err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(fifo, []byte("content"), 0) }()
	for _, name := range []string{fifo, file} {
		if got, err := ctxio.ReadFile(t.Context(), name); string(got) != "content" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := ctxio.ReadFile(t.Context(), filepath.Join(dir, "nosuch")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
