package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/diffids"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
)

// chunkFlags are the options of every command that splits content into layers.
type chunkFlags struct {
	maxLayers                                        int
	packing, prior, rebalance, updateInterval, rules string
	strict, singleLayer, checkPrior                  bool
}

func (f *chunkFlags) add(fs *pflag.FlagSet) {
	fs.BoolVar(&f.singleLayer, "single-layer", false, "put everything into one layer")
	fs.IntVar(&f.maxLayers, "max-layers", 0, "`N` layers at most (default 100; with --packing=upstream 64 besides the first)")
	fs.StringVar(&f.packing, "packing", "", "`NAME` of the packing: cost (expected download is least) or upstream (the layers of ostree-ext) (default cost)")
	fs.StringVar(&f.prior, "prior", "", "`IMGREF` of the image to continue from, a file with its configuration or manifest, or none (default: what the destination names now)")
	fs.StringVar(&f.updateInterval, "update-interval", "", "`DAYS` between two updates of a host: 7, 7d, 2w, weekly … (default: a mixture)")
	fs.StringVar(&f.rebalance, "rebalance", "never", "`WHEN` unchanged layers are opened for a better plan: never, auto or always")
	fs.StringVar(&f.rules, "mapping", "", "`FILE` with rules that say which files are a component")
	fs.BoolVar(&f.strict, "strict", false, "fail where a package database is broken")
}

// options reads what the flags name, all but the prior image.
func (f *chunkFlags) options(into *plan.Options) (err error) {
	into.SingleLayer, into.MaxLayers, into.Components.Strict = f.singleLayer, f.maxLayers, f.strict
	if f.packing != "" {
		if into.Packing, err = plan.ParsePacking(f.packing); err != nil {
			return &usageError{err}
		}
	}
	if into.Rebalance, err = plan.ParseRebalance(f.rebalance); err != nil {
		return &usageError{err}
	}
	if f.updateInterval != "" {
		if into.UpdateInterval, err = plan.ParseInterval(f.updateInterval); err != nil {
			return &usageError{err}
		}
	}
	if f.rules != "" {
		data, err := os.ReadFile(f.rules)
		if err != nil {
			return fmt.Errorf("reading the mapping: %w", err)
		}
		if into.Components.Rules, err = component.ParseRules(data); err != nil {
			return fmt.Errorf("mapping %s: %w", f.rules, err)
		}
	}
	return nil
}

// openPrior opens the image to continue from: the one that is named, or what the destination has now. That the destination
// has nothing yet is not worth a word; anything else that keeps it from being read is, as hosts would then download everything.
// The image may be nil.
//
// Where there is a destination, a registry gets the credentials that writing there takes: who may push an image must find
// it again, wherever the credentials come from.
func (f *chunkFlags) openPrior(
	ctx context.Context, a *app, destination *imgref.ImageReference, fetch source.Options,
) (*oci.Image, error) {
	if f.prior == "none" || f.singleLayer {
		return nil, nil
	}
	if fi, err := os.Stat(f.prior); err == nil && fi.Mode().IsRegular() {
		return priorFile(f.prior)
	}
	var ref imgref.OstreeImageReference
	switch {
	case f.prior != "":
		var err error
		if ref, err = parseEitherReference(f.prior); err != nil {
			return nil, fmt.Errorf("--prior: %w", err)
		}
	case destination != nil && !dest.IsStream(*destination):
		ref = imgref.Unverified(*destination)
	default:
		return nil, nil
	}
	prior, err := fetchPrior(ctx, ref, destination != nil, fetch)
	switch {
	case err == nil:
		return prior, nil
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case f.prior != "" || f.strict && !errors.Is(err, source.ErrNoImage):
		return nil, fmt.Errorf("the prior image cannot be read (--prior=none does without): %w", err)
	case errors.Is(err, source.ErrNoImage):
		a.logger().Debug("there is no image to continue from", "destination", ref.Image.String(), "error", err)
	default:
		a.warn(fmt.Sprintf("layers are planned afresh, and hosts will download all of them, as the prior image cannot be "+
			"read: %v", err))
	}
	return nil, nil
}

func fetchPrior(ctx context.Context, ref imgref.OstreeImageReference, pushes bool, fetch source.Options) (_ *oci.Image, err error) {
	if pushes {
		if fetch.Registry.Credentials, err = fetch.Registry.WriteCredentials(ref.Image); err != nil {
			return nil, err
		}
	}
	return source.Open(ctx, ref, fetch)
}

// addCheckPrior adds the option of commands that write an image.
func (f *chunkFlags) addCheckPrior(fs *pflag.FlagSet) {
	fs.BoolVar(&f.checkPrior, "check-prior", false, "read each layer that is kept, and make it anew if the prior image lies about "+
		"it; what was read is remembered in the user's cache directory")
}

// checkHeld has the layers that are kept read, if that is asked for.
func (f *chunkFlags) checkHeld(a *app, opts *plan.Options) {
	if !f.checkPrior {
		return
	}
	cache := diffids.Open("")
	opts.Image.CheckHeld = func(ctx context.Context, h encapsulate.Held) (bool, error) {
		ok, err := cache.Check(ctx, h.Image, h.Layer)
		if err != nil || ok {
			return ok, err
		}
		text := fmt.Sprintf("layer %s of %s is not the one that its diff-id names", h.Layer.Descriptor.Digest, h.Image.Name)
		if f.strict {
			return false, fmt.Errorf("%s: somebody replaced it: look into that, or give --prior=none", text)
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

// maxDocument bounds a file that should hold a manifest or a configuration, in bytes.
const maxDocument = 4 << 20

// priorFile reads the plan of an image from a file with its configuration or manifest.
func priorFile(name string) (*oci.Image, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("prior image %s: longer than a manifest may be", name)
	}
	prior, err := oci.FromDocument(data)
	if err != nil {
		return nil, fmt.Errorf("prior image %s: %w", name, err)
	}
	return prior, nil
}
