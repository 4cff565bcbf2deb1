package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/diffids"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
)

// atDestination is the default prior image of commands that write one, in words.
const atDestination = "the image at the destination"

// addChunkFlags adds the options of every command that splits content into layers. [readOptions] reads their values.
// prior is the default prior image in words.
func addChunkFlags(fs *pflag.FlagSet, prior string) {
	fs.Bool("single-layer", false, "put everything into one layer")
	fs.Int("max-layers", 0, "`N` layers at most (default 100; with --packing=upstream 64 besides the first)")
	fs.String("packing", "", "`NAME` of the packing: cost (least expected download) or upstream (as the original "+
		"ostree-ext) (default cost)")
	fs.String("prior", "", "`IMGREF` of the image to continue from, a file with its configuration or manifest, or none "+
		"(default: "+prior+")")
	fs.String("update-interval", "",
		"`DAYS` between two updates of a host: 7, 7d, 2w, weekly … (default: a mixture of intervals)")
	fs.String("rebalance", "never", "`WHEN` to repack unchanged layers: never, auto or always")
	fs.String("mapping", "", "`FILE` with rules that assign files to components; - is standard input")
	fs.Bool("strict", false, "fail if a package database is broken")
}

// notOptions lists flags that have the name of an option but another meaning.
var notOptions = []string{"repo", "ref", "output", "verify"}

// readOptions returns the options that the flags of a command set. A mistake is a usage error.
func readOptions(fs *pflag.FlagSet) (o request.Options, err error) {
	for _, name := range request.Names() {
		f := fs.Lookup(name)
		if f == nil || !f.Changed || slices.Contains(notOptions, name) {
			continue
		}
		var err error
		if list, ok := f.Value.(pflag.SliceValue); ok && name == "prune" {
			err = o.SetPrune(list.GetSlice())
		} else {
			err = o.Set(name, f.Value.String())
		}
		if err != nil {
			return o, optionError(err)
		}
	}
	return o, nil
}

// optionError turns an error about options into a usage error about flags. It returns other errors as they are.
func optionError(err error) error {
	e, ok := errors.AsType[*request.Error](err)
	switch {
	case !ok:
		return err
	case e.Value != nil && e.Options[0] == "keep-base":
		return usagef("invalid value '%s' for '--keep-base': name the base image", *e.Value)
	case e.Value != nil:
		return usagef("invalid value '%s' for '--%s': %s", *e.Value, e.Options[0], e.Why)
	}
	return usagef("%s", e.Spell(func(name string) string {
		if name == "store" {
			name = "repo"
		}
		return "--" + name
	}))
}

// readFiles reads the files that the options name.
func (a *app) readFiles(ctx context.Context, o *request.Options) (files request.Files, err error) {
	if files.Mapping, err = a.readFile(ctx, "mapping", o.Mapping); err != nil {
		return files, err
	}
	files.ContentMeta, err = a.readFile(ctx, "contentmeta", o.ContentMeta)
	return files, err
}

// openPrior opens the image to continue from: the one in the options, or else the one that the destination has now. If
// the destination has none yet, there is no message. If its image cannot be read for another reason, there is a
// warning, because hosts would then download everything. The image may be nil.
//
// If there is a destination, the prior image is read with the credentials for writing to registries. So it is found
// even if there are no credentials for reading.
func (a *app) openPrior(
	ctx context.Context, o *request.Options, destination *imgref.ImageReference, fetch source.Options,
) (*oci.Image, error) {
	if o.Prior == "none" || o.SingleLayer {
		return nil, nil
	}
	if isFile(o.Prior) {
		return a.priorFile(ctx, o.Prior)
	}
	var ref imgref.OstreeImageReference
	switch {
	case o.Prior != "":
		var err error
		if ref, err = parsePrior(o.Prior); err != nil {
			return nil, err
		}
	case destination != nil && !dest.IsStream(*destination):
		ref = imgref.Unverified(*destination)
	default:
		return nil, nil
	}
	prior, err := source.Open(ctx, ref, fetch)
	switch {
	case err == nil:
		return prior, nil
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case o.Prior != "" || o.Strict && !errors.Is(err, source.ErrNoImage):
		return nil, fmt.Errorf("the prior image cannot be read (use --prior=none to build without it): %w", err)
	case errors.Is(err, source.ErrNoImage):
		a.logger().Debug("there is no image to continue from", "destination", ref.Image.String(), "error", err)
	default:
		a.warn(fmt.Sprintf("layers are planned afresh, and hosts will download all of them, "+
			"because the prior image cannot be read: %v", err))
	}
	return nil, nil
}

// addCheckPrior adds the option --check-prior, for commands that write an image.
func addCheckPrior(fs *pflag.FlagSet, check *bool) {
	fs.BoolVar(check, "check-prior", false, "read each layer that is kept, and make it anew if it does not match its "+
		"diff-id; which layers were read is stored in the user's cache directory")
}

// checkHeld sets the function that reads layers that are kept.
func (a *app) checkHeld(opts *plan.Options, strict bool) {
	cache := diffids.Open("")
	opts.Image.CheckHeld = func(ctx context.Context, h encapsulate.Held) (bool, error) {
		ok, err := cache.Check(ctx, h.Image, h.Layer)
		if err != nil || ok {
			return ok, err
		}
		text := fmt.Sprintf("layer %s of %s does not match its diff-id", h.Layer.Descriptor.Digest, h.Image.Name)
		if strict {
			return false, fmt.Errorf("%s: it was replaced: find out why, or give --prior=none", text)
		}
		a.warn(text + ": it is made anew")
		return false, nil
	}
}

// closeImage closes an image that may be nil.
func closeImage(image *oci.Image) error {
	if image == nil {
		return nil
	}
	return image.Close()
}

// parsePrior parses the reference of a prior image that is not a file.
func parsePrior(name string) (imgref.OstreeImageReference, error) {
	ref, err := parseEitherReference("--prior", name)
	if err != nil && !strings.Contains(name, ":") {
		if _, missing := os.Stat(name); missing != nil {
			err = usagef("%w (there is no file of that name)", err)
		}
	}
	return ref, err
}

// checkImages checks the names of the images that options give, before any work is done.
func checkImages(o *request.Options) error {
	if o.KeepBase != "" {
		if _, err := parseEitherReference("--keep-base", o.KeepBase); err != nil {
			return err
		}
	}
	if o.Prior == "" || o.Prior == "none" || isFile(o.Prior) {
		return nil
	}
	_, err := parsePrior(o.Prior)
	return err
}

// isFile reports whether there is a file, or a pipe, with a name.
func isFile(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && !fi.IsDir()
}

// maxDocument limits a file with a manifest or a configuration in bytes.
const maxDocument = 4 << 20

// priorFile reads the plan of an image from a file with its configuration or manifest.
func (a *app) priorFile(ctx context.Context, name string) (*oci.Image, error) {
	f, err := ctxio.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("--prior: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("--prior: %s: the file is too large for a manifest or a configuration", name)
	}
	prior, err := oci.FromDocument(data)
	if err != nil {
		return nil, fmt.Errorf("--prior: %s: %w", name, err)
	}
	return prior, nil
}
