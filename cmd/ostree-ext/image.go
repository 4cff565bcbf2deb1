package main

import (
	"context"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

func newImageCommand(a *app) *cobra.Command {
	return group("image", "Images on hosts: in a repository, and deployed",
		newImagePullCommand(a), newImageDiffCommand(a), newImageListCommand(a), newImageHistoryCommand(a),
		newImageMetadataCommand(a), newImageClearCommand(a), newImageCopyCommand(a), newImageReexportCommand(a),
		newImageRemoveCommand(a), newImagePruneLayersCommand(a), newImagePruneImagesCommand(a), newImageDeployCommand(a),
		newImageStatusCommand(a), newImageRepairCommand(a), newImageDetachedCommand(a))
}

func newImageListCommand(a *app) *cobra.Command {
	var repoPath string
	var asJSON bool
	c := &cobra.Command{
		Use:     "list --repo=REPO",
		Short:   "List the images that are stored",
		Example: "  ostree-ext container image list --repo=repo",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withRepo(repoPath, func(r *repo.Repo) error {
				images, err := store.List(r)
				if err != nil {
					return err
				}
				if asJSON {
					return a.listJSON(cmd.Context(), r, images)
				}
				for _, ref := range images {
					if err := a.printf("%s\n", printable.Line(ref.String())); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	repoFlag(c, &repoPath)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object, with versions and pending updates")
	return c
}

// storedImage is an image in the JSON form of the list.
type storedImage struct {
	Image   string        `json:"image"`
	Commit  string        `json:"commit,omitempty"`
	Digest  digest.Digest `json:"digest,omitempty"`
	Version string        `json:"version,omitempty"`
	Layers  int           `json:"layers,omitempty"`
	Bytes   int64         `json:"bytes,omitempty"`
	// Signatures are those that were verified when the image was pulled.
	Signatures []oci.Signature `json:"signatures,omitempty"`
	Update     *pendingUpdate  `json:"update,omitempty"`
	Problem    string          `json:"problem,omitempty"`
}

type pendingUpdate struct {
	Digest  digest.Digest `json:"digest"`
	Version string        `json:"version,omitempty"`
	// Added and Bytes are the number of new layers, and their size.
	Added int   `json:"layers_added"`
	Bytes int64 `json:"bytes_added"`
	// Signatures are those that were verified when the update was found.
	Signatures []oci.Signature `json:"signatures,omitempty"`
}

func (a *app) listJSON(ctx context.Context, r *repo.Repo, images []imgref.ImageReference) error {
	list := make([]storedImage, 0, len(images))
	for _, ref := range images {
		l := storedImage{Image: ref.String()}
		img, err := store.Query(ctx, r, ref)
		if err == nil {
			l.Commit, l.Digest, l.Version = img.Commit.String(), img.ManifestDigest, store.Version(img.Image)
			d := container.Compare(img.Manifest, img.Manifest)
			l.Layers, l.Bytes = d.Total, d.TotalSize
			l.Signatures, err = store.Signatures(ctx, r, img)
		}
		if err == nil {
			l.Update, err = findUpdate(ctx, r, img)
		}
		if err != nil {
			l.Problem = err.Error()
		}
		list = append(list, l)
	}
	return a.printJSON(struct {
		Images []storedImage `json:"images"`
	}{list})
}

func findUpdate(ctx context.Context, r *repo.Repo, img *store.Image) (*pendingUpdate, error) {
	update, err := store.CachedUpdate(ctx, r, img)
	if update == nil || err != nil {
		return nil, err
	}
	signed, err := store.Signatures(ctx, r, update)
	if err != nil {
		return nil, err
	}
	d := container.Compare(img.Manifest, update.Manifest)
	return &pendingUpdate{
		Digest: update.ManifestDigest, Version: store.Version(update.Image), Added: d.NAdded, Bytes: d.AddedSize,
		Signatures: signed,
	}, nil
}

func newImageHistoryCommand(a *app) *cobra.Command {
	return storedImageCommand(a, &cobra.Command{
		Use:     "history --repo=REPO IMGREF",
		Short:   "List the layers of a stored image",
		Example: "  ostree-ext container image history --repo=repo docker://registry.example/os:latest",
	}, func(_ context.Context, _ *repo.Repo, img *store.Image) error {
		return a.printf("%s", historyTable(img))
	})
}

// historyTable returns upstream's table, without its misspelt heading.
func historyTable(img *store.Image) string {
	rows := [][]string{{"ID", "SIZE", "CREATED BY"}}
	for _, l := range img.Layers {
		by := ""
		if l.History != nil {
			by = printable.Line(l.History.CreatedBy)
		}
		id := l.Descriptor.Digest.Encoded()
		rows = append(rows, []string{id[:min(len(id), 20)], sizes.Format(l.Descriptor.Size), by})
	}
	var widths [3]int
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(" " + cell + strings.Repeat(" ", widths[i]-len([]rune(cell))) + " ")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// storedImageCommand completes a command that reads one stored image.
func storedImageCommand(
	_ *app, c *cobra.Command, run func(context.Context, *repo.Repo, *store.Image) error,
) *cobra.Command {
	var repoPath string
	repoFlag(c, &repoPath)
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ref, err := parseImageReference("<IMGREF>", args[0])
		if err != nil {
			return err
		}
		return withRepo(repoPath, func(r *repo.Repo) error {
			img, err := store.Query(cmd.Context(), r, ref)
			if err != nil {
				return err
			}
			return run(cmd.Context(), r, img)
		})
	}
	return c
}

func newImageMetadataCommand(a *app) *cobra.Command {
	var config bool
	c := storedImageCommand(a, &cobra.Command{
		Use:     "metadata --repo=REPO [--config] IMGREF",
		Short:   "Print the manifest of a stored image, or its configuration",
		Example: "  ostree-ext container image metadata --repo=repo docker://registry.example/os:latest",
	}, func(_ context.Context, _ *repo.Repo, img *store.Image) error {
		doc := img.Top.Raw
		if config {
			doc = img.RawConfig
		}
		return a.printf("%s", doc)
	})
	c.Flags().BoolVar(&config, "config", false, "print the configuration")
	return c
}
