package serve

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Lent is how a registry comes by layers of the prior image when a builder asks for them: it asks for each by its digest, a
// line of its own, and reads the answer, a line with the digest and the size in bytes, then the blob; or the size -1 if the
// blob cannot be had now. What cannot be had is asked for anew when the builder wants it again.
type Lent struct {
	// Answers are read until their end. After that nothing more can be had.
	Answers io.Reader
	// Dir is where blobs are kept. It must be empty.
	Dir string
}

// NotNow is the size of a blob that cannot be had.
const NotNow = -1

// lent are the blobs that the handler has not and asks for.
type lent struct {
	say   func(line string) error
	sizes map[digest.Digest]int64
	dir   *os.Root

	mu    sync.Mutex
	asked map[digest.Digest]*answer // those that were not answered yet, and those that are here
	ended error                     // why nothing more can be had
}

type answer struct {
	known chan struct{} // closed when it is
	here  bool          // once known
}

// open opens a blob, for which it asks unless that was done already.
func (l *lent) open(ctx context.Context, d digest.Digest) (*os.File, error) {
	l.mu.Lock()
	a := l.asked[d]
	var err error
	if a == nil {
		if _, ok := l.sizes[d]; !ok || l.ended != nil {
			l.mu.Unlock()
			return nil, cmp.Or(l.ended, os.ErrNotExist)
		}
		a = &answer{known: make(chan struct{})}
		l.asked[d] = a
		err = l.say(d.String())
	}
	l.mu.Unlock()
	if err != nil {
		l.answer(d, false)
		return nil, err
	}
	select {
	case <-a.known:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !a.here {
		return nil, os.ErrNotExist
	}
	return l.dir.Open(d.Encoded())
}

// answer tells those who wait.
func (l *lent) answer(d digest.Digest, here bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.asked[d]
	if a == nil || a.here {
		return
	}
	if a.here = here; !here {
		delete(l.asked, d)
	}
	close(a.known)
}

// read takes answers until their end, or one that is wrong.
func (l *lent) read(answers io.Reader) error {
	r := bufio.NewReader(answers)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		d := digest.Digest(name)
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("answer %q: %w", line, err)
		}
		if size == NotNow {
			l.answer(d, false)
			continue
		}
		if want, ok := l.sizes[d]; !ok || size != want {
			return fmt.Errorf("answer %q: want %d bytes", line, want)
		}
		if err := l.take(d, io.LimitReader(r, size)); err != nil {
			return fmt.Errorf("blob %s: %w", d, err)
		}
	}
}

// take keeps a blob.
func (l *lent) take(d digest.Digest, blob io.Reader) error {
	f, err := l.dir.OpenFile(d.Encoded(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		var n int64
		n, err = io.Copy(f, blob)
		if err = errors.Join(err, f.Close()); err == nil && n < l.sizes[d] {
			err = io.ErrUnexpectedEOF
		}
	}
	l.answer(d, err == nil)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	// A full disk, say: what is left of the blob stands before the next answer.
	_, drained := io.Copy(io.Discard, blob)
	return drained
}

// end answers what was not answered.
func (l *lent) end(err error) {
	l.mu.Lock()
	l.ended = fmt.Errorf("layers of the prior image: %w", err)
	var left []digest.Digest
	for d, a := range l.asked {
		if !a.here {
			left = append(left, d)
		}
	}
	l.mu.Unlock()
	for _, d := range left {
		l.answer(d, false)
	}
}
