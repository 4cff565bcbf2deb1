package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/flatten"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// treeFlags name a root filesystem.
type treeFlags struct {
	rootfs, from, format, varPolicy, selinux string
}

func (f *treeFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.rootfs, "rootfs", "", "`DIR` with a root filesystem")
	fs.StringVar(&f.from, "from", "", "`IMGREF` of an image whose root filesystem to take")
	fs.StringVar(&f.format, "format", "", "`NAME` of the image's form: plain, or ostree for a commit (default plain)")
	fs.StringVar(&f.varPolicy, "var", "keep", "`WHAT` --format=ostree does with the content of /var: keep (initial content of a new system) or drop")
	fs.StringVar(&f.selinux, "selinux", "auto", "`WHAT` --format=ostree does with SELinux labels: auto (computed from the tree's policy, if it has one) or off (as they are)")
}

func (f *treeFlags) named() bool { return f.rootfs != "" || f.from != "" }

// opened is a root filesystem with what is known of it.
type opened struct {
	tree    rootfs.Tree
	modTime time.Time  // of a directory
	image   *oci.Image // that it comes from, or nil
	close   func() error

	// repo and commit are set where the image holds a commit and nothing else.
	repo   *repo.Repo
	commit object.Checksum
}

// open opens what the flags name.
func (f *treeFlags) open(ctx context.Context, fetch source.Options) (*opened, error) {
	switch {
	case f.rootfs != "" && f.from != "":
		return nil, usagef("--rootfs and --from: choose one")
	case f.rootfs != "":
		d, err := rootfs.Dir(ctx, f.rootfs)
		if err != nil {
			return nil, err
		}
		return &opened{tree: d, modTime: d.ModTime(), close: d.Close}, nil
	case f.from != "":
		return f.openFrom(ctx, fetch)
	}
	return nil, usagef("say what to make an image of: --rootfs=DIR or --from=IMGREF")
}

// openFrom reads the image that the tree is of. One that holds a commit is one again if nothing else is asked for.
func (f *treeFlags) openFrom(ctx context.Context, fetch source.Options) (*opened, error) {
	image, err := openImage(ctx, f.from, fetch)
	if err != nil {
		return nil, err
	}
	o, err := f.openedFrom(ctx, image)
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	o.close = both(o.close, image.Close)
	return o, nil
}

func (f *treeFlags) openedFrom(ctx context.Context, image *oci.Image) (*opened, error) {
	layers, err := image.CommitLayers()
	if f.format == "" {
		if why, ok := errors.AsType[*oci.CommitError](err); ok && why.Labelled {
			return nil, fmt.Errorf("%s says that it holds a commit, which cannot be found (%w): "+
				"give --format=plain to take its files as they are", image.Name, err)
		}
		if err == nil {
			f.format = "ostree"
		}
	}
	if err == nil && f.format == "ostree" && len(layers.Derived) == 0 {
		r, commit, err := container.ImportScratch(ctx, image, "")
		if err != nil {
			return nil, err
		}
		tree, err := rootfs.Commit(ctx, r.Repo, commit)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return &opened{tree: tree, image: image, repo: r.Repo, commit: commit, close: r.Close}, nil
	}
	tree, err := flatten.Open(ctx, image, flatten.Options{})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", image.Name, err)
	}
	return &opened{tree: tree, image: image, close: tree.Close}, nil
}

// openImage opens the image that an argument names.
func openImage(ctx context.Context, arg string, fetch source.Options) (*oci.Image, error) {
	ref, err := parseEitherReference(arg)
	if err != nil {
		return nil, err
	}
	return source.Open(ctx, ref, fetch)
}

// commitOptions says how --format=ostree commits.
func (f *treeFlags) commitOptions(ctx context.Context, tree rootfs.Tree) (opts plan.OSTreeOptions, err error) {
	switch f.varPolicy {
	case "keep":
	case "drop":
		opts.Prepare.DropVar = true
	default:
		return opts, usagef("invalid value '%s' for '--var': keep or drop", f.varPolicy)
	}
	switch f.selinux {
	case "off":
	case "auto":
		if opts.Prepare.Label, err = plan.PolicyOf(ctx, tree); err != nil {
			return opts, err
		}
	default:
		return opts, usagef("invalid value '%s' for '--selinux': auto or off", f.selinux)
	}
	return opts, nil
}

// plan plans an image of the root filesystem, for looking at.
func (f *treeFlags) plan(ctx context.Context, opts plan.Options, fetch source.Options) (*plan.Plan, func() error, error) {
	o, err := f.open(ctx, fetch)
	if err != nil {
		return nil, nil, err
	}
	p, _, err := f.planOpened(ctx, o, nil, opts, time.Time{})
	return p, o.close, err
}

// planOpened plans in the form that is asked for.
func (f *treeFlags) planOpened(ctx context.Context, o *opened, base *plan.Base, opts plan.Options, created time.Time) (*plan.Plan, *heldCommit, error) {
	switch f.format {
	case "", "plain":
		opts.Image.Created = &created
		p, err := plan.Tree(ctx, o.tree, base, opts)
		return p, nil, err
	case "ostree":
		if base != nil {
			return nil, nil, usagef("--keep-base is for --format=plain: a commit has no base")
		}
		if o.repo != nil && f.varPolicy == "keep" {
			p, err := plan.Commit(ctx, o.repo, o.commit, opts)
			return p, alreadyCommitted(o.repo, o.commit), err
		}
		commit, err := f.commitOptions(ctx, o.tree)
		if err != nil {
			return nil, nil, err
		}
		commit.Time = created
		c, err := plan.CommitTree(ctx, o.tree, commit)
		if err != nil {
			return nil, nil, err
		}
		opts.Components.Origin = o.tree
		p, err := plan.Commit(ctx, c.Source, c.Commit, opts)
		return p, newlyCommitted(c), err
	}
	return nil, nil, usagef("invalid value '%s' for '--format': plain or ostree", f.format)
}

// buildFlags are the options of container plan.
type buildFlags struct {
	tree                                 treeFlags
	chunk                                chunkFlags
	image                                imageFlags
	keepBase, repo, writeRef, digestFile string
	asJSON                               bool
	fetch                                source.Options
}

func newBuildCommand(a *app) *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build (--rootfs=DIR | --from=IMGREF) IMGREF",
		Short: "Make an image of a root filesystem or of another image, split by content, and print its digest",
		Long: `Makes an image whose layers follow the packages of a root filesystem, so that updates download little, and writes it to IMGREF.
The root filesystem is a directory or that of another image, whose configuration is kept. It is read where it lies; being
root is necessary only where files cannot be read otherwise.

With --format=plain (the default) the image is an ordinary one. All times in its layers are 1970-01-01, so that a file that was
installed again changes nothing. With --format=ostree the tree is committed as that of an operating system and the commit
encapsulated: /etc becomes /usr/etc; /run, /tmp, /proc, /sys, /dev and /boot are emptied; what cannot be kept is listed.

--keep-base leaves the layers of a base image as they are and splits only what is above them.

` + aboutStdout,
		Example: `  ostree-ext container build --rootfs=rootfs docker://registry.example/app:latest
  ostree-ext container build --from=docker://registry.example/os:build --format=ostree docker://registry.example/os:latest
  ostree-ext container build --from=oci:app --keep-base=docker://docker.io/library/debian:12 docker://registry.example/app:latest`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.build(cmd, args[0], &f) },
	}
	f.tree.add(c.Flags())
	f.add(c)
	return c
}

func newRechunkCommand(a *app) *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "rechunk SRC DST",
		Short: "Split an image anew by content, and print the new image's digest",
		Long: `Reads the image SRC, splits its content by packages and writes the image DST: "container build --from=SRC DST". An image that
holds a commit becomes one again.

` + aboutStdout,
		Example: `  ostree-ext rechunk docker://registry.example/app:build docker://registry.example/app:latest`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.tree.from = args[0]
			return a.build(cmd, args[1], &f)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.tree.format, "format", "", "`NAME` of the image's form: plain or ostree (default: that of SRC)")
	fs.StringVar(&f.tree.varPolicy, "var", "keep", "`WHAT` --format=ostree does with the content of /var: keep or drop")
	fs.StringVar(&f.tree.selinux, "selinux", "auto", "`WHAT` --format=ostree does with SELinux labels: auto or off")
	f.add(c)
	return c
}

func (f *buildFlags) add(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.keepBase, "keep-base", "", "`IMGREF` of the base image whose layers stay as they are")
	fs.StringVar(&f.repo, "repo", "", "`REPO` to store the commit of --format=ostree in, too")
	fs.StringVar(&f.writeRef, "write-ref", "", "`REF` of --repo to set to the commit")
	f.chunk.add(fs)
	f.chunk.addCheckPrior(fs)
	f.image.add(fs)
	fetchFlags(fs, &f.fetch.Registry)
	fs.StringVar(&f.digestFile, "digestfile", "", "`FILE` to write the image's digest to")
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object")
}

// built is the result of container plan.
type built struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Commit string `json:"commit,omitempty"`
	continued
	// Dropped lists what a commit does not keep.
	Dropped []string `json:"dropped,omitempty"`
}

func (a *app) build(cmd *cobra.Command, arg string, f *buildFlags) (err error) {
	ctx := cmd.Context()
	if err := checkFetch(&f.fetch.Registry); err != nil {
		return err
	}
	if f.repo != "" && f.tree.format == "plain" || f.writeRef != "" && f.repo == "" {
		return usagef("--repo is for --format=ostree, and --write-ref for --repo")
	}
	if f.keepBase != "" && f.tree.format == "" {
		f.tree.format = "plain"
	}
	ref, err := parseImageReference(arg)
	if err != nil {
		return err
	}
	if err := a.checkArchive(ref); err != nil {
		return err
	}
	opts := plan.Options{}
	if err := f.chunk.options(&opts); err != nil {
		return err
	}
	if err := f.image.options(&opts.Image); err != nil {
		return err
	}
	f.fetch.Platform = opts.Image.Platform
	o, err := f.tree.open(ctx, f.fetch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	base, closeBase, err := f.base(ctx, o)
	defer func() { err = errors.Join(err, closeBase()) }()
	if err != nil {
		return err
	}
	created, err := f.inherit(o, base, &opts.Image)
	if err != nil {
		return err
	}
	if opts.Prior, err = f.chunk.openPrior(ctx, a, &ref, f.fetch); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeImage(opts.Prior)) }()
	f.chunk.checkHeld(a, &opts)
	show := a.newProgress()
	opts.Image.Progress = show.event
	result, err := a.buildOpened(ctx, f, o, base, opts, created, ref)
	show.stop()
	if err != nil {
		return err
	}
	var printed any
	if f.asJSON {
		printed = result
	}
	return a.report(ctx, ref, digest.Digest(result.Digest), result.continued, f.digestFile, printed)
}

// buildOpened plans, makes and writes the image.
func (a *app) buildOpened(ctx context.Context, f *buildFlags, o *opened, base *plan.Base, opts plan.Options, created time.Time, ref imgref.ImageReference) (*built, error) {
	p, committed, err := f.tree.planOpened(ctx, o, base, opts, created)
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings {
		a.warn(w)
	}
	result := &built{Image: ref.String()}
	if committed != nil {
		a.tellDropped(committed.dropped, result)
		result.Commit = committed.commit.String()
		if err := f.store(ctx, committed); err != nil {
			return nil, err
		}
	}
	img, err := p.Image(ctx)
	if err != nil {
		return nil, err
	}
	d, err := dest.Write(ctx, img, ref, dest.Options{Registry: f.fetch.Registry, Stdout: a.out})
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", ref, err)
	}
	result.Digest = d.String()
	result.continued, err = a.continuedFrom(opts.Prior, img)
	return result, err
}

// tellDropped lists what a commit does not keep: all of it for programs, the beginning for people.
func (a *app) tellDropped(list []rootfs.Dropped, result *built) {
	const shown = 10
	for i, d := range list {
		result.Dropped = append(result.Dropped, d.Path)
		if i < shown {
			a.warn(fmt.Sprintf("not kept: %s: %s", d.Path, d.Reason))
		}
	}
	if n := len(list) - shown; n > 0 {
		a.warn(fmt.Sprintf("not kept: %d more (--json lists them)", n))
	}
}

// inherit takes over the configuration of the image that the tree comes from, and returns the new one's time.
func (f *buildFlags) inherit(o *opened, base *plan.Base, opts *encapsulate.Options) (time.Time, error) {
	if o.image == nil {
		return sourceDateEpoch(o.modTime.UTC().Truncate(time.Second))
	}
	old := &o.image.Config
	created := old.Created.UTC()
	if opts.Platform == nil {
		p, err := platforms.Parse(strings.TrimSuffix(old.OS+"/"+old.Architecture+"/"+old.Variant, "/"))
		if err != nil {
			return created, fmt.Errorf("platform of %s: %w", f.tree.from, err)
		}
		opts.Platform = &p
	}
	if opts.Config == nil {
		var kept []string
		if base != nil {
			for _, l := range base.Image.Layers {
				kept = append(kept, l.DiffID.String())
			}
		}
		var err error
		if opts.Config, err = plan.WithoutStaleLabels(old.Container, kept); err != nil {
			return created, fmt.Errorf("configuration of %s: %w", f.tree.from, err)
		}
	}
	return sourceDateEpoch(created)
}

// sourceDateEpoch is the time of that environment variable, else the other.
func sourceDateEpoch(other time.Time) (time.Time, error) {
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		return repo.SourceDateEpoch(s)
	}
	return other, nil
}

// base opens the image whose layers stay.
func (f *buildFlags) base(ctx context.Context, o *opened) (*plan.Base, func() error, error) {
	nothing := func() error { return nil }
	if f.keepBase == "" {
		return nil, nothing, nil
	}
	image, err := openImage(ctx, f.keepBase, f.fetch)
	if err != nil {
		return nil, nothing, fmt.Errorf("--keep-base: %w", err)
	}
	tree, err := flatten.Open(ctx, image, flatten.Options{})
	if err != nil {
		return nil, image.Close, fmt.Errorf("reading %s: %w", image.Name, err)
	}
	base, err := plan.Above(ctx, image, tree, o.tree)
	return base, image.Close, errors.Join(err, tree.Close())
}

// store puts the commit into a repository, too.
func (f *buildFlags) store(ctx context.Context, c *heldCommit) error {
	if f.repo == "" {
		return nil
	}
	return withRepo(f.repo, func(r *repo.Repo) error { return c.write(ctx, r, f.writeRef) })
}
