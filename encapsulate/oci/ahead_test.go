package oci

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func TestReadingAheadGivesTheSameBytesAndTheError(t *testing.T) {
	t.Parallel()
	noise := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, aheadPiece - 1, aheadPiece, aheadPiece + 1, 7*aheadPiece + 5} {
		want := make([]byte, size)
		_, _ = noise.Read(want)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"as it is":            func(r io.Reader) io.Reader { return r },
			"in halves":           iotest.HalfReader,
			"data with the error": iotest.DataErrReader,
		} {
			a := readAhead(wrap(io.MultiReader(bytes.NewReader(want), iotest.ErrReader(io.ErrUnexpectedEOF))))
			got, err := io.ReadAll(a)
			if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %s: %d bytes, %v", size, name, len(got), err)
			}
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the error is gone the second time: %v", err)
			}
			a.Close()
		}
	}
}

func TestReadingAheadEndsWhereverItIsStopped(t *testing.T) {
	t.Parallel()
	for _, read := range []int{0, 1, aheadPiece, 3*aheadPiece + 1} {
		source := &counted{}
		a := readAhead(source)
		if _, err := io.ReadFull(a, make([]byte, read)); err != nil {
			t.Fatal(err)
		}
		a.Close()
		n := source.n
		if limit := read + (aheadPieces+1)*aheadPiece; n > limit {
			t.Errorf("%d bytes were read for %d, at most %d may be", n, read, limit)
		}
	}
}

// counted is a stream without end that counts what is read.
type counted struct{ n int }

func (c *counted) Read(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}
