package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
)

// imageFlags are the options for the image's metadata.
type imageFlags struct {
	labels, annotations, cmd []string
	config, platform         string
}

func (f *imageFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "`KEY=VALUE` to add to the image's labels")
	fs.StringArrayVar(&f.annotations, "annotation", nil, "`KEY=VALUE` to add to the manifest's annotations")
	fs.StringArrayVar(&f.cmd, "cmd", nil, "`ARG` of the image's default command; repeat it for each argument")
	fs.StringVar(&f.config, "config", "", "`FILE` with the container configuration to start from: JSON, the \"config\" "+
		"object of an OCI image; - is standard input")
	fs.String("compression", "gzip", "`NAME` of the layers' compression: gzip, zstd or none")
	fs.Int("compression-level", 0, "`N` of the compressor; higher is smaller and slower (default: its own)")
	fs.Bool("compression-fast", false, "compress less and faster")
	fs.StringVar(&f.platform, "platform", "", "`OS/ARCH[/VARIANT]` of the image "+
		"(default: that of the image it is made from, or this machine's)")
}

// additionalTag adds the option for more names of an image.
func additionalTag(fs *pflag.FlagSet, names *[]string) {
	fs.StringArrayVar(names, "additional-tag", nil, "`NAME` that the image gets too: a tag in the same repository, oci: "+
		"or oci-archive:; a full name in docker-archive: or containers-storage:")
}

// checkNames returns a usage error if an image cannot have the additional names.
func checkNames(ref imgref.ImageReference, names []string) error {
	if _, err := dest.Names(ref, names); err != nil {
		return usagef("--additional-tag: %w", err)
	}
	return nil
}

// options sets the options that the flags give.
func (f *imageFlags) options(ctx context.Context, a *app, opts *encapsulate.Options) (err error) {
	opts.Cmd = f.cmd
	if opts.Labels, err = keyValues("label", f.labels); err != nil {
		return err
	}
	if opts.Annotations, err = keyValues("annotation", f.annotations); err != nil {
		return err
	}
	if f.platform != "" {
		p, err := platforms.Parse(f.platform)
		if p = platforms.Normalize(p); err != nil || p.OS != "linux" || !slices.Contains(architectures, p.Architecture) {
			return usagef("invalid value '%s' for '--platform': give linux with one of %s", f.platform,
				strings.Join(architectures, ", "))
		}
		opts.Platform = &p
	}
	if opts.Config, err = a.readFile(ctx, "config", f.config); err != nil || f.config == "" {
		return err
	}
	unknown, err := encapsulate.CheckConfig(opts.Config)
	if err != nil {
		return fmt.Errorf("--config: %s: %w", f.config, err)
	}
	for _, k := range unknown {
		a.warn(fmt.Sprintf("--config: %s: no container program knows the key %q: it is kept as it is", f.config, k))
	}
	return nil
}

// architectures are those of Linux that Go has a name for.
var architectures = []string{
	"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
	"s390x",
}

// keyValues splits KEY=VALUE arguments. If a key is repeated, the last value is used.
func keyValues(what string, args []string) (map[string]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(args))
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok || k == "" {
			return nil, usagef("invalid value '%s' for '--%s': give KEY=VALUE", arg, what)
		}
		m[k] = v
	}
	return m, nil
}
