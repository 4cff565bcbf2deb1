package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// encapsulateFlags are the options as they are written.
type encapsulateFlags struct {
	repo, contentMeta, digestFile string
	copyMeta, copyMetaOpt         []string
	asJSON                        bool
	registry                      access.Options
	image                         imageFlags
	chunk                         chunkFlags
}

func newEncapsulateCommand(a *app) *cobra.Command {
	var f encapsulateFlags
	c := &cobra.Command{
		Use:     "encapsulate --repo=REPO REV IMGREF",
		Aliases: []string{"export"},
		Short:   "Make a container image of a commit and print its digest",
		Long: `Makes an OCI image of the commit REV and writes it to IMGREF: docker://HOST/NAME[:TAG], oci:DIR[:TAG],
oci-archive:FILE[:TAG], dir:DIR, docker-archive:FILE[:REF] or containers-storage:NAME. The layers' uncompressed bytes depend
on the commit and the options alone.

The content is split into layers by the packages that own it, so that an update downloads little. What goes where is
remembered in a label: while IMGREF names the image of the last build, or --prior does, the layers whose content did not
change are neither made nor sent again. A commit in which no packages are found becomes a single layer. With --contentmeta
the content is split as that file says.

` + aboutStdout,
		Example: `  ostree-ext container encapsulate --repo=repo exampleos/x86_64/stable docker://registry.example/os:latest
  ostree-ext container encapsulate --repo=repo --label=vendor=Example --cmd=/usr/bin/bash --compression=zstd \
      exampleos/x86_64/stable oci-archive:os.ociarchive`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := f.options()
			if err != nil {
				return err
			}
			ref, err := parseImageReference(args[1])
			if err != nil {
				return err
			}
			if err := a.checkArchive(ref); err != nil {
				return err
			}
			return withRepo(f.repo, func(r *repo.Repo) error { return a.encapsulate(cmd, r, args[0], ref, opts, &f) })
		},
	}
	repoFlag(c, &f.repo)
	fs := c.Flags()
	fs.StringArrayVar(&f.copyMeta, "copymeta", nil, "`KEY` of the commit's metadata to make a label of; an error where it is missing")
	fs.StringArrayVar(&f.copyMetaOpt, "copymeta-opt", nil, "`KEY` of the commit's metadata to make a label of, if it is there")
	fs.StringVar(&f.contentMeta, "contentmeta", "", "`FILE` that maps content to layers")
	f.image.add(fs)
	f.chunk.add(fs)
	f.chunk.addCheckPrior(fs)
	fs.StringVar(&f.registry.AuthFile, "authfile", "", "`FILE` with credentials for the registry (default: $REGISTRY_AUTH_FILE, else those of podman and docker)")
	insecureFlag(fs, &f.registry)
	fs.StringVar(&f.digestFile, "digestfile", "", "`FILE` to write the image's digest to")
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object")
	return c
}

// options reads what the flags name.
func (f *encapsulateFlags) options() (encapsulate.Options, error) {
	opts := encapsulate.Options{CopyMetaKeys: f.copyMeta, CopyMetaOptKeys: f.copyMetaOpt}
	if f.chunk.singleLayer && f.contentMeta != "" {
		return opts, usagef("--single-layer and --contentmeta: choose one")
	}
	return opts, f.image.options(&opts)
}

// encapsulated is the result of encapsulation.
type encapsulated struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Commit string `json:"commit"`
	continued
}

func (a *app) encapsulate(
	cmd *cobra.Command, r *repo.Repo, revision string, ref imgref.ImageReference, image encapsulate.Options, f *encapsulateFlags,
) (err error) {
	ctx := cmd.Context()
	rev, err := r.ResolveRev(revision)
	if err != nil {
		return err
	}
	opts := plan.Options{Image: image}
	if err := f.chunk.options(&opts); err != nil {
		return err
	}
	if err := f.useContentMeta(cmd, r, rev, &opts); err != nil {
		return err
	}
	fetch := source.Options{Registry: f.registry, Platform: image.Platform}
	if opts.Prior, err = f.chunk.openPrior(ctx, a, &ref, fetch); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeImage(opts.Prior)) }()
	f.chunk.checkHeld(a, &opts)
	show := a.newProgress()
	opts.Image.Progress = show.event
	img, err := a.plannedImage(ctx, func() (*plan.Plan, error) { return plan.Commit(ctx, r, rev, opts) })
	if err != nil {
		show.stop()
		return fmt.Errorf("making an image of commit %s: %w", rev, err)
	}
	digest, err := dest.Write(ctx, img, ref, dest.Options{Registry: f.registry, Stdout: a.out})
	show.stop()
	if err != nil {
		return fmt.Errorf("writing %s: %w", ref, err)
	}
	continued, err := a.continuedFrom(opts.Prior, img)
	if err != nil {
		return err
	}
	var result any
	if f.asJSON {
		result = encapsulated{Image: ref.String(), Digest: digest.String(), Commit: rev.String(), continued: continued}
	}
	return a.report(ctx, ref, digest, continued, f.digestFile, result)
}

// useContentMeta takes over what content metadata say. Those of upstream's command line name the layers, so that the
// packing is upstream's unless another is asked for; those of its library name components.
func (f *encapsulateFlags) useContentMeta(cmd *cobra.Command, r *repo.Repo, rev object.Checksum, opts *plan.Options) error {
	if f.contentMeta == "" {
		return nil
	}
	data, err := os.ReadFile(f.contentMeta)
	if err != nil {
		return fmt.Errorf("reading content metadata: %w", err)
	}
	if err := opts.UseContentMeta(cmd.Context(), r, data, f.chunk.packing != ""); err != nil {
		return fmt.Errorf("content metadata %s: %w", f.contentMeta, err)
	}
	return nil
}

// plannedImage plans an image, tells the plan's warnings, and makes the image.
func (a *app) plannedImage(ctx context.Context, make func() (*plan.Plan, error)) (*encapsulate.Image, error) {
	p, err := make()
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings {
		a.warn(w)
	}
	return p.Image(ctx)
}
