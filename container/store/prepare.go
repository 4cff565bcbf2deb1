package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Options are the options of [Prepare]. The zero value is what most callers need.
type Options struct {
	// Source says how the image is opened.
	Source source.Options
	// Offline forbids asking for the manifest. Only an image that is stored under a reference with a digest is then found.
	Offline bool
	// Peek writes nothing: the update of a stored image is not recorded.
	Peek bool
	// Bootable refuses images that a host cannot boot: without the label of a bootable commit, or for other processors.
	Bootable bool
}

// Errors about images that cannot be pulled as asked for.
var (
	// ErrOffline says that the manifest would have to be fetched.
	ErrOffline = errors.New("Manifest fetch required in offline mode")
	// ErrNotBootable is wrapped by errors about images that a host cannot boot.
	ErrNotBootable = errors.New("image cannot be booted here")
)

// Layer is a layer of an image that is to be imported.
type Layer struct {
	*oci.Layer
	// Commit is the layer's commit if it is stored, and zero otherwise.
	Commit object.Checksum
}

// Prepared is an image that was opened. Close it.
type Prepared struct {
	// Ref is what the image was opened by.
	Ref imgref.OstreeImageReference
	// Previous is the image that is stored under the reference, or nil.
	Previous *Image
	// Present is set if Previous is the image that the reference names now. Then there is nothing to import, and the
	// fields below are not set.
	Present bool
	// Image is the opened image.
	Image *oci.Image
	// Layers are the layers of the image in its order, each digest once.
	Layers []Layer
	// Warnings are about stored images that could not be read.
	Warnings []error

	repo   *repo.Repo
	layers *oci.CommitLayers // nil if the image does not hold a commit
}

// Prepare finds out what is needed to store an image. If another image is stored under the reference, the new one is
// recorded as its update, see [CachedUpdate]. An image that is already stored is recognised by the digest of its
// manifest or of its configuration.
func Prepare(
	ctx context.Context, r *repo.Repo, ref imgref.OstreeImageReference, opts Options,
) (p *Prepared, err error) {
	p = &Prepared{Ref: ref, repo: r}
	p.Previous, err = Query(ctx, r, ref.Image)
	switch {
	case errors.Is(err, ErrNoImage):
	case errors.Is(err, ErrCorrupt):
		p.Previous = nil
		p.Warnings = append(p.Warnings, fmt.Errorf("failed to query image commit: %w", err))
	case err != nil:
		return nil, err
	}
	trusted := ref.Signature.Kind != imgref.ContainerPolicyAllowInsecure
	if d := pinned(ref.Image); p.Previous != nil && d != "" && d == p.Previous.ManifestDigest && !trusted {
		p.Present = true
		if err := opts.checkBootable(p.Previous.Image); err != nil {
			return nil, err
		}
		return p, nil
	}
	if opts.Offline {
		return nil, ErrOffline
	}
	if !opts.Peek {
		keepBytes(r, &opts.Source)
	}
	if p.Image, err = source.Open(ctx, ref, opts.Source); err != nil {
		return nil, err
	}
	if err := p.inspect(ctx, opts); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// partialDir is where the bytes of layers stay whose transfer broke, below the repository. Libostree removes what is in
// tmp after a day.
const partialDir = "tmp/ostree-ext-blobs"

// keepBytes makes transfers that break continue in the next process, unless the caller has its own place for that.
func keepBytes(r *repo.Repo, o *source.Options) {
	if o.Fetch.Dir == "" {
		o.Fetch.Dir = filepath.Join(r.Path(), partialDir)
	}
}

// Layers returns the layers of an image as [Prepare] would, with the commits of those that are stored. It writes
// nothing and does not read the layers of the image. The warnings are about stored images that could not be read.
func Layers(
	ctx context.Context, r *repo.Repo, ref imgref.OstreeImageReference, img *oci.Image,
) (layers []Layer, warnings []error, err error) {
	p := &Prepared{Ref: ref, repo: r, Image: img}
	if err := p.arrange(); err != nil {
		return nil, nil, err
	}
	err = p.find(ctx)
	return p.Layers, p.Warnings, err
}

// pinned returns the digest in the reference of an image in a registry, or "".
func pinned(ref imgref.ImageReference) digest.Digest {
	_, after, _ := strings.Cut(ref.Name, "@")
	if ref.Transport != imgref.Registry {
		return ""
	}
	return digest.Digest(after)
}

func (p *Prepared) inspect(ctx context.Context, opts Options) error {
	img := p.Image
	if prev := p.Previous; prev != nil && p.same(prev) {
		if err := opts.checkBootable(prev.Image); err != nil {
			return err
		}
		present, err := p.admitPresent(ctx)
		if err != nil {
			return err
		}
		if p.Present = present; present && opts.Peek {
			return nil
		} else if present {
			return recordSignatures(ctx, p.repo, prev.Commit, img)
		}
	}
	if err := p.arrange(); err != nil {
		return err
	}
	if err := opts.checkBootable(img); err != nil {
		return err
	}
	if p.Previous != nil && img.Top.Digest != p.Previous.ManifestDigest && !opts.Peek {
		if err := cacheUpdate(ctx, p.repo, p.Previous.Commit, img); err != nil {
			return fmt.Errorf("recording the update of %s: %w", p.Ref.Image, err)
		}
	}
	return p.find(ctx)
}

// same reports whether a stored image is the opened one. Equal configurations are not enough if signatures are asked
// for: another manifest with the same configuration may have named other blobs, and upstream's program does not check
// that they have the diff-ids of the configuration. Nor is the recorded digest enough then: of an image from
// containers-storage, it is what the storage said, and the image was made from the blobs of another manifest.
func (p *Prepared) same(prev *Image) bool {
	trusted := p.Ref.Signature.Kind != imgref.ContainerPolicyAllowInsecure
	if p.Image.Top.Digest == prev.ManifestDigest {
		return !trusted || sameBlobs(&p.Image.Manifest, &prev.Manifest)
	}
	return !trusted && p.Image.Manifest.Config.Digest != "" &&
		p.Image.Manifest.Config.Digest == prev.Manifest.Config.Digest
}

// sameBlobs reports whether two manifests name the same configuration and layers.
func sameBlobs(a, b *ocispec.Manifest) bool {
	return a.Config.Digest == b.Config.Digest && slices.EqualFunc(a.Layers, b.Layers, func(x, y ocispec.Descriptor) bool {
		return x.Digest == y.Digest
	})
}

// admitPresent asks whether the commit of an image may be used that is stored already, perhaps from a pull that asked
// for no signatures. It returns false if the commit has to be fetched again: it is not there, or another image replaced
// its signatures, and those of this one are good.
func (p *Prepared) admitPresent(ctx context.Context) (bool, error) {
	layers, err := p.Image.CommitLayers()
	if p.Image.AdmitCommit == nil || err != nil {
		return true, nil
	}
	commit, ok, err := layerCommit(p.repo, layers.Commit.Descriptor.Digest)
	if err != nil || !ok {
		return false, err
	}
	refused := admitStored(ctx, p.repo, p.Image, commit)
	if refused == nil {
		return true, nil
	}
	if source.AdmitCommit(ctx, p.Image) != nil {
		return false, refused
	}
	return false, nil
}

// arrange checks the layers of the image and lists them.
func (p *Prepared) arrange() error {
	if err := p.Image.CheckLayers(); err != nil {
		return err
	}
	layers, err := p.Image.CommitLayers()
	var unfit *oci.CommitError
	switch {
	case err == nil:
		p.layers = layers
	case !errors.As(err, &unfit) || unfit.Labelled || len(p.Image.Layers) == 0:
		return err
	}
	seen := map[digest.Digest]oci.Kind{}
	for i := range p.Image.Layers {
		l := &p.Image.Layers[i]
		if l.Kind == oci.Unknown {
			return fmt.Errorf("layer %s: %w", l.Descriptor.Digest, &oci.TypeError{MediaType: l.Descriptor.MediaType})
		}
		switch kind, again := seen[l.Descriptor.Digest]; {
		case !again:
			seen[l.Descriptor.Digest] = l.Kind
			p.Layers = append(p.Layers, Layer{Layer: l})
		case kind != l.Kind:
			return fmt.Errorf("%w: %s is a %s layer, and again a %s layer",
				oci.ErrLayerMismatch, l.Descriptor.Digest, kind, l.Kind)
		}
	}
	return nil
}

// checkBootable refuses an image that a host cannot boot, if the options ask for one.
func (o *Options) checkBootable(img *oci.Image) error {
	if !o.Bootable {
		return nil
	}
	_, ostree := img.Config.Labels["ostree.bootable"]
	_, bootc := img.Config.Labels["containers.bootc"]
	if !ostree && !bootc {
		return fmt.Errorf("%w: Target image does not have ostree.bootable label", ErrNotBootable)
	}
	if got := img.Config.Architecture; got != runtime.GOARCH {
		return fmt.Errorf("%w: Image has architecture %.40s; expected %s", ErrNotBootable, got, runtime.GOARCH)
	}
	return nil
}

// find looks for the layers in the repository: by digest, or else by diff-id in all stored images. A diff-id is
// evidence only if it was verified when the layer was stored, unless the reference asks for no verification.
func (p *Prepared) find(ctx context.Context) error {
	byDiffID, err := p.diffIDs(ctx)
	if err != nil {
		return err
	}
	trusted := p.Ref.Signature.Kind != imgref.ContainerPolicyAllowInsecure
	secret := readSecret(p.repo)
	for i := range p.Layers {
		l := &p.Layers[i]
		commit, ok, err := layerCommit(p.repo, l.Descriptor.Digest)
		if err != nil {
			return err
		}
		if !ok {
			for _, c := range byDiffID[l.DiffID] {
				if !trusted || verifiedDiffID(ctx, p.repo, secret, c, l.DiffID) {
					commit, ok = c, true
					break
				}
			}
		}
		if !ok {
			continue
		}
		if fit, err := p.fits(ctx, l, commit); err != nil || !fit {
			if err != nil {
				return err
			}
			continue
		}
		l.Commit = commit
	}
	return nil
}

// diffIDs returns the commits of stored layers by diff-id: those for which it is recorded first, then those of which
// a stored image says so.
func (p *Prepared) diffIDs(ctx context.Context) (map[digest.Digest][]object.Checksum, error) {
	found := map[digest.Digest][]object.Checksum{}
	add := func(id digest.Digest, commit object.Checksum) {
		if id != "" && !slices.Contains(found[id], commit) {
			found[id] = append(found[id], commit)
		}
	}
	refs, err := p.repo.Refs(layerPrefix)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		for _, id := range diffIDs(ctx, p.repo, ref.Commit) {
			add(digest.Digest(id), ref.Commit)
		}
	}
	images, err := List(p.repo)
	if err != nil {
		return nil, err
	}
	for _, ref := range images {
		img, err := Query(ctx, p.repo, ref)
		switch {
		case errors.Is(err, ErrCorrupt):
			p.Warnings = append(p.Warnings, err)
			continue
		case errors.Is(err, ErrNoImage):
			continue
		case err != nil:
			return nil, err
		}
		for _, l := range img.Layers {
			commit, ok, err := layerCommit(p.repo, l.Descriptor.Digest)
			if err != nil {
				return nil, err
			}
			if ok {
				add(l.DiffID, commit)
			}
		}
	}
	return found, nil
}

// fits reports whether a commit is of the kind that the layer needs. The same blob is stored in different ways,
// depending on the image that it is in.
func (p *Prepared) fits(ctx context.Context, l *Layer, commit object.Checksum) (bool, error) {
	kind, err := commitKind(ctx, p.repo, commit)
	if errors.Is(err, repo.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if l.Kind == oci.Plain {
		return kind == oci.Derived, nil
	}
	if l.Kind == oci.Commit {
		return kind == oci.Commit && p.Image.CheckCommit(commit.String()) == nil, nil
	}
	return kind == l.Kind, nil
}

// commitKind returns the kind of layer that a commit holds: oci.Chunk for an object set, oci.Derived, or oci.Commit.
func commitKind(ctx context.Context, r *repo.Repo, id object.Checksum) (oci.Kind, error) {
	c, err := repo.LoadCommit(ctx, r, id)
	if err != nil {
		return 0, err
	}
	_, imported := c.Metadata.Lookup(keyImporter)
	_, merged := c.Metadata.Lookup(keyDigest)
	switch {
	case imported && !merged:
		return oci.Derived, nil
	case len(c.Metadata) > 0 || c.Subject != "" || c.Body != "" || c.Timestamp != 0 || !c.Parent.IsZero():
		return oci.Commit, nil
	}
	d, err := repo.LoadDirTree(ctx, r, c.Tree)
	if err != nil {
		return 0, err
	}
	for _, f := range d.Files {
		if f.Name != f.Checksum.String() {
			return oci.Commit, nil
		}
	}
	if len(d.Dirs) > 0 {
		return oci.Commit, nil
	}
	return oci.Chunk, nil
}

// Missing returns the layers that must be fetched, and their size in bytes.
func (p *Prepared) Missing() (layers []Layer, size int64) {
	for _, l := range p.Layers {
		if l.Commit.IsZero() {
			layers = append(layers, l)
			size += l.Descriptor.Size
		}
	}
	return layers, size
}

// Room returns how many bytes the layers that must be fetched need in the repository, if it has none of their files but
// those of components that the image before had with the same content. Layers whose content the plan of the image does
// not tell count with their compressed size, as do all layers in a repository that compresses files.
func (p *Prepared) Room() int64 {
	layers, compressed := p.Missing()
	if p.repo.Mode() == repo.ModeArchive || len(layers) == 0 {
		return compressed
	}
	var before *oci.Image
	if p.Previous != nil {
		before = p.Previous.Image
	}
	known, total := newContentSizes(p.Image, before), int64(0)
	for _, l := range layers {
		size, ok := known[l.Descriptor.Digest]
		if !ok {
			size = l.Descriptor.Size
		}
		total += min(size, math.MaxInt64-total)
	}
	return total
}

// Compare says how the layers of the image differ from those of the previous one. It returns nil if there is none.
func (p *Prepared) Compare() *container.ManifestDiff {
	if p.Previous == nil || p.Present {
		return nil
	}
	d := container.Compare(p.Previous.Manifest, p.Image.Manifest)
	return &d
}

// Close closes the image.
func (p *Prepared) Close() error {
	if p.Image == nil {
		return nil
	}
	return p.Image.Close()
}
