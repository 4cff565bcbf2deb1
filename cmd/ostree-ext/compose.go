package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// composeInstead says what to use instead of the commands of "rpm-ostree compose" that are not here.
var composeInstead = map[string]string{
	"container-encapsulate": "use 'ostree-ext container encapsulate', where --image-config is --config, " +
		"--previous-build-manifest is --prior, --arch is --platform, --write-contentmeta-json is 'ostree-ext chunks plan " +
		"--json' and --compare-with-build is 'ostree-ext container compare'",
	"commit-to-container-rootfs": "use 'ostree-ext tar export', and unpack its output with tar",
	"commit":                     "use 'ostree-ext repo commit'",
	"tree":                       composeInstalls,
	"install":                    composeInstalls,
	"postprocess":                composeInstalls,
	"image":                      composeInstalls,
	"rootfs":                     composeInstalls,
	"extensions":                 composeInstalls,
}

const composeInstalls = "this program installs no packages; let rpm-ostree make the root filesystem, and give it to " +
	"'ostree-ext compose build-chunked-oci --rootfs'"

func newComposeCommand(a *app) *cobra.Command {
	return group("compose", "Images of operating systems, with the options of other programs", newChunkedOCICommand(a),
		newComposeRechunkCommand(a))
}

// chunkedFlags are the options of compose build-chunked-oci that are not those of container build.
type chunkedFlags struct {
	build             buildFlags
	output, reference string
	previous          string
	bootc             bool
	formatVersion     int
	signCommits       []string
}

func newChunkedOCICommand(a *app) *cobra.Command {
	var f chunkedFlags
	c := &cobra.Command{
		Use:   "build-chunked-oci --bootc (--rootfs=DIR | --from=IMAGE) --output=IMGREF",
		Short: "Make a bootable image of a root filesystem or image, with the options of rpm-ostree",
		Long: `Commits a root filesystem as an operating system, splits the commit by packages and writes the image, as
the command of the same name of rpm-ostree does. It needs neither root nor a mount, and also splits
images whose packages are not RPMs. 'ostree-ext container build --format=ostree' has more options.

IMAGE is a name in containers-storage, or begins with another transport, as in docker://HOST/NAME. With
both --rootfs and --from, the files are those of DIR, and the configuration that of IMAGE. An image that
holds a commit and nothing else keeps it.

` + aboutStdout,
		Example: `  ostree-ext compose build-chunked-oci --bootc --format-version=2 --rootfs=rootfs --output=oci:os
  ostree-ext compose build-chunked-oci --bootc --from=docker://registry.example/os:build \
      --previous-build=docker://registry.example/os:latest --output=oci-archive:os.ociarchive`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.buildChunked(cmd, &f) },
	}
	fs := c.Flags()
	fs.BoolVar(&f.bootc, "bootc", false, "make a bootable image, with the label containers.bootc=1")
	fs.StringVar(&f.build.tree.rootfs, "rootfs", "", "`DIR` with a root filesystem")
	fs.StringVar(&f.build.tree.from, "from", "", "`IMAGE` with the root filesystem: a name in containers-storage, or an "+
		"IMGREF")
	fs.StringVar(&f.output, "output", "", "`IMGREF` to write to, as in containers-storage:localhost/os or oci:DIR")
	fs.StringVar(&f.reference, "reference", "latest", "`TAG` of the image, where --output gives none")
	fs.StringVar(&f.previous, "previous-build", "", "`IMGREF` of the image to continue from, if there is one "+
		"(default: "+atDestination+")")
	fs.Int("max-layers", 0, "`N` layers at most (default 100)")
	fs.IntVar(&f.formatVersion, "format-version", 1, "`VERSION` of the layers: 1, or 2 for layers with all parent "+
		"directories")
	fs.StringArrayVar(&f.signCommits, "sign-commit", nil, "`TYPE=FILE` with secret keys to sign the commit with; the "+
		"type is ed25519 or spki")
	fs.StringArrayVarP(&f.build.image.labels, "label", "l", nil, "`KEY=VALUE` to add to the image's labels")
	fetchFlags(a, fs, &f.build.fetch.Registry)
	trustFlags(fs, &f.build.fetch).verifyFlag(fs, "the images that are read")
	fs.StringVar(&f.build.digestFile, "digestfile", "", "`FILE` to write the image's digest to")
	fs.BoolVar(&f.build.asJSON, "json", false, "print a JSON object")
	required(c, "bootc", "output")
	return c
}

// buildChunked makes the image.
func (a *app) buildChunked(cmd *cobra.Command, f *chunkedFlags) error {
	fs, b := cmd.Flags(), &f.build
	o, err := readOptions(fs)
	if err != nil {
		return err
	}
	o.Format = request.OSTree
	switch {
	case !f.bootc:
		return usagef("--bootc=false: the images of this command are bootable; use 'ostree-ext container build' for others")
	case !b.tree.named():
		return usagef("name the input: --rootfs=DIR or --from=IMAGE")
	case f.formatVersion != 1 && f.formatVersion != 2:
		return usagef("invalid value '%d' for '--format-version': give 1 or 2", f.formatVersion)
	}
	b.parentDirs = f.formatVersion == 2
	b.tree.source, b.tree.both = "--from", true
	b.tree.from = inStorage(b.tree.from)
	ref, err := parseDestination("--output", f.output)
	if err != nil {
		return err
	}
	if fs.Changed("reference") {
		if ref, err = withTag(ref, f.reference); err != nil {
			return err
		}
	}
	if f.previous != "" {
		previous, err := parseImageReference("--previous-build", f.previous)
		if err != nil {
			return err
		}
		b.previous = &previous
	}
	if b.tree.from != "" {
		if _, err := parseEitherReference("--from", b.tree.from); err != nil {
			return err
		}
	}
	if err := a.checkFetch(fs, &b.fetch.Registry, f.output, b.tree.from, f.previous); err != nil {
		return err
	}
	signers, err := commitSigners(f.signCommits)
	if err != nil {
		return err
	}
	if len(signers) > 0 {
		b.sign = func(ctx context.Context, src repo.Source, commit object.Checksum) (repo.Source, error) {
			return signedBy(ctx, src, commit, signers)
		}
	}
	b.image.labels = append([]string{encapsulate.LabelBootc + "=1"}, b.image.labels...)
	return a.buildTo(cmd, ref, b, &o)
}

// inStorage returns the reference of an image whose transport may be missing: then it is in containers-storage.
func inStorage(name string) string {
	if name == "" {
		return ""
	}
	if _, err := imgref.ParseOstreeImageReference(name); err == nil {
		return name
	}
	scheme, _, colon := strings.Cut(name, ":")
	if _, err := imgref.ParseTransport(scheme); colon && err == nil {
		return name
	}
	return imgref.ImageReference{Transport: imgref.ContainersStorage, Name: name}.String()
}

// withTag returns a reference with a tag. A reference that has another one is refused.
func withTag(ref imgref.ImageReference, tag string) (imgref.ImageReference, error) {
	path, has := ref.PathAndTag()
	switch ref.Transport {
	case imgref.OCIDir, imgref.OCIArchive:
	case imgref.Registry, imgref.ContainersStorage:
		path, has = ref.Name, ""
		if i := strings.LastIndexByte(path, ':'); i > strings.LastIndexByte(path, '/') {
			path, has = path[:i], path[i+1:]
		}
		if strings.Contains(path, "@") {
			return ref, usagef("--reference=%s: --output names a digest", tag)
		}
	default:
		return ref, usagef("--reference=%s: an image of %s: has no tag of its own", tag, ref.Transport)
	}
	if has != "" && has != tag {
		return ref, usagef("--reference=%s: --output gives the tag %s: leave out one of them", tag, has)
	}
	ref.Name = path + ":" + tag
	return ref, nil
}

// commitSigners returns signers for the values of --sign-commit.
func commitSigners(values []string) (signers []*sign.Signer, err error) {
	for _, value := range values {
		engine, file, ok := strings.Cut(value, "=")
		if !ok || file == "" || engine != sign.Ed25519 && engine != sign.SPKI {
			return nil, usagef("invalid value '%s' for '--sign-commit': give ed25519=FILE or spki=FILE", value)
		}
		list, err := sign.SignersFromFile(engine, file, sign.Options{})
		if err != nil {
			return nil, fmt.Errorf("--sign-commit: %w", err)
		}
		signers = append(signers, list...)
	}
	return signers, nil
}
