package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// trustCheckFlags are the options of the command.
type trustCheckFlags struct {
	repo            string
	offline, asJSON bool
	fetch           source.Options
	door            *door
}

func newTrustCheckCommand(a *app) *cobra.Command {
	var f trustCheckFlags
	c := &cobra.Command{
		Use:   "check [--repo=REPO] OSTREEIMGREF",
		Short: "Say who signed an image, and whether this host lets it in",
		Long: `Prints which rule decides about the image, what it asks for, which signatures were found, and what
follows. The exit status is 1 if the image would be refused. No layer is fetched; for a reference to a
remote of an OSTree repository, which --repo names, the beginning of the layer with the commit is. So
what only a pull finds out is not checked: that each layer has its digest, and that the layers have
every object of the commit.

A reference that asks for no signatures is treated as one that does, so a plain docker://NAME will do.

With --offline, nothing is fetched: of an image that is stored in the repository, it prints which
signatures were verified when it was pulled, and which rule decides now.`,
		Example: `  ostree-ext container trust check docker://registry.example/os:latest
  ostree-ext container trust check --repo=repo --offline ostree-image-signed:docker://registry.example/os:latest`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseEitherReference("<OSTREEIMGREF>", args[0])
			if err != nil {
				return err
			}
			if err := a.checkFetch(cmd.Flags(), &f.fetch.Registry, ref.String(), signedReference(ref).String()); err != nil {
				return err
			}
			run := func(r *repo.Repo) error { return f.run(cmd.Context(), a, ref, r) }
			if f.repo == "" && os.Getenv("OSTREE_REPO") == "" && !f.offline && ref.Signature.Kind != imgref.OstreeRemote {
				return run(nil)
			}
			return withRepo(f.repo, run)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.repo, "repo", "", "`REPO` with the remote, or with the stored image (default: $OSTREE_REPO)")
	fs.BoolVar(&f.offline, "offline", false, "fetch nothing: say what is known of a stored image")
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object")
	fetchFlags(a, fs, &f.fetch.Registry)
	f.door = trustFlags(fs, &f.fetch)
	return c
}

// signedReference is a reference to the same image that asks for signatures.
func signedReference(ref imgref.OstreeImageReference) imgref.OstreeImageReference {
	return imgref.OstreeImageReference{
		Signature: imgref.SignatureSource{Kind: imgref.ContainerPolicy}, Image: ref.Image,
	}
}

// errNotAdmitted makes the exit status say what the report says.
var errNotAdmitted = errors.New("the image would be refused")

func (f *trustCheckFlags) run(ctx context.Context, a *app, ref imgref.OstreeImageReference, r *repo.Repo) error {
	f.door.repo = r
	report, err := f.report(ctx, ref, r)
	if err != nil {
		return err
	}
	if f.asJSON {
		err = a.printJSON(report)
	} else {
		err = report.WriteText(printable.Writer(a.out))
	}
	if err == nil && !report.Admitted {
		err = errNotAdmitted
	}
	return err
}

func (f *trustCheckFlags) report(
	ctx context.Context, ref imgref.OstreeImageReference, r *repo.Repo,
) (*trust.Report, error) {
	if !f.offline {
		return f.door.open().Check(ctx, ref, f.fetch)
	}
	img, err := store.Query(ctx, r, ref.Image)
	if err != nil {
		return nil, err
	}
	signed, err := store.Signatures(ctx, r, img)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", ref.Image, err)
	}
	return f.door.open().Stored(ref, img.ManifestDigest, signed)
}
