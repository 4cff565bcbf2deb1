package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/fetch"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// ErrUnsupportedTransport is wrapped by errors about transports that cannot be read from.
var ErrUnsupportedTransport = errors.New("transport is not supported")

// Options are the options of [Open]. The zero value is what most callers need.
type Options struct {
	// Registry has the options for talking to registries.
	Registry access.Options
	// Fetch has the options for reading layers from registries. If Fetch.Notice is nil, Registry.Warn is told what delays
	// reading by a second or more.
	Fetch fetch.Options
	// Platform is the platform to choose from an index; nil means this machine's.
	Platform *ocispec.Platform
	// Admission decides which images may come in; nil means [Unverified].
	Admission Admission
}

// backend fetches bytes. It does not check them.
type backend interface {
	// manifest returns the manifest that the reference names, or the given instance of it. The media type is empty if it
	// is unknown.
	manifest(ctx context.Context, instance *digest.Digest) (data []byte, mediaType string, err error)
	blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	parallel() bool
	close() error
}

// Open opens an image and reads its manifest and its configuration. Every image is read through it. The admission is
// asked about the reference first, and its gate about the image as soon as the manifest is there. The caller closes the
// image.
func Open(ctx context.Context, ref imgref.OstreeImageReference, opts Options) (*oci.Image, error) {
	if err := opts.Registry.Check(); err != nil {
		return nil, err
	}
	admission := opts.Admission
	if admission == nil {
		admission = Unverified
	}
	gate, err := admission(ref)
	if err != nil {
		return nil, err
	}
	o := &opener{ref: ref, opts: opts, gate: gate}
	if err := o.start(ctx); err != nil {
		if ref.Image.Transport != imgref.Registry && errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrNoImage, err)
		}
		return nil, fmt.Errorf("opening %s: %w", ref.Image, err)
	}
	img, err := o.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", ref.Image, errors.Join(err, o.backend.close()))
	}
	return img, nil
}

// opener opens an image: it adds the checks that a backend does not make.
type opener struct {
	ref     imgref.OstreeImageReference
	opts    Options
	gate    Gate
	backend backend
	// want is the digest in the reference, or empty.
	want digest.Digest
	// uncompressed is set if layers are uncompressed, whatever media type the manifest gives.
	uncompressed bool
}

// start opens the backend for the transport.
func (o *opener) start(ctx context.Context) (err error) {
	switch ref := o.ref.Image; ref.Transport {
	case imgref.Registry:
		o.backend, o.want, err = openRegistry(ctx, ref.Name, o.opts)
	case imgref.DockerArchive:
		o.backend, err = openDockerArchive(ctx, ref.Name)
		o.uncompressed = true
	case imgref.OCIDir:
		o.backend, err = openOCIDir(ref, o.opts.Platform)
	case imgref.OCIArchive:
		o.backend, err = openOCIArchive(ctx, ref, o.opts.Platform)
	case imgref.Dir:
		o.backend, err = openDir(ref.Name)
	case imgref.ContainersStorage:
		o.backend, err = openStorage(ctx, ref.Name)
		o.uncompressed = true
	default:
		err = fmt.Errorf("%w: copy the image to a registry or an oci-archive: file first", ErrUnsupportedTransport)
	}
	return err
}

// load finds the manifest for the wanted platform and reads the configuration.
func (o *opener) load(ctx context.Context) (*oci.Image, error) {
	top, err := o.document(ctx, nil, o.want)
	if err != nil {
		return nil, err
	}
	if o.gate != nil {
		if err := o.gate.Top(ctx, top); err != nil {
			return nil, err
		}
	}
	var index *oci.Document
	if isIndex(top.MediaType) {
		c := newChooser(o.opts.Platform, func(ctx context.Context, d digest.Digest) (oci.Document, error) {
			return o.document(ctx, &d, d)
		})
		member, err := c.choose(ctx, top, 1)
		if err != nil {
			return nil, err
		}
		if o.gate != nil {
			if err := o.gate.Member(ctx, member); err != nil {
				return nil, err
			}
		}
		whole := top
		index, top = &whole, member
	}
	manifest, err := parseManifest(top)
	if err != nil {
		return nil, err
	}
	if o.uncompressed {
		for n := range manifest.Layers {
			manifest.Layers[n].MediaType = ocispec.MediaTypeImageLayer
		}
	}
	if original, ok := o.backend.(interface{ original() digest.Digest }); ok && original.original() != "" {
		top.Digest = original.original()
	}
	config, err := o.config(ctx, manifest.Config)
	if err != nil {
		return nil, fmt.Errorf("reading the image configuration: %w", err)
	}
	foreign := map[digest.Digest]bool{}
	img, err := oci.New(top, *manifest, config, content{o.backend, foreign})
	if err != nil {
		return nil, err
	}
	for _, l := range img.Layers {
		foreign[l.Descriptor.Digest] = l.Foreign != "" || len(l.Descriptor.URLs) > 0
	}
	img.Name, img.Index = o.ref.Image.String(), index
	if err := checkCovered(o.ref, img); err != nil {
		return nil, err
	}
	if o.gate != nil {
		img.AdmitCommit, img.Signatures, img.Remote = o.gate.Commit, o.gate.Signatures, o.ref.Signature.Remote
	}
	return img, nil
}

// document reads a manifest or an index. If want is set, it checks the digest.
func (o *opener) document(ctx context.Context, instance *digest.Digest, want digest.Digest) (oci.Document, error) {
	var d oci.Document
	data, mediaType, err := o.backend.manifest(ctx, instance)
	if err != nil {
		if instance != nil {
			return d, fmt.Errorf("reading the manifest %s: %w", *instance, err)
		}
		return d, fmt.Errorf("reading the manifest: %w", err)
	}
	if err := checkManifestBytes(data, want); err != nil {
		return d, err
	}
	if mediaType, err = ManifestType(data, mediaType); err != nil {
		return d, err
	}
	return oci.Document{Raw: data, MediaType: mediaType, Digest: digest.FromBytes(data)}, nil
}

// config reads the configuration.
func (o *opener) config(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > oci.MaxConfigSize {
		return nil, fmt.Errorf("it has %s, more than %s", sizes.Format(d.Size), sizes.Format(oci.MaxConfigSize))
	}
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	open := o.backend.blob
	if b, ok := o.backend.(interface {
		small(context.Context, ocispec.Descriptor) (io.ReadCloser, error)
	}); ok {
		open = b.small
	}
	blob, err := open(ctx, d)
	if err != nil {
		return nil, err
	}
	r := oci.Verify(blob, d)
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if !json.Valid(data) || !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return nil, errors.New("it is not a JSON object")
	}
	return data, nil
}

// content implements [oci.Content] with a backend.
type content struct {
	backend
	// foreign has the layers that need not be where the image is.
	foreign map[digest.Digest]bool
}

// Blob implements [oci.Content].
func (c content) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	r, err := c.blob(ctx, d)
	if err != nil && c.foreign[d.Digest] && absent(err) {
		err = &ForeignLayerError{Descriptor: d, Err: err}
	}
	return r, err
}

// Parallel implements [oci.Content].
func (c content) Parallel() bool { return c.parallel() }

// Near implements [oci.Near].
func (c content) Near() bool {
	switch c.backend.(type) {
	case *layout, *flatDir:
		return true
	}
	return false
}

// Close implements [oci.Content].
func (c content) Close() error { return c.close() }
