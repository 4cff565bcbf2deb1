package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/fetch"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

func TestABlobIsReadToItsEndWhateverTheConnectionDoes(t *testing.T) {
	t.Parallel()
	data := noise(1, 300_000)
	half := len(data) / 2
	chunked := func(w http.ResponseWriter, p []byte) {
		_ = http.NewResponseController(w).Flush() // before the first byte: the length stays unknown
		_, _ = w.Write(p)
	}
	for _, c := range []struct {
		name string
		bend func(w http.ResponseWriter, r *http.Request, n int) bool
		want []string
	}{
		{"nothing", nil, []string{""}},
		{"it is cut in the middle", func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 1 {
				cutAfter(w, data, half)
			}
			return false
		}, []string{"", "bytes=150000-"}},
		{"it is cut before the first byte", func(_ http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
			return false
		}, nil},
		{"it sends nothing more", func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				hang(w, r, data, half)
			}
			return n == 1
		}, []string{"", "bytes=150000-"}},
		{"it does not answer", func(_ http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				<-r.Context().Done()
			}
			return n == 1
		}, []string{"", ""}},
		{"the length is unknown, and the stream ends early", func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 1 {
				chunked(w, data[:half])
			}
			return n == 1
		}, []string{"", "bytes=150000-"}},
		{"the length is unknown", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			chunked(w, data)
			return true
		}, []string{""}},
		{"Range is ignored", func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 1 {
				cutAfter(w, data, half)
			}
			_, _ = w.Write(data)
			return true
		}, []string{"", "bytes=150000-"}},
		{"Range is refused", func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				cutAfter(w, data, half)
			}
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			return false
		}, []string{"", "bytes=150000-", ""}},
		{"another range comes", func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				cutAfter(w, data, half)
			}
			if r.Header.Get("Range") != "" {
				ranged(w, fmt.Sprintf("bytes %d-%d/%d", half-1, len(data)-1, len(data)), data[half-1:])
				return true
			}
			return false
		}, []string{"", "bytes=150000-", ""}},
		{"only a part of the range comes", func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				cutAfter(w, data, half)
			}
			from := start(r)
			to := min(from+60_000, len(data))
			ranged(w, fmt.Sprintf("bytes %d-%d/*", from, to-1), data[from:to])
			return true
		}, []string{"", "bytes=150000-", "bytes=210000-", "bytes=270000-"}},
		{"it is cut every 1000 bytes", func(w http.ResponseWriter, r *http.Request, _ int) bool {
			cutPart(w, r, data, 1000)
			return true
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, data)
			s.bend = c.bend
			got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, fetch.Options{Stall: 500 * time.Millisecond}),
				describe(data))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			if asked := s.asked(); c.want != nil && !slices.Equal(asked, c.want) {
				t.Errorf("the ranges were %q, want %q", asked, c.want)
			}
		})
	}
}

func TestAnswersThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	data := noise(2, 100_000)
	half := len(data) / 2
	always := func(f func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int) bool { f(w); return true }
	}
	// then answers the second and each later request, after the first was cut.
	then := func(header string, p []byte) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				cutAfter(w, data, half)
			}
			ranged(w, header, p)
			return true
		}
	}
	for _, c := range []struct {
		name string
		bend func(http.ResponseWriter, *http.Request, int) bool
		want error
		says string
	}{
		{"too short", always(func(w http.ResponseWriter) { whole(w, data[:half]) }), oci.ErrMismatch, "50000 bytes"},
		{"too long", always(func(w http.ResponseWriter) { whole(w, append(bytes.Clone(data), 'x')) }),
			oci.ErrMismatch, "100001 bytes"},
		{"too long, without a length", always(func(w http.ResponseWriter) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(append(bytes.Clone(data), 'x'))
		}), oci.ErrMismatch, "longer than"},
		{"other bytes", always(func(w http.ResponseWriter) { _, _ = w.Write(noise(3, len(data))) }), oci.ErrMismatch,
			"has the digest"},
		{"a part that nobody asked for", always(func(w http.ResponseWriter) {
			ranged(w, "bytes 0-99999/100000", data)
		}), nil, "status 206"},
		{"no content", always(func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }), nil, "status 204"},
		{"another total", then("bytes 50000-99999/200000", data[half:]), oci.ErrMismatch, "200000 bytes"},
		{"another beginning", then("bytes 49999-99999/100000", data[half-1:]), nil, "status 206"},
		{"a range beyond the end", then("bytes 50000-100000/100000", data[half:]), nil, "status 206"},
		{"a range that is not one", then("bytes fifty-", data[half:]), nil, "status 206"},
		{"a range of another length", then("bytes 50000-99999/100000", data[half+1:]), nil, "status 206"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.bend = c.bend
			var notices []string
			opts := fetch.Options{Notice: func(n fetch.Notice) { notices = append(notices, n.String()) }}
			got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, opts), describe(data))
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %d bytes, %v; want %v", len(got), err, c.want)
			}
			if said := err.Error() + strings.Join(notices, "\n"); !strings.Contains(said, c.says) {
				t.Errorf("said %q, without %q", said, c.says)
			}
			if n := len(s.asked()); n > 4 {
				t.Errorf("the server was asked %d times", n)
			}
		})
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	data := noise(4, 100_000)
	d := describe(data)
	for _, c := range []struct {
		name     string
		bend     func(w http.ResponseWriter, r *http.Request, n int) bool
		want     error
		offset   int64
		requests [2]int
	}{
		{"it never sends more", func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				cutAfter(w, data, 50_000)
			}
			panic(http.ErrAbortHandler)
		}, fetch.ErrCut, 50_000, [2]int{4, 12}}, // net/http repeats a request on a connection that was used before
		{"it sends a byte at a time", func(w http.ResponseWriter, r *http.Request, _ int) bool {
			cutPart(w, r, data, 1)
			return true
		}, fetch.ErrCut, 50, [2]int{48, 50}},
		{"it stalls", func(w http.ResponseWriter, r *http.Request, _ int) bool {
			<-r.Context().Done()
			return true
		}, fetch.ErrStalled, 0, [2]int{4, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, data)
			s.bend = c.bend
			clock := newClock()
			client := newClient(t, s.host+"/a/b:c", plain,
				fetch.Options{Attempts: 4, Stall: 50 * time.Millisecond, Clock: clock})
			client.SetMaxConnections(50)
			_, err := read(t.Context(), client, d)
			incomplete, ok := errors.AsType[*fetch.IncompleteError](err)
			// A byte that was sent may be lost with the connection.
			if !ok || !errors.Is(err, c.want) || incomplete.Kept || incomplete.Offset > c.offset ||
				incomplete.Offset < c.offset-2 {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, oci.ErrMismatch) {
				t.Errorf("it is taken for wrong content: %v", err)
			}
			if n := len(s.asked()); n < c.requests[0] || n > c.requests[1] {
				t.Errorf("the server was asked %d times", n)
			}
			if clock.total() > time.Minute {
				t.Errorf("waited %v", clock.slept)
			}
		})
	}
}

func TestARegistryThatIsGoneIsAskedForHalfAMinute(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Close()
	clock := newClock()
	_, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, fetch.Options{Clock: clock}), describe([]byte("x")))
	if _, ok := errors.AsType[*fetch.IncompleteError](err); !ok || !strings.Contains(err.Error(), s.host) {
		t.Errorf("got %v", err)
	}
	if total := clock.total(); total < 20*time.Second || total > 40*time.Second {
		t.Errorf("waited %v", clock.slept)
	}
}

func TestReadingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	data := noise(5, 100_000)
	s := newServer(t, data)
	s.bend = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		hang(w, r, data, 10)
		return true
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := newClient(t, s.host+"/a/b:c", plain, fetch.Options{}).Blob(ctx, describe(data))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	// And so does waiting.
	s.bend = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c, err := fetch.New(s.host+"/a/b:c", plain, fetch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Blob(ctx, describe(data)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAllReadersShareTheRate(t *testing.T) {
	t.Parallel()
	data := noise(6, 100_000)
	s := newServer(t, data)
	c := newClient(t, s.host+"/a/b:c", plain, fetch.Options{Rate: 1_000_000})
	began := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := read(t.Context(), c, describe(data)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	// 400 000 bytes, less the eighth of a second that may come at once.
	if took := time.Since(began); took < 270*time.Millisecond || took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestBlobsWithoutASizeOrDigestAreNotAskedFor(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := newClient(t, s.host+"/a/b:c", plain, fetch.Options{})
	if _, err := c.Blob(t.Context(), ocispec.Descriptor{Digest: digest.FromString("x"), Size: -1}); !errors.Is(err,
		fetch.ErrSize) {
		t.Errorf("got %v", err)
	}
	for _, d := range []digest.Digest{"", "sha256:../x", "md5:00"} {
		if _, err := c.Blob(t.Context(), ocispec.Descriptor{Digest: d, Size: 1}); err == nil {
			t.Errorf("%q was accepted", d)
		}
	}
	if s.all != 0 {
		t.Errorf("%d requests were sent", s.all)
	}
	empty := newServer(t, []byte{})
	c = newClient(t, empty.host+"/a/b:c", plain, fetch.Options{})
	if got, err := read(t.Context(), c, describe(nil)); err != nil {
		t.Errorf("an empty blob: %d bytes, %v", len(got), err)
	}
}
