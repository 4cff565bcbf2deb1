package oci

import "io"

// The read-ahead buffer has aheadPieces pieces of aheadPiece bytes.
const (
	aheadPiece  = 128 << 10
	aheadPieces = 4
)

// aheadReader reads a stream in its own goroutine, so that decompression continues while earlier data is used. Close
// waits for the goroutine. The stream must be closed after that.
type aheadReader struct {
	ready, free chan []byte
	stop        chan struct{}
	err         error  // error of the stream; set before ready is closed
	piece, rest []byte // being read
}

func readAhead(r io.Reader) *aheadReader {
	a := &aheadReader{
		ready: make(chan []byte, aheadPieces), free: make(chan []byte, aheadPieces), stop: make(chan struct{}),
	}
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
		a.ready <- piece[:n] // never blocks: there is room for all pieces
		if err != nil {
			a.err = err
			return
		}
	}
}

// readSome reads until p is full, or the stream ends or fails.
func readSome(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// Read implements [io.Reader]. An error of the stream is returned after all data before it.
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

// Close ends the goroutine. The reader must not be used after that.
func (a *aheadReader) Close() {
	close(a.stop)
	for range a.ready { // closed when the goroutine ends
	}
}
