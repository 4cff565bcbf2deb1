package oci

import "io"

// Sizes of what is read ahead, in bytes and pieces.
const (
	aheadPiece  = 128 << 10
	aheadPieces = 4
)

// aheadReader reads a stream in a goroutine of its own, so that decompressing goes on while what came before is used.
// It must be closed, which waits for the goroutine; the stream has to be closed after that.
type aheadReader struct {
	ready, free chan []byte
	stop        chan struct{}
	err         error  // of the stream; set before ready is closed
	piece, rest []byte // being read
}

func readAhead(r io.Reader) *aheadReader {
	a := &aheadReader{ready: make(chan []byte, aheadPieces), free: make(chan []byte, aheadPieces), stop: make(chan struct{})}
	for range aheadPieces {
		a.free <- make([]byte, aheadPiece)
	}
	go a.run(r)
	return a
}

func (a *aheadReader) run(r io.Reader) {
	defer close(a.ready)
	for {
		var piece []byte
		select {
		case piece = <-a.free:
		case <-a.stop:
			return
		}
		n, err := readSome(r, piece[:aheadPiece])
		a.ready <- piece[:n] // never waits: there is room for all pieces
		if err != nil {
			a.err = err
			return
		}
	}
}

// readSome fills p unless the stream ends or fails.
func readSome(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// Read implements [io.Reader]. An error of the stream comes after all that was read before it.
func (a *aheadReader) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.piece != nil {
			a.free <- a.piece
			a.piece = nil
		}
		piece, ok := <-a.ready
		if !ok {
			return 0, a.err
		}
		a.piece, a.rest = piece, piece
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the goroutine. Nothing may be read any more.
func (a *aheadReader) Close() {
	close(a.stop)
	for range a.ready { // closed when the goroutine ends
	}
}
