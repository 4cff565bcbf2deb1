package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// MissingError lists images that were to be removed and are not stored. It wraps [ErrNoImage].
type MissingError struct{ Images []imgref.ImageReference }

// Error implements error.
func (e *MissingError) Error() string {
	names := make([]string, len(e.Images))
	for i, ref := range e.Images {
		names[i] = ref.String()
	}
	return "Missing images: " + strings.Join(names, ", ")
}

// Unwrap returns [ErrNoImage].
func (e *MissingError) Unwrap() error { return ErrNoImage }

// Remove removes the refs of images. The others are removed even if one is not stored; then the error is a
// [*MissingError]. Layers and objects stay: see [PruneLayers].
func Remove(ctx context.Context, r *repo.Repo, images ...imgref.ImageReference) error {
	var missing []imgref.ImageReference
	for _, ref := range images {
		name, err := imageRef(ref)
		if err != nil {
			return err
		}
		_, err = r.ResolveRef(name)
		if errors.Is(err, repo.ErrRefNotFound) {
			missing = append(missing, ref)
			continue
		}
		if err == nil {
			err = r.DeleteRef(ctx, name)
		}
		if err != nil {
			return fmt.Errorf("removing image %s: %w", ref, err)
		}
	}
	if len(missing) > 0 {
		return &MissingError{missing}
	}
	return nil
}

// Unreferenced returns the refs of layers that neither an image nor a deployment needs, in order. An image that cannot
// be read is an error, since its layers are not known.
func Unreferenced(ctx context.Context, r *repo.Repo) ([]string, error) {
	return unreferenced(ctx, r, nil)
}

// unreferenced is [Unreferenced] as if the refs of some images were gone.
func unreferenced(ctx context.Context, r *repo.Repo, gone []string) ([]string, error) {
	needed, err := neededLayers(ctx, r, gone)
	if err != nil {
		return nil, err
	}
	refs, err := r.Refs(layerPrefix)
	if err != nil {
		return nil, err
	}
	var unneeded []string
	for _, ref := range refs {
		if d, err := parseLayerRef(ref.Name); err != nil || !needed[d] {
			unneeded = append(unneeded, ref.Name)
		}
	}
	return unneeded, nil
}

// neededLayers returns the digests of all layers of images and deployments, except images whose refs are gone.
func neededLayers(ctx context.Context, r *repo.Repo, gone []string) (map[digest.Digest]bool, error) {
	needed := map[digest.Digest]bool{}
	add := func(img *Image) {
		for _, l := range img.Layers {
			needed[l.Descriptor.Digest] = true
		}
	}
	refs, err := r.Refs(imagePrefix)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		if slices.Contains(gone, ref.Name) {
			continue
		}
		img, err := Load(ctx, r, ref.Commit)
		if err != nil {
			return nil, fmt.Errorf("ref %s: %w: remove the image, or pull it again", ref.Name, err)
		}
		add(img)
	}
	for _, prefix := range protecting {
		refs, err := r.Refs(prefix)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			c, err := repo.LoadCommit(ctx, r, ref.Commit)
			if err != nil {
				return nil, fmt.Errorf("ref %s: %w", ref.Name, err)
			}
			if _, ok := c.Metadata.Lookup(keyDigest); !ok {
				continue
			}
			img, err := Load(ctx, r, ref.Commit)
			if err != nil {
				return nil, fmt.Errorf("ref %s: %w", ref.Name, err)
			}
			add(img)
		}
	}
	return needed, nil
}

// PruneLayers removes the refs of layers that neither an image nor a deployment needs, and returns their number. It
// waits for imports, whose layers no image needs yet. Objects stay until the repository is pruned.
func PruneLayers(ctx context.Context, r *repo.Repo) (n int, err error) {
	lock, err := r.Lock(ctx, repo.LockExclusive)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := dropKept(ctx, r); err != nil {
		return 0, err
	}
	refs, err := Unreferenced(ctx, r)
	if err != nil {
		return 0, err
	}
	for _, ref := range refs {
		if err := r.DeleteRef(ctx, ref); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// lockPatience is how long the end of an import waits for others that use the repository.
const lockPatience = 100 * time.Millisecond

// pruneUnlessBusy is [PruneLayers], and prunes objects too if asked for. If others use the repository, it does nothing:
// the next import will do it.
func pruneUnlessBusy(ctx context.Context, r *repo.Repo, objects bool) (n int, err error) {
	patience, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	lock, err := r.Lock(patience, repo.LockExclusive)
	if err != nil {
		if ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, repo.ErrLocked)) {
			return 0, nil
		}
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if n, err = PruneLayers(ctx, r); err != nil || !objects {
		return n, err
	}
	_, err = r.Prune(ctx, repo.PruneOptions{RefsOnly: true})
	return n, err
}

// PruneStats says what was removed.
type PruneStats struct {
	Images []imgref.ImageReference
	Layers int
	// Objects is the number of objects, Bytes their size.
	Objects int
	Bytes   int64
}

// PruneOptions are the options of [PruneImages].
type PruneOptions struct {
	// Layers removes the layers that are not needed any more, and Objects the objects too.
	Layers, Objects bool
	// DryRun removes nothing and returns what would be removed.
	DryRun bool
}

// PruneImages removes the images that are not in use, and then layers and objects as the options say.
func PruneImages(
	ctx context.Context, r *repo.Repo, used []imgref.ImageReference, opts PruneOptions,
) (stats PruneStats, err error) {
	images, err := List(r)
	if err != nil {
		return stats, err
	}
	inUse := map[imgref.ImageReference]bool{}
	for _, ref := range used {
		inUse[ref] = true
	}
	for _, ref := range images {
		if !inUse[ref] {
			stats.Images = append(stats.Images, ref)
		}
	}
	if opts.DryRun {
		return stats, dryPrune(ctx, r, opts, &stats)
	}
	if err := Remove(ctx, r, stats.Images...); err != nil {
		return stats, err
	}
	if opts.Layers || opts.Objects {
		if stats.Layers, err = PruneLayers(ctx, r); err != nil {
			return stats, err
		}
	}
	if opts.Objects {
		pruned, err := r.Prune(ctx, repo.PruneOptions{RefsOnly: true})
		if err != nil {
			return stats, err
		}
		stats.Objects, stats.Bytes = pruned.Deleted, pruned.Bytes
	}
	return stats, nil
}

func dryPrune(ctx context.Context, r *repo.Repo, opts PruneOptions, stats *PruneStats) error {
	if !opts.Layers && !opts.Objects {
		return nil
	}
	var gone []string
	for _, ref := range stats.Images {
		name, err := imageRef(ref)
		if err != nil {
			return err
		}
		gone = append(gone, name)
	}
	layers, err := unreferenced(ctx, r, gone)
	if err != nil {
		return err
	}
	stats.Layers = len(layers)
	if !opts.Objects {
		return nil
	}
	pruned, err := r.Prune(ctx, repo.PruneOptions{RefsOnly: true, NoPrune: true, WithoutRefs: slices.Concat(gone, layers)})
	stats.Objects, stats.Bytes = pruned.Deleted, pruned.Bytes
	return err
}

// copyNames returns the refs and commits of an image: those of its layers, then its own.
func copyNames(ctx context.Context, r *repo.Repo, ref imgref.ImageReference) (layers []string, merge object.Checksum,
	err error,
) {
	img, err := Query(ctx, r, ref)
	if err != nil {
		return nil, merge, err
	}
	seen := map[digest.Digest]bool{}
	for _, l := range img.Layers {
		if seen[l.Descriptor.Digest] {
			continue
		}
		seen[l.Descriptor.Digest] = true
		name, err := layerRef(l.Descriptor.Digest)
		if err != nil {
			return nil, merge, err
		}
		layers = append(layers, name)
	}
	return layers, img.Commit, nil
}

// Copy copies an image with its layers to another repository of any mode. The ref of the image is set last.
func Copy(ctx context.Context, dest, src *repo.Repo, ref imgref.ImageReference) error {
	layers, merge, err := copyNames(ctx, src, ref)
	if err != nil {
		return err
	}
	name, err := imageRef(ref)
	if err != nil {
		return err
	}
	names := append(layers, merge.String())
	if _, err := dest.PullLocal(ctx, src, names, repo.PullOptions{}); err != nil {
		return fmt.Errorf("copying image %s: %w", ref, err)
	}
	return dest.SetRef(ctx, name, merge)
}
