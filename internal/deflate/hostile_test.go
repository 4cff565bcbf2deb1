package deflate_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
)

// recurring returns n bytes in which the same few bytes recur, each time followed by others: all positions have the
// same hash, and no match is long.
func recurring(same, other, n int) []byte {
	head, junk := noise(same), noise(n)
	var out []byte
	for len(out) < n {
		out = append(append(out, head...), junk[len(out):][:min(other, n-len(out))]...)
	}
	return out[:n]
}

// TestAnotherReaderReadsIt decodes data that is hard on the search with a decoder other than the standard library's.
func TestAnotherReaderReadsIt(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"four bytes and one":            recurring(4, 1, 60_000),
		"four bytes and three":          recurring(4, 3, 60_000),
		"thirty bytes and one":          recurring(30, 1, 60_000),
		"a match less than the longest": recurring(257, 1, 60_000),
		"noise twice":                   append(noise(20_001), noise(20_001)...),
		"noise, then text":              append(noise(60_000), text(60_000)...),
	} {
		for level := deflate.MinLevel; level <= deflate.MaxLevel; level++ {
			r, err := gzip.NewReader(bytes.NewReader(compressed(t, data, level, 2, 1<<20)))
			if err != nil {
				t.Fatal(err)
			}
			r.Multistream(false)
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, level %d: %d bytes come back, %v", name, level, len(got), err)
			}
		}
	}
}

// TestNoiseTwiceIsStoredOnce checks that data which was passed quickly for lack of matches is still found when it
// recurs.
func TestNoiseTwiceIsStoredOnce(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat(noise(20_001), 10)
	for level := deflate.MinLevel; level <= deflate.MaxLevel; level++ {
		if out := compressed(t, data, level, 1, len(data)); len(out) > len(data)/5 {
			t.Errorf("level %d: %d bytes, of which the first 20001 count, became %d", level, len(data), len(out))
		}
	}
}

// TestGoroutinesEnd is not parallel, since it counts the goroutines of the process.
func TestGoroutinesEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		r, w := io.Pipe()
		z, err := deflate.NewWriter(w, deflate.DefaultLevel, 4)
		if err != nil {
			t.Fatal(err)
		}
		r.CloseWithError(io.ErrUnexpectedEOF)
		for range 3 {
			_, _ = z.Write(make([]byte, 1<<20))
		}
		for range 2 {
			if err := z.Close(); err != io.ErrUnexpectedEOF {
				t.Errorf("closing: %v", err)
			}
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// BenchmarkLevel measures one worker on the file that BENCH_FILE names, or on text.
func BenchmarkLevel(b *testing.B) {
	data := text(8 << 20)
	if name := os.Getenv("BENCH_FILE"); name != "" {
		var err error
		if data, err = os.ReadFile(name); err != nil {
			b.Fatal(err)
		}
	}
	run := func(name string, open func(io.Writer) (io.WriteCloser, error)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				var out counter
				w, err := open(&out)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.Write(data); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(out)/float64(len(data)), "ratio")
			}
		})
	}
	for level := deflate.MinLevel; level <= deflate.MaxLevel; level++ {
		run(fmt.Sprintf("ours=%d", level), func(w io.Writer) (io.WriteCloser, error) {
			return deflate.NewWriter(w, level, 1)
		})
	}
	for _, level := range []int{1, 6} {
		run(fmt.Sprintf("klauspost=%d", level), func(w io.Writer) (io.WriteCloser, error) {
			return gzip.NewWriterLevel(w, level)
		})
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
