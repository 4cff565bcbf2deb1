package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/flatten"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// advised is the advice at the end of a build.
type advised struct {
	Advice []advisedPart `json:"advice,omitempty"`

	report *advice.Report
}

// advisedPart is one kind of files that make updates larger.
type advisedPart struct {
	Name       string `json:"name"`
	EachUpdate bool   `json:"each_update"`
	Bytes      uint64 `json:"bytes"`
	Download   uint64 `json:"download,omitempty"`
	Files      int    `json:"files"`
}

func newAdvised(r *advice.Report) advised {
	out := advised{report: r}
	for _, a := range r.Advice {
		out.Advice = append(out.Advice, advisedPart{a.Name, a.EachUpdate, a.Bytes, a.Download, len(a.Files)})
	}
	return out
}

// printAdvice prints the lines about updates at the end of a build.
func (a *app) printAdvice(advised advised, ref imgref.ImageReference) {
	if a.quiet {
		return
	}
	name := "IMGREF"
	if !dest.IsStream(ref) {
		name = ref.String()
	}
	for _, line := range advised.report.Lines(name) {
		fmt.Fprintln(a.err, printable.Line(line))
	}
}

// passedOver returns the image at the destination if it has a plan and the options name another image to continue from.
// It is closed: only its configuration and manifest are known. What cannot be read is ignored, since it is not needed.
func (a *app) passedOver(
	ctx context.Context, o *request.Options, ref imgref.ImageReference, fetch source.Options,
) *oci.Image {
	if o.Prior == "" || o.SingleLayer || dest.IsStream(ref) || a.quiet {
		return nil
	}
	image, err := source.Open(ctx, imgref.Unverified(ref), fetch)
	if err == nil {
		err = image.Close()
	}
	if err != nil {
		a.logger().Debug("the image at the destination is not looked at", "destination", ref.String(), "error", err)
		return nil
	}
	if image.Config.Labels[chunking.LabelRecord] == "" {
		return nil
	}
	return image
}

// addPassedOver adds the advice about layers that hosts would have kept if the build had continued from the image at
// the destination.
func (d *advised) addPassedOver(at, prior *oci.Image, img *encapsulate.Image) error {
	if at == nil || prior != nil && prior.Top.Digest == at.Top.Digest {
		return nil
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	data, err := img.RawManifest()
	if err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return err
	}
	made, err := oci.New(oci.Document{}, manifest, config, nil)
	if err != nil {
		return err
	}
	d.report.Add(advice.DividedAnew(at, made))
	*d = newAdvised(d.report)
	return nil
}

// adviseFlags are the options of advise.
type adviseFlags struct {
	asJSON, all, strict bool
	fetch               source.Options
}

func newAdviseCommand(a *app) *cobra.Command {
	var f adviseFlags
	c := &cobra.Command{
		Use:   "advise ROOTFS|IMGREF [ROOTFS|IMGREF]",
		Short: "Say what makes updates larger than they need be, and how to end it",
		Long: `Looks through a root filesystem, a directory or that of an image, for what makes each update larger: caches
and lists of package managers, logs, initial RAM disks that differ in each build, files with the time of
the build, machine ids and keys. It prints the bytes, and the command that ends it. --all also lists the
files. docs/advice.md explains each name.

Given two, it compares them as builds of the same sources, and says what differs between them and why.

Compressed sizes are estimated from the beginnings of the largest files.`,
		Example: `  ostree-ext advise rootfs
  ostree-ext advise --all docker://registry.example/os:latest
  ostree-ext advise oci:build:1 oci:build:2`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.advise(cmd, args, &f) },
	}
	fs := c.Flags()
	fs.BoolVar(&f.all, "all", false, "list all files")
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object, with all files")
	fs.BoolVar(&f.strict, "strict", false, "fail if each update downloads more than it needs, or if two builds differ")
	fetchFlags(a, fs, &f.fetch.Registry)
	trustFlags(fs, &f.fetch)
	return c
}

// advise judges one tree, or compares two.
func (a *app) advise(cmd *cobra.Command, args []string, f *adviseFlags) (err error) {
	ctx := cmd.Context()
	var images []string
	for _, arg := range args {
		if isDir(arg) {
			if err := notALayout(arg); err != nil {
				return err
			}
			continue
		}
		images = append(images, arg)
		if _, err := parseEitherReference("<IMGREF>", arg); err != nil {
			return fmt.Errorf("%w; there is no directory of this name either", err)
		}
	}
	if err := a.checkFetch(cmd.Flags(), &f.fetch.Registry, images...); err != nil {
		return err
	}
	var judged []*judgedTree
	defer func() {
		for _, t := range judged {
			err = errors.Join(err, t.close())
		}
	}()
	for _, arg := range args {
		t, err := openJudged(ctx, arg, f.fetch, len(args) == 1)
		if err != nil {
			return err
		}
		judged = append(judged, t)
	}
	var r *advice.Report
	if len(judged) == 1 {
		r, err = a.examine(ctx, judged[0])
	} else {
		r, err = compareBuilds(ctx, judged[0], judged[1])
	}
	if err != nil {
		return err
	}
	r.Inputs = args
	if err := a.printFindings(r, f); err != nil {
		return err
	}
	each := slices.ContainsFunc(r.Advice, func(a advice.Advice) bool { return a.EachUpdate })
	switch {
	case !f.strict || !each:
		return nil
	case len(args) == 2:
		return fmt.Errorf("the builds differ in %s", sizes.Format(int64(r.Bytes)))
	}
	return fmt.Errorf("each update downloads %s more than it needs", sizes.Format(int64(r.Bytes)))
}

func (a *app) printFindings(r *advice.Report, f *adviseFlags) error {
	if f.asJSON {
		return a.printJSON(r)
	}
	return r.WriteText(printable.Writer(a.out), f.all)
}

func isDir(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.IsDir()
}

// notALayout returns a usage error for a directory that is an image.
func notALayout(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err == nil {
		return usagef("%s is an image and not a root filesystem: did you mean 'oci:%s'?", dir, dir)
	}
	return nil
}

// judgedTree is a tree to judge.
type judgedTree struct {
	rootfs.Tree
	image *oci.Image     // that it comes from, or nil
	flat  *flatten.Image // the tree, if it comes from an image
	close func() error
}

// openJudged opens a directory, or the tree of an image.
func openJudged(ctx context.Context, arg string, fetch source.Options, hidden bool) (*judgedTree, error) {
	if isDir(arg) {
		d, err := rootfs.Dir(ctx, arg)
		if err != nil {
			return nil, err
		}
		return &judgedTree{Tree: d, close: d.Close}, nil
	}
	image, err := openImage(ctx, "<IMGREF>", arg, fetch)
	if err != nil {
		return nil, err
	}
	flat, err := flatten.Open(ctx, image, flatten.Options{Hidden: hidden})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", image.Name, err), image.Close())
	}
	return &judgedTree{Tree: flat, image: image, flat: flat, close: both(flat.Close, image.Close)}, nil
}

// examine judges one tree.
func (a *app) examine(ctx context.Context, t *judgedTree) (*advice.Report, error) {
	set, err := component.Detect(ctx, t.Tree, component.Options{})
	if err != nil {
		return nil, err
	}
	for _, w := range set.Warnings {
		a.warn(w)
	}
	opts := advice.ExamineOptions{Options: advice.Options{Set: set}}
	if t.flat != nil {
		opts.TimesKept = !ofThisProgram(t.image)
		opts.Layers = &advice.Layers{Of: t.flat.LayerOf}
		for _, h := range t.flat.Hidden() {
			opts.Layers.Hidden = append(opts.Layers.Hidden, advice.HiddenFile{Path: h.Path, Size: h.Size, Layer: h.Layer})
		}
	}
	return advice.Examine(ctx, t.Tree, opts)
}

// ofThisProgram reports whether the layers of an image have no times: those of commits, and of images with a plan.
func ofThisProgram(image *oci.Image) bool {
	_, noCommit := image.CommitLayers()
	_, err := chunking.ParseRecord(image.Config.Labels[chunking.LabelRecord])
	return noCommit == nil || err == nil
}

// compareBuilds compares two builds of the same sources.
func compareBuilds(ctx context.Context, from, to *judgedTree) (*advice.Report, error) {
	b := advice.Build{Tree: to.Tree}
	if from.flat != nil && to.flat != nil {
		b.Same = func(i, j int) bool { return to.flat.SameContent(i, from.flat, j) }
	}
	r, err := advice.Compare(ctx, advice.Build{Tree: from.Tree}, b)
	if err != nil {
		return nil, err
	}
	if from.image != nil && to.image != nil {
		r.Add(advice.DividedAnew(from.image, to.image))
	}
	return r, nil
}
