package serve

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// lent are the blobs that the handler has not and asks for.
type lent struct {
	ask    func(digest.Digest) error
	places map[digest.Digest]*place
}

// place is where a blob is.
type place struct {
	ask   sync.Once
	known chan struct{} // closed when something was answered

	mu      sync.Mutex
	told    bool
	address string // empty if the blob cannot be had
}

// find asks where a blob is, once for all who want it, and waits for the answer.
func (l *lent) find(ctx context.Context, d digest.Digest) (string, bool) {
	p := l.places[d]
	if p == nil {
		return "", false
	}
	p.ask.Do(func() {
		if err := l.ask(d); err != nil {
			p.set("")
		}
	})
	select {
	case <-p.known:
	case <-ctx.Done():
		return "", false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.address, p.address != ""
}

func (p *place) set(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if address != "" {
		p.address = address
	}
	if !p.told {
		p.told = true
		close(p.known)
	}
}

// Answer tells where a blob is that was asked for, with an empty address if nowhere yet: a later answer may know better.
func (h *Handler) Answer(d digest.Digest, address string) {
	if p := h.lent.places[d]; p != nil {
		p.set(address)
	}
}

// Sync is the line that [Run] sends back, to show that it has taken all lines before it.
const Sync = "sync"

// readAnswers takes the lines that [Run] describes. After their end, what was not answered cannot be had.
func (h *Handler) readAnswers(in io.Reader, sync func()) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		name, address, _ := strings.Cut(lines.Text(), " ")
		if name == Sync {
			sync()
			continue
		}
		h.Answer(digest.Digest(name), address)
	}
	for _, p := range h.lent.places {
		p.set("")
	}
}

// RunBlob serves one blob, in the file of its name in a directory, as [Run] does; the path is /REPOSITORY.
func RunBlob(ctx context.Context, dir string, d digest.Digest, repository string, out io.Writer) error {
	if err := d.Validate(); err != nil {
		return err
	}
	name := filepath.Join(dir, d.Encoded())
	if _, err := os.Stat(name); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+repository, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })
	return listen(ctx, mux, out)
}
