package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/container/fetch"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// keptFile returns the name of the file for a blob.
func keptFile(dir string, d digest.Digest) string {
	return filepath.Join(dir, d.Algorithm().String()+"-"+d.Encoded())
}

// names lists a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// begin reads the first n bytes of a blob and is interrupted then, as by a signal. The bytes are kept.
func begin(t *testing.T, s *server, opts fetch.Options, d ocispec.Descriptor, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := newClient(t, s.host+"/a/b:c", plain, opts).Blob(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTheNextProcessContinuesABlob(t *testing.T) {
	t.Parallel()
	data := noise(40, 3*fetch.MaxBlock)
	d := describe(data)
	for _, c := range []struct {
		name string
		// n bytes are read first, and change is done to the file.
		n      int
		change func(t *testing.T, file string)
		want   string // the range of the next request
	}{
		{"in the middle", 500_000, nil, "bytes=500000-"},
		{"the first byte", 1, nil, "bytes=1-"},
		{"a whole block", fetch.MaxBlock, nil, "bytes=262144-"},
		{"all but one byte", len(data) - 1, nil, "bytes=786431-"},
		{"all of it", len(data), nil, ""},
		{"the file was cut in a block", 500_000, func(t *testing.T, file string) { truncate(t, file, -1) },
			"bytes=262144-"},
		{"the file was cut in the head of a block", 500_000, func(t *testing.T, file string) {
			truncate(t, file, 20+8+fetch.MaxBlock+5)
		}, "bytes=262144-"},
		{"the file has only its header", 500_000, func(t *testing.T, file string) { truncate(t, file, 20) }, ""},
		{"the file was cut in its header", 500_000, func(t *testing.T, file string) { truncate(t, file, 19) }, ""},
		{"the file is empty", 500_000, func(t *testing.T, file string) { truncate(t, file, 0) }, ""},
		{"zeros where a block was", 600_000, func(t *testing.T, file string) {
			overwrite(t, file, 20+8+fetch.MaxBlock, make([]byte, 8+fetch.MaxBlock))
		}, "bytes=262144-"},
		{"a bit has changed", 600_000, func(t *testing.T, file string) {
			overwrite(t, file, 20+8+1000, []byte{data[1000] ^ 1})
		}, ""},
		{"zeros where the header was", 500_000, func(t *testing.T, file string) { overwrite(t, file, 0, make([]byte, 20)) },
			""},
		{"more follows than the blob has", 500_000, func(t *testing.T, file string) {
			f, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			blocks := bytes.Repeat(f[20:20+8+fetch.MaxBlock], 4)
			overwrite(t, file, 20, blocks)
		}, "?"}, // its digest is wrong: see the next test
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, data)
			opts := fetch.Options{Dir: filepath.Join(t.TempDir(), "blobs"), Notice: noNotice(t)}
			begin(t, s, opts, d, c.n)
			if got := names(t, opts.Dir); c.n < len(data) && len(got) != 1 {
				t.Fatalf("kept: %q", got)
			}
			if c.change != nil {
				c.change(t, keptFile(opts.Dir, d.Digest))
			}
			got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, opts), d)
			if c.want == "?" {
				if !errors.Is(err, fetch.ErrKeptDamaged) {
					t.Errorf("got %v", err)
				}
			} else if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			} else if asked := s.asked(); !slices.Equal(asked, []string{"", c.want}) {
				t.Errorf("the ranges were %q", asked)
			}
			if got := names(t, opts.Dir); len(got) != 0 {
				t.Errorf("kept after the end: %q", got)
			}
		})
	}
}

// noNotice fails the test for a notice.
func noNotice(t *testing.T) func(fetch.Notice) {
	return func(n fetch.Notice) { t.Errorf("notice: %v", n) }
}

// truncate sets the size of a file, or shortens it.
func truncate(t *testing.T, file string, size int64) {
	t.Helper()
	if size < 0 {
		st, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		size += st.Size()
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, file string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestOnceAllWasKeptNoRequestIsMade(t *testing.T) {
	t.Parallel()
	data := noise(41, 2*fetch.MinKept)
	s := newServer(t, data)
	opts := fetch.Options{Dir: t.TempDir()}
	// The end was received, and the process was killed: nothing was closed.
	r, err := newClient(t, s.host+"/a/b:c", plain, opts).Blob(t.Context(), describe(data))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, len(data))); err != nil {
		t.Fatal(err)
	}
	file := keptFile(opts.Dir, describe(data).Digest)
	kept, err := os.ReadFile(file)
	if err := errors.Join(err, r.Close(), os.WriteFile(file, kept, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, opts), describe(data))
	if err != nil || !bytes.Equal(got, data) || len(names(t, opts.Dir)) != 0 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// The registry sent wrong bytes, and they were kept. That is only seen at the end.
func TestWrongBytesThatWereKeptAreFetchedAgain(t *testing.T) {
	t.Parallel()
	data := noise(42, 500_000)
	d := describe(data)
	s := newServer(t, data)
	s.bend = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n == 1 {
			whole(w, noise(43, len(data)))
		}
		return n == 1
	}
	opts := fetch.Options{Dir: t.TempDir()}
	begin(t, s, opts, d, 300_000)
	c := newClient(t, s.host+"/a/b:c", plain, opts)
	if _, err := read(t.Context(), c, d); !errors.Is(err, fetch.ErrKeptDamaged) || errors.Is(err, oci.ErrMismatch) {
		t.Errorf("got %v", err)
	}
	if got, err := read(t.Context(), c, d); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if want := []string{"", "bytes=300000-", ""}; !slices.Equal(s.asked(), want) {
		t.Errorf("the ranges were %q", s.asked())
	}
}

func TestWhatIsKeptWhenAReaderIsClosed(t *testing.T) {
	t.Parallel()
	data := noise(44, 500_000)
	d := describe(data)
	for _, c := range []struct {
		name string
		read func(t *testing.T, c *fetch.Client) error
		kept bool
	}{
		// Whoever reads may have noticed that the bytes are wrong. The next attempt must not meet them again.
		{"nothing failed", func(t *testing.T, c *fetch.Client) error {
			r, err := c.Blob(t.Context(), d)
			if err != nil {
				return err
			}
			_, err = io.ReadFull(r, make([]byte, 300_000))
			return errors.Join(err, r.Close())
		}, false},
		{"the registry failed", func(t *testing.T, c *fetch.Client) error {
			_, err := read(t.Context(), c, d)
			incomplete, ok := errors.AsType[*fetch.IncompleteError](err)
			if !ok || !incomplete.Kept || !strings.Contains(err.Error(), "continues") {
				return errors.Join(errors.New("not the error that was expected"), err)
			}
			return nil
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.bend = func(w http.ResponseWriter, r *http.Request, n int) bool {
				if n == 1 {
					cutAfter(w, data, 400_000)
				}
				panic(http.ErrAbortHandler)
			}
			opts := fetch.Options{Dir: t.TempDir(), Attempts: 2}
			if err := c.read(t, newClient(t, s.host+"/a/b:c", plain, opts)); err != nil {
				t.Error(err)
			}
			if got := names(t, opts.Dir); (len(got) == 1) != c.kept {
				t.Errorf("kept: %q", got)
			}
		})
	}
	// A blob that never began leaves nothing, and small ones neither.
	s := newServer(t, data[:1000])
	opts := fetch.Options{Dir: t.TempDir()}
	if _, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, opts), d); err == nil {
		t.Error("an absent blob was read")
	}
	begin(t, s, opts, describe(data[:1000]), 500)
	if got := names(t, opts.Dir); len(got) != 0 {
		t.Errorf("kept: %q", got)
	}
}

func TestOneReaderOfABlobKeepsIt(t *testing.T) {
	t.Parallel()
	data := noise(45, 500_000)
	d := describe(data)
	s := newServer(t, data)
	opts := fetch.Options{Dir: t.TempDir(), Notice: noNotice(t)}
	begin(t, s, opts, d, 300_000)
	first, err := newClient(t, s.host+"/a/b:c", plain, opts).Blob(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(first, make([]byte, 350_000)); err != nil {
		t.Fatal(err)
	}
	// Another process reads the same blob from its beginning, and does not touch the file.
	got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, opts), d)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if n, _, err := fetch.Sweep(t.Context(), opts.Dir, 0, false); n != 0 || err != nil {
		t.Errorf("%d files in use were swept, %v", n, err)
	}
	if got := names(t, opts.Dir); len(got) != 1 {
		t.Errorf("kept: %q", got)
	}
	rest, err := io.ReadAll(first)
	if err := errors.Join(err, first.Close()); err != nil || !bytes.Equal(rest, data[350_000:]) {
		t.Errorf("got %d bytes, %v", len(rest), err)
	}
	if want := []string{"", "bytes=300000-", ""}; !slices.Equal(s.asked(), want) {
		t.Errorf("the ranges were %q", s.asked())
	}
	if got := names(t, opts.Dir); len(got) != 0 {
		t.Errorf("kept: %q", got)
	}
}

func TestKeptBytesAreBounded(t *testing.T) {
	t.Parallel()
	var blobs [][]byte
	for i := range 4 {
		blobs = append(blobs, noise(byte(50+i), 400_000))
	}
	s := newServer(t, blobs...)
	opts := fetch.Options{Dir: t.TempDir(), MaxKept: 1_000_000}
	file := func(i int) string { return filepath.Base(keptFile(opts.Dir, describe(blobs[i]).Digest)) }
	for i := range 3 {
		begin(t, s, opts, describe(blobs[i]), 290_000)
		at := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(opts.Dir, file(i)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	// The three have 870 000 bytes, and the fourth will have 400 000: the oldest goes.
	begin(t, s, opts, describe(blobs[3]), 290_000)
	want := []string{file(1), file(2), file(3)}
	slices.Sort(want)
	if got := names(t, opts.Dir); !slices.Equal(got, want) {
		t.Errorf("kept: %q, want %q", got, want)
	}
	// A blob that never fits evicts nothing.
	small := opts
	small.MaxKept = 300_000
	begin(t, s, small, describe(blobs[0]), 290_000)
	if got := names(t, opts.Dir); !slices.Equal(got, want) {
		t.Errorf("kept: %q, want %q", got, want)
	}
	// One that is being read counts with all its bytes, and stays.
	r, err := newClient(t, s.host+"/a/b:c", plain, opts).Blob(t.Context(), describe(blobs[1]))
	if err != nil {
		t.Fatal(err)
	}
	small.MaxKept = 700_000
	begin(t, s, small, describe(blobs[0]), 290_000)
	if got := names(t, opts.Dir); !slices.Equal(got, []string{file(1)}) {
		t.Errorf("kept: %q", got)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestOldFilesAreSwept(t *testing.T) {
	t.Parallel()
	blobs := [][]byte{noise(60, 300_000), noise(61, 300_000), noise(62, 300_000)}
	s := newServer(t, blobs...)
	opts := fetch.Options{Dir: t.TempDir()}
	begin(t, s, opts, describe(blobs[0]), 290_000)
	begin(t, s, opts, describe(blobs[1]), 290_000)
	for i, age := range []time.Duration{8 * 24 * time.Hour, 6 * 24 * time.Hour} {
		at := time.Now().Add(-age)
		if err := os.Chtimes(keptFile(opts.Dir, describe(blobs[i]).Digest), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if n, size, err := fetch.Sweep(t.Context(), opts.Dir, 7*24*time.Hour, true); n != 1 || size < 290_000 || err != nil {
		t.Errorf("%d files would be swept, of %d bytes, %v", n, size, err)
	}
	begin(t, s, opts, describe(blobs[2]), 290_000)
	if got := names(t, opts.Dir); len(got) != 2 {
		t.Errorf("kept: %q", got)
	}
	if n, size, err := fetch.Sweep(t.Context(), opts.Dir, 0, false); n != 2 || size < 580_000 || err != nil {
		t.Errorf("%d files were swept, of %d bytes, %v", n, size, err)
	}
	if n, _, err := fetch.Sweep(t.Context(), filepath.Join(opts.Dir, "absent"), 0, false); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Nothing in the directory is followed or waited for, and what is not ours stays as it is.
func TestAHostileDirectoryIsNotUsed(t *testing.T) {
	t.Parallel()
	data := noise(70, 500_000)
	d := describe(data)
	for name, prepare := range map[string]func(t *testing.T, dir, file string) error{
		"a symlink in place of the file": func(t *testing.T, _, file string) error {
			target := filepath.Join(t.TempDir(), "target")
			t.Cleanup(func() {
				if _, err := os.Lstat(target); err == nil {
					t.Error("the link was followed")
				}
			})
			return os.Symlink(target, file)
		},
		"a FIFO in place of the file":      func(_ *testing.T, _, file string) error { return syscall.Mkfifo(file, 0o600) },
		"a directory in place of the file": func(_ *testing.T, _, file string) error { return os.Mkdir(file, 0o700) },
		"a file with two names": func(t *testing.T, _, file string) error {
			other := filepath.Join(filepath.Dir(file), "other")
			t.Cleanup(func() {
				if got, err := os.ReadFile(other); err != nil || string(got) != "precious" {
					t.Errorf("the file has now %q, %v", got, err)
				}
			})
			return errors.Join(os.WriteFile(other, []byte("precious"), 0o600), os.Link(other, file))
		},
		"a symlink in place of the directory": func(t *testing.T, dir, _ string) error {
			return errors.Join(os.Remove(dir), os.Symlink(t.TempDir(), dir))
		},
		"a file in place of the directory": func(_ *testing.T, dir, _ string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		},
		"a directory for all": func(_ *testing.T, dir, _ string) error { return os.Chmod(dir, 0o777) },
		"a directory that is locked for ever": func(t *testing.T, dir, _ string) error {
			f, err := os.Open(dir)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = f.Close() })
			return unix.Flock(int(f.Fd()), unix.LOCK_EX)
		},
		"no parent": func(_ *testing.T, dir, _ string) error { return os.RemoveAll(filepath.Dir(dir)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "parent", "blobs")
			file := keptFile(dir, d.Digest)
			if err := errors.Join(os.MkdirAll(dir, 0o700), prepare(t, dir, file)); err != nil {
				t.Fatal(err)
			}
			before := names(t, filepath.Dir(dir))
			s := newServer(t, data)
			var notices []string
			opts := fetch.Options{Dir: dir, Notice: func(n fetch.Notice) { notices = append(notices, n.String()) }}
			c := newClient(t, s.host+"/a/b:c", plain, opts)
			for range 2 {
				if got, err := read(t.Context(), c, d); err != nil || !bytes.Equal(got, data) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			}
			if len(notices) != 1 || !strings.Contains(notices[0], "not kept") {
				t.Errorf("notices: %q", notices)
			}
			if after := names(t, filepath.Dir(dir)); !slices.Equal(before, after) {
				t.Errorf("there is now %q, and was %q", after, before)
			}
		})
	}
}

// Names that are not those of kept files stay, whatever their age.
func TestOtherFilesInTheDirectoryStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := time.Now().Add(-1000 * time.Hour)
	hex := strings.Repeat("a", 64)
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "sha256-"+hex), 0o600),
		os.Symlink("/etc/passwd", filepath.Join(dir, "sha256-"+strings.Repeat("b", 64)))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"notes", "sha256-short", hex} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Chtimes(file, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	before := names(t, dir)
	if n, _, err := fetch.Sweep(t.Context(), dir, 0, false); n != 0 || err != nil {
		t.Errorf("%d files were swept, %v", n, err)
	}
	if after := names(t, dir); !slices.Equal(before, after) {
		t.Errorf("there is now %q, and was %q", after, before)
	}
}

// The sweep of libostree may remove the directory while a blob is read.
func TestTheDirectoryMayVanish(t *testing.T) {
	t.Parallel()
	data := noise(71, 1_000_000)
	s := newServer(t, data)
	opts := fetch.Options{Dir: filepath.Join(t.TempDir(), "blobs"), Notice: noNotice(t)}
	r, err := newClient(t, s.host+"/a/b:c", plain, opts).Blob(t.Context(), describe(data))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 300_000)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(opts.Dir); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(rest, data[300_000:]) {
		t.Errorf("got %d bytes, %v", len(rest), err)
	}
	begin(t, s, opts, describe(data), 300_000)
	if got := names(t, opts.Dir); len(got) != 1 {
		t.Errorf("kept: %q", got)
	}
}
