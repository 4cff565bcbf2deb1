package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// encapsulateFlags are the values of the options.
type encapsulateFlags struct {
	repo, digestFile      string
	copyMeta, copyMetaOpt []string
	names                 []string
	asJSON, checkPrior    bool
	registry              access.Options
	prior                 source.Options
	image                 imageFlags
	signing               signFlags
	signImage             imageSignFlags
}

func newEncapsulateCommand(a *app) *cobra.Command {
	var f encapsulateFlags
	c := &cobra.Command{
		Use:     "encapsulate --repo=REPO REV IMGREF",
		Aliases: []string{"export"},
		Short:   "Make a container image of a commit and print its digest",
		Long: `Makes an OCI image of the commit REV and writes it to IMGREF: docker://HOST/NAME[:TAG],
oci:DIR[:TAG], oci-archive:FILE[:TAG], dir:DIR, docker-archive:FILE[:REF] or
containers-storage:NAME. The uncompressed bytes of the layers depend only on the commit and the options.

The content is split into layers by the packages that own it, so that an update downloads little. A
label of the image records the plan. While IMGREF names the image of the last build, or --prior does,
layers whose content did not change are neither made nor sent again. If no packages are found, the
commit becomes a single layer. With --contentmeta the content is split as that file says.

With --sign-from-file or --gpg-sign, the commit in the image also has new signatures; the repository is
not changed. To sign it there, use 'ostree-ext repo sign': its signatures become part of the image too.

` + aboutStdout,
		Example: `  ostree-ext container encapsulate --repo=repo exampleos/x86_64/stable docker://registry.example/os:latest
  ostree-ext container encapsulate --repo=repo --label=vendor=Example --cmd=/usr/bin/bash --compression=zstd \
      exampleos/x86_64/stable oci-archive:os.ociarchive`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options(cmd.Flags())
			if err != nil {
				return err
			}
			ref, err := parseDestination("<IMGREF>", args[1])
			if err != nil {
				if _, other := imgref.ParseImageReference(args[0]); other == nil {
					err = usagef("REV comes first: did you mean '%s %s'?", args[1], args[0])
				}
				return err
			}
			if err := errors.Join(f.signing.check(cmd.Flags()),
				a.checkFetch(cmd.Flags(), &f.registry, args[1], o.Prior)); err != nil {
				return err
			}
			if err := errors.Join(a.checkOutputs(cmd.Flags(), ref, f.digestFile), checkNames(ref, f.names)); err != nil {
				return err
			}
			return withRepo(f.repo, func(r *repo.Repo) error { return a.encapsulate(cmd, r, args[0], ref, o, &f) })
		},
	}
	repoFlag(c, &f.repo)
	fs := c.Flags()
	fs.StringArrayVar(&f.copyMeta, "copymeta", nil, "`KEY` of the commit's metadata to make a label of; "+
		"it must exist")
	fs.StringArrayVar(&f.copyMetaOpt, "copymeta-opt", nil,
		"`KEY` of the commit's metadata to make a label of, if it exists")
	fs.String("contentmeta", "", "`FILE` that maps content to layers; - is standard input")
	f.image.add(fs)
	f.signing.add(fs)
	f.signImage.add(fs)
	addChunkFlags(fs, atDestination)
	addCheckPrior(fs, &f.checkPrior)
	authFileFlag(a, fs, &f.registry)
	insecureFlag(fs, &f.registry)
	trustFlags(fs, &f.prior).verifyFlag(fs, "the prior image")
	additionalTag(fs, &f.names)
	fs.StringVar(&f.digestFile, "digestfile", "", "`FILE` to write the image's digest to")
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object")
	return c
}

// options returns the options that the flags set.
func (f *encapsulateFlags) options(fs *pflag.FlagSet) (*request.Options, error) {
	o, err := readOptions(fs)
	if err != nil {
		return nil, err
	}
	o.CopyMeta, o.CopyMetaOpt, o.CheckPrior = f.copyMeta, f.copyMetaOpt, f.checkPrior
	if err := o.Check(request.CommandLine, request.Commit); err != nil {
		return nil, optionError(err)
	}
	return &o, checkImages(&o)
}

// encapsulated is the result of container encapsulate.
type encapsulated struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Commit string `json:"commit"`
	continued
	Signatures []signature `json:"signatures,omitempty"`
	advised
}

func (a *app) encapsulate(
	cmd *cobra.Command, r *repo.Repo, revision string, ref imgref.ImageReference, o *request.Options, f *encapsulateFlags,
) (err error) {
	ctx := cmd.Context()
	signer, err := f.signImage.signer(ctx, a, ref, f.names, f.registry)
	if err != nil {
		return err
	}
	in := request.Opened{}
	if in.Commit, err = r.ResolveRev(revision); err != nil {
		return err
	}
	if in.Source, err = f.signing.signed(ctx, r, in.Commit); err != nil {
		return err
	}
	opts := plan.Options{}
	if _, err := f.image.options(ctx, a, &opts.Image); err != nil {
		return err
	}
	files, err := a.readFiles(ctx, o)
	if err != nil {
		return err
	}
	f.prior.Registry, f.prior.Platform = f.registry, opts.Image.Platform
	if opts.Prior, err = a.openPrior(ctx, o, &ref, f.prior); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeImage(opts.Prior)) }()
	if f.checkPrior {
		a.checkHeld(&opts, o.Strict)
	}
	show := a.newProgress()
	opts.Image.Name, opts.Image.Progress = ref.String(), show.event
	var advised advised
	img, err := a.plannedImage(ctx, func() (*request.Planned, error) {
		p, err := o.Plan(ctx, opts, files, in)
		if err != nil {
			return nil, err
		}
		advice, err := p.Advice(ctx)
		advised = newAdvised(advice)
		return p, err
	})
	if err != nil {
		show.stop()
		return optionError(err)
	}
	at := a.passedOver(ctx, o, ref, f.prior)
	digest, err := dest.Write(ctx, img, ref, dest.Options{Registry: f.registry, Stdout: a.out, Names: f.names})
	show.stop()
	if err != nil {
		return fmt.Errorf("writing %s: %w", ref, err)
	}
	continued, err := a.continuedFrom(opts.Prior, img)
	if err != nil {
		return err
	}
	if err := advised.addPassedOver(at, opts.Prior, img); err != nil {
		return err
	}
	signatures, err := a.signPushed(ctx, signer, digest)
	if err != nil {
		return err
	}
	var result any
	if f.asJSON {
		result = encapsulated{
			Image: ref.String(), Digest: digest.String(), Commit: in.Commit.String(), continued: continued,
			Signatures: signatures, advised: advised,
		}
	}
	a.printAdvice(advised, ref)
	return a.report(ctx, ref, digest, continued, f.digestFile, result)
}

// plannedImage plans and makes an image, and shows the plan's warnings.
func (a *app) plannedImage(ctx context.Context, make func() (*request.Planned, error)) (*encapsulate.Image, error) {
	p, err := make()
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings {
		a.warn(w)
	}
	img, err := p.Image(ctx)
	if err != nil {
		return nil, fmt.Errorf("making an image of commit %s: %w", p.Commit, err)
	}
	return img, nil
}
