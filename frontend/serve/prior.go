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

// PriorLayers says how a registry gets layers of the prior image when a builder requests them. The registry writes the
// digest of a layer on a line. It then reads the answer: a line with the digest and the size in bytes, followed by the
// blob. The size is [Unavailable] if the blob cannot be had; the registry asks again if the builder requests it again.
type PriorLayers struct {
	// Answers is read until it ends. After that no more layers can be had.
	Answers io.Reader
	// Dir is a directory to store the blobs in. It must be empty.
	Dir string
}

// Unavailable is the size of a blob that cannot be had.
const Unavailable = -1

// priorLayers has the blobs that the handler asks for.
type priorLayers struct {
	ask   func(line string) error
	sizes map[digest.Digest]int64
	dir   *os.Root

	mu    sync.Mutex
	asked map[digest.Digest]*answer // requests without an answer, and blobs that were stored
	ended error                     // why no more layers can be had
}

type answer struct {
	done chan struct{} // closed when there is an answer
	ok   bool          // the blob was stored; valid after done
}

// open opens a blob. It asks for it unless that was done before.
func (l *priorLayers) open(ctx context.Context, d digest.Digest) (*os.File, error) {
	l.mu.Lock()
	a := l.asked[d]
	var err error
	if a == nil {
		if _, ok := l.sizes[d]; !ok || l.ended != nil {
			l.mu.Unlock()
			return nil, cmp.Or(l.ended, os.ErrNotExist)
		}
		a = &answer{done: make(chan struct{})}
		l.asked[d] = a
		err = l.ask(d.String())
	}
	l.mu.Unlock()
	if err != nil {
		l.answer(d, false)
		return nil, err
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !a.ok {
		return nil, os.ErrNotExist
	}
	return l.dir.Open(d.Encoded())
}

// answer wakes up those who wait for a blob.
func (l *priorLayers) answer(d digest.Digest, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.asked[d]
	if a == nil || a.ok {
		return
	}
	if a.ok = ok; !ok {
		delete(l.asked, d)
	}
	close(a.done)
}

// read handles answers until the end of the stream or an invalid answer.
func (l *priorLayers) read(answers io.Reader) error {
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
		if size == Unavailable {
			l.answer(d, false)
			continue
		}
		if want, ok := l.sizes[d]; !ok || size != want {
			return fmt.Errorf("answer %q: want %d bytes", line, want)
		}
		if err := l.store(d, io.LimitReader(r, size)); err != nil {
			return fmt.Errorf("blob %s: %w", d, err)
		}
	}
}

// store writes a blob to the directory.
func (l *priorLayers) store(d digest.Digest, blob io.Reader) error {
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
	// The blob could not be stored, for example because the disk is full. Skip its remainder to reach the next answer.
	_, drained := io.Copy(io.Discard, blob)
	return drained
}

// end fails all requests that have no answer yet, and all later ones.
func (l *priorLayers) end(err error) {
	l.mu.Lock()
	l.ended = fmt.Errorf("layers of the prior image: %w", err)
	var left []digest.Digest
	for d, a := range l.asked {
		if !a.ok {
			left = append(left, d)
		}
	}
	l.mu.Unlock()
	for _, d := range left {
		l.answer(d, false)
	}
}
