package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/deploy"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/container/update"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

func newImageDiffCommand(a *app) *cobra.Command {
	var d imageDiff
	var path string
	var asJSON bool
	c := &cobra.Command{
		Use:   "diff [--repo=REPO | --sysroot=DIR] [IMGREF] [OTHER]",
		Short: "Show what an update of a stored image brings",
		Long: `Prints the packages that an update adds, removes and changes, the version of the kernel, new system
users, and how much is to be fetched. No layer is fetched and nothing is written.

IMGREF is a stored image. Without --repo the default is the image that the system runs, or boots first.

OTHER is another stored image, or an image anywhere, written as for pull: of that, manifest and
configuration are read. Without OTHER it is the update that was found last, by pull --check or a pull
that did not end; then nothing is asked of a registry. With neither, an image that is deployed for the
next boot goes before that.

The packages of stored images come from their databases. For other images they come from the label
that this program writes, or else from the annotations of upstream's program, which have few versions.`,
		Example: `  ostree-ext container image diff
  ostree-ext container image diff --repo=/ostree/repo docker://registry.example/os:latest \
      ostree-unverified-registry:registry.example/os:next`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := a.checkFetch(cmd.Flags(), &d.fetch.Registry, args...); err != nil {
				return err
			}
			d.ofSystem = d.sysroot != "" || path == "" && os.Getenv("OSTREE_REPO") == ""
			if err := d.parse(args); err != nil {
				return err
			}
			run := func(r *repo.Repo) error { return a.diffImages(cmd.Context(), r, &d, asJSON) }
			if !d.ofSystem {
				return withRepo(path, run)
			}
			d.sysroot = sysrootPath(d.sysroot)
			s, err := sysroot.Open(d.sysroot)
			if err != nil {
				return fmt.Errorf("%w: name a repository with --repo, or a system with --sysroot", err)
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return withNamedRepo("--sysroot", s.RepoPath(), run)
		},
	}
	fs := c.Flags()
	repoFlag(c, &path)
	sysrootFlag(fs, &d.sysroot)
	fs.BoolVar(&asJSON, "json", false, "print a JSON object")
	fetchFlags(a, fs, &d.fetch.Registry)
	d.door = trustFlags(fs, &d.fetch)
	c.MarkFlagsMutuallyExclusive("repo", "sysroot")
	return c
}

// imageDiff says which images to compare.
type imageDiff struct {
	// from is the stored image, or the zero value for that of the system.
	from imgref.ImageReference
	// other is the image to compare with, or the zero value for the update. It is opened unless it is stored.
	other  imgref.OstreeImageReference
	stored bool

	ofSystem bool
	sysroot  string
	fetch    source.Options
	door     *door
}

// parse tells the references apart. A mistake is a usage error.
func (d *imageDiff) parse(args []string) (err error) {
	if d.ofSystem && len(args) == 1 {
		if d.other, err = imgref.ParseOstreeImageReference(args[0]); err == nil {
			return nil
		}
	}
	if len(args) == 0 {
		if !d.ofSystem {
			return usagef("missing argument: IMGREF")
		}
		return nil
	}
	if d.from, err = parseImageReference("<IMGREF>", args[0]); err != nil || len(args) < 2 {
		return err
	}
	if d.other, err = imgref.ParseOstreeImageReference(args[1]); err == nil {
		return nil
	}
	ref, err := parseImageReference("<OTHER>", args[1])
	d.other, d.stored = imgref.Unverified(ref), true
	return err
}

// diffImages compares a stored image with another and prints the difference.
func (a *app) diffImages(ctx context.Context, r *repo.Repo, d *imageDiff, asJSON bool) (err error) {
	from, to, err := d.open(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	diff, err := update.Compare(ctx, r, from, to)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(diff)
	}
	for _, w := range diff.Warnings {
		a.warn(w)
	}
	return diff.WriteText(printable.Writer(a.out))
}

// open returns the images to compare. The caller closes the second.
func (d *imageDiff) open(ctx context.Context, r *repo.Repo) (from, to *update.Image, err error) {
	if d.from == (imgref.ImageReference{}) {
		if from, to, err = d.deployed(ctx, r); err != nil {
			return nil, nil, err
		}
	} else {
		img, err := store.Query(ctx, r, d.from)
		if err != nil {
			return nil, nil, err
		}
		from = &update.Image{Ref: imgref.Unverified(d.from), Image: img}
	}
	switch {
	case d.other != imgref.OstreeImageReference{}:
		to, err = d.openOther(ctx, r)
	case to == nil:
		to, err = foundUpdate(ctx, r, from)
	}
	return from, to, err
}

// openOther returns the image that was named to compare with.
func (d *imageDiff) openOther(ctx context.Context, r *repo.Repo) (*update.Image, error) {
	if d.stored {
		img, err := store.Query(ctx, r, d.other.Image)
		if errors.Is(err, store.ErrNoImage) {
			err = fmt.Errorf("%w: write %s to compare with an image that is not stored", err, d.other)
		}
		return &update.Image{Ref: d.other, Image: img}, err
	}
	d.door.repo = r
	img, err := source.Open(ctx, d.other, d.fetch)
	if err != nil {
		return nil, err
	}
	opened := &store.Image{Ref: d.other.Image, ManifestDigest: img.Top.Digest, Image: img}
	return &update.Image{Ref: d.other, Image: opened}, nil
}

// foundUpdate returns the update that was found for an image.
func foundUpdate(ctx context.Context, r *repo.Repo, from *update.Image) (*update.Image, error) {
	img, err := store.CachedUpdate(ctx, r, from.Image)
	if err == nil && img == nil {
		err = fmt.Errorf("no update of %s is known: look for one with container image pull --check, "+
			"or name the image to compare with", from.Ref.Image)
	}
	return &update.Image{Ref: from.Ref, Image: img}, err
}

// deployed returns the images of the current deployment and of the next one. That is nil if there is none, or if
// another image is asked for.
func (d *imageDiff) deployed(ctx context.Context, r *repo.Repo) (current, next *update.Image, err error) {
	st, err := deploy.ReadStatus(ctx, sysroot.Host{}, d.sysroot)
	if err != nil {
		return nil, nil, err
	}
	at := st.Current()
	if at == nil {
		return nil, nil, fmt.Errorf("%s has no deployment: name a stored image", d.sysroot)
	}
	if current, err = imageOf(ctx, r, at); err != nil {
		return nil, nil, err
	}
	if at = st.Next(); at != nil && d.other == (imgref.OstreeImageReference{}) {
		next, err = imageOf(ctx, r, at)
	}
	return current, next, err
}

// imageOf returns the image of a deployment.
func imageOf(ctx context.Context, r *repo.Repo, at *deploy.DeploymentStatus) (*update.Image, error) {
	if at.Image == "" {
		return nil, fmt.Errorf("deployment %d was not made from an image", at.Index)
	}
	ref, err := imgref.ParseOstreeImageReference(at.Image)
	if err != nil {
		return nil, fmt.Errorf("origin of deployment %d: %w", at.Index, err)
	}
	commit, err := object.ParseChecksum(at.Commit)
	if err != nil {
		return nil, err
	}
	img, err := store.Load(ctx, r, commit)
	if err != nil {
		return nil, fmt.Errorf("image of deployment %d: %w", at.Index, err)
	}
	return &update.Image{Ref: ref, Image: img}, nil
}
