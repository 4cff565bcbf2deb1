package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

func newImageRepairCommand(a *app) *cobra.Command {
	var path string
	var asJSON bool
	var opts store.RepairOptions
	c := &cobra.Command{
		Use:   "repair --repo=REPO [--dry-run] [IMGREF...]",
		Short: "Put damaged objects of stored images right",
		Long: `Reads every object of the images, or of all images if none is given, and replaces those that are
missing or corrupt. Only the layers that have such objects are fetched, from where the image's name
leads. If it leads to another image by now, they are asked for by their digests. What only the merge
commit has is made from the layers again. The merge commit stays the same.

A deployment has other names of the same files, which are not changed: deploy the image again after a
repair, so that it has the new ones.`,
		Example: `  ostree-ext container image repair --repo=repo --dry-run
  ostree-ext container image repair --repo=repo docker://registry.example/os:latest`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 || opts.Source.Registry.Check() != nil {
				if err := a.checkFetch(cmd.Flags(), &opts.Source.Registry, args...); err != nil {
					return err
				}
			}
			refs := make([]imgref.ImageReference, len(args))
			for i, arg := range args {
				var err error
				if refs[i], err = parseImageReference("<IMGREF>", arg); err != nil {
					return err
				}
			}
			with := withWritableRepo
			if opts.DryRun {
				with = withRepo
			}
			return with(path, func(r *repo.Repo) error { return a.repair(cmd.Context(), r, refs, opts, asJSON) })
		},
	}
	repoFlag(c, &path)
	fs := c.Flags()
	fs.BoolVar(&opts.DryRun, "dry-run", false, "only say what would be done")
	fs.IntVar(&opts.Layers, "layers", store.DefaultLayers, "`NUMBER` of layers to fetch at once")
	fs.BoolVar(&asJSON, "json", false, "print a JSON object")
	fetchFlags(a, fs, &opts.Source.Registry)
	return c
}

// repairedImage is the JSON form of what was done for an image.
type repairedImage struct {
	Image    string          `json:"image"`
	Commit   string          `json:"commit"`
	Damaged  []string        `json:"damaged"`
	Left     []string        `json:"left"`
	Layers   []digest.Digest `json:"layers"`
	Bytes    int64           `json:"bytes"`
	Merged   bool            `json:"merged"`
	Moved    bool            `json:"moved"`
	Unmarked []string        `json:"unmarked"`
	Problem  string          `json:"problem,omitempty"`
}

// repair repairs images one after the other, also after one that fails.
func (a *app) repair(
	ctx context.Context, r *repo.Repo, refs []imgref.ImageReference, opts store.RepairOptions, asJSON bool,
) (err error) {
	if len(refs) == 0 {
		if refs, err = store.List(r); err != nil {
			return err
		}
	}
	out := struct {
		DryRun bool            `json:"dry_run"`
		Images []repairedImage `json:"images"`
	}{opts.DryRun, []repairedImage{}}
	checker := r.NewChecker()
	var failed []error
	for _, ref := range refs {
		show := a.newProgress()
		opts.Progress = show.event
		res, err := store.Repair(ctx, r, checker, ref, opts)
		show.stop()
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			failed = append(failed, err)
		}
		if asJSON {
			out.Images = append(out.Images, repairedJSON(res, err))
			continue
		}
		if err := a.printRepaired(res, opts.DryRun, err); err != nil {
			return err
		}
	}
	if asJSON {
		if err := a.printJSON(out); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func repairedJSON(res *store.Repaired, err error) repairedImage {
	out := repairedImage{
		Image: res.Ref.String(), Commit: res.Commit.String(), Damaged: []string{}, Left: []string{},
		Layers: append([]digest.Digest{}, res.Layers...), Bytes: res.Bytes, Merged: res.Merged, Moved: res.Moved,
		Unmarked: []string{},
	}
	for _, p := range res.Damaged {
		out.Damaged = append(out.Damaged, p.Object.String())
	}
	for _, p := range res.Left {
		out.Left = append(out.Left, p.Object.String())
	}
	for _, c := range res.Unmarked {
		out.Unmarked = append(out.Unmarked, c.String())
	}
	if err != nil {
		out.Problem = err.Error()
	}
	return out
}

func (a *app) printRepaired(res *store.Repaired, dry bool, err error) error {
	for _, p := range res.Damaged {
		fmt.Fprintln(a.err, printable.Line(p.String()))
	}
	switch {
	case err != nil:
		return nil // the error is printed at the end
	case res.Sound():
		return a.printf("OK image %s\n", res.Ref)
	case dry:
		return a.printf("Would repair image %s: objects damaged: %d; layers to fetch: %d (%s)\n",
			res.Ref, len(res.Damaged), len(res.Layers), sizes.Format(res.Bytes))
	}
	if res.Moved {
		a.warn(fmt.Sprintf("%s names another image now: there is an update", res.Ref))
	}
	return a.printf("Repaired image %s: objects damaged: %d; layers fetched: %d (%s)\n",
		res.Ref, len(res.Damaged), len(res.Layers), sizes.Format(res.Bytes))
}
