package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/deploy"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// deployFlags are the options of the command.
type deployFlags struct {
	sysroot, stateroot        string
	imgref, image, transport  string
	enforce, noVerification   bool
	remote                    string
	fetch                     pullFlags
	target                    string
	update                    bool
	noRef                     bool
	kernelArgs                []string
	commitFile                string
	stage, noStage            bool
	downloadOnly, dryRun      bool
	replaceStaged, unverified bool
	json                      bool
}

func newImageDeployCommand(a *app) *cobra.Command {
	var f deployFlags
	c := &cobra.Command{
		Use:   "deploy (--imgref=OSTREEIMGREF | --image=NAME | --update) [--stateroot=NAME]",
		Short: "Make a host boot an image",
		Long: `Fetches an image into the repository of the system and makes a deployment of it, with the host's own
ostree. On the running system the deployment is staged: the boot menu changes when the system shuts
down. Nothing is rebooted. The kernel arguments and the changes in /etc are taken over.

With --update, it is the image that the system is updated from. If that has not changed, nothing is done.

The command refuses if another deployment is staged, if the host's updates are verified and this image's
would not be, or if /boot has too little room. The stateroot must exist; 'ostree admin os-init' makes it.
'ostree admin undeploy' takes a deployment away.`,
		Example: `  ostree-ext container image deploy --imgref=ostree-image-signed:docker://registry.example/os:latest
  ostree-ext container image deploy --image=registry.example/os:latest --dry-run
  ostree-ext container image deploy --update
  ostree-ext container image deploy --sysroot=/mnt --stateroot=default --karg=root=LABEL=root \
      --imgref=ostree-unverified-image:oci:/media/os --target-imgref=ostree-image-signed:docker://registry.example/os`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			followed, err := f.follow(cmd.Context())
			if err != nil {
				return err
			}
			image := f.imgref
			if f.image != "" {
				image = f.transport + ":" + f.image
			}
			if err := f.fetch.begin(a, cmd.Flags(), image); err != nil {
				return err
			}
			from, target, err := f.references(cmd.Flags())
			if err != nil {
				return err
			}
			opts := f.options(cmd.Flags(), target)
			if !f.dryRun {
				if err := ensureWritable(opts.Sysroot); err != nil {
					return err
				}
			}
			return deployHint(f.run(cmd.Context(), a, from, opts, followed))
		},
	}
	f.add(a, c.Flags())
	c.MarkFlagsMutuallyExclusive("enforce-container-sigpolicy", "no-signature-verification")
	c.MarkFlagsMutuallyExclusive("stage", "no-stage")
	c.MarkFlagsMutuallyExclusive("download-only", "dry-run")
	c.MarkFlagsMutuallyExclusive("download-only", "json")
	for _, other := range []string{"imgref", "image", "target-imgref", "stateroot", "no-imgref", "download-only", "json"} {
		c.MarkFlagsMutuallyExclusive("update", other)
	}
	return c
}

func (f *deployFlags) add(a *app, fs *pflag.FlagSet) {
	sysrootFlag(fs, &f.sysroot)
	fs.StringVar(&f.stateroot, "stateroot", "", "`NAME` of the stateroot (default: the booted one, else default)")
	fs.StringVar(&f.imgref, "imgref", "", "`OSTREEIMGREF`: where the image is and how it is verified")
	fs.StringVar(&f.image, "image", "", "`NAME` of the image, instead of --imgref, which it replaces")
	fs.StringVar(&f.transport, "transport", "registry", "`NAME` of the transport for --image")
	fs.BoolVar(&f.enforce, "enforce-container-sigpolicy", false, "require the signatures that the host's containers "+
		"policy demands of --image")
	fs.BoolVar(&f.noVerification, "no-signature-verification", false, "do not verify --image (default)")
	fs.StringVar(&f.remote, "ostree-remote", "", "`REMOTE` of the repository whose signatures the commit in --image must "+
		"have; with --enforce-container-sigpolicy")
	fs.BoolVar(&f.update, "update", false, "the image that the system is updated from, instead of --imgref; do nothing "+
		"if that image is booted, or is booted next")
	f.fetch.add(a, fs)
	fs.StringVar(&f.target, "target-imgref", "", "`OSTREEIMGREF` that the host is updated from (default: that of the "+
		"image)")
	fs.BoolVar(&f.noRef, "no-imgref", false, "write no ref for the image; the deployment alone keeps it")
	fs.StringArrayVar(&f.kernelArgs, "karg", nil, "kernel `ARG`; repeat it for each. They replace all arguments "+
		"(default: those of the deployment before)")
	fs.StringVar(&f.commitFile, "write-commitid-to", "", "`FILE` to write the checksum of the commit to")
	fs.BoolVar(&f.stage, "stage", false, "change the boot menu only when the system shuts down (default on the running "+
		"system)")
	fs.BoolVar(&f.noStage, "no-stage", false, "change the boot menu at once")
	fs.BoolVar(&f.downloadOnly, "download-only", false, "fetch the image, and deploy nothing")
	fs.BoolVar(&f.dryRun, "dry-run", false, "say what would be fetched and done, and write nothing")
	fs.BoolVar(&f.replaceStaged, "replace-staged", false, "drop the deployment that is staged")
	fs.BoolVar(&f.unverified, "allow-unverified", false, "allow an image without verification where the host's "+
		"updates were verified before")
	fs.BoolVar(&f.json, "json", false, "print what is done as a JSON object")
}

// follow returns the deployment that an update goes on from, and its image in --imgref, if an update is asked for.
func (f *deployFlags) follow(ctx context.Context) (*deploy.DeploymentStatus, error) {
	if !f.update {
		return nil, nil
	}
	st, err := deploy.ReadStatus(ctx, sysroot.Host{}, sysrootPath(f.sysroot))
	if err != nil {
		return nil, err
	}
	d, err := st.Followed()
	if err != nil {
		return nil, fmt.Errorf("%w: name an image with --imgref or --image", err)
	}
	f.imgref, f.stateroot = d.Image, d.Stateroot
	return d, nil
}

// references returns where the image is, and what the host is updated from.
func (f *deployFlags) references(fs *pflag.FlagSet) (from, target imgref.OstreeImageReference, err error) {
	switch {
	case f.image != "":
		from, err = f.imageReference()
	case f.imgref == "":
		err = usagef("missing --imgref, --image or --update: name the image with one of them")
	case f.enforce || f.remote != "":
		// Upstream ignores them, and the user would think that the image is verified.
		err = usagef("--enforce-container-sigpolicy and --ostree-remote go with --image: --imgref itself says how the " +
			"image is verified")
	case fs.Changed("transport"):
		err = usagef("--transport goes with --image: --imgref itself has the transport")
	default:
		from, err = parseOstreeReference("--imgref", f.imgref)
	}
	if err != nil {
		return from, target, err
	}
	if f.target == "" {
		return from, from, nil
	}
	target, err = parseOstreeReference("--target-imgref", f.target)
	return from, target, err
}

// imageReference returns the reference that --image and the options beside it make.
func (f *deployFlags) imageReference() (ref imgref.OstreeImageReference, err error) {
	transport, err := imgref.ParseTransport(f.transport)
	if err != nil {
		return ref, usagef("invalid value '%s' for '--transport': %w", f.transport, err)
	}
	ref = imgref.Unverified(imgref.ImageReference{Transport: transport, Name: f.image})
	switch {
	case f.remote != "" && !f.enforce:
		return ref, usagef("--ostree-remote needs --enforce-container-sigpolicy")
	case f.remote != "":
		ref.Signature = imgref.SignatureSource{Kind: imgref.OstreeRemote, Remote: f.remote}
	case f.enforce:
		ref.Signature = imgref.SignatureSource{Kind: imgref.ContainerPolicy}
	}
	return ref, nil
}

// options returns the options of the deployment, except the commit.
func (f *deployFlags) options(fs *pflag.FlagSet, target imgref.OstreeImageReference) deploy.Options {
	opts := deploy.Options{
		Sysroot: sysrootPath(f.sysroot), Stateroot: f.stateroot, Origin: target, ReplaceStaged: f.replaceStaged,
		AllowUnverified: f.unverified,
	}
	if fs.Changed("karg") {
		opts.KernelArgs = f.kernelArgs
	}
	switch {
	case f.stage:
		opts.Stage = deploy.StageAlways
	case f.noStage:
		opts.Stage = deploy.StageNever
	}
	return opts
}

// run does what the options say. An update goes on from the deployment that is followed.
func (f *deployFlags) run(
	ctx context.Context, a *app, from imgref.OstreeImageReference, opts deploy.Options, followed *deploy.DeploymentStatus,
) error {
	if followed != nil {
		// An update replaces the one that it makes superfluous, unless somebody holds that back. If there is no update,
		// nothing is replaced.
		opts.ReplaceStaged = true
	}
	if !f.downloadOnly {
		if err := deploy.Check(opts); err != nil {
			return err
		}
	}
	if f.dryRun {
		return f.preview(ctx, a, from, opts, followed)
	}
	img, err := f.pull(ctx, a, from, opts)
	if err != nil {
		return err
	}
	opts.Commit = img.Commit
	if f.downloadOnly {
		if err := f.writeCommit(ctx, img.Commit); err != nil {
			return err
		}
		return a.printf("Fetched: %s => %s\n", opts.Origin, img.Commit)
	}
	if followed != nil {
		if followed.Commit == img.Commit.String() {
			return a.noUpdate(followed)
		}
		opts.ReplaceStaged = f.replaceStaged || !followed.Locked
	}
	f.fetch.records.staging(img.ManifestDigest, 0)
	plan, err := deploy.NewPlan(ctx, opts)
	if err != nil {
		return err
	}
	a.warnLost(plan)
	return f.deploy(ctx, a, plan, img.ManifestDigest)
}

// noUpdate says that the deployment that is booted next has the image that an update would bring.
func (a *app) noUpdate(d *deploy.DeploymentStatus) error {
	return a.printf("No update: %s => %s (%s)\n", d.Image, d.Commit, d.State)
}

func (a *app) warnLost(plan *deploy.Plan) {
	if len(plan.Lost) > 0 {
		a.warn("the deployment that is updated has settings of other programs, which the new one will not have: " +
			strings.Join(plan.Lost, ", "))
	}
}

// deploy does what the plan says, and prints the result.
func (f *deployFlags) deploy(ctx context.Context, a *app, plan *deploy.Plan, image digest.Digest) error {
	f.fetch.records.staging(image, 1)
	res, err := plan.Run(ctx)
	if err != nil {
		return err
	}
	f.fetch.records.staging(image, 2)
	if !a.quiet {
		for _, message := range res.Messages {
			fmt.Fprintln(a.err, printable.Line(message))
		}
	}
	if err := f.writeCommit(ctx, res.Deployment.Commit); err != nil {
		return err
	}
	if f.json {
		return a.printJSON(plan)
	}
	done := "Deployed"
	if plan.Staged {
		done = "Staged"
	}
	return a.printf("%s: %s => %s\n", done, plan.Image, plan.Commit)
}

// prepare opens the image, and the repository of the sysroot, which has the remotes that a reference can name.
func (f *deployFlags) prepare(
	ctx context.Context, a *app, from imgref.OstreeImageReference, opts deploy.Options,
) (_ *repo.Repo, _ *store.Prepared, closeBoth func() error, err error) {
	r, err := openSysrootRepo(opts.Sysroot)
	if err != nil {
		return nil, nil, nil, err
	}
	f.fetch.opts.Bootable, f.fetch.door.repo = true, r
	p, err := store.Prepare(ctx, r, from, f.fetch.opts)
	if err != nil {
		return nil, nil, nil, errors.Join(err, r.Close())
	}
	for _, w := range p.Warnings {
		a.warn(w.Error())
	}
	return r, p, func() error { return errors.Join(p.Close(), r.Close()) }, nil
}

// pull stores the image in the repository of the sysroot and returns it.
func (f *deployFlags) pull(
	ctx context.Context, a *app, from imgref.OstreeImageReference, opts deploy.Options,
) (_ *store.Image, err error) {
	_, p, closeBoth, err := f.prepare(ctx, a, from, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeBoth()) }()
	if p.Present {
		return p.Previous, nil
	}
	if !f.downloadOnly {
		if err := f.checkRoom(ctx, a, p, opts); err != nil {
			return nil, err
		}
	}
	// Without a ref, nothing needs the layers before the image is deployed.
	f.fetch.imports.Target, f.fetch.imports.NoRef, f.fetch.imports.NoCleanup = opts.Origin.Image, f.noRef, f.noRef
	res, err := a.importShown(ctx, p, &f.fetch)
	if err != nil {
		return nil, err
	}
	if line := filteredLine(res.Filtered); line != "" {
		fmt.Fprintln(a.err, line)
	}
	return res.Image, nil
}

func openSysrootRepo(path string) (*repo.Repo, error) {
	s, err := sysroot.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := repo.Open(s.RepoPath())
	return r, errors.Join(err, s.Close())
}

// checkRoom refuses an image for whose kernel /boot has too little room, before anything is fetched. If the image does
// not say how large its kernel is, that becomes known when it is there; until then it is a warning.
func (f *deployFlags) checkRoom(ctx context.Context, a *app, p *store.Prepared, opts deploy.Options) error {
	room, sure, err := deploy.EstimateRoom(ctx, opts, p.Image)
	if err != nil {
		return nil //nolint:nilerr // what cannot be measured now is looked at again when the image is there
	}
	err = room.Check()
	switch {
	case err == nil:
		return nil
	case sure:
		return fmt.Errorf("%w; nothing was fetched", err)
	}
	a.warn("if the new kernel is as large as the present one, the image cannot be deployed: " + err.Error())
	return nil
}

// writeCommit writes the checksum to the file of --write-commitid-to, if there is one.
func (f *deployFlags) writeCommit(ctx context.Context, commit object.Checksum) error {
	if f.commitFile == "" {
		return nil
	}
	if err := output.WriteFile(ctx, f.commitFile, []byte(commit.String())); err != nil {
		return fmt.Errorf("commit %s is there, but its checksum was not written: %w", commit, err)
	}
	return nil
}

// deployHint adds the option that allows what was refused.
func deployHint(err error) error {
	if _, ok := errors.AsType[*deploy.StagedError](err); ok {
		return fmt.Errorf("%w: give --replace-staged to drop it", err)
	}
	if _, ok := errors.AsType[*deploy.WeakerError](err); ok {
		return fmt.Errorf("%w: name an image with ostree-image-signed: or ostree-remote-image:, or give "+
			"--allow-unverified", err)
	}
	return err
}
