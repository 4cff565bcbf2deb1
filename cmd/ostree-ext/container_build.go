package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// buildFlags are the options of container build.
type buildFlags struct {
	tree treeFlags
	// destination is the name of the argument that says where to write to.
	destination string
	image       imageFlags
	signImage   imageSignFlags
	names       []string
	digestFile  string
	asJSON      bool
	checkPrior  bool
	threads     uint
	fetch       source.Options
	// previous is where the prior image is if the options name none, and nil if that is the destination.
	previous *imgref.ImageReference
	// parentDirs adds to every layer the directories above its files.
	parentDirs bool
	// sign signs the commit of the image.
	sign func(ctx context.Context, src repo.Source, commit object.Checksum) (repo.Source, error)
	// mapping is the content of a mapping file that no flag names, or nil.
	mapping []byte
	// describe sets labels from what was opened, and what the result says about them. It may be nil.
	describe func(context.Context, *opened, *encapsulate.Options) (*labelled, error)
}

func newBuildCommand(a *app) *cobra.Command {
	f := buildFlags{destination: "<IMGREF>"}
	c := &cobra.Command{
		Use:   "build (--rootfs=DIR | --from=IMGREF) IMGREF",
		Short: "Make an image of a root filesystem or of another image, split by content, and print its digest",
		Long: `Makes an image from a root filesystem and writes it to IMGREF. Its layers follow the packages in the
root filesystem, so that updates download little. The root filesystem is a directory, or that of
another image, whose configuration is kept. A directory is read in place. The command needs root only
if files cannot be read otherwise.

With --format=plain (the default) the image is an ordinary one. All times in its layers are
1970-01-01, so that reinstalling a file changes nothing. With --format=ostree the tree is committed as
an operating system and the commit is encapsulated: /etc becomes /usr/etc; /run, /tmp, /proc, /sys,
/dev and /boot are emptied. The command lists what cannot be kept. --prepare=ostree cleans up the tree of a
container before: accounts and the content of /var go to /usr, and each change is reported. DIR itself is
never changed.

--keep-base keeps the layers of a base image and splits only what is above them. --prune leaves out
parts of the root filesystem.

` + aboutStdout,
		Example: `  ostree-ext container build --rootfs=rootfs docker://registry.example/app:latest
  ostree-ext container build --from=docker://registry.example/os:build --format=ostree \
      docker://registry.example/os:latest
  ostree-ext container build --from=oci:app --keep-base=docker://docker.io/library/debian:12 \
      docker://registry.example/app:latest`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.build(cmd, args[0], &f) },
	}
	f.tree.add(c.Flags())
	f.add(a, c)
	return c
}

func newRechunkCommand(a *app) *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "rechunk SRC DST",
		Short: "Split an image anew by content, and print the new image's digest",
		Long: `Reads the image SRC, splits its content by packages and writes the image DST. It is the same as
"container build --from=SRC DST". An image that holds a commit becomes one again.

` + aboutStdout,
		Example: `  ostree-ext rechunk docker://registry.example/app:build docker://registry.example/app:latest`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.tree.from, f.tree.source, f.destination = args[0], "<SRC>", "<DST>"
			return a.build(cmd, args[1], &f)
		},
	}
	fs := c.Flags()
	addFormatFlags(fs, "default: that of SRC")
	f.add(a, c)
	return c
}

func (f *buildFlags) add(a *app, c *cobra.Command) {
	fs := c.Flags()
	fs.String("keep-base", "", "`IMGREF` of the base image whose layers are kept")
	fs.String("repo", "", "`REPO` to also store the commit of --format=ostree in")
	fs.String("write-ref", "", "`REF` of --repo to set to the commit")
	addChunkFlags(fs, atDestination)
	addCheckPrior(fs, &f.checkPrior)
	f.image.add(fs)
	f.signImage.add(fs)
	fetchFlags(a, fs, &f.fetch.Registry)
	trustFlags(fs, &f.fetch).verifyFlag(fs, "the images that are read")
	additionalTag(fs, &f.names)
	addThreads(fs, &f.threads)
	fs.StringVar(&f.digestFile, "digestfile", "", "`FILE` to write the image's digest to")
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object")
}

// built is the result of container build and rechunk.
type built struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Commit string `json:"commit,omitempty"`
	continued
	*labelled
	Signatures []signature `json:"signatures,omitempty"`
	advised
	// Prepared lists what was changed in the tree before it was committed.
	Prepared []prepared `json:"prepared,omitempty"`
	// Dropped lists the paths that a commit does not keep.
	Dropped []string `json:"dropped,omitempty"`
}

// prepared is a change to a tree before it was committed.
type prepared struct {
	Name  string   `json:"name"`
	Text  string   `json:"text"`
	Items []string `json:"items"`
}

func (a *app) build(cmd *cobra.Command, arg string, f *buildFlags) error {
	o, err := readOptions(cmd.Flags())
	if err != nil {
		return err
	}
	o.Store, o.WriteRef = cmd.Flag("repo").Value.String(), cmd.Flag("write-ref").Value.String()
	o.CheckPrior = f.checkPrior
	useThreads(f.threads)
	if err := o.Check(request.CommandLine, f.tree.kind()); err != nil {
		return optionError(err)
	}
	if err := checkImages(&o); err != nil {
		return err
	}
	if err := checkStore(cmd, &o); err != nil {
		return err
	}
	ref, err := parseDestination(f.destination, arg)
	if err != nil {
		return err
	}
	err = a.checkFetch(cmd.Flags(), &f.fetch.Registry, arg, f.tree.from, o.Prior, o.KeepBase)
	if err != nil {
		return err
	}
	return a.buildTo(cmd, ref, f, &o)
}

// buildTo makes the image that checked options ask for, and writes it to ref.
func (a *app) buildTo(cmd *cobra.Command, ref imgref.ImageReference, f *buildFlags, o *request.Options) (err error) {
	ctx := cmd.Context()
	if err := errors.Join(a.checkOutputs(cmd.Flags(), ref, f.digestFile), checkNames(ref, f.names)); err != nil {
		return err
	}
	signer, err := f.signImage.signer(ctx, a, ref, f.names, f.fetch.Registry)
	if err != nil {
		return err
	}
	opts := plan.Options{}
	given, err := f.image.options(ctx, a, &opts.Image)
	if err != nil {
		return err
	}
	opts.Image.ParentDirs = f.parentDirs
	files, err := a.readFiles(ctx, o)
	if err != nil {
		return err
	}
	if f.mapping != nil {
		files.Mapping = f.mapping
	}
	f.fetch.Platform = opts.Image.Platform
	in, err := f.tree.open(ctx, o, f.fetch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	in.Sign = f.sign
	closeBase, err := in.openBase(ctx, o.KeepBase, f.fetch)
	if err != nil {
		return err
	}
	if closeBase != nil {
		defer func() { err = errors.Join(err, closeBase()) }()
	}
	dropped, err := in.inherit(&opts.Image, given, &f.image.changed)
	if err != nil {
		return err
	}
	if len(dropped) > 0 {
		a.warn(fmt.Sprintf("not kept of the configuration of %s: %s", in.image.Name, strings.Join(dropped, ", ")))
	}
	if in.image != nil {
		if dropped := plan.DroppedOfManifest(&in.image.Manifest); len(dropped) > 0 {
			a.warn(fmt.Sprintf("not kept of the manifest of %s: %s", in.image.Name, strings.Join(dropped, ", ")))
		}
	}
	a.warnForeign(in)
	a.warnAll(in.warnings)
	var about *labelled
	if f.describe != nil {
		if about, err = f.describe(ctx, in, &opts.Image); err != nil {
			return err
		}
	}
	if opts.Prior, err = a.openPrior(ctx, o, cmp.Or(f.previous, &ref), f.fetch); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeImage(opts.Prior)) }()
	if f.checkPrior {
		a.checkHeld(&opts, o.Strict)
	}
	show := a.newProgress()
	opts.Image.Name, opts.Image.Progress = ref.String(), show.event
	result, err := a.buildOpened(ctx, f, o, files, in, opts, ref)
	show.stop()
	if err != nil {
		return err
	}
	result.labelled = about
	if result.Signatures, err = a.signPushed(ctx, signer, digest.Digest(result.Digest)); err != nil {
		return err
	}
	var printed any
	if f.asJSON {
		printed = result
	}
	a.printAdvice(result.advised, ref)
	return a.report(ctx, ref, digest.Digest(result.Digest), result.continued, f.digestFile, printed)
}

// buildOpened plans, makes and writes the image.
func (a *app) buildOpened(
	ctx context.Context, f *buildFlags, o *request.Options, files request.Files, in *opened, opts plan.Options,
	ref imgref.ImageReference,
) (*built, error) {
	p, err := o.Plan(ctx, opts, files, in.Opened)
	if err != nil {
		return nil, optionError(err)
	}
	for _, w := range p.Warnings {
		a.warn(w)
	}
	advice, err := p.Advice(ctx)
	if err != nil {
		return nil, err
	}
	result := &built{Image: ref.String(), advised: newAdvised(advice)}
	if o.Format == request.OSTree {
		a.printEdits(p.Edits)
		for _, e := range p.Edits {
			result.Prepared = append(result.Prepared, prepared(e))
		}
		if p.Made != nil {
			a.reportDropped(p.Made.Dropped, result)
		}
		result.Commit = p.Commit.String()
		if err := keepCommit(ctx, o, p, in.repo); err != nil {
			return nil, err
		}
	}
	img, err := p.Image(ctx)
	if err != nil {
		return nil, err
	}
	at := a.passedOver(ctx, o, ref, f.fetch)
	d, err := dest.Write(ctx, img, ref, dest.Options{Registry: f.fetch.Registry, Stdout: a.out, Names: f.names})
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", ref, err)
	}
	result.Digest = d.String()
	if result.continued, err = a.continuedFrom(opts.Prior, img); err != nil {
		return nil, err
	}
	return result, result.addPassedOver(at, opts.Prior, img)
}

// warnForeign warns that the new image will have the content of layers that are not to be distributed.
func (a *app) warnForeign(in *opened) {
	var images []*oci.Image
	if in.image != nil {
		images = append(images, in.image)
	}
	if in.Base != nil {
		images = append(images, in.Base.Image)
	}
	for _, image := range images {
		for i, l := range image.Layers {
			if l.Foreign != "" {
				a.warn(fmt.Sprintf("layer %d of %s is marked as not to be distributed: the new image has its content in ordinary "+
					"layers", i+1, image.Name))
			}
		}
	}
}

// reportDropped records the paths that a commit does not keep, and warns about the first of them.
func (a *app) reportDropped(list []rootfs.Dropped, result *built) {
	const shown = 10
	for _, d := range list {
		result.Dropped = append(result.Dropped, d.Path)
	}
	for _, d := range rootfs.LossesFirst(list)[:min(shown, len(list))] {
		a.warn(fmt.Sprintf("not kept: %s: %s", d.Path, d.Reason))
	}
	if n := len(list) - shown; n > 0 {
		a.warn(fmt.Sprintf("not kept: %d more (--json lists them)", n))
	}
}

// inherit takes over the configuration of the image that the tree comes from, and sets the time of the new one. given
// is what a document says, which has precedence, or nil. It returns the names of the fields that are not taken over.
func (in *opened) inherit(opts *encapsulate.Options, given *encapsulate.Given,
	annotations *request.Changes) (dropped []string, err error) {
	created := in.modTime.UTC().Truncate(time.Second)
	if in.image != nil {
		if dropped, err = in.inheritImage(opts, annotations); err != nil {
			return nil, err
		}
		created = in.image.Config.Created.UTC()
	}
	if given != nil && given.Created != nil {
		created = *given.Created
	}
	in.Created, err = sourceDateEpoch(created)
	return dropped, err
}

// samePlatform reports whether the platform that was asked for is an image's own, which may say more about it.
func samePlatform(asked *ocispec.Platform, own ocispec.Platform) bool {
	return asked.OS == own.OS && asked.Architecture == own.Architecture &&
		(asked.Variant == "" || asked.Variant == own.Variant) && asked.OSVersion == "" && len(asked.OSFeatures) == 0
}

// inheritImage takes over the configuration of the image, and returns the names of the fields that it does not.
func (in *opened) inheritImage(opts *encapsulate.Options, annotations *request.Changes) (dropped []string, err error) {
	old := &in.image.Config
	own, err := platforms.Parse(strings.TrimSuffix(old.OS+"/"+old.Architecture+"/"+old.Variant, "/"))
	switch {
	case opts.Platform == nil && err != nil:
		return nil, fmt.Errorf("platform of %s: %w", in.image.Name, err)
	case opts.Platform == nil || err == nil && samePlatform(opts.Platform, own):
		own.OSVersion, own.OSFeatures = old.OSVersion, old.OSFeatures
		opts.Platform = &own
	default:
		if old.OSVersion != "" {
			dropped = append(dropped, "os.version")
		}
		if len(old.OSFeatures) > 0 {
			dropped = append(dropped, "os.features")
		}
	}
	if opts.Author == "" {
		opts.Author = old.Author
	}
	var others []string
	if opts.Fields, others, err = plan.InheritedFields(in.image.RawConfig); err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", in.image.Name, err)
	}
	dropped = append(dropped, others...)
	inherited := annotations.Apply(plan.InheritedAnnotations(in.image.Manifest.Annotations, nil))
	maps.Copy(inherited, opts.Annotations)
	opts.Annotations = inherited
	if opts.Config != nil {
		return dropped, nil
	}
	var kept []string
	if in.Base != nil {
		for _, l := range in.Base.Image.Layers {
			kept = append(kept, l.DiffID.String())
		}
	}
	if opts.Config, err = plan.WithoutStaleLabels(old.Container, kept); err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", in.image.Name, err)
	}
	return dropped, nil
}

// sourceDateEpoch returns the time of SOURCE_DATE_EPOCH, or other if that is not set.
func sourceDateEpoch(other time.Time) (time.Time, error) {
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		return repo.SourceDateEpoch(s)
	}
	return other, nil
}

// checkStore checks, before any work is done, that the commit can be stored where the options say.
func checkStore(cmd *cobra.Command, o *request.Options) error {
	if err := checkWriteRef(cmd, o.WriteRef); err != nil || o.Store == "" {
		return err
	}
	return withRepo(o.Store, func(*repo.Repo) error { return nil })
}

// keepCommit stores the commit of an image in the repository of the options, if there is one. The commit was made from
// a root filesystem, or comes from an image and is in the repository from.
func keepCommit(ctx context.Context, o *request.Options, p *request.Planned, from *repo.Repo) error {
	if o.Store == "" {
		return nil
	}
	return withRepo(o.Store, func(r *repo.Repo) error {
		if p.Made == nil {
			_, err := r.PullLocal(ctx, from, []string{p.Commit.String()}, repo.PullOptions{})
			if err != nil || o.WriteRef == "" {
				return err
			}
		}
		return inTransaction(ctx, r, func(txn *repo.Txn) error {
			if p.Made != nil {
				if err := p.Made.Source.WriteTo(ctx, txn); err != nil {
					return err
				}
			}
			if o.WriteRef == "" {
				return nil
			}
			return txn.SetRef(o.WriteRef, p.Commit)
		})
	})
}

func inTransaction(ctx context.Context, r *repo.Repo, do func(*repo.Txn) error) error {
	txn, err := r.Begin(ctx)
	if err != nil {
		return err
	}
	if err := do(txn); err != nil {
		return errors.Join(err, txn.Abort())
	}
	_, err = txn.Commit(ctx)
	return err
}
