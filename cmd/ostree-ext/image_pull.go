package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// pullFlags are the options of pulling.
type pullFlags struct {
	check, digestFile string
	asJSON            bool
	opts              store.Options
	imports           store.ImportOptions
	maxBytes, rate    sizeValue
	progress          progressFlags
	records           *records // nil without records of progress
	door              *door
}

func newImagePullCommand(a *app) *cobra.Command {
	var f pullFlags
	c := &cobra.Command{
		Use:   "pull [--check=FILE] REPO OSTREEIMGREF",
		Short: "Store an image with all its layers",
		Long: `Fetches the layers that the repository does not have, each into a commit of its own, and writes the
merge commit: the tree of the whole image. Any image can be pulled, also one that was not made from a
commit. Layers that were fetched stay if the command fails, so that the next attempt goes on from there.
Layers that no image needs any more are removed.

With --check, nothing is fetched: if there is an update, its manifest is written to the file, and the
update is recorded. Whether the file is written is the answer.`,
		Example: `  ostree-ext container image pull repo ostree-unverified-registry:registry.example/os:latest
  ostree-ext container image pull --check=update.json repo \
      ostree-unverified-registry:registry.example/os:latest`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseOstreeReference("<OSTREEIMGREF>", args[1])
			if err != nil {
				return err
			}
			if err := f.begin(a, cmd.Flags(), args[1]); err != nil {
				return err
			}
			if err := ensureWritableRepo(args[0]); err != nil {
				return err
			}
			return withNamedRepo("<REPO>", args[0], func(r *repo.Repo) error { return a.pull(cmd.Context(), r, ref, &f) })
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.check, "check", "", "only look for an update, and write its manifest to `FILE`")
	fs.StringVar(&f.digestFile, "ostree-digestfile", "", "write the merge commit to `FILE`")
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object")
	c.MarkFlagsMutuallyExclusive("check", "json")
	f.add(a, fs)
	return c
}

// add adds the options of all commands that store an image.
func (f *pullFlags) add(a *app, fs *pflag.FlagSet) {
	fs.IntVar(&f.imports.Layers, "layers", store.DefaultLayers, "`NUMBER` of layers to fetch at once")
	fs.Var(&f.maxBytes, "max-bytes", "fetch nothing if more than `SIZE` is missing, such as 500MB")
	fs.StringVar(&f.progress.format, "progress", "auto", "`FORMAT` of progress: auto, or json for lines that programs "+
		"read")
	fs.IntVar(&f.progress.fd, "progress-fd", 0, "write progress as lines of JSON to the file descriptor `NUMBER`")
	fs.Var(&f.rate, "rate", "fetch at most `SIZE` per second, such as 2MB")
	fetchFlags(a, fs, &f.opts.Source.Registry)
	f.door = trustFlags(fs, &f.opts.Source)
}

// begin checks these options and sets what follows from them. images are the references of the command.
func (f *pullFlags) begin(a *app, fs *pflag.FlagSet, images ...string) (err error) {
	if err := a.checkFetch(fs, &f.opts.Source.Registry, images...); err != nil {
		return err
	}
	f.imports.MaxBytes, f.opts.Source.Fetch.Rate = int64(f.maxBytes), int64(f.rate)
	f.records, err = a.openRecords(f.progress)
	return err
}

// pulled is the JSON form of the result.
type pulled struct {
	Image    string            `json:"image"`
	Commit   string            `json:"commit"`
	Base     string            `json:"base,omitempty"`
	Digest   digest.Digest     `json:"digest"`
	Version  string            `json:"version,omitempty"`
	Changed  bool              `json:"changed"`
	Fetched  int               `json:"layers_fetched"`
	Bytes    int64             `json:"bytes_fetched"`
	Filtered map[string]int    `json:"filtered,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	// Signatures are those that were verified.
	Signatures []oci.Signature `json:"signatures,omitempty"`
}

// pull pulls an image and prints what upstream's program prints.
func (a *app) pull(ctx context.Context, r *repo.Repo, ref imgref.OstreeImageReference, f *pullFlags) (err error) {
	f.door.repo = r
	p, err := store.Prepare(ctx, r, ref, f.opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	for _, w := range p.Warnings {
		a.warn(w.Error())
	}
	if p.Present {
		if err := writeDigestFile(ctx, f.digestFile, p.Previous); err != nil {
			return err
		}
		if f.asJSON {
			return a.printJSON(pulledImage(p, p.Previous))
		}
		return a.printSigned(p, "No changes in %s => %s\n", ref, p.Previous.Commit)
	}
	if f.check != "" {
		return output.WriteFile(ctx, f.check, p.Image.Top.Raw)
	}
	missing, size := p.Missing()
	if !f.asJSON {
		if err := a.printPlan(p, len(missing), size); err != nil {
			return err
		}
	}
	res, err := a.importShown(ctx, p, f)
	if err != nil {
		return err
	}
	if line := filteredLine(res.Filtered); line != "" {
		fmt.Fprintln(a.err, line)
	}
	if err := writeDigestFile(ctx, f.digestFile, res.Image); err != nil {
		return err
	}
	if f.asJSON {
		out := pulledImage(p, res.Image)
		out.Changed, out.Fetched, out.Bytes, out.Filtered = true, len(missing), size, res.Filtered
		if !res.Base.IsZero() {
			out.Base = res.Base.String()
		}
		return a.printJSON(out)
	}
	return a.printSigned(p, "Wrote: %s => %s\n", ref, res.Commit)
}

// printSigned prints a line, and then who signed the image, if somebody asked for that.
func (a *app) printSigned(p *store.Prepared, format string, args ...any) error {
	if err := a.printf(format, args...); err != nil {
		return err
	}
	for _, s := range verified(p) {
		if err := a.printf("Signed by %s\n", printable.Line(s.String())); err != nil {
			return err
		}
	}
	return nil
}

// verified returns the signatures of an image that were verified.
func verified(p *store.Prepared) []oci.Signature {
	if p.Image == nil || p.Image.Signatures == nil {
		return nil
	}
	return p.Image.Signatures()
}

// importShown imports what was prepared, and shows progress or writes records of it.
func (a *app) importShown(ctx context.Context, p *store.Prepared, f *pullFlags) (*store.Imported, error) {
	if f.records == nil {
		show := a.newProgress()
		defer show.stop()
		f.imports.Progress = show.event
		return p.Import(ctx, f.imports)
	}
	r := f.records
	r.pull(p)
	f.imports.Progress = r.event
	res, err := p.Import(ctx, f.imports)
	if err == nil {
		r.importing(1)
	}
	return res, err
}

func pulledImage(p *store.Prepared, img *store.Image) pulled {
	return pulled{
		Image: p.Ref.String(), Commit: img.Commit.String(), Digest: img.ManifestDigest, Version: store.Version(img.Image),
		Signatures: verified(p),
		Labels:     img.Config.Labels,
	}
}

// printPlan prints what is going to be fetched.
func (a *app) printPlan(p *store.Prepared, missing int, size int64) error {
	if d := p.Compare(); d != nil {
		if err := a.printf("%s", formatManifestDiff(*d)); err != nil {
			return err
		}
	}
	if missing == 0 {
		return nil
	}
	return a.printf("layers already present: %d; layers needed: %d (%s)\n", len(p.Layers)-missing, missing,
		sizes.Format(size))
}

// filteredLine says which files of an image have no place on a host, in upstream's words, or nothing if there are none.
func filteredLine(filtered map[string]int) string {
	if len(filtered) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("Image contains non-ostree compatible file paths:")
	for _, name := range slices.Sorted(maps.Keys(filtered)) {
		fmt.Fprintf(&b, " %s: %d", printable.Line(name), filtered[name])
	}
	return b.String()
}

func writeDigestFile(ctx context.Context, name string, img *store.Image) error {
	if name == "" {
		return nil
	}
	return output.WriteFile(ctx, name, []byte(img.Commit.String()))
}

// sizeValue is a number of bytes with an optional unit.
type sizeValue int64

func (v *sizeValue) String() string {
	if *v == 0 {
		return ""
	}
	return sizes.Format(int64(*v))
}

func (v *sizeValue) Type() string { return "size" }

func (v *sizeValue) Set(s string) error {
	n, err := sizes.Parse(s)
	if err != nil {
		return err
	}
	*v = sizeValue(n)
	return nil
}
