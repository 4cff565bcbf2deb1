package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/flatten"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/cleanup"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// treeFlags are the flags that name a root filesystem.
type treeFlags struct {
	rootfs, from string
	// source is the name of the flag or argument that from is the value of.
	source string
	// both is set if both may be given: then the tree is that of rootfs, and the image has its configuration.
	both bool
}

func (f *treeFlags) add(fs *pflag.FlagSet) {
	f.source = "--from"
	fs.StringVar(&f.rootfs, "rootfs", "", "`DIR` with a root filesystem")
	fs.StringVar(&f.from, "from", "", "`IMGREF` of an image with the root filesystem")
	addFormatFlags(fs, "default plain, or ostree for an image that holds a commit")
}

// addFormatFlags adds the options for images of a root filesystem. [readOptions] reads their values.
func addFormatFlags(fs *pflag.FlagSet, byDefault string) {
	fs.String("format", "", "`NAME` of the image's format: plain, or ostree for a commit ("+byDefault+")")
	fs.String("var", "keep", "`WHAT` --format=ostree does with the content of /var: "+
		"keep (as the initial content of a new system) or drop")
	fs.String("selinux", "auto", "`WHAT` --format=ostree does with SELinux labels: "+
		"auto (compute them from the tree's policy, if it has one) or off (keep them)")
	fs.String("prepare", "", "`HOW` to clean up a container's tree before it is committed: ostree (accounts and the "+
		"content of /var go to /usr; implies --format=ostree)")
	fs.StringArray("prune", nil, "absolute `PATH` to leave out; with a slash at the end, the directory stays and its "+
		"content is left out")
}

// addThreads adds the option that limits the number of threads. [useThreads] sets it.
func addThreads(fs *pflag.FlagSet, n *uint) {
	fs.UintVar(n, "threads", 0, "`N` threads that read and compress layers; 0 is one for each processor")
}

// useThreads limits the threads of this process that run at the same time. Every part of the program has as many
// workers, and the output never depends on their number.
func useThreads(n uint) {
	if n > 0 {
		runtime.GOMAXPROCS(int(min(n, maxThreads)))
	}
}

// maxThreads is more than any machine can use.
const maxThreads = 4096

func (f *treeFlags) named() bool { return f.rootfs != "" || f.from != "" }

// kind returns what is known about the input before it is opened.
func (f *treeFlags) kind() request.Input {
	if f.from != "" {
		return request.Image
	}
	return request.Tree
}

// opened is an open root filesystem.
type opened struct {
	request.Opened
	modTime time.Time  // if it is a directory
	image   *oci.Image // the image that it comes from, or nil
	close   func() error
	// repo has the commit, if the image holds one and no other layers.
	repo *repo.Repo
	// warnings are about what the options leave out.
	warnings []string
}

// printEdits says what was changed in a tree before it was committed.
func (a *app) printEdits(list []cleanup.Edit) {
	if a.quiet {
		return
	}
	for _, e := range list {
		fmt.Fprintf(a.err, "prepared: %s\n", printable.Line(e.Name+": "+e.Text))
	}
}

// open opens the root filesystem that the flags name, and determines the format.
func (f *treeFlags) open(ctx context.Context, o *request.Options, fetch source.Options) (in *opened, err error) {
	switch {
	case f.rootfs != "" && f.from != "" && !f.both:
		return nil, usagef("--rootfs and --from: choose one")
	case f.rootfs != "":
		if in, err = openDir(ctx, f.rootfs, o); err == nil && f.from != "" {
			dir := in.close
			if in.image, err = openImage(ctx, f.source, f.from, fetch); err != nil {
				return nil, errors.Join(err, dir())
			}
			in.close = both(dir, in.image.Close)
		}
	case f.from != "":
		in, err = f.openFrom(ctx, o, fetch)
	default:
		return nil, usagef("name the input: --rootfs=DIR or --from=IMGREF")
	}
	if err == nil {
		in.Tree, in.warnings = o.Pruned(in.Tree)
	}
	return in, err
}

// openDir opens a directory with a root filesystem.
func openDir(ctx context.Context, dir string, o *request.Options) (*opened, error) {
	if err := o.Resolve(request.CommandLine, request.Tree); err != nil {
		return nil, optionError(err)
	}
	d, err := rootfs.Dir(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("--rootfs: %w", err)
	}
	return &opened{Opened: request.Opened{Tree: d}, modTime: d.ModTime(), close: d.Close}, nil
}

// openFrom opens the root filesystem of an image.
func (f *treeFlags) openFrom(ctx context.Context, o *request.Options, fetch source.Options) (*opened, error) {
	image, err := openImage(ctx, f.source, f.from, fetch)
	if err != nil {
		return nil, err
	}
	in, err := openTree(ctx, image, o)
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	in.close = both(in.close, image.Close)
	return in, nil
}

// openTree reads the root filesystem of an image. If the image holds a commit, the default is to make a commit again.
func openTree(ctx context.Context, image *oci.Image, o *request.Options) (*opened, error) {
	kind := request.ImageOfCommit
	layers, err := image.CommitLayers()
	if err != nil {
		kind = request.Tree
		if why, ok := errors.AsType[*oci.CommitError](err); ok && why.Labelled && o.Format == "" {
			return nil, fmt.Errorf("%s says that it holds a commit, which cannot be found (%w): "+
				"give --format=plain to take its files as they are", image.Name, err)
		}
	}
	if err := o.Resolve(request.CommandLine, kind); err != nil {
		return nil, optionError(err)
	}
	if kind == request.ImageOfCommit && o.Format == request.OSTree && len(layers.Derived) == 0 {
		r, commit, err := container.ImportScratch(ctx, image, "")
		if err != nil {
			return nil, err
		}
		tree, err := rootfs.Commit(ctx, r.Repo, commit)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		in := request.Opened{Source: r.Repo, Commit: commit, Tree: tree}
		return &opened{Opened: in, image: image, repo: r.Repo, close: r.Close}, nil
	}
	tree, err := flatten.Open(ctx, image, flatten.Options{})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", image.Name, err)
	}
	return &opened{Opened: request.Opened{Tree: tree}, image: image, close: tree.Close}, nil
}

// openImage opens the image that an argument names. what is the name of the argument.
func openImage(ctx context.Context, what, arg string, fetch source.Options) (*oci.Image, error) {
	ref, err := parseEitherReference(what, arg)
	if err != nil {
		return nil, err
	}
	return source.Open(ctx, ref, fetch)
}

// openBase opens the base image whose layers are kept, if there is one, and compares its root filesystem with in.Tree.
func (in *opened) openBase(ctx context.Context, name string, fetch source.Options) (closeBase func() error, err error) {
	if name == "" {
		return nil, nil
	}
	image, err := openImage(ctx, "--keep-base", name, fetch)
	if err != nil {
		return nil, fmt.Errorf("--keep-base: %w", err)
	}
	tree, err := flatten.Open(ctx, image, flatten.Options{Strict: true})
	if err == nil {
		in.Base, err = plan.NewBase(ctx, image, tree, in.Tree)
		err = errors.Join(err, tree.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", image.Name, err), image.Close())
	}
	return image.Close, nil
}
