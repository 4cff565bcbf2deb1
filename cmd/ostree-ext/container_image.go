package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

func newUnencapsulateCommand(a *app) *cobra.Command {
	var repoPath, ref string
	var asJSON bool
	var fetch source.Options
	var door *door
	c := &cobra.Command{
		Use:     "unencapsulate --repo=REPO [--write-ref=REF] OSTREEIMGREF",
		Aliases: []string{"import"},
		Short:   "Turn an image back into the commit that it was made from",
		Long: `Fetches the image and stores the commit that it holds. Every digest is checked before the ref is
written. With --write-ref the layers are kept too, so that the next image under this ref needs only the
layers that are new. Without it nothing refers to the commit, and a prune deletes it.

The reference says where the image is and how it is verified: ostree-unverified-registry:HOST/NAME,
ostree-unverified-image:TRANSPORT:NAME; ostree-image-signed:TRANSPORT:NAME for the signatures that the
rules of the host ask for; ostree-remote-image:REMOTE:TRANSPORT:NAME for those that a remote of the
repository asks for.`,
		Example: `  ostree-ext container unencapsulate --repo=repo --write-ref=exampleos/x86_64/stable \
      ostree-unverified-registry:registry.example/os:latest
  ostree-ext container unencapsulate --repo=repo ostree-unverified-image:oci-archive:os.ociarchive`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkFetch(cmd.Flags(), &fetch.Registry, args...); err != nil {
				return err
			}
			from, err := parseOstreeReference("<OSTREEIMGREF>", args[0])
			if err != nil {
				return err
			}
			if err := checkWriteRef(cmd, ref); err != nil {
				return err
			}
			return withRepo(repoPath, func(r *repo.Repo) error {
				door.repo = r
				show := a.newProgress()
				keep := container.Unencapsulate
				if ref != "" {
					keep = store.Unencapsulate
				}
				res, err := keep(cmd.Context(), r, from, fetch, container.ImportOptions{WriteRef: ref, Progress: show.event})
				show.stop()
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(imported{Commit: res.Commit.String(), Ref: ref, Digest: res.ManifestDigest.String()})
				}
				return a.printImported(res.Commit, ref)
			})
		},
	}
	repoFlag(c, &repoPath)
	c.Flags().StringVar(&ref, "write-ref", "", "`REF` to set to the commit")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	fetchFlags(a, c.Flags(), &fetch.Registry)
	door = trustFlags(c.Flags(), &fetch)
	return c
}

func newInfoCommand(a *app) *cobra.Command {
	var asJSON bool
	var fetch source.Options
	c := &cobra.Command{
		Use:     "info OSTREEIMGREF",
		Short:   "Print the digest of an image",
		Example: "  ostree-ext container info ostree-unverified-registry:registry.example/os:latest",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkFetch(cmd.Flags(), &fetch.Registry, args...); err != nil {
				return err
			}
			ref, err := parseOstreeReference("<OSTREEIMGREF>", args[0])
			if err != nil {
				return err
			}
			info, err := imageInfo(cmd.Context(), ref, fetch)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(info)
			}
			return a.printf("%s digest: %s\n", ref, info.Digest)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	fetchFlags(a, c.Flags(), &fetch.Registry)
	trustFlags(c.Flags(), &fetch)
	return c
}

// imageInfo opens an image and returns its description.
func imageInfo(
	ctx context.Context, ref imgref.OstreeImageReference, fetch source.Options,
) (*container.ImageInfo, error) {
	image, err := source.Open(ctx, ref, fetch)
	if err != nil {
		return nil, err
	}
	return container.Info(ref, image), image.Close()
}

func newCompareCommand(a *app) *cobra.Command {
	var asJSON bool
	var fetch source.Options
	c := &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Say which layers an update would fetch",
		Example: `  ostree-ext container compare ostree-unverified-registry:registry.example/os:1 \
      ostree-unverified-registry:registry.example/os:2`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkFetch(cmd.Flags(), &fetch.Registry, args...); err != nil {
				return err
			}
			old, err := parseOstreeReference("<OLD>", args[0])
			if err != nil {
				return err
			}
			updated, err := parseOstreeReference("<NEW>", args[1])
			if err != nil {
				return err
			}
			var infos [2]*container.ImageInfo
			for i, ref := range []imgref.OstreeImageReference{old, updated} {
				if infos[i], err = imageInfo(cmd.Context(), ref, fetch); err != nil {
					return err
				}
			}
			d := container.Compare(infos[0].Manifest, infos[1].Manifest)
			if asJSON {
				return a.printJSON(d)
			}
			return a.printf("%s", formatManifestDiff(d))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	fetchFlags(a, c.Flags(), &fetch.Registry)
	trustFlags(c.Flags(), &fetch)
	return c
}

// formatManifestDiff returns upstream's three lines.
func formatManifestDiff(d container.ManifestDiff) string {
	line := func(head string, n int, size int64) string {
		return fmt.Sprintf("%s %-4d  Size: %s\n", head, n, sizes.Format(size))
	}
	return line("Total new layers:", d.Total, d.TotalSize) +
		line("Removed layers:  ", d.NRemoved, d.RemovedSize) +
		line("Added layers:    ", d.NAdded, d.AddedSize)
}
