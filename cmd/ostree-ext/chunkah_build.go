package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Annotations of the layers that chunkah makes: the components of a layer, and the probability that an update leaves it
// as it is.
const (
	annotationComponent = "org.chunkah.component"
	annotationStability = "org.chunkah.stability"
)

// chunkahBuild are the options of "chunkah build".
type chunkahBuild struct {
	image                  imageFlags
	rootfs, output, tag    string
	configStr, prior, arch string
	epoch                  string
	maxLayers              uint
	threads                uint
	level                  uint
	compressed, skip       bool
	prune                  []string
	manifest, peak         string
	fetch                  source.Options
}

func newChunkahBuildCommand(a *app, logs *chunkahLogs) *cobra.Command {
	f := &chunkahBuild{}
	c := &cobra.Command{
		Use:   "build --rootfs=DIR",
		Short: "Make an image of a root filesystem, split by content, as chunkah build does",
		Long: `Makes an image of a root filesystem. Without --output it is an OCI archive on standard output.

An option that is not given is read from the environment: CHUNKAH_ROOTFS, CHUNKAH_THREADS,
CHUNKAH_CONFIG_STR, CHUNKAH_PRIOR and SOURCE_DATE_EPOCH.

The layers continue from the image that CHUNKAH_PRIOR names, or else from the plan in the labels of
the configuration that was given. A layer is kept only if it has the content that it would be given
now, and its blob is read to see that.`,
		Example: `  ostree-ext chunkah build --rootfs=rootfs --max-layers=40 --output=oci:chunked`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			return a.chunkahBuild(cmd.Context(), f, logs.verbose > 0)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.rootfs, "rootfs", "", "`DIR` with the root filesystem (required)")
	fs.StringVarP(&f.output, "output", "o", "", "`[oci:|oci-archive:]PATH` to write to, by default an oci-archive; "+
		"oci: makes a directory that must not exist (default: an archive on standard output)")
	fs.UintVar(&f.maxLayers, "max-layers", 64, "`N` layers at most")
	fs.StringVar(&f.image.config, "config", "", "`FILE` with the configuration of the image: JSON, the \"config\" object "+
		"of an OCI image, a whole configuration, or what podman inspect or docker inspect prints; - is standard input")
	fs.StringVar(&f.configStr, "config-str", "", "`JSON` instead of the file of --config")
	fs.StringArrayVar(&f.image.labels, "label", nil, "`KEY=VALUE|KEY-|-`: add a label, remove one, or remove all that "+
		"were there before")
	fs.StringArrayVar(&f.image.annotations, "annotation", nil, "`KEY=VALUE|KEY-|-`: the same with annotations of the "+
		"manifest")
	fs.StringVar(&f.epoch, "source-date-epoch", "", "`SECONDS` since 1970 as the time of the image "+
		"(default: that of the configuration that was given, or now)")
	fs.BoolVar(&f.compressed, "compressed", false, "compress the layers with gzip")
	fs.UintVar(&f.level, "compression-level", 6, "`LEVEL` of --compressed, 0 to 9; 0 is the same as 1")
	fs.StringVar(&f.arch, "arch", "", "`ARCH` of the image (default: that of the configuration that was given, or this "+
		"machine's)")
	fs.BoolVar(&f.skip, "skip-special-files", false, "leave out devices, pipes and sockets")
	fs.StringArrayVar(&f.prune, "prune", nil, "absolute `PATH` to leave out; with a slash at the end, the directory "+
		"stays and its content is left out")
	fs.StringVarP(&f.tag, "tag", "t", "", "`NAME` of the image in the output")
	fs.UintVarP(&f.threads, "threads", "T", 0, "`N` threads; 0 is one for each processor")
	fs.StringVar(&f.prior, "prior", "", "`IMGREF` of the image to continue from, a file with its configuration or "+
		"manifest, or none")
	fs.StringVar(&f.peak, "write-peak-mem-to", "", "`FILE` to write the most memory that was used to, in bytes")
	fs.StringVar(&f.manifest, "write-manifest-to", "", "`FILE` to write the components to, as JSON")
	for _, hidden := range []string{"write-peak-mem-to", "write-manifest-to"} {
		_ = fs.MarkHidden(hidden) // it exists
	}
	c.MarkFlagsMutuallyExclusive("config", "config-str")
	return c
}

// chunkahTarget is where "chunkah build" writes to.
type chunkahTarget struct {
	// dir is the directory of a layout to make. If it is empty, archive is written.
	dir     string
	archive imgref.ImageReference
}

// parseChunkahTarget reads the value of --output.
func parseChunkahTarget(output string) (*chunkahTarget, error) {
	scheme, path, prefixed := strings.Cut(output, ":")
	switch {
	case output == "":
		path = "-"
	case !prefixed:
		path = output
	case path == "":
		return nil, usagef("invalid value '%s' for '--output': the path is missing", output)
	case scheme == "oci":
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("--output: %s exists: name a directory to make, or remove it", path)
		}
		return &chunkahTarget{dir: filepath.Clean(path)}, nil
	case scheme != "oci-archive":
		return nil, usagef("invalid value '%s' for '--output': give oci:PATH, oci-archive:PATH or PATH", output)
	}
	if strings.Contains(path, ":") {
		return nil, usagef("invalid value '%s' for '--output': the name of an archive cannot have a colon", output)
	}
	return &chunkahTarget{archive: imgref.ImageReference{Transport: imgref.OCIArchive, Name: path}}, nil
}

func (t *chunkahTarget) String() string {
	if t.dir != "" {
		return "oci:" + t.dir
	}
	return t.archive.String()
}

// write writes an image with a name, which may be empty. A layout becomes visible when it is complete.
func (t *chunkahTarget) write(
	ctx context.Context, a *app, img *encapsulate.Image, name string,
) (d digest.Digest, err error) {
	if t.dir == "" {
		opts := dest.Options{Stdout: a.out}
		if name != "" {
			opts.Names = []string{name}
		}
		return dest.Write(ctx, img, t.archive, opts)
	}
	stage, err := os.MkdirTemp(filepath.Dir(t.dir), "."+filepath.Base(t.dir)+"-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(stage))
		}
	}()
	if d, err = layout.Write(ctx, img, stage, name); err != nil {
		return "", err
	}
	if err := os.Chmod(stage, 0o755); err != nil {
		return "", err
	}
	return d, os.Rename(stage, t.dir)
}

// request returns the options of the plan.
func (f *chunkahBuild) request(a *app) (request.Options, error) {
	o := request.Options{Format: request.Plain, Compression: "none", Prior: f.prior, CheckPrior: f.prior != "none"}
	if f.level > 9 {
		return o, usagef("invalid value '%d' for '--compression-level': give a number from 0 to 9", f.level)
	}
	if f.compressed {
		o.Compression, o.Level = "gzip", int(max(f.level, 1))
	}
	switch {
	case f.maxLayers == 0:
		return o, usagef("invalid value '0' for '--max-layers': give at least 1")
	case f.maxLayers == 1:
		// A prior image has nothing to say about a single layer.
		o.SingleLayer, o.Prior, o.CheckPrior = true, "", false
	case f.maxLayers > plan.MaxLayersLimit:
		a.warn(fmt.Sprintf("container storage has no more than %d layers in an image: there will be no more",
			plan.MaxLayersLimit))
		o.MaxLayers = plan.MaxLayersLimit
	default:
		o.MaxLayers = int(f.maxLayers)
	}
	if err := o.SetPrune(f.prune); err != nil {
		return o, optionError(err)
	}
	if err := o.Check(request.CommandLine, request.Tree); err != nil {
		return o, optionError(err)
	}
	return o, checkImages(&o)
}

// describe sets the options of the image, except those about layers, and returns its time.
func (f *chunkahBuild) describe(
	ctx context.Context, a *app, opts *encapsulate.Options,
) (given *encapsulate.Given, created time.Time, err error) {
	created = time.Now().UTC().Truncate(time.Second)
	if f.arch != "" {
		opts.Platform = chunkahPlatform(f.arch)
	}
	if given, err = f.image.options(ctx, a, opts); err != nil {
		return nil, created, err
	}
	if f.configStr != "" {
		if given, err = a.readConfig("--config-str", []byte(f.configStr)); err == nil {
			err = f.image.use(given, opts)
		}
		if err != nil {
			return nil, created, err
		}
	}
	if given != nil && given.Created != nil {
		created = *given.Created
	}
	if f.epoch != "" {
		if created, err = repo.SourceDateEpoch(f.epoch); err != nil {
			return nil, created, &usageError{err}
		}
	}
	return given, created, nil
}

// chunkahPlatform returns the platform of an architecture, which may have the name that uname prints.
func chunkahPlatform(arch string) *ocispec.Platform {
	if arch == "powerpc64" {
		arch = "ppc64le"
	}
	p := platforms.Normalize(ocispec.Platform{OS: "linux", Architecture: arch})
	return &p
}

// openTree opens the root filesystem.
func (f *chunkahBuild) openTree(ctx context.Context, a *app, o *request.Options) (*opened, error) {
	in, err := openDir(ctx, f.rootfs, o)
	if err != nil {
		return nil, err
	}
	if f.skip {
		in.Tree = rootfs.Without(in.Tree, func(e rootfs.Entry) bool {
			return !e.IsDir() && !e.IsRegular() && !e.IsSymlink()
		})
	}
	var warnings []string
	in.Tree, warnings = o.Pruned(in.Tree)
	a.warnAll(warnings)
	if _, has := rootfs.NewIndex(in.Tree).Find("/sysroot/ostree"); has {
		a.warn("the root filesystem has an OSTree repository in /sysroot/ostree, whose objects are not split well: give " +
			"--prune /sysroot/ to leave it out")
	}
	return in, nil
}

// openPrior opens the image to continue from. If there is none yet, the layers are planned afresh.
func (f *chunkahBuild) openPrior(
	ctx context.Context, a *app, o *request.Options, given *encapsulate.Given,
) (*oci.Image, error) {
	prior, err := a.openPrior(ctx, o, nil, f.fetch)
	switch {
	case errors.Is(err, source.ErrNoImage):
		a.warn(fmt.Sprintf("layers are planned afresh: there is no image %s yet", o.Prior))
		return nil, nil
	case err != nil || o.Prior != "" || o.SingleLayer || given == nil:
		return prior, err
	}
	prior, err = given.Planned()
	if prior != nil {
		prior.Name = "the plan in the configuration"
	}
	return prior, err
}

func (a *app) chunkahBuild(ctx context.Context, f *chunkahBuild, verbose bool) (err error) {
	if f.rootfs == "" {
		return usagef("missing --rootfs, or the environment variable CHUNKAH_ROOTFS")
	}
	useThreads(f.threads)
	target, err := parseChunkahTarget(f.output)
	if err != nil {
		return err
	}
	if target.dir == "" && a.isStdout(target.archive) && isTerminal(a.out) {
		return usagef("standard output is a terminal: give --output, or send the archive to a file or a program")
	}
	o, err := f.request(a)
	if err != nil {
		return err
	}
	opts := plan.Options{Annotate: annotateLayer}
	given, created, err := f.describe(ctx, a, &opts.Image)
	if err != nil {
		return err
	}
	in, err := f.openTree(ctx, a, &o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	in.Created = created
	f.fetch.Platform = opts.Image.Platform
	f.fetch.Admission = (&door{fetch: &f.fetch}).admit
	f.fetch.Registry.Warn = a.warn
	if opts.Prior, err = f.openPrior(ctx, a, &o, given); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeImage(opts.Prior)) }()
	a.checkHeld(&opts, o.Strict)
	var show display = silence{}
	if verbose || !a.quiet && hasRoom(a.err) {
		show = a.newProgress()
	}
	opts.Image.Name, opts.Image.Progress = target.String(), show.event
	result, c, err := a.chunkahWrite(ctx, f, &o, opts, in, target)
	show.stop()
	if err != nil {
		return err
	}
	a.printContinued(c)
	if !a.quiet {
		fmt.Fprintf(a.err, "%s: %s\n", target, result)
	}
	return f.writePeak()
}

// chunkahWrite plans, makes and writes the image.
func (a *app) chunkahWrite(
	ctx context.Context, f *chunkahBuild, o *request.Options, opts plan.Options, in *opened, target *chunkahTarget,
) (d digest.Digest, c continued, err error) {
	p, err := o.Plan(ctx, opts, request.Files{}, in.Opened)
	if err != nil {
		return "", c, optionError(err)
	}
	a.warnAll(p.Warnings)
	if err := f.writeManifest(ctx, p); err != nil {
		return "", c, err
	}
	img, err := p.Image(ctx)
	if err != nil {
		return "", c, err
	}
	if d, err = target.write(ctx, a, img, f.tag); err != nil {
		return "", c, fmt.Errorf("writing %s: %w", target, err)
	}
	c, err = a.continuedFrom(opts.Prior, img)
	return d, c, err
}

// annotateLayer returns the annotations by which chunkah's tools show a layer.
func annotateLayer(l *chunking.ArrangedLayer) map[string]string {
	return map[string]string{
		annotationComponent: strings.Join(l.Components, " "),
		annotationStability: strconv.FormatFloat(1-l.Probability, 'f', 3, 64),
	}
}
