package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/rechunk"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// describeFlags are the options of compose rechunk that describe the image.
type describeFlags struct {
	version, pretty, changelog, revision, git, previous string
	formatters                                          []string
	meta, writeMapping, writeChangelog                  string
}

// labelled is what the result says about the description of an image.
type labelled struct {
	Version   string `json:"version,omitempty"`
	Previous  string `json:"previous_version,omitempty"`
	Changelog string `json:"changelog,omitempty"`
}

func newComposeRechunkCommand(a *app) *cobra.Command {
	var f buildFlags
	var d describeFlags
	c := &cobra.Command{
		Use:   "rechunk SRC DST",
		Short: "Split an image anew, with the versions, labels and changelogs of hhd-dev/rechunk",
		Long: `Makes the image DST of an operating system from the image SRC, as "rechunk --format=ostree" does, and
describes it as the action hhd-dev/rechunk does.

Labels and the changelog may have <version>, <previous>, <date>, <timestamp>, <pretty>, <changelog>,
<commits>, <pkgupd>, <imginfo>, <version:PACKAGE> and <relver:PACKAGE>. Formatters are commits.none,
commits.commit (with <short>, <hash> and <subject>), pkgupd.none, pkgupd.add, pkgupd.update and
pkgupd.remove (with <package>, <old> and <new>). The day is that of SOURCE_DATE_EPOCH if it is set.

` + aboutStdout,
		Example: `  ostree-ext compose rechunk --version='41.<date>' --label='org.opencontainers.image.title=Example OS' \
      --previous=docker://registry.example/os:latest --prior=docker://registry.example/os:latest \
      docker://registry.example/os:build oci:os`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.tree.from, f.tree.source, f.destination = args[0], "<SRC>", "<DST>"
			return a.composeRechunk(cmd, args[1], &f, &d)
		},
	}
	fs := c.Flags()
	addFormatFlags(fs, "default ostree")
	f.add(a, c)
	fs.StringVar(&d.version, "version", "", "`TEMPLATE` of the version: <date> is the day, as 240305, and .1, .2 … is "+
		"added if the previous image or a tag has it")
	fs.StringVar(&d.pretty, "pretty", "", "`TEXT` for <pretty>")
	fs.StringVar(&d.changelog, "changelog", "", "`TEXT` of the changelog, with placeholders")
	fs.StringVar(&d.revision, "revision", "", "`COMMIT` of the sources")
	fs.StringVar(&d.git, "git", "", "`DIR` of the sources, whose commits since the previous image are <commits>")
	fs.StringVar(&d.previous, "previous", "", "`IMGREF` of the image that hosts have: for versions and changelogs; see "+
		"--prior for layers")
	fs.StringArrayVar(&d.formatters, "formatter", nil, "`NAME=FORMAT` of a list in the changelog")
	fs.StringVar(&d.meta, "meta", "", "`FILE` with groups of packages, a meta.yml, instead of a mapping")
	fs.StringVar(&d.writeMapping, "write-mapping", "", "`FILE` to write the mapping to that --meta stands for")
	fs.StringVar(&d.writeChangelog, "write-changelog", "", "`FILE` to write the changelog to")
	c.MarkFlagsMutuallyExclusive("meta", "mapping")
	return c
}

func (a *app) composeRechunk(cmd *cobra.Command, destination string, f *buildFlags, d *describeFlags) error {
	if d.writeMapping != "" && d.meta == "" {
		return usagef("--write-mapping needs --meta")
	}
	if d.previous != "" {
		if _, err := parseEitherReference("--previous", d.previous); err != nil {
			return err
		}
	}
	in := rechunk.Inputs{
		Version: d.version, Pretty: d.pretty, Changelog: d.changelog, Revision: d.revision, Formatters: map[string]string{},
	}
	for _, s := range d.formatters {
		name, format, err := rechunk.ParseFormatter(s)
		if err != nil {
			return usagef("--formatter: %w", err)
		}
		in.Formatters[name] = format
	}
	if format := cmd.Flag("format"); !format.Changed {
		if err := cmd.Flags().Set("format", "ostree"); err != nil {
			return err
		}
	}
	if d.git != "" {
		if _, err := os.Stat(d.git); err != nil {
			return fmt.Errorf("--git: %w", err)
		}
	}
	if err := a.useMeta(cmd, f, d); err != nil {
		return err
	}
	now, err := sourceDateEpoch(time.Now())
	if err != nil {
		return err
	}
	in.Now = now
	f.describe = func(ctx context.Context, opened *opened, opts *encapsulate.Options) (*labelled, error) {
		return a.describe(ctx, f, d, in, opened, opts)
	}
	return a.build(cmd, destination, f)
}

// useMeta converts the file with groups, and uses the result as the mapping.
func (a *app) useMeta(cmd *cobra.Command, f *buildFlags, d *describeFlags) error {
	data, err := a.readFile(cmd.Context(), "meta", d.meta)
	if err != nil || data == nil {
		return err
	}
	m, err := rechunk.ConvertMeta(data)
	if err != nil {
		return fmt.Errorf("--meta: %s: %w", d.meta, err)
	}
	for _, w := range m.Warnings {
		a.warn("--meta: " + w)
	}
	f.mapping = m.Mapping
	if m.MaxLayers > 0 && !cmd.Flag("max-layers").Changed {
		if err := cmd.Flags().Set("max-layers", strconv.Itoa(m.MaxLayers)); err != nil {
			return err
		}
	}
	if d.writeMapping == "" {
		return nil
	}
	return output.WriteFile(cmd.Context(), d.writeMapping, m.Mapping)
}

// describe sets the labels of an image, and writes its changelog.
func (a *app) describe(
	ctx context.Context, f *buildFlags, d *describeFlags, in rechunk.Inputs, opened *opened, opts *encapsulate.Options,
) (*labelled, error) {
	list, warnings, err := component.Packages(ctx, opened.Tree)
	if err != nil {
		return nil, err
	}
	in.Packages, in.Labels = rechunk.NewPackages(list), opts.Labels
	if in.Previous, err = a.previous(ctx, d.previous, f.fetch); err != nil {
		return nil, err
	}
	about := &labelled{}
	if in.Previous != nil {
		about.Previous = in.Previous.Version
		if d.git != "" && d.revision != "" && in.Previous.Revision != "" {
			if in.Commits, err = rechunk.Commits(ctx, d.git, in.Previous.Revision, d.revision); err != nil {
				if context.Cause(ctx) != nil {
					return nil, err
				}
				warnings = append(warnings, fmt.Sprintf("the changelog has no commits: %v", err))
			}
		}
	}
	result, err := rechunk.Describe(in)
	if err != nil {
		return nil, err
	}
	for _, w := range append(warnings, result.Warnings...) {
		a.warn(w)
	}
	opts.Labels = maps.Clone(result.Labels)
	opts.ConfigLabels = func([]digest.Digest) (map[string]string, error) {
		return map[string]string{rechunk.LabelInfo: result.Info}, nil
	}
	about.Version, about.Changelog = result.Version, result.Changelog
	if d.writeChangelog != "" {
		if err := output.WriteFile(ctx, d.writeChangelog, []byte(result.Changelog)); err != nil {
			return nil, fmt.Errorf("--write-changelog: %w", err)
		}
	}
	return about, nil
}

// previous reads what is known about the image that hosts have.
func (a *app) previous(ctx context.Context, name string, fetch source.Options) (p *rechunk.Previous, err error) {
	if name == "" {
		return nil, nil
	}
	ref, err := parseEitherReference("--previous", name)
	if err != nil {
		return nil, err
	}
	image, err := source.Open(ctx, ref, fetch)
	if err != nil {
		return nil, fmt.Errorf("--previous: %w", err)
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	p, warnings := rechunk.PreviousOf(image.Config.Labels)
	if p.Tags, err = source.Tags(ctx, ref.Image, fetch.Registry); err != nil {
		if context.Cause(ctx) != nil {
			return nil, err
		}
		warnings = append(warnings, fmt.Sprintf("the version may be one that a tag has already: %v", err))
		err = nil
	}
	for _, w := range warnings {
		a.warn(w)
	}
	return p, err
}
