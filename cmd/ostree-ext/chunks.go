package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

func newChunksCommand(a *app) *cobra.Command {
	return group("chunks", "How content is split into layers", newChunksPlanCommand(a), newChunksShowCommand(a),
		newChunksExplainCommand(a), newChunksDiffCommand(a), newChunksHistoryCommand(a))
}

// form is the output format of a report.
type form struct {
	asJSON bool
	html   string
}

func (f *form) add(fs *pflag.FlagSet, withHTML bool) {
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object")
	if withHTML {
		fs.StringVar(&f.html, "html", "", "`FILE` to write a page for a browser to, instead of printing")
	}
}

// written is a report in each of the forms.
type written interface {
	WriteTable(w io.Writer) error
	WriteHTML(w io.Writer) error
}

// printReport prints a report, or writes it to a page.
func (a *app) printReport(ctx context.Context, r written, f form) error {
	switch {
	case f.html != "":
		var page bytes.Buffer
		if err := r.WriteHTML(&page); err != nil {
			return err
		}
		if err := output.WriteFile(ctx, f.html, page.Bytes()); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
		return nil
	case f.asJSON:
		return a.printJSON(r)
	}
	return r.WriteTable(printable.Writer(a.out))
}

// contentFlags are the flags that name the content to split.
type contentFlags struct {
	repo  string
	tree  treeFlags
	fetch source.Options
	flags *pflag.FlagSet
}

func (f *contentFlags) add(a *app, c *cobra.Command) {
	f.flags = c.Flags()
	f.flags.StringVar(&f.repo, "repo", "", "`REPO` with the commit")
	f.tree.add(f.flags)
	addChunkFlags(f.flags, "none")
	fetchFlags(a, f.flags, &f.fetch.Registry)
	trustFlags(f.flags, &f.fetch)
}

// plan plans the layers of the content that the flags and, for a commit, rev name.
func (f *contentFlags) plan(
	ctx context.Context, a *app, rev []string,
) (p *request.Planned, release func() error, err error) {
	o, err := readOptions(f.flags)
	if err != nil {
		return nil, nil, err
	}
	kind := f.tree.kind()
	switch {
	case f.repo == "" && len(rev) > 0:
		return nil, nil, usagef("%s: a commit needs --repo, a directory --rootfs, and an image --from", rev[0])
	case f.repo == "" && !f.tree.named():
		return nil, nil, usagef("name the input: --rootfs=DIR, --from=IMGREF, or --repo=REPO with a REV")
	case f.repo != "" && (len(rev) != 1 || f.tree.named()):
		return nil, nil, usagef("--repo needs the commit's REV, and excludes --rootfs and --from")
	case f.repo != "":
		kind = request.Commit
	}
	if err := o.Check(request.CommandLine, kind); err != nil {
		return nil, nil, optionError(err)
	}
	if err := checkImages(&o); err != nil {
		return nil, nil, err
	}
	if err := a.checkFetch(f.flags, &f.fetch.Registry, f.tree.from, o.Prior); err != nil {
		return nil, nil, err
	}
	files, err := a.readFiles(ctx, &o)
	if err != nil {
		return nil, nil, err
	}
	in, release, err := f.open(ctx, a, &o, rev)
	if err != nil {
		return nil, release, err
	}
	var opts plan.Options
	if opts.Prior, err = a.openPrior(ctx, &o, nil, f.fetch); err != nil {
		return nil, release, err
	}
	p, err = o.Plan(ctx, opts, files, in)
	return p, both(func() error { return closeImage(opts.Prior) }, release), optionError(err)
}

// open opens the content to split.
func (f *contentFlags) open(
	ctx context.Context, a *app, o *request.Options, rev []string,
) (in request.Opened, release func() error, err error) {
	if f.repo == "" {
		opened, err := f.tree.open(ctx, o, f.fetch)
		if err != nil {
			return in, nil, err
		}
		a.warnAll(opened.warnings)
		return opened.Opened, opened.close, nil
	}
	r, err := openRepo("--repo", f.repo)
	if err != nil {
		return in, nil, err
	}
	in.Source = r
	in.Commit, err = r.ResolveRev(rev[0])
	return in, r.Close, withRefs(err, f.repo)
}

// both returns a function that calls f and g and returns the first error.
func both(f, g func() error) func() error {
	return func() error {
		err := f()
		if g == nil {
			return err
		}
		if other := g(); err == nil {
			err = other
		}
		return err
	}
}

func newChunksPlanCommand(a *app) *cobra.Command {
	var f contentFlags
	var out form
	var list string
	c := &cobra.Command{
		Use:   "plan (--repo=REPO REV | --rootfs=DIR | --from=IMGREF | --components=FILE)",
		Short: "Show how content would be split, without making an image",
		Long: `Finds the components of a commit, a root filesystem or an image, packs them into layers, and prints
the layers: the size of their content, the probability that an update changes them, and their components.

With --components the components come from a JSON file instead: a list of objects with "identifier",
"size" and either "change_frequency" (changes per year) or "probability" (of a change in one update).
The layers are then those besides the commit's, and --max-layers is their number.`,
		Example: `  ostree-ext chunks plan --rootfs=rootfs --max-layers=40
  ostree-ext chunks plan --repo=repo os/stable --html=plan.html
  ostree-ext chunks plan --components=packages.json.gz --max-layers=64 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list != "" {
				if len(args) > 0 {
					return usagef("unexpected argument: %s", args[0])
				}
				if err := f.onlyList(); err != nil {
					return err
				}
				r, err := f.planList(cmd.Context(), a, list)
				if err != nil {
					return err
				}
				return a.printReport(cmd.Context(), r, out)
			}
			p, release, err := f.plan(cmd.Context(), a, args)
			if release != nil {
				defer release()
			}
			if err != nil {
				return err
			}
			for _, w := range p.Warnings {
				a.warn(w)
			}
			return a.printReport(cmd.Context(), report.OfPlan(p.Plan), out)
		},
	}
	f.add(a, c)
	c.Flags().StringVar(&list, "components", "", "`FILE` with a list of components, JSON, possibly compressed with gzip")
	out.add(c.Flags(), true)
	c.MarkFlagsMutuallyExclusive("json", "html")
	return c
}

// onlyList returns a usage error if a flag is given that has no effect with --components.
func (f *contentFlags) onlyList() (err error) {
	effective := []string{
		"components", "max-layers", "single-layer", "packing", "update-interval", "json", "html", "quiet", "debug",
	}
	f.flags.Visit(func(flag *pflag.Flag) {
		if !slices.Contains(effective, flag.Name) {
			err = usagef("--components excludes --%s", flag.Name)
		}
	})
	return err
}

func (f *contentFlags) planList(ctx context.Context, a *app, name string) (*report.Layers, error) {
	o, err := readOptions(f.flags)
	if err != nil {
		return nil, err
	}
	if err := o.Check(request.CommandLine, request.Commit); err != nil {
		return nil, optionError(err)
	}
	var opts plan.Options
	if err := o.Fill(&opts); err != nil {
		return nil, optionError(err)
	}
	if o.SingleLayer {
		opts.MaxLayers = 1
	}
	data, err := a.readFile(ctx, "components", name)
	if err != nil {
		return nil, err
	}
	r, err := report.PlanList(path.Base(name), data, opts)
	if err != nil {
		return nil, fmt.Errorf("--components: %s: %w", name, err)
	}
	return r, nil
}

// withImage calls use with an image, and closes it. what is the name of the argument that names the image.
func withImage(ctx context.Context, what, arg string, fetch source.Options, use func(*oci.Image) error) (err error) {
	image, err := openImage(ctx, what, arg, fetch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	return use(image)
}

func newChunksShowCommand(a *app) *cobra.Command {
	var fetch source.Options
	var out form
	c := &cobra.Command{
		Use:   "show IMGREF",
		Short: "Show how an image is split",
		Long: `Prints the layers of an image with their compressed sizes and their components. It reads the plans
that this program writes, and the annotations that ostree-ext, rpm-ostree and chunkah write.`,
		Example: `  ostree-ext chunks show docker://registry.example/os:latest
  ostree-ext chunks show oci:layout:latest --html=layers.html`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkFetch(cmd.Flags(), &fetch.Registry, args...); err != nil {
				return err
			}
			return withImage(cmd.Context(), "<IMGREF>", args[0], fetch, func(image *oci.Image) error {
				return a.printReport(cmd.Context(), report.OfImage(image), out)
			})
		},
	}
	fetchFlags(a, c.Flags(), &fetch.Registry)
	trustFlags(c.Flags(), &fetch)
	out.add(c.Flags(), true)
	c.MarkFlagsMutuallyExclusive("json", "html")
	return c
}

func newChunksDiffCommand(a *app) *cobra.Command {
	var fetch source.Options
	var out form
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what an update from one image to another downloads",
		Long: `Prints the layers that a host with the image OLD has to download for the image NEW, with the
components that changed them, and lists the components that were changed, added or removed.`,
		Example: `  ostree-ext chunks diff docker://registry.example/os:1 docker://registry.example/os:2
  ostree-ext chunks diff oci:layout:old oci:layout:new --html=update.html`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkFetch(cmd.Flags(), &fetch.Registry, args...); err != nil {
				return err
			}
			if _, err := parseEitherReference("<NEW>", args[1]); err != nil {
				return err
			}
			return withImage(cmd.Context(), "<OLD>", args[0], fetch, func(from *oci.Image) error {
				return withImage(cmd.Context(), "<NEW>", args[1], fetch, func(to *oci.Image) error {
					return a.printReport(cmd.Context(), report.Diff(from, to), out)
				})
			})
		},
	}
	fetchFlags(a, c.Flags(), &fetch.Registry)
	trustFlags(c.Flags(), &fetch)
	out.add(c.Flags(), true)
	c.MarkFlagsMutuallyExclusive("json", "html")
	return c
}

func newChunksExplainCommand(a *app) *cobra.Command {
	var f contentFlags
	var out form
	c := &cobra.Command{
		Use:   "explain (--repo=REPO REV | --rootfs=DIR | --from=IMGREF) PATH",
		Short: "Say which component and layer a path belongs to, and why",
		Example: `  ostree-ext chunks explain --rootfs=rootfs /usr/bin/bash
  ostree-ext chunks explain --repo=repo os/stable /usr/lib/os-release`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, release, err := f.plan(cmd.Context(), a, args[:len(args)-1])
			if release != nil {
				defer release()
			}
			if err != nil {
				return err
			}
			for _, w := range p.Warnings {
				a.warn(w)
			}
			name := args[len(args)-1]
			e, err := report.Explain(p.Plan, name)
			rest, ok := strings.CutPrefix(path.Clean(name), path.Clean(f.tree.rootfs)+"/")
			if ok && f.tree.rootfs != "" && errors.Is(err, report.ErrNoPath) {
				return fmt.Errorf("%w: paths begin at the root of the tree, as in '/%s'", err, rest)
			}
			if err != nil {
				return err
			}
			if out.asJSON {
				return a.printJSON(e)
			}
			return e.WriteText(printable.Writer(a.out))
		},
	}
	f.add(a, c)
	out.add(c.Flags(), false)
	return c
}
