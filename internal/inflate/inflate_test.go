package inflate_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	klauspost "github.com/klauspost/compress/gzip"

	"github.com/ostree-ext/ostree-ext-go/internal/inflate"
)

// contents are inputs whose compressed forms have all kinds of blocks, codes, lengths and distances.
func contents() map[string][]byte {
	source := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(source.Uint32())
	}
	var text, skewed bytes.Buffer
	for text.Len() < 700_000 {
		fmt.Fprintf(&text, "%x word%d ", source.Uint32(), source.IntN(3000))
	}
	// Frequencies that double from byte to byte make codes that need a second table lookup.
	for s := range 20 {
		skewed.Write(bytes.Repeat([]byte{byte(s)}, 1<<s))
	}
	mixed := skewed.Bytes()
	source.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	far := append(append(bytes.Clone(random[:32<<10]), random[:32<<10]...), random[:32<<10]...)
	all := map[string][]byte{
		"nothing": {}, "one byte": {7}, "zeros": make([]byte, 1_000_000), "random": random, "text": text.Bytes(),
		"skewed":                mixed,
		"the farthest distance": far,
	}
	for period := 2; period <= 17; period++ {
		all[fmt.Sprint("period ", period)] = bytes.Repeat(random[:period], 2000)
	}
	return all
}

func compress(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func read(r io.Reader) ([]byte, error) {
	z, err := inflate.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func TestReader_GivesBackWhatWasCompressed(t *testing.T) {
	for name, data := range contents() {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, 1, 2, 6, 9} {
			t.Run(fmt.Sprintf("%s, level %d", name, level), func(t *testing.T) {
				got, err := read(bytes.NewReader(compress(t, data, level)))
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("got %d bytes of %d, %v", len(got), len(data), err)
				}
			})
		}
	}
}

func TestReader_TakesInputHoweverItComes(t *testing.T) {
	data := contents()["text"][:200_000]
	packed := compress(t, data, 6)
	for name, r := range map[string]io.Reader{
		"byte by byte":        iotest.OneByteReader(bytes.NewReader(packed)),
		"halves":              iotest.HalfReader(bytes.NewReader(packed)),
		"error with the data": iotest.DataErrReader(bytes.NewReader(packed)),
	} {
		t.Run(name, func(t *testing.T) {
			z, err := inflate.NewReader(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(z, data); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReader_ReadsMembersOneAfterTheOther(t *testing.T) {
	packed := append(compress(t, []byte("one "), 6), compress(t, []byte("two"), 0)...)
	got, err := read(bytes.NewReader(packed))
	if err != nil || string(got) != "one two" {
		t.Errorf("all members: %q, %v", got, err)
	}
	z, err := inflate.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	if got, err = io.ReadAll(z); err != nil || string(got) != "one " {
		t.Errorf("the first member: %q, %v", got, err)
	}
	if _, err := read(bytes.NewReader(append(packed, "rest"...))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("behind the members: %v", err)
	}
	if _, err := read(bytes.NewReader(append(packed, "ten or more bytes"...))); !errors.Is(err, gzip.ErrHeader) {
		t.Errorf("behind the members: %v", err)
	}
}

func TestReader_PassesOverWhatAHeaderTells(t *testing.T) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	z.Name, z.Comment, z.Extra = "name", "comment", make([]byte, 1000)
	if _, err := z.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := read(&buf); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReader_ChecksTheSumOfAHeader(t *testing.T) {
	rest := compress(t, []byte("text"), 6)[10:]
	header := []byte{0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 255}
	sum := binary.LittleEndian.AppendUint16(bytes.Clone(header), uint16(crc32.ChecksumIEEE(header)))
	if got, err := read(bytes.NewReader(append(sum, rest...))); err != nil || string(got) != "text" {
		t.Errorf("right sum: %q, %v", got, err)
	}
	sum[10] ^= 1
	if _, err := read(bytes.NewReader(append(sum, rest...))); !errors.Is(err, gzip.ErrHeader) {
		t.Errorf("wrong sum: %v", err)
	}
}

func TestReader_RefusesWhatIsNoHeader(t *testing.T) {
	for name, text := range map[string]string{
		"other magic":     "PK345678901234567890",
		"other method":    "\x1f\x8b\x07\x00\x00\x00\x00\x00\x00\x00rest",
		"an endless name": "\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 100_000),
	} {
		if _, err := inflate.NewReader(strings.NewReader(text)); !errors.Is(err, gzip.ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := inflate.NewReader(strings.NewReader("")); err != io.EOF {
		t.Errorf("nothing: %v", err)
	}
}

func TestReader_ChecksSumAndSize(t *testing.T) {
	packed := compress(t, []byte("some text"), 6)
	for back := 1; back <= 8; back++ {
		bad := bytes.Clone(packed)
		bad[len(bad)-back] ^= 0x10
		if got, err := read(bytes.NewReader(bad)); !errors.Is(err, gzip.ErrChecksum) || string(got) != "some text" {
			t.Errorf("%d bytes before the end: %q, %v", back, got, err)
		}
	}
}

func TestReader_SaysWhereAStreamWasCut(t *testing.T) {
	data := contents()["text"][:3000]
	for _, level := range []int{gzip.NoCompression, gzip.HuffmanOnly, 6} {
		packed := compress(t, data, level)
		for n := range packed {
			got, err := read(bytes.NewReader(packed[:n]))
			if n == 0 && err == io.EOF {
				continue
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("level %d, %d of %d bytes: %v", level, n, len(packed), err)
			}
			if !bytes.HasPrefix(data, got) {
				t.Errorf("level %d, %d of %d bytes: what came before is wrong", level, n, len(packed))
			}
		}
	}
}

func TestReader_PassesOnErrorsOfItsInput(t *testing.T) {
	broken := errors.New("broken")
	packed := compress(t, contents()["text"], 6)
	for _, n := range []int{5, 11, 1000, len(packed) - 3} {
		if _, err := read(io.MultiReader(bytes.NewReader(packed[:n]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if _, err := read(idle{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// bits makes a stream of fields, each given as a value and its number of bits.
func bits(fields ...[2]int) []byte {
	out, at := []byte{}, 0
	for _, f := range fields {
		for i := range f[1] {
			if at%8 == 0 {
				out = append(out, 0)
			}
			out[at/8] |= byte(f[0]>>i&1) << (at % 8)
			at++
		}
	}
	// Append enough bytes that the stream is not refused for being cut.
	return append(out, make([]byte, 64)...)
}

func TestReader_RefusesWhatIsNoCode(t *testing.T) {
	lengths := func(values ...int) (fields [][2]int) {
		for _, v := range values {
			fields = append(fields, [2]int{v, 3})
		}
		return fields
	}
	dynamic := func(lit, dist, meta int, rest ...[2]int) [][2]int {
		return append([][2]int{{1, 1}, {2, 2}, {lit, 5}, {dist, 5}, {meta, 4}}, rest...)
	}
	for name, fields := range map[string][][2]int{
		"a block of the fourth kind":   {{1, 1}, {3, 2}},
		"a stored block's length":      {{1, 1}, {0, 2}, {0, 5}, {5, 16}, {5, 16}},
		"287 codes of literals":        dynamic(30, 0, 0),
		"31 codes of distances":        dynamic(0, 30, 0),
		"too many short codes":         dynamic(0, 0, 0, lengths(1, 1, 1, 0)...),
		"codes that leave gaps":        dynamic(0, 0, 0, lengths(2, 2, 0, 0)...),
		"a repetition of nothing":      dynamic(0, 0, 0, append(lengths(1, 1, 0, 0), [2]int{0, 1})...),
		"a distance before the start":  {{1, 1}, {1, 2}, {0b1000000, 7}, {0, 5}},
		"a length that there is not":   {{1, 1}, {1, 2}, {0b01100011, 8}},
		"a distance that there is not": {{1, 1}, {1, 2}, {0b00001100, 8}, {0b0100000, 7}, {0b01111, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			stream := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, bits(fields...)...)
			_, err := read(bytes.NewReader(stream))
			if _, ok := errors.AsType[flate.CorruptInputError](err); !ok {
				t.Errorf("got %v", err)
			}
			if _, err := readWith(gzip.NewReader(bytes.NewReader(stream))); err == nil {
				t.Error("the standard library takes it")
			}
		})
	}
}

func readWith(r io.Reader, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// FuzzReader compares with the standard library: both accept the same input and return the same data.
func FuzzReader(f *testing.F) {
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
	for _, data := range contents() {
		for _, level := range []int{gzip.HuffmanOnly, 0, 1, 9} {
			f.Add(compress(f, data[:min(len(data), 2000)], level)[len(header):])
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		stream := append(bytes.Clone(header), body...)
		const limit = 4 << 20
		want, wantErr := readSome(gzip.NewReader(bytes.NewReader(stream)))(limit)
		for name, r := range map[string]io.Reader{"whole": bytes.NewReader(stream),
			"in bytes": iotest.OneByteReader(bytes.NewReader(stream))} {
			got, err := readSome(inflate.NewReader(r))(limit)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%s: %v, want %v", name, err, wantErr)
			}
			if err == nil && len(got) != len(want) {
				t.Fatalf("%s: %d bytes, want %d", name, len(got), len(want))
			}
			// How much is returned before an error depends on how far a decoder looks ahead.
			common := min(len(got), len(want))
			if max(len(got), len(want))-common > 300 || !bytes.Equal(got[:common], want[:common]) {
				t.Fatalf("%s: %d bytes differ from %d", name, len(got), len(want))
			}
		}
	})
}

func readSome(r io.Reader, err error) func(int64) ([]byte, error) {
	return func(limit int64) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, limit))
	}
}

// BenchmarkReader and the libraries decompress text, or the gzip file that OSTREE_EXT_BENCH_GZIP names.
func BenchmarkReader(b *testing.B) {
	packed := compress(b, contents()["text"], 6)
	if name := os.Getenv("OSTREE_EXT_BENCH_GZIP"); name != "" {
		var err error
		if packed, err = os.ReadFile(name); err != nil {
			b.Fatal(err)
		}
	}
	for name, open := range map[string]func(io.Reader) (io.Reader, error){
		"ours":      func(r io.Reader) (io.Reader, error) { return inflate.NewReader(r) },
		"standard":  func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"klauspost": func(r io.Reader) (io.Reader, error) { return klauspost.NewReader(r) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				z, err := open(bytes.NewReader(packed))
				if err != nil {
					b.Fatal(err)
				}
				// Hide io.WriterTo, which the importer does not use.
				n, err := io.Copy(io.Discard, struct{ io.Reader }{z})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n)
			}
		})
	}
}
