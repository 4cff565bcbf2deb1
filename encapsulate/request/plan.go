package request

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/cleanup"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Files are the contents of the files that options name.
type Files struct {
	Mapping, ContentMeta []byte
}

// Opened is the input of an image: a commit, a root filesystem, or both if the input is an image with a commit.
type Opened struct {
	// Source holds Commit. It is nil if the input is not a commit.
	Source repo.Source
	Commit object.Checksum
	// Tree is the root filesystem.
	Tree rootfs.Tree
	// Base is the base image whose layers stay, or nil.
	Base *plan.Base
	// Created is the time of an image or commit that is made from a tree.
	Created time.Time
	// Sign returns a view of a source in which a commit has signatures, too. It is called with the commit that the image
	// will hold, unless it is nil.
	Sign func(ctx context.Context, src repo.Source, commit object.Checksum) (repo.Source, error)
}

// Planned is the plan of an image, and the commit that it will hold, if any.
type Planned struct {
	*plan.Plan
	Commit object.Checksum
	// Made is the commit that was made from the root filesystem. It is nil if the input is a commit.
	Made *plan.Committed
	// Edits are what was changed in the root filesystem before it was committed.
	Edits []cleanup.Edit
}

// ErrEmpty means that a root filesystem has no files.
var ErrEmpty = errors.New("the root filesystem has no files, and an image of nothing cannot be split")

// Plan plans the requested image. opts holds what else the door knows: the image's labels and configuration, and the
// prior image. The format must be set; see [Options.Resolve].
func (o *Options) Plan(ctx context.Context, opts plan.Options, files Files, in Opened) (*Planned, error) {
	if err := o.fill(&opts, files); err != nil {
		return nil, err
	}
	if in.Tree != nil && o.Format == OSTree {
		if err := keepVersion(&opts.Image); err != nil {
			return nil, err
		}
	}
	switch {
	case in.Tree == nil, in.Source != nil && o.Format == OSTree && o.keepsCommit():
		if len(files.ContentMeta) > 0 {
			if err := opts.UseContentMeta(ctx, in.Source, files.ContentMeta, o.Packing != ""); err != nil {
				return nil, fmt.Errorf("%s: %w", named("content metadata", o.ContentMeta), err)
			}
			if opts.Packing == plan.PackUpstream && (o.rebalances() || o.UpdateInterval != "") {
				return nil, &Error{Options: []string{"contentmeta", "packing", "rebalance", "update-interval"},
					Why: "this {contentmeta} asks for upstream's packing, and {rebalance} and {update-interval} are for " +
						"{packing}=cost: add that, or leave them out"}
			}
		}
		src, err := in.signed(ctx, in.Source, in.Commit)
		if err != nil {
			return nil, err
		}
		p, err := plan.Commit(ctx, src, in.Commit, opts)
		if err != nil {
			return nil, fmt.Errorf("making an image of commit %s: %w", in.Commit, err)
		}
		return &Planned{Plan: p, Commit: in.Commit}, nil
	case in.Tree.Entries().Len() < 2:
		return nil, ErrEmpty
	case o.Format == OSTree:
		return o.planCommitted(ctx, opts, in)
	}
	opts.Image.Created = &in.Created
	p, err := plan.Tree(ctx, in.Tree, in.Base, opts)
	if err != nil {
		return nil, err
	}
	return &Planned{Plan: p}, nil
}

// keepVersion keeps the version that the container configuration says, unless options give one or leave it out. The
// version of a commit would replace it, and says less: it is that of the tree's os-release.
func keepVersion(opts *encapsulate.Options) error {
	_, asked := opts.Labels[ocispec.AnnotationVersion]
	if asked || opts.ClearLabels || slices.Contains(opts.RemoveLabels, ocispec.AnnotationVersion) || opts.Config == nil {
		return nil
	}
	var config ocispec.ImageConfig
	if err := json.Unmarshal(opts.Config, &config); err != nil {
		return fmt.Errorf("container configuration: %w", jsonplace.Explain(opts.Config, err))
	}
	if version := config.Labels[ocispec.AnnotationVersion]; version != "" {
		labels := map[string]string{ocispec.AnnotationVersion: version}
		maps.Copy(labels, opts.Labels)
		opts.Labels = labels
	}
	return nil
}

// keepsCommit reports whether the commit in an input image stays as it is.
func (o *Options) keepsCommit() bool {
	return o.Var != "drop" && o.SELinux != "auto" && o.Prepare == "" && len(o.Prune) == 0
}

// signed returns a view of a source in which a commit has the signatures that were asked for.
func (in *Opened) signed(ctx context.Context, src repo.Source, commit object.Checksum) (repo.Source, error) {
	if in.Sign == nil {
		return src, nil
	}
	return in.Sign(ctx, src, commit)
}

// planCommitted commits the root filesystem and plans the image of the commit.
func (o *Options) planCommitted(ctx context.Context, opts plan.Options, in Opened) (*Planned, error) {
	commit := plan.OSTreeOptions{Time: in.Created}
	if version := opts.Image.Labels[ocispec.AnnotationVersion]; version != "" {
		commit.Metadata = gvariant.Dict{}.Set("version", gvariant.String(version))
	}
	commit.Prepare.DropVar = o.Var == "drop"
	tree := in.Tree
	var edits []cleanup.Edit
	var err error
	if o.Prepare != "" {
		if tree, edits, err = cleanup.Clean(ctx, tree); err != nil {
			return nil, fmt.Errorf("preparing the root filesystem: %w", err)
		}
	}
	if o.SELinux != "off" {
		if commit.Prepare.Label, err = plan.PolicyOf(ctx, tree); err != nil {
			return nil, err
		}
	}
	c, err := plan.CommitTree(ctx, tree, commit)
	if err != nil {
		return nil, err
	}
	src, err := in.signed(ctx, c.Source, c.Commit)
	if err != nil {
		return nil, err
	}
	opts.Components.Origin = in.Tree
	p, err := plan.Commit(ctx, src, c.Commit, opts)
	if err != nil {
		return nil, err
	}
	return &Planned{Plan: p, Commit: c.Commit, Made: c, Edits: edits}, nil
}

// Fill sets the options of a plan, except those that come from files.
func (o *Options) Fill(opts *plan.Options) error { return o.fill(opts, Files{}) }

func (o *Options) fill(opts *plan.Options, files Files) (err error) {
	opts.SingleLayer, opts.MaxLayers, opts.Components.Strict = o.SingleLayer, o.MaxLayers, o.Strict
	opts.Image.CopyMetaKeys, opts.Image.CopyMetaOptKeys = o.CopyMeta, o.CopyMetaOpt
	if opts.Image.Level = o.Level; o.Fast {
		opts.Image.Level = encapsulate.FastLevel
	}
	err = errors.Join(
		parse("compression", o.Compression, encapsulate.ParseCompression, &opts.Image.Compression),
		parse("packing", o.Packing, plan.ParsePacking, &opts.Packing),
		parse("rebalance", o.Rebalance, plan.ParseRebalance, &opts.Rebalance),
		parse("update-interval", o.UpdateInterval, plan.ParseInterval, &opts.UpdateInterval),
	)
	if err == nil && len(files.Mapping) > 0 {
		if opts.Components.Rules, err = component.ParseRules(files.Mapping); err != nil {
			return fmt.Errorf("%s: %w", named("mapping", o.Mapping), err)
		}
	}
	return err
}

// named returns what a file is, with its name if that is known. In a build it is not: only the content is sent.
func named(what, name string) string {
	if name == "" {
		return what
	}
	return what + " " + name
}

// parse parses the value of an option unless it is empty.
func parse[T any](name, value string, read func(string) (T, error), into *T) (err error) {
	if value == "" {
		return nil
	}
	if *into, err = read(value); err != nil {
		return &Error{Options: []string{name}, Value: &value, Why: err.Error()}
	}
	return nil
}
