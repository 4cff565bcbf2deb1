// Package serve is a read-only registry on loopback, from which the builder fetches the layers of one layout. Each
// layer is an image of its own, so that the builder fetches and unpacks them in parallel and none twice.
package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

// Config says what to serve.
type Config struct {
	// Layout is the directory with the image. Result is the directory with the chunk step's result.
	Layout, Result string
	// Repository is the only repository that exists. Its name is a secret, because other programs can reach the address.
	Repository string
	// Images says how layers become images. Marked is ignored.
	Images chunk.Subset
	// Whole serves one image of all layers instead of one for each.
	Whole bool
	// Prior says how to get layers of the prior image. If nil, only the layers that the chunk step made are served.
	Prior *PriorLayers
}

// grace is how long the registry goes on after its input ended in the middle of a blob. The builder may still fetch
// other layers then.
const grace = 10 * time.Minute

// Run listens on loopback, writes the address on a line, and serves until the context or its input ends. Later lines
// are requests for layers, see [PriorLayers]; the answers are read from the input. A builder that is killed cannot end
// the registry, but the input ends with it.
func Run(ctx context.Context, c Config, in io.Reader, out io.Writer) error {
	if c.Prior != nil {
		c.Prior.Answers = in
	}
	var mu sync.Mutex
	h, err := NewHandler(c, func(line string) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := fmt.Fprintln(out, line)
		return err
	})
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening on loopback: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	if c.Prior == nil {
		go func() {
			_, err := io.Copy(io.Discard, in)
			h.ended <- cmp.Or(err, io.EOF)
		}()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case err := <-h.ended:
			if !errors.Is(err, io.EOF) {
				select {
				case <-time.After(grace):
				case <-ctx.Done():
				}
			}
		case <-ctx.Done():
		}
		_ = server.Close()
	}()
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Handler handles the requests of a builder.
type Handler struct {
	prefix    string
	blobs     *os.Root
	prior     *priorLayers
	sizes     map[digest.Digest]int64  // of layers
	documents map[digest.Digest][]byte // blobs that are not layers
	manifests map[digest.Digest][]byte
	ended     chan error // gets why no more answers come
}

// NewHandler reads the result and prepares the documents. It calls ask with a line for each layer that it needs. The
// caller closes the handler.
func NewHandler(c Config, ask func(string) error) (*Handler, error) {
	data, err := os.ReadFile(filepath.Join(c.Result, chunk.ResultFile))
	if err != nil {
		return nil, err
	}
	result, err := chunk.ParseResult(data)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		prefix: "/v2/" + c.Repository + "/", sizes: map[digest.Digest]int64{},
		documents: map[digest.Digest][]byte{}, manifests: map[digest.Digest][]byte{}, ended: make(chan error, 1),
		prior: &priorLayers{ask: ask, sizes: map[digest.Digest]int64{}, asked: map[digest.Digest]*answer{}},
	}
	served := result.From(chunk.Made)
	if c.Prior != nil {
		served = result.From(chunk.Made, chunk.FromPrior)
	}
	for _, i := range served {
		l := result.Layers[i]
		h.sizes[l.Descriptor.Digest] = l.Descriptor.Size
		if l.Origin == chunk.FromPrior {
			h.prior.sizes[l.Descriptor.Digest] = l.Descriptor.Size
		}
	}
	if err := h.images(result, c, served); err != nil {
		return nil, err
	}
	if c.Prior != nil {
		if h.prior.dir, err = os.OpenRoot(c.Prior.Dir); err != nil {
			return nil, err
		}
		go func() {
			err := h.prior.read(c.Prior.Answers)
			h.prior.end(err)
			h.ended <- err
		}()
	}
	h.blobs, err = os.OpenRoot(filepath.Join(c.Layout, "blobs", "sha256"))
	return h, err
}

// images prepares the documents of all images: one image for each layer and a marked one for each group, or a single
// one of all layers.
func (h *Handler) images(r *chunk.Result, c Config, served []int) error {
	if c.Whole {
		return h.add(r, c, false, served...)
	}
	for _, group := range chunk.Groups(served) {
		mark, err := c.Images.Mark(r, group...)
		if err != nil {
			return err
		}
		h.documents[digest.FromBytes(mark)] = mark
		errs := []error{h.add(r, c, true, group...)}
		for _, i := range group {
			errs = append(errs, h.add(r, c, false, i))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) add(r *chunk.Result, c Config, marked bool, layers ...int) error {
	c.Images.Marked = marked
	s, err := c.Images.Image(r, layers...)
	if err != nil {
		return err
	}
	h.documents[digest.FromBytes(s.Config)], h.manifests[s.Digest()] = s.Config, s.Manifest
	return nil
}

// Close closes the directories. It does not stop reading answers.
func (h *Handler) Close() error {
	err := h.blobs.Close()
	if h.prior.dir != nil {
		err = errors.Join(err, h.prior.dir.Close())
	}
	return err
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "this registry is read-only", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == "/v2/" {
		// A client checks whether this is a registry.
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, h.prefix)
	if !ok {
		http.NotFound(w, r)
		return
	}
	kind, name, _ := strings.Cut(rest, "/")
	d := digest.Digest(name)
	switch kind {
	case "manifests":
		h.document(w, r, h.manifests, d, ocispec.MediaTypeImageManifest)
	case "blobs":
		if size, ok := h.sizes[d]; ok {
			h.blob(w, r, d, size)
			return
		}
		h.document(w, r, h.documents, d, "application/octet-stream")
	default:
		http.NotFound(w, r)
	}
}

func (h *Handler) document(
	w http.ResponseWriter, r *http.Request, in map[digest.Digest][]byte, d digest.Digest, mediaType string,
) {
	data, ok := in[d]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Header().Set("Docker-Content-Digest", d.String())
	if r.Method == http.MethodGet {
		_, _ = w.Write(data)
	}
}

// blob sends a layer, or the rest of it if the request has a range.
func (h *Handler) blob(w http.ResponseWriter, r *http.Request, d digest.Digest, size int64) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", d.String())
	f, err := h.blobs.Open(d.Encoded())
	if errors.Is(err, fs.ErrNotExist) {
		f, err = h.prior.open(r.Context(), d)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer f.Close()
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f, 0, size))
}
