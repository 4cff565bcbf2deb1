package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

// ErrUnsupportedTransport is wrapped by errors about references whose transport cannot be read.
var ErrUnsupportedTransport = errors.New("transport is not supported")

// Source is one image that is being read. It is safe for concurrent use.
type Source interface {
	// Manifest returns the manifest of the image. It is fetched once.
	Manifest(ctx context.Context) (*Manifest, error)
	// Config returns the bytes of the configuration, checked against the manifest.
	Config(ctx context.Context) ([]byte, error)
	// Blob opens a blob of the manifest. Reading ends in io.EOF only if size and digest are those of the descriptor,
	// otherwise in a [*BlobError]; the caller has to read to the end before it believes anything. The caller closes
	// it.
	Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	// ParallelBlobs reports whether several blobs may be open at once.
	ParallelBlobs() bool
	// Close releases what the source holds. Open blobs must be closed before.
	Close() error
}

// Options says how to read an image. The zero value is what most callers need.
type Options struct {
	// Registry says how to speak to registries.
	Registry access.Options
	// Platform is wanted where the reference names an image for several; nil is this machine's.
	Platform *ocispec.Platform
}

// backend fetches bytes. It checks nothing.
type backend interface {
	// manifest returns the manifest that the reference names, or the given instance of it. The media type is empty
	// where it is not known.
	manifest(ctx context.Context, instance *digest.Digest) (data []byte, mediaType string, err error)
	blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	parallel() bool
	close() error
}

// Open starts to read an image and fetches its manifest.
func Open(ctx context.Context, ref imgref.ImageReference, opts Options) (Source, error) {
	if err := opts.Registry.Check(); err != nil {
		return nil, err
	}
	img := &image{opts: opts}
	var err error
	switch ref.Transport {
	case imgref.Registry:
		img.backend, img.want, err = openRegistry(ctx, ref.Name, opts.Registry)
	case imgref.DockerArchive:
		img.backend, err = openDockerArchive(ctx, ref.Name)
		img.uncompressed = true
	case imgref.OCIDir:
		img.backend, err = openOCIDir(ref)
	case imgref.OCIArchive:
		img.backend, err = openOCIArchive(ctx, ref)
	case imgref.Dir:
		img.backend, err = openDir(ref.Name)
	case imgref.ContainersStorage:
		img.backend, err = openStorage(ctx, ref.Name)
		img.uncompressed = true
	default:
		return nil, fmt.Errorf("%w: %s: copy the image to a registry or an oci-archive: file first", ErrUnsupportedTransport, ref)
	}
	if err != nil {
		return nil, err
	}
	if err := img.load(ctx); err != nil {
		return nil, errors.Join(err, img.Close())
	}
	return img, nil
}

// image puts the checks on top of a backend.
type image struct {
	backend backend
	opts    Options
	// want is the digest that the reference asks for, or empty.
	want digest.Digest
	// uncompressed says that layers come uncompressed whatever the manifest calls them.
	uncompressed bool
	loaded       *Manifest
}

func (i *image) Manifest(context.Context) (*Manifest, error) { return i.loaded, nil }
func (i *image) ParallelBlobs() bool                         { return i.backend.parallel() }
func (i *image) Close() error                                { return i.backend.close() }

// load finds the manifest of the wanted platform.
func (i *image) load(ctx context.Context) error {
	data, mediaType, err := i.backend.manifest(ctx, nil)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	if err := checkManifestBytes(data, i.want); err != nil {
		return err
	}
	if mediaType, err = manifestType(data, mediaType); err != nil {
		return err
	}
	if isIndex(mediaType) {
		instance, err := chooseInstance(data, mediaType, i.opts.Platform)
		if err != nil {
			return err
		}
		if data, mediaType, err = i.backend.manifest(ctx, &instance); err != nil {
			return fmt.Errorf("reading the manifest %s: %w", instance, err)
		}
		if err := checkManifestBytes(data, instance); err != nil {
			return err
		}
		if mediaType, err = manifestType(data, mediaType); err != nil {
			return err
		}
	}
	i.loaded, err = parseManifest(data, mediaType)
	if err != nil {
		return err
	}
	if i.uncompressed {
		for n := range i.loaded.OCI.Layers {
			i.loaded.OCI.Layers[n].MediaType = ocispec.MediaTypeImageLayer
		}
	}
	if o, ok := i.backend.(interface{ original() digest.Digest }); ok && o.original() != "" {
		i.loaded.Digest = o.original()
	}
	return nil
}

// Config implements [Source].
func (i *image) Config(ctx context.Context) ([]byte, error) {
	d := i.loaded.OCI.Config
	if d.Size > maxConfigSize {
		return nil, fmt.Errorf("the image configuration has %d bytes, more than %d", d.Size, int64(maxConfigSize))
	}
	r, err := i.Blob(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("reading the image configuration: %w", err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the image configuration: %w", err)
	}
	if !json.Valid(data) || !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return nil, errors.New("the image configuration is not a JSON object")
	}
	return data, nil
}

// Blob implements [Source].
func (i *image) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	r, err := i.backend.blob(ctx, d)
	if err != nil {
		return nil, err
	}
	return newVerifier(r, d), nil
}
