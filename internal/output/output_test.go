package output_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	must(t, err)
	return string(data)
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestLinksStayAndLeadToTheFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		links map[string]string
		want  string // the file that is written
	}{
		{"no link", nil, "name"},
		{"to a file", map[string]string{"name": "old"}, "old"},
		{"to nothing yet", map[string]string{"name": "new"}, "new"},
		{"two in a row", map[string]string{"name": "d/second", "d/second": "../old"}, "old"},
		{"back through a directory that is one", map[string]string{"l": "d/e", "name": "l/../old"}, "d/old"},
		{"absolute", map[string]string{"name": "/old"}, "old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, os.MkdirAll(dir+"/d/e", 0o755))
			must(t, os.WriteFile(dir+"/old", []byte("old"), 0o600), os.WriteFile(dir+"/d/old", []byte("old"), 0o600))
			for name, to := range c.links {
				if filepath.IsAbs(to) {
					to = dir + to
				}
				must(t, os.Symlink(to, filepath.Join(dir, name)))
			}
			must(t, output.WriteFile(t.Context(), dir+"/name", []byte("new")))
			if got := content(t, filepath.Join(dir, c.want)); got != "new" {
				t.Errorf("%s has %q", c.want, got)
			}
			for name := range c.links {
				if st, err := os.Lstat(filepath.Join(dir, name)); err != nil || st.Mode().Type() != fs.ModeSymlink {
					t.Errorf("the link %s is gone: %v", name, err)
				}
			}
		})
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Symlink("b", dir+"/a"), os.Symlink("a", dir+"/b"))
	for name, want := range map[string]error{
		dir: unix.EISDIR, dir + "/a": unix.ELOOP, dir + "/no/file": fs.ErrNotExist, dir + "/no/": fs.ErrNotExist,
	} {
		if err := output.WriteFile(t.Context(), name, nil); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

func TestAFileIsReplacedInOneStepAndKeepsItsMode(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(name, []byte("old"), 0o600))
	f, err := output.Open(name)
	must(t, err)
	if f.Stream() {
		t.Error("a file is not a stream")
	}
	broken := errors.New("broken on purpose")
	for _, fail := range []error{broken, nil} {
		err := f.Write(t.Context(), func(w io.Writer) error {
			_, err := io.WriteString(w, "new")
			if got := content(t, name); got != "old" {
				t.Errorf("the file has %q before it is complete", got)
			}
			return errors.Join(err, fail)
		})
		if !errors.Is(err, fail) {
			t.Errorf("got %v, want %v", err, fail)
		}
	}
	if st, err := os.Stat(name); err != nil || st.Mode() != 0o600 || content(t, name) != "new" {
		t.Errorf("got mode %v, content %q, %v", st.Mode(), content(t, name), err)
	}
	if diff := cmp.Diff([]string{"f"}, list(t, filepath.Dir(name))); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}

func TestAPipeIsWrittenAsAStream(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "pipe")
	must(t, unix.Mkfifo(name, 0o600))
	var got []byte
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(50 * time.Millisecond) // so that the writer has to wait
		got, _ = os.ReadFile(name)
	})
	want := strings.Repeat("x", 1<<20)
	must(t, output.WriteFile(t.Context(), name, []byte(want)))
	wg.Wait()
	if string(got) != want {
		t.Errorf("%d of %d bytes came", len(got), len(want))
	}
}

func TestAPipeThatNobodyReadsIsGivenUp(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "pipe")
	must(t, unix.Mkfifo(name, 0o600))
	for _, what := range []string{"nobody opens it", "somebody opens it and does not read"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := output.WriteFile(ctx, name, make([]byte, 1<<20)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", what, err)
		}
		r, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
		must(t, err)
		defer r.Close()
	}
}

func TestASocketIsConnectedTo(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", name)
	must(t, err)
	defer l.Close()
	var got []byte
	var wg sync.WaitGroup
	wg.Go(func() {
		if c, err := l.Accept(); err == nil {
			got, _ = io.ReadAll(c)
			_ = c.Close()
		}
	})
	must(t, output.WriteFile(t.Context(), name, []byte("hello")))
	wg.Wait()
	if string(got) != "hello" {
		t.Errorf("got %q", got)
	}
}

// A descriptor is written at its current offset, as with a shell's redirection, even if it is a regular file.
func TestAnOpenDescriptorIsWrittenWhereItIs(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer f.Close()
	for i, name := range []string{"/dev/fd/%d", "/proc/self/fd/%d"} {
		_, err := fmt.Fprintf(f, "before %d ", i)
		must(t, err, output.WriteFile(t.Context(), fmt.Sprintf(name, f.Fd()), []byte("data ")))
	}
	if got := content(t, f.Name()); got != "before 0 data before 1 data " {
		t.Errorf("got %q", got)
	}
}

func TestSweepRemovesWhatNobodyHolds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, err := output.Temp(dir)
	must(t, err)
	defer held.Close()
	heldDir, err := output.TempDir(dir)
	must(t, err)
	defer heldDir.Remove()
	want := []string{filepath.Base(held.Name()), filepath.Base(heldDir.Name), ".ostree-ext-notes"}
	_, err = held.WriteString("x")
	must(t, err, os.WriteFile(heldDir.Name+"/f", nil, 0o600), os.WriteFile(dir+"/.ostree-ext-notes", nil, 0o600))

	// The files of a killed process are those without a lock.
	dead, err := output.Temp(dir)
	must(t, err)
	_, err = dead.WriteString("x")
	must(t, err, dead.Close())
	must(t, os.Mkdir(dir+"/.ostree-ext-tmp-dead", 0o700), os.WriteFile(dir+"/.ostree-ext-tmp-dead/f", nil, 0o600))
	// An empty directory may not be locked yet, unless it is old.
	must(t, os.WriteFile(dir+"/.ostree-ext-tmp-young", nil, 0o600), os.WriteFile(dir+"/.ostree-ext-tmp-old", nil, 0o600))
	old := time.Now().Add(-time.Minute)
	must(t, os.Chtimes(dir+"/.ostree-ext-tmp-old", old, old))
	want = append(want, ".ostree-ext-tmp-young")
	// A pipe or a link with such a name does not belong to us.
	must(t, unix.Mkfifo(dir+"/.ostree-ext-tmp-pipe", 0o600), os.Symlink("/etc", dir+"/.ostree-ext-tmp-link"))
	want = append(want, ".ostree-ext-tmp-pipe", ".ostree-ext-tmp-link")

	output.Sweep(dir)
	got := map[string]bool{}
	for _, name := range list(t, dir) {
		got[name] = true
	}
	wanted := map[string]bool{}
	for _, name := range want {
		wanted[name] = true
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}

func TestSweepingNeverTakesWhatIsBeingMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	var sweepers, makers sync.WaitGroup
	for range 2 {
		sweepers.Go(func() {
			for ctx.Err() == nil {
				output.Sweep(dir)
			}
		})
	}
	for i := range 4 {
		makers.Go(func() {
			for j := range 200 {
				f, err := output.Temp(dir)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = f.WriteString("x")
				if err := errors.Join(err, os.Rename(f.Name(), fmt.Sprintf("%s/%d-%d", dir, i, j)), f.Close()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	makers.Wait()
	stop()
	sweepers.Wait()
	if n := len(list(t, dir)); n != 800 {
		t.Errorf("%d of 800 files are there", n)
	}
}

func TestTheLockIsHeldByOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	var inside, n atomic.Int32
	for range 8 {
		wg.Go(func() {
			for range 20 {
				unlock, err := output.Lock(t.Context(), dir)
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two hold it at once")
				}
				n.Add(1)
				inside.Add(-1)
				if err := unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n.Load() != 160 || len(list(t, dir)) != 0 {
		t.Errorf("%d times, left %v", n.Load(), list(t, dir))
	}
	unlock, err := output.Lock(t.Context(), dir)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := output.Lock(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second holder: got %v", err)
	}
	must(t, unlock())
}
