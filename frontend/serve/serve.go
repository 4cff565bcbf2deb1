// Package serve is a registry, read-only and on loopback, from which the builder fetches the layers of one layout. Each
// layer is an image of its own, so that the builder fetches and unpacks them side by side and none twice.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

// Config says what to serve.
type Config struct {
	// Layout is the directory with the image, Result that with the chunk step's result.
	Layout, Result string
	// Repository is the only name that is answered for. It is a secret: other programs can reach the address.
	Repository string
	// Platform is that of the image.
	Platform ocispec.Platform
	// Whole serves one image of all layers instead of one for each.
	Whole bool
}

// Run listens on loopback, writes the address as one line, and serves until the context ends.
func Run(ctx context.Context, c Config, out io.Writer) error {
	h, err := NewHandler(c)
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening on loopback: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Handler answers the requests of a builder.
type Handler struct {
	prefix    string
	blobs     *os.Root
	sizes     map[digest.Digest]int64  // of layers
	documents map[digest.Digest][]byte // other blobs
	manifests map[digest.Digest][]byte
}

// NewHandler reads the result and prepares the documents. It must be closed.
func NewHandler(c Config) (*Handler, error) {
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
		documents: map[digest.Digest][]byte{}, manifests: map[digest.Digest][]byte{},
	}
	made := result.Made()
	for _, i := range made {
		h.sizes[result.Layers[i].Descriptor.Digest] = result.Layers[i].Descriptor.Size
	}
	if err := h.images(result, c, made); err != nil {
		return nil, err
	}
	h.blobs, err = os.OpenRoot(filepath.Join(c.Layout, "blobs", "sha256"))
	return h, err
}

// images prepares the documents of all images: that of the mark, and one for each layer, or a single one.
func (h *Handler) images(r *chunk.Result, c Config, made []int) error {
	sets := [][]int{made}
	if !c.Whole {
		mark, err := r.Mark()
		if err != nil {
			return err
		}
		h.documents[digest.FromBytes(mark)] = mark
		sets = [][]int{nil}
		for _, i := range made {
			sets = append(sets, []int{i})
		}
	}
	for _, layers := range sets {
		s, err := r.Alone(c.Platform, c.Whole, layers...)
		if err != nil {
			return err
		}
		h.documents[digest.FromBytes(s.Config)], h.manifests[s.Digest()] = s.Config, s.Manifest
	}
	return nil
}

// Close closes the layout.
func (h *Handler) Close() error { return h.blobs.Close() }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "this registry is read-only", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == "/v2/" {
		// What asks whether this is a registry.
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

func (h *Handler) document(w http.ResponseWriter, r *http.Request, in map[digest.Digest][]byte, d digest.Digest, mediaType string) {
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

// blob sends a layer, or the rest of it after a connection was cut.
func (h *Handler) blob(w http.ResponseWriter, r *http.Request, d digest.Digest, size int64) {
	f, err := h.blobs.Open(d.Encoded())
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", d.String())
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f, 0, size))
}
