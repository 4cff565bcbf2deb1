package main

import (
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

func newImageClearCommand(_ *app) *cobra.Command {
	var repoPath string
	c := &cobra.Command{
		Use:     "clear-cached-update --repo=REPO IMGREF",
		Short:   "Forget the update that was found for a stored image",
		Example: "  ostree-ext container image clear-cached-update --repo=repo docker://registry.example/os:latest",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseImageReference("<IMGREF>", args[0])
			if err != nil {
				return err
			}
			return withWritableRepo(repoPath, func(r *repo.Repo) error {
				return store.ClearCachedUpdate(cmd.Context(), r, ref)
			})
		},
	}
	repoFlag(c, &repoPath)
	return c
}

func newImageCopyCommand(_ *app) *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use:   "copy --src-repo=REPO --dest-repo=REPO OSTREEIMGREF",
		Short: "Copy a stored image to another repository",
		Example: `  ostree-ext container image copy --src-repo=repo --dest-repo=backup \
      ostree-unverified-registry:registry.example/os:latest`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseOstreeReference("<OSTREEIMGREF>", args[0])
			if err != nil {
				return err
			}
			return withNamedRepo("--src-repo", from, func(src *repo.Repo) error {
				return withNamedRepo("--dest-repo", to, func(dest *repo.Repo) error {
					return store.Copy(cmd.Context(), dest, src, ref.Image)
				})
			})
		},
	}
	c.Flags().StringVar(&from, "src-repo", "", "`DIR` of the repository that has the image")
	c.Flags().StringVar(&to, "dest-repo", "", "`DIR` of the repository to copy to")
	required(c, "src-repo", "dest-repo")
	return c
}

func newImageReexportCommand(a *app) *cobra.Command {
	var repoPath string
	var fast bool
	var opts store.ExportOptions
	var signImage imageSignFlags
	c := &cobra.Command{
		Use:   "reexport --repo=REPO IMGREF DESTINATION",
		Short: "Write a stored image to a registry, directory or archive",
		Long: `Makes the layers of a stored image again and writes the image. The layers of a commit have the same
diff-ids as before if a current program made them. Derived layers have the same files.`,
		Example: `  ostree-ext container image reexport --repo=repo docker://registry.example/os:latest \
      oci-archive:os.ociarchive`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseImageReference("<IMGREF>", args[0])
			if err != nil {
				return err
			}
			to, err := parseDestination("<DESTINATION>", args[1])
			if err != nil {
				return err
			}
			if fast {
				opts.Level = 1
			}
			signer, err := signImage.signer(cmd.Context(), a, to, nil, opts.Dest.Registry)
			if err != nil {
				return err
			}
			return withRepo(repoPath, func(r *repo.Repo) error {
				show := a.newProgress()
				opts.Progress = show.event
				d, err := store.Export(cmd.Context(), r, ref, to, opts)
				show.stop()
				if err != nil {
					return err
				}
				if _, err := a.signPushed(cmd.Context(), signer, d); err != nil {
					return err
				}
				return a.printf("Exported: %s\n", d)
			})
		},
	}
	repoFlag(c, &repoPath)
	c.Flags().BoolVar(&fast, "compression-fast", false, "compress less, and faster")
	signImage.add(c.Flags())
	authFileFlag(a, c.Flags(), &opts.Dest.Registry)
	insecureFlag(c.Flags(), &opts.Dest.Registry)
	return c
}

func newImageRemoveCommand(a *app) *cobra.Command {
	var repoPath string
	var skipGC bool
	c := &cobra.Command{
		Use:   "remove --repo=REPO [--skip-gc] [IMGREF...]",
		Short: "Remove stored images, and the layers that only they need",
		Long: `Removes images. If one is not stored, the others are removed all the same, and the command fails.
Objects stay until the repository is pruned.`,
		Example: "  ostree-ext container image remove --repo=repo docker://registry.example/os:old",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			refs := make([]imgref.ImageReference, len(args))
			for i, arg := range args {
				var err error
				if refs[i], err = parseImageReference("<IMGREF>", arg); err != nil {
					return err
				}
			}
			return withWritableRepo(repoPath, func(r *repo.Repo) error {
				if err := store.Remove(cmd.Context(), r, refs...); err != nil {
					return err
				}
				if skipGC {
					return a.printf("Removed images: %d\n", len(refs))
				}
				n, err := store.PruneLayers(cmd.Context(), r)
				if err != nil {
					return err
				}
				return a.printf("Removed images: %d layers: %d\n", len(refs), n)
			})
		},
	}
	repoFlag(c, &repoPath)
	c.Flags().BoolVar(&skipGC, "skip-gc", false, "keep the layers")
	return c
}

func newImagePruneLayersCommand(a *app) *cobra.Command {
	var repoPath string
	var dry bool
	c := &cobra.Command{
		Use:     "prune-layers --repo=REPO",
		Short:   "Remove the layers that no image needs",
		Example: "  ostree-ext container image prune-layers --repo=repo",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			with := withWritableRepo
			if dry {
				with = withRepo
			}
			return with(repoPath, func(r *repo.Repo) error {
				if dry {
					refs, err := store.Unreferenced(cmd.Context(), r)
					if err != nil {
						return err
					}
					return a.printf("Would remove layers: %d\n", len(refs))
				}
				n, err := store.PruneLayers(cmd.Context(), r)
				if err != nil {
					return err
				}
				return a.printf("Removed layers: %d\n", n)
			})
		},
	}
	repoFlag(c, &repoPath)
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be removed")
	return c
}
