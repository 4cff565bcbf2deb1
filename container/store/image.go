package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Keys of a merge commit's metadata.
const (
	keyConfig   = "ostree.container.image-config"
	keyImporter = "ostree.importer.version"
	keyManifest = "ostree.manifest"
	keyDigest   = "ostree.manifest-digest"
)

// Keys of a merge commit's detached metadata: the update that is pending.
const (
	keyCachedDigest   = "ostree-ext.cached.manifest-digest"
	keyCachedManifest = "ostree-ext.cached.manifest"
	keyCachedConfig   = "ostree-ext.cached.config"
)

// Labels with the version of an image. The first one that it has counts.
var versionLabels = []string{"org.opencontainers.image.version", "version"}

// ErrNoImage is wrapped by errors about images that are not stored.
var ErrNoImage = errors.New("No such image") //nolint:staticcheck // upstream's text

// ErrCorrupt is wrapped by errors about stored images that cannot be read.
var ErrCorrupt = errors.New("stored image is damaged")

// Image is a stored image.
type Image struct {
	// Ref names the image. It is the zero value for a commit that was not found by a reference.
	Ref imgref.ImageReference
	// Commit is the merge commit.
	Commit object.Checksum
	// ManifestDigest is the digest of the image's manifest as the registry has it.
	ManifestDigest digest.Digest
	// Image has manifest and configuration, in canonical form. Its layers cannot be read.
	*oci.Image

	// update is set for a pending update: the metadata in which it is recorded.
	update gvariant.Dict
}

// Version returns the version of an image, or "".
func Version(img *oci.Image) string {
	for _, label := range versionLabels {
		if v, ok := img.Config.Labels[label]; ok {
			return v
		}
	}
	return ""
}

// List returns the images of a repository, sorted by reference. Refs that are not those of images are left out.
func List(r *repo.Repo) ([]imgref.ImageReference, error) {
	refs, err := r.Refs(imagePrefix)
	if err != nil {
		return nil, err
	}
	var images []imgref.ImageReference
	for _, ref := range refs {
		if image, err := parseImageRef(ref.Name); err == nil {
			images = append(images, image)
		}
	}
	slices.SortFunc(images, func(a, b imgref.ImageReference) int { return strings.Compare(a.String(), b.String()) })
	return images, nil
}

// Query returns an image. If it is not stored, the error wraps [ErrNoImage]; if it cannot be read, [ErrCorrupt].
func Query(ctx context.Context, r *repo.Repo, ref imgref.ImageReference) (*Image, error) {
	name, err := imageRef(ref)
	if err != nil {
		return nil, err
	}
	commit, err := r.ResolveRef(name)
	if errors.Is(err, repo.ErrRefNotFound) {
		return nil, fmt.Errorf("%w: %s", ErrNoImage, ref)
	}
	if err != nil {
		return nil, err
	}
	img, err := Load(ctx, r, commit)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	img.Ref, img.Name = ref, ref.String()
	return img, nil
}

// Load returns the image of a merge commit, such as that of a deployment. If the commit is not one, or cannot be read,
// the error wraps [ErrCorrupt].
func Load(ctx context.Context, src repo.Source, commit object.Checksum) (*Image, error) {
	c, err := repo.LoadCommit(ctx, src, commit)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	img, err := parseMerge(commit, c.Metadata, keyDigest, keyManifest, keyConfig)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if img == nil {
		return nil, fmt.Errorf("%w: commit %s has no %s", ErrCorrupt, commit, keyDigest)
	}
	return img, nil
}

// parseMerge reads an image from metadata. It returns nil if there is none.
func parseMerge(commit object.Checksum, d gvariant.Dict, digestKey, manifestKey, configKey string) (*Image, error) {
	id, ok, err := text(d, digestKey)
	if err != nil || !ok {
		return nil, err
	}
	manifest, ok, err := text(d, manifestKey)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("commit %s has no %s", commit, manifestKey)
	}
	config, ok, err := text(d, configKey)
	if err != nil {
		return nil, err
	}
	if !ok || config == "null" {
		config = "{}"
	}
	img := &Image{Commit: commit, ManifestDigest: digest.Digest(id)}
	if err := img.ManifestDigest.Validate(); err != nil {
		return nil, fmt.Errorf("commit %s: %s: %w", commit, digestKey, err)
	}
	if img.Image, err = oci.FromStored([]byte(manifest), []byte(config)); err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	img.Top.Digest = img.ManifestDigest
	return img, nil
}

// text returns a string of a dictionary.
func text(d gvariant.Dict, key string) (s string, ok bool, err error) {
	v, ok := d.Lookup(key)
	if !ok {
		return "", false, nil
	}
	if s, err = v.Text(); err != nil {
		return "", false, fmt.Errorf("metadata %s: %w", key, err)
	}
	return s, true, nil
}

// CachedUpdate returns the update of an image that an earlier [Prepare] found, or nil. The layers of an update need not
// be stored.
func CachedUpdate(ctx context.Context, src repo.Source, img *Image) (*Image, error) {
	d, err := repo.LoadDetachedMetadata(ctx, src, img.Commit)
	if err != nil || d == nil {
		return nil, err
	}
	update, err := parseMerge(img.Commit, d, keyCachedDigest, keyCachedManifest, keyCachedConfig)
	if update == nil || err != nil {
		return nil, err
	}
	if _, ok := d.Lookup(keyCachedConfig); !ok {
		return nil, fmt.Errorf("%w: commit %s has no %s", ErrCorrupt, img.Commit, keyCachedConfig)
	}
	update.Ref, update.Name, update.Commit, update.update = img.Ref, img.Name, object.Checksum{}, d
	return update, nil
}

// ClearCachedUpdate forgets the update that is pending for an image.
func ClearCachedUpdate(ctx context.Context, r *repo.Repo, ref imgref.ImageReference) error {
	img, err := Query(ctx, r, ref)
	if err != nil {
		return err
	}
	d, err := repo.LoadDetachedMetadata(ctx, r, img.Commit)
	if err != nil {
		return err
	}
	kept := d.Remove(keyCachedDigest).Remove(keyCachedManifest).Remove(keyCachedConfig).Remove(keyCachedSignatures)
	if len(kept) == len(d) {
		return nil
	}
	return writeDetached(ctx, r, img.Commit, kept)
}

// cacheUpdate records the update of an image. Of the other detached metadata of the merge commit, only the signatures
// stay; upstream's program keeps nothing.
func cacheUpdate(ctx context.Context, r *repo.Repo, commit object.Checksum, img *oci.Image) error {
	manifest, config, err := documents(img)
	if err != nil {
		return err
	}
	old, err := repo.LoadDetachedMetadata(ctx, r, commit)
	if err != nil {
		old = nil
	}
	d := gvariant.Dict{}
	if v, ok := old.Lookup(keySignatures); ok {
		d = d.Set(keySignatures, v)
	}
	d = d.Set(keyCachedDigest, gvariant.String(img.Top.Digest.String())).
		Set(keyCachedManifest, gvariant.String(string(manifest))).
		Set(keyCachedConfig, gvariant.String(string(config)))
	if d, err = withSignatures(d, keyCachedSignatures, img); err != nil {
		return err
	}
	return writeDetached(ctx, r, commit, d)
}

func writeDetached(ctx context.Context, r *repo.Repo, commit object.Checksum, d gvariant.Dict) error {
	txn, err := r.Begin(ctx)
	if err != nil {
		return err
	}
	var data []byte
	if len(d) > 0 {
		data = d.Encode()
	}
	if err := txn.WriteDetachedMetadata(ctx, commit, data); err != nil {
		return errors.Join(err, txn.Abort())
	}
	_, err = txn.Commit(ctx)
	return err
}

// layerCommit returns the commit of a layer that is stored, or false.
func layerCommit(r *repo.Repo, d digest.Digest) (object.Checksum, bool, error) {
	ref, err := layerRef(d)
	if err != nil {
		return object.Checksum{}, false, err
	}
	c, err := r.ResolveRef(ref)
	if errors.Is(err, repo.ErrRefNotFound) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	ok, err := r.Has(object.Name{Checksum: c, Type: object.TypeCommit})
	if err != nil || !ok {
		return c, false, err
	}
	state, err := r.IsPartial(c)
	return c, state == repo.CommitComplete, err
}
