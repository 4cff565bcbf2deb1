package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/build"
)

// chunkFlags are the options of every command that splits content into layers.
type chunkFlags struct {
	maxLayers                                        int
	packing, prior, rebalance, updateInterval, rules string
	strict, singleLayer                              bool
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
func (f *chunkFlags) options(into *build.Options) (err error) {
	into.SingleLayer, into.MaxLayers, into.Components.Strict = f.singleLayer, f.maxLayers, f.strict
	if f.packing != "" {
		if into.Packing, err = build.ParsePacking(f.packing); err != nil {
			return &usageError{err}
		}
	}
	if into.Rebalance, err = build.ParseRebalance(f.rebalance); err != nil {
		return &usageError{err}
	}
	if f.updateInterval != "" {
		if into.UpdateInterval, err = build.ParseInterval(f.updateInterval); err != nil {
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

// openPrior opens the image to continue from: the one that is named, or what the destination has now. Nothing there is
// no error unless it was named. The image must be closed even if it is nil.
//
// Where there is a destination, a registry gets the credentials that writing there takes: who may push an image must find
// it again, wherever the credentials come from.
func (f *chunkFlags) openPrior(ctx context.Context, a *app, destination *imgref.ImageReference, fetch source.Options) (*encapsulate.Prior, func() error, error) {
	nothing := func() error { return nil }
	if f.prior == "none" || f.singleLayer {
		return nil, nothing, nil
	}
	if fi, err := os.Stat(f.prior); err == nil && fi.Mode().IsRegular() {
		prior, err := priorFile(f.prior)
		return prior, nothing, err
	}
	if f.prior != "" {
		ref, err := parseImageReference(f.prior)
		if err != nil {
			return nil, nothing, err
		}
		if destination != nil {
			if fetch.Registry.Credentials, err = fetch.Registry.WriteCredentials(ref); err != nil {
				return nil, nothing, err
			}
		}
		prior, closePrior, err := container.OpenPrior(ctx, ref, fetch)
		if err != nil {
			return nil, nothing, fmt.Errorf("prior image %s: %w", ref, err)
		}
		return prior, closePrior, nil
	}
	if destination == nil || dest.IsStream(*destination) {
		return nil, nothing, nil
	}
	var err error
	if fetch.Registry.Credentials, err = fetch.Registry.WriteCredentials(*destination); err != nil {
		return nil, nothing, err
	}
	prior, closePrior, err := container.OpenPrior(ctx, *destination, fetch)
	if err != nil {
		if ctxErr := context.Cause(ctx); ctxErr != nil {
			return nil, nothing, errors.Join(ctxErr)
		}
		a.logger().Debug("there is no image to continue from", "destination", destination.String(), "error", err)
		return nil, nothing, nil
	}
	return prior, closePrior, nil
}

// maxDocument bounds a file that should hold a manifest or a configuration, in bytes.
const maxDocument = 4 << 20

// priorFile reads the plan of an image from a file with its configuration or manifest.
func priorFile(name string) (*encapsulate.Prior, error) {
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
	prior, err := encapsulate.ParsePrior(data)
	if err != nil {
		return nil, fmt.Errorf("prior image %s: %w", name, err)
	}
	return prior, nil
}
