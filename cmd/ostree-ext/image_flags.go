package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// imageFlags are the options for the image's metadata.
type imageFlags struct {
	labels, annotations, cmd []string
	config, platform         string
	// changed are the changes of the manifest's annotations.
	changed request.Changes
}

func (f *imageFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "`KEY=VALUE` to add to the image's labels, KEY- to remove "+
		"the label of that name, or - to remove all")
	fs.StringArrayVar(&f.annotations, "annotation", nil, "`KEY=VALUE` to add to the manifest's annotations, "+
		"KEY- to remove one, or - to remove all")
	fs.StringArrayVar(&f.cmd, "cmd", nil, "`ARG` of the image's default command; repeat it for each argument")
	fs.StringVar(&f.config, "config", "", "`FILE` with the container configuration to start from: JSON, the \"config\" "+
		"object of an OCI image, a whole configuration, or what podman inspect or docker inspect prints; "+
		"- is standard input")
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

// options sets the options that the flags give, and returns what --config says. That is nil without it.
func (f *imageFlags) options(
	ctx context.Context, a *app, opts *encapsulate.Options,
) (given *encapsulate.Given, err error) {
	opts.Cmd = f.cmd
	labels, err := request.ParseChanges("label", f.labels)
	if err == nil {
		f.changed, err = request.ParseChanges("annotation", f.annotations)
	}
	if err != nil {
		return nil, optionError(err)
	}
	opts.Labels, opts.RemoveLabels, opts.ClearLabels = labels.Set, labels.Remove, labels.Clear
	opts.Annotations = f.changed.Set
	if f.platform != "" {
		p, err := platforms.Parse(f.platform)
		if p = platforms.Normalize(p); err != nil || p.OS != "linux" || !slices.Contains(architectures, p.Architecture) {
			return nil, usagef("invalid value '%s' for '--platform': give linux with one of %s", f.platform,
				strings.Join(architectures, ", "))
		}
		if known := variants[p.Architecture]; known != nil && p.Variant != "" && !known.MatchString(p.Variant) {
			return nil, usagef("invalid value '%s' for '--platform': %s has no variant %s", f.platform, p.Architecture,
				p.Variant)
		}
		opts.Platform = &p
	}
	data, err := a.readFile(ctx, "config", f.config)
	if err != nil || f.config == "" {
		return nil, err
	}
	given, err = a.readConfig("--config: "+f.config, data)
	if err != nil {
		return nil, err
	}
	return given, f.use(given, opts)
}

// readConfig reads a document about an image. what says where it comes from.
func (a *app) readConfig(what string, data []byte) (*encapsulate.Given, error) {
	given, err := encapsulate.ReadConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	for _, k := range given.Unknown {
		a.warn(fmt.Sprintf("%s: no container program knows the key %q: it is kept as it is", what, k))
	}
	return given, nil
}

// use takes over what a document says. What the flags say has precedence.
func (f *imageFlags) use(given *encapsulate.Given, opts *encapsulate.Options) (err error) {
	opts.Config = given.Config
	if !given.Image {
		return nil
	}
	if opts.Config, err = plan.WithoutStaleLabels(given.Config, nil); err != nil {
		return err
	}
	opts.Author = given.Author
	opts.Annotations = f.changed.Apply(plan.InheritedAnnotations(given.Annotations, nil))
	if given.Platform != nil {
		p := platforms.Normalize(*given.Platform)
		p.Variant = cmp.Or(p.Variant, given.Platform.Variant) // also one that goes without saying
		if opts.Platform == nil || samePlatform(opts.Platform, p) {
			opts.Platform = &p
		}
	}
	return nil
}

// architectures are those of Linux that Go has a name for.
var architectures = []string{
	"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
	"s390x",
}

// variants are those of the architectures whose variants programs choose by, as package platforms does.
var variants = map[string]*regexp.Regexp{
	"386": regexp.MustCompile(`^$`), "amd64": regexp.MustCompile(`^v[1-4]$`), "arm": regexp.MustCompile(`^v[5-8]$`),
	"arm64": regexp.MustCompile(`^v(8|9)(\.[0-9])?$`),
}
