package deflate_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
)

// compressed compresses data with a Writer, writing pieces of the given size.
func compressed(t testing.TB, data []byte, level, workers, piece int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := deflate.NewWriter(&out, level, workers)
	if err != nil {
		t.Fatal(err)
	}
	for p := data; len(p) > 0; {
		n := min(piece, len(p))
		if _, err := w.Write(p[:n]); err != nil {
			t.Fatal(err)
		}
		p = p[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// decompressed decompresses one gzip member. Nothing may follow it.
func decompressed(t testing.TB, data []byte) []byte {
	t.Helper()
	in := bytes.NewReader(data)
	r, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	r.Multistream(false)
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if in.Len() != 0 {
		t.Errorf("%d bytes follow the gzip member", in.Len())
	}
	return out
}

// text returns n bytes that compress like text. They are the same each time.
func text(n int) []byte {
	rnd := rand.New(rand.NewPCG(7, 9))
	words := make([]string, 3000)
	for i := range words {
		b := make([]byte, 2+rnd.IntN(9))
		for j := range b {
			b[j] = "etaoinshrdlucmfwypvbgkqjxz"[min(rnd.IntN(26), rnd.IntN(26))]
		}
		words[i] = string(b)
	}
	var out strings.Builder
	for out.Len() < n {
		out.WriteString(words[min(rnd.IntN(len(words)), rnd.IntN(len(words)))])
		out.WriteByte(" \n\t,"[min(rnd.IntN(4), rnd.IntN(4))])
	}
	return []byte(out.String()[:n])
}

func noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(3, 5))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func inputs() map[string][]byte {
	far := append(append(noise(300), make([]byte, 32768-300)...), noise(300)...)
	return map[string][]byte{
		"nothing":                     {},
		"one byte":                    {7},
		"three bytes":                 []byte("abc"),
		"five bytes":                  []byte("aaaaa"),
		"zeros":                       make([]byte, 3<<20),
		"noise":                       noise(1 << 20),
		"text":                        text(2<<20 + 12345),
		"a block exactly":             text(1 << 20),
		"a block and a byte":          text(1<<20 + 1),
		"a match at the whole window": far,
		"a match beyond it":           append(append(noise(300), make([]byte, 32768)...), noise(300)...),
		"periods of three":            bytes.Repeat([]byte("abc"), 100_000),
		"periods of 258":              bytes.Repeat(noise(258), 1000),
		"text in noise in text":       append(append(text(200_000), noise(200_000)...), text(200_000)...),
		"every byte in turn": bytes.Repeat(func() (b []byte) {
			for i := range 256 {
				b = append(b, byte(i))
			}
			return
		}(), 500),
	}
}

func TestWhatIsCompressedComesBack(t *testing.T) {
	t.Parallel()
	for name, data := range inputs() {
		for level := deflate.MinLevel; level <= deflate.MaxLevel; level++ {
			out := compressed(t, data, level, 2, 100_000)
			if !bytes.Equal(decompressed(t, out), data) {
				t.Errorf("%s, level %d: comes back different", name, level)
			}
			if limit := len(data) + len(data)/1000 + 64; len(out) > limit {
				t.Errorf("%s, level %d: %d bytes became %d", name, level, len(data), len(out))
			}
		}
	}
}

// TestOutputDependsOnInputAndLevelAlone varies the number of workers and the size of the writes.
func TestOutputDependsOnInputAndLevelAlone(t *testing.T) {
	t.Parallel()
	data := text(5<<20 + 1)
	want := compressed(t, data, deflate.DefaultLevel, 1, len(data))
	for _, workers := range []int{0, 1, 2, 3, 8} {
		for _, piece := range []int{512, 65_537, 1 << 20, 3 << 20} {
			if !bytes.Equal(compressed(t, data, deflate.DefaultLevel, workers, piece), want) {
				t.Errorf("%d workers, writes of %d bytes: other output", workers, piece)
			}
		}
	}
}

// TestOutputStaysWhatItIs fixes the output for ever: if it changed, existing layers would get other digests.
func TestOutputStaysWhatItIs(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/golden")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	data := append(append(text(1_500_000), noise(100_000)...), make([]byte, 100_000)...)
	for level := deflate.MinLevel; level <= deflate.MaxLevel; level++ {
		out := compressed(t, data, level, 2, 1<<20)
		sum := sha256.Sum256(out)
		fmt.Fprintf(&got, "%d %d %s\n", level, len(out), hex.EncodeToString(sum[:]))
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile("testdata/golden", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(golden) {
		t.Errorf("the output changed; got\n%swant\n%s", got.String(), golden)
	}
}

func TestGzipHeaderIsEmpty(t *testing.T) {
	t.Parallel()
	for level, flags := range map[int]byte{1: 4, 6: 0, 9: 2} {
		out := compressed(t, []byte("x"), level, 1, 1)
		if want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, flags, 0xff}; !bytes.Equal(out[:10], want) {
			t.Errorf("level %d: header % x, want % x", level, out[:10], want)
		}
	}
}

// TestBlocksJoinToOneStream compresses pieces independently, each with the data before it as dictionary.
func TestBlocksJoinToOneStream(t *testing.T) {
	t.Parallel()
	e, err := deflate.NewEncoder(deflate.DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	data := text(300_000)
	for _, size := range []int{1, 3, 4, 5, 1000, 40_000} {
		var stream []byte
		for pos := 0; pos < min(len(data), 200*size); pos += size {
			end := min(pos+size, len(data), 200*size)
			stream = e.AppendBlock(stream, data[:pos], data[pos:end], false)
		}
		stream = e.AppendBlock(stream, nil, nil, true)
		got, err := io.ReadAll(flate.NewReader(bytes.NewReader(stream)))
		if err != nil || !bytes.Equal(got, data[:min(len(data), 200*size)]) {
			t.Errorf("pieces of %d bytes: %d bytes come back, %v", size, len(got), err)
		}
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestAnErrorOfTheWriterComesBack(t *testing.T) {
	t.Parallel()
	for _, after := range []int{0, 100, 1 << 20} {
		w, err := deflate.NewWriter(&failing{after}, deflate.DefaultLevel, 2)
		if err != nil {
			t.Fatal(err)
		}
		data := noise(1 << 20)
		for range 8 {
			_, _ = w.Write(data)
		}
		if err := w.Close(); err == nil || err.Error() != "disk full" {
			t.Errorf("after %d bytes: %v", after, err)
		}
		if _, err := w.Write(data); !errors.Is(err, deflate.ErrClosed) {
			t.Errorf("writing after the end: %v", err)
		}
	}
}

func TestLevelsThatDoNotExist(t *testing.T) {
	t.Parallel()
	for _, level := range []int{-1, 0, 10} {
		if _, err := deflate.NewWriter(io.Discard, level, 1); err == nil {
			t.Errorf("level %d is taken", level)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("abcabcabcabcabcabcabc"), 6, 10)
	f.Add(noise(1000), 1, 0)
	f.Add(text(5000), 9, 4000)
	f.Add(make([]byte, 40_000), 3, 33_000)
	f.Fuzz(func(t *testing.T, data []byte, level, split int) {
		e, err := deflate.NewEncoder(level)
		if err != nil {
			return
		}
		split = max(0, min(split, len(data)))
		stream := e.AppendBlock(nil, nil, data[:split], false)
		stream = e.AppendBlock(stream, data[:split], data[split:], true)
		got, err := io.ReadAll(flate.NewReader(bytes.NewReader(stream)))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("level %d: %x comes back as %x, %v", level, data, got, err)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	data := text(8 << 20)
	for _, level := range []int{1, 6, 9} {
		b.Run(fmt.Sprintf("level=%d", level), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				b.ReportMetric(float64(len(compressed(b, data, level, 1, 1<<20)))/float64(len(data)), "ratio")
			}
		})
	}
}

// stalled is a writer that blocks until it is released.
type stalled chan struct{}

func (s stalled) Write(p []byte) (int, error) {
	<-s
	return len(p), nil
}

// A registry may accept one layer after the other while all of them are compressed.
func TestStreamsThatNobodyReadsDoNotStopOthers(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 2, 8} {
		pool, err := deflate.NewPool(deflate.DefaultLevel, workers)
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte("what is compressed "), 1<<20)
		reads := make(stalled)
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				w := pool.NewWriter(reads)
				if _, err := w.Write(data); err != nil {
					t.Error(err)
				}
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		for range 3 {
			var out bytes.Buffer
			w := pool.NewWriter(&out)
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), compressed(t, data, deflate.DefaultLevel, 1, len(data))) {
				t.Error("the bytes depend on the other streams")
			}
		}
		close(reads)
		wait.Wait()
	}
}

func TestAStreamThatFailedGivesItsRoomBack(t *testing.T) {
	t.Parallel()
	pool, err := deflate.NewPool(deflate.MinLevel, 1)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 3<<20)
	for range 20 {
		w := pool.NewWriter(&failing{0})
		for err == nil {
			_, err = w.Write(data)
		}
		if closed := w.Close(); closed == nil {
			t.Error("closing says nothing of the failure")
		}
		err = nil
	}
	w := pool.NewWriter(io.Discard)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
