package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/keyfile"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// Plan says what a deployment would do.
type Plan struct {
	Sysroot   string `json:"sysroot"`
	Stateroot string `json:"stateroot"`
	// Commit is the checksum, or "" if the image is not stored.
	Commit string `json:"commit,omitempty"`
	// Image is the reference that the origin gets, and Origin the whole file.
	Image  string `json:"image"`
	Origin string `json:"origin"`
	// Previous is the image of the deployment whose /etc and kernel arguments are taken over, or empty.
	Previous string `json:"previous,omitempty"`
	// Lost are the settings in its origin, GROUP/KEY, that the new one does not have. Other programs put them there, such
	// as rpm-ostree for packages that are installed on top.
	Lost []string `json:"lost"`
	// Staged is whether the boot menu changes only when the host shuts down.
	Staged bool `json:"staged"`
	// Kernel is the version of the kernel. It is "" if the image is not stored and does not say so.
	Kernel string `json:"kernel"`
	// KernelArgs are the arguments that the kernel gets, without ostree=.
	KernelArgs []string `json:"kernel_args"`
	Boot       Room     `json:"boot"`
	// Keep are the deployments that stay, and Drop those that ostree removes.
	Keep []Deployed `json:"keep"`
	Drop []Deployed `json:"drop"`
	// Commands are the programs that are run, with their arguments. The file of the origin is called ORIGIN, and a commit
	// that is not known COMMIT.
	Commands [][]string `json:"commands"`
	// Fetch is set if the image is not stored.
	Fetch *Fetch `json:"fetch,omitempty"`

	opts Options
}

// Deployed is an existing deployment in a plan.
type Deployed struct {
	Stateroot string `json:"stateroot"`
	// Name is COMMIT.SERIAL.
	Name string `json:"name"`
	// State is as in [DeploymentStatus].
	State string `json:"state"`
	// Image is the image, or empty.
	Image string `json:"image,omitempty"`
}

// originArg is the argument that stands for the file of the origin.
const originArg = "--origin-file=ORIGIN"

// Check returns the error that [NewPlan] would return, as far as it does not depend on the commit. Call it before the
// commit is fetched.
func Check(opts Options) error {
	t, err := openTarget(&opts)
	if err != nil {
		return err
	}
	defer t.sysroot.Close()
	r, err := repo.Open(t.sysroot.RepoPath())
	if err != nil {
		return err
	}
	defer r.Close()
	return t.check(r, &opts)
}

// NewPlan checks whether a commit can be deployed and says what that would do. It changes nothing.
func NewPlan(ctx context.Context, opts Options) (*Plan, error) {
	opts.KernelArgs = slices.Clone(opts.KernelArgs)
	t, err := openTarget(&opts)
	if err != nil {
		return nil, err
	}
	defer t.sysroot.Close()
	r, err := repo.Open(t.sysroot.RepoPath())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := t.check(r, &opts); err != nil {
		return nil, err
	}
	if err := checkCommit(ctx, r, opts.Commit); err != nil {
		return nil, fmt.Errorf("deploying %s: %w", opts.Commit, err)
	}
	kernel, err := sysroot.FindKernel(ctx, r, opts.Commit)
	if err != nil {
		return nil, fmt.Errorf("deploying %s: %w", opts.Commit, err)
	}
	p, err := t.plan(opts)
	if err != nil {
		return nil, err
	}
	p.Commit, p.Kernel = opts.Commit.String(), kernel.Version
	room, err := t.room(ctx, kernel.Checksum, kernel.Sizes())
	if err != nil {
		return nil, err
	}
	if err := room.Check(); err != nil {
		return nil, err
	}
	p.Boot = *room
	p.describe(t)
	return p, nil
}

// plan returns a plan with what does not depend on the commit.
func (t *target) plan(opts Options) (p *Plan, err error) {
	p = &Plan{
		Sysroot: opts.sysroot(), Stateroot: t.stateroot, Image: opts.Origin.String(),
		KernelArgs: []string{}, Lost: []string{}, Keep: []Deployed{}, Drop: []Deployed{}, opts: opts,
	}
	if p.Staged, err = t.stage(opts.Stage); err != nil {
		return nil, err
	}
	p.Origin, err = originFile(p.Image)
	return p, err
}

// describe sets what follows from the deployments that exist.
func (p *Plan) describe(t *target) {
	for _, d := range t.list {
		deployed := Deployed{Stateroot: d.Stateroot, Name: d.Name(), State: state(t.list, d), Image: originOf(d)}
		if t.keeps(d) {
			p.Keep = append(p.Keep, deployed)
		} else {
			p.Drop = append(p.Drop, deployed)
		}
	}
	if t.merge != nil {
		p.Previous = originOf(t.merge)
		p.Lost = append(p.Lost, lost(t.merge.Origin)...)
	}
	command := []string{
		"ostree", "admin", "deploy", "--sysroot=" + t.commandRoot, "--os=" + t.stateroot, originArg,
	}
	if p.Staged {
		command = append(command, "--stage")
	}
	switch {
	case p.opts.KernelArgs != nil:
		command = append(command, "--karg-none")
		for _, arg := range p.opts.KernelArgs {
			command = append(command, "--karg-append="+arg)
		}
		p.KernelArgs = append(p.KernelArgs, p.opts.KernelArgs...)
	case t.merge != nil:
		p.KernelArgs = append(p.KernelArgs, t.merge.KernelArgs...)
	}
	p.Commands = [][]string{append(command, cmp.Or(p.Commit, "COMMIT"))}
}

// originFile returns the file of an origin, as upstream's program writes it.
func originFile(image string) (string, error) {
	var f keyfile.File
	if err := f.Set("origin", "container-image-reference", image); err != nil {
		return "", err
	}
	return string(f.Encode()), nil
}

// originOf returns the image or refspec of a deployment, or "".
func originOf(d *sysroot.Deployment) string {
	switch {
	case d.Origin == nil:
		return ""
	case d.Origin.Image != "":
		return d.Origin.Image
	}
	return d.Origin.Refspec
}

// lost lists the settings of an origin besides those that a deployment always sets or drops.
func lost(o *sysroot.Origin) (settings []string) {
	if o == nil {
		return nil
	}
	for _, group := range o.File.Groups() {
		for _, key := range o.File.Keys(group) {
			replaced := group == "origin" && (key == "container-image-reference" || key == "refspec")
			if !replaced && group != "libostree-transient" {
				settings = append(settings, group+"/"+key)
			}
		}
	}
	return settings
}

// target is where a commit is deployed.
type target struct {
	sysroot   *sysroot.Sysroot
	stateroot string
	list      sysroot.Deployments
	// merge is the deployment whose /etc and kernel arguments are taken over, or nil.
	merge *sysroot.Deployment
	// commandRoot is the sysroot as ostree is told of it.
	commandRoot string
}

// openTarget opens the sysroot. The caller closes it.
func openTarget(opts *Options) (t *target, err error) {
	s, err := opts.Host.Open(opts.sysroot())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	t = &target{sysroot: s, stateroot: opts.Stateroot, commandRoot: s.Path()}
	if t.list, err = s.Deployments(); err != nil {
		return nil, fmt.Errorf("reading the deployments of %s: %w", s.Path(), err)
	}
	booted := t.list.Booted()
	if booted != nil {
		// By another path than this, ostree would not know that it works on the running system.
		t.commandRoot = opts.Host.Path()
	}
	switch {
	case t.stateroot != "":
	case booted != nil:
		t.stateroot = booted.Stateroot
	default:
		t.stateroot = "default"
	}
	if err := s.CheckStateroot(t.stateroot); err != nil {
		if errors.Is(err, sysroot.ErrNoStateroot) {
			return nil, &StaterootError{Sysroot: s.Path(), Stateroot: t.stateroot, Err: err}
		}
		return nil, err
	}
	t.merge = t.list.Merge(t.stateroot)
	return t, nil
}

// check checks everything that does not depend on the commit.
func (t *target) check(r *repo.Repo, opts *Options) error {
	for _, arg := range opts.KernelArgs {
		if err := checkKernelArg(arg); err != nil {
			return err
		}
	}
	if _, err := t.stage(opts.Stage); err != nil {
		return err
	}
	if err := t.checkStaged(opts); err != nil {
		return err
	}
	return t.checkVerification(r, opts)
}

// keeps reports whether ostree keeps a deployment when it adds one: pinned ones, those of other stateroots, the booted
// one and the one that is merged with, but never a staged one.
func (t *target) keeps(d *sysroot.Deployment) bool {
	if d.Staged {
		return false
	}
	return d.Pinned() || d.Stateroot != t.stateroot || d.Booted || d == t.merge
}

// stage reports whether to stage.
func (t *target) stage(mode StageMode) (bool, error) {
	booted := t.list.Booted() != nil
	if mode == StageAlways && !booted {
		return false, fmt.Errorf("%w: %s", ErrNotBooted, t.sysroot.Path())
	}
	return booted && mode != StageNever, nil
}

// checkStaged refuses to drop a staged deployment.
func (t *target) checkStaged(opts *Options) error {
	d := t.list.Staged()
	if d == nil || opts.ReplaceStaged {
		return nil
	}
	return &StagedError{Stateroot: d.Stateroot, Name: d.Name(), Image: originOf(d), Locked: d.Locked}
}
