package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/deploy"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

func newImagePruneImagesCommand(a *app) *cobra.Command {
	var root string
	var layers, full, dry bool
	c := &cobra.Command{
		Use:   "prune-images [--sysroot=DIR] [--and-layers | --full]",
		Short: "Remove the images that no deployment came from",
		Long: `Removes the references of stored images that no deployment came from, and with --and-layers also those
of layers that no image needs any more. With --full, the objects go too.`,
		Example: `  ostree-ext container image prune-images --full --dry-run
  ostree-ext container image prune-images --sysroot=/mnt --and-layers`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := sysrootPath(root)
			if !dry {
				if err := ensureWritable(path); err != nil {
					return err
				}
			}
			opts := store.PruneOptions{Layers: layers || full, Objects: full, DryRun: dry}
			stats, err := pruneImages(cmd.Context(), path, opts)
			if err != nil {
				return err
			}
			return a.printPrunedImages(stats, opts)
		},
	}
	sysrootFlag(c.Flags(), &root)
	c.Flags().BoolVar(&layers, "and-layers", false, "remove the layers that are not needed any more, too")
	c.Flags().BoolVar(&full, "full", false, "remove such layers and all objects that are not needed any more")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be removed")
	c.MarkFlagsMutuallyExclusive("and-layers", "full")
	return c
}

// pruneImages removes what no deployment needs. It holds the lock of the sysroot, so that no deployment is made
// meanwhile.
func pruneImages(ctx context.Context, path string, opts store.PruneOptions) (stats store.PruneStats, err error) {
	s, err := sysroot.Open(path)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if !opts.DryRun {
		unlock, lockErr := s.Lock(ctx)
		if lockErr != nil {
			return stats, lockErr
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	used, err := deploy.ImagesInUse(s)
	if err != nil {
		return stats, err
	}
	r, err := repo.Open(s.RepoPath())
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if opts.DryRun || opts.Objects {
		return store.PruneImages(ctx, r, used, opts)
	}
	// As with upstream, layers stay if there is no image to remove.
	stats, err = store.PruneImages(ctx, r, used, store.PruneOptions{})
	if err != nil || !opts.Layers || len(stats.Images) == 0 {
		return stats, err
	}
	stats.Layers, err = store.PruneLayers(ctx, r)
	return stats, err
}

// printPrunedImages prints upstream's lines.
func (a *app) printPrunedImages(stats store.PruneStats, opts store.PruneOptions) error {
	verb, freed := "Removed", "Freed"
	if opts.DryRun {
		verb, freed = "Would remove", "Would free"
	}
	if opts.Objects {
		if len(stats.Images)+stats.Layers+stats.Objects == 0 {
			return a.printf("No content was pruned.\n")
		}
		return a.printf("%[1]s images: %[2]d\n%[1]s layers: %[3]d\n%[1]s objects: %[4]d\n%[5]s: %[6]s\n", verb,
			len(stats.Images), stats.Layers, stats.Objects, freed, sizes.Format(stats.Bytes))
	}
	if len(stats.Images) == 0 {
		return a.printf("No unreferenced images.\n")
	}
	for _, ref := range stats.Images {
		if err := a.printf("%s: %s\n", verb, ref); err != nil {
			return err
		}
	}
	if !opts.Layers {
		return nil
	}
	return a.printf("%s layers: %d\n", verb, stats.Layers)
}
