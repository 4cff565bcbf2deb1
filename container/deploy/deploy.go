// Package deploy makes a host boot a commit. It checks beforehand what could go wrong, and then has the host's own
// ostree deploy it, since how a boot loader is set up is libostree's.
//
// [Check] is for the time before a commit is fetched. [NewPlan] says what would be done: which deployments stay and
// which go, what /boot needs, and the command. [Plan.Run] does it. [ReadStatus] says what the host runs and what it
// boots next.
//
// The commit must be in the repository of the sysroot. Deployments are taken away with `ostree admin undeploy`; to go
// back to the one before, choose it in the boot menu.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// Errors that callers branch on. They are returned wrapped. See also [sysroot.ErrNotSysroot], [*StaterootError],
// [*StagedError], [*WeakerError], [*RoomError] and [repo.ErrNoKernel].
var (
	// ErrNoOSTree says that the host has no program ostree.
	ErrNoOSTree = errors.New("deploying needs the program ostree of the host, which is not installed")
	// ErrNotBooted says that a deployment cannot be staged, since the host does not run from the sysroot.
	ErrNotBooted = errors.New("a deployment can only be staged in the sysroot that the host runs from")
	// ErrInvalidKernelArg says that text cannot be a kernel argument of a deployment.
	ErrInvalidKernelArg = errors.New("invalid kernel argument")
	// ErrPartial says that objects of the commit may be missing.
	ErrPartial = errors.New("the commit is not complete")
)

// StaterootError says that a sysroot has no stateroot of a name. It wraps [sysroot.ErrNoStateroot].
type StaterootError struct {
	Sysroot, Stateroot string
	Err                error
}

// Error implements error. It says how the stateroot is made.
func (e *StaterootError) Error() string {
	return fmt.Sprintf("%v: make it with `ostree admin os-init %s --sysroot=%s`", e.Err, e.Stateroot, e.Sysroot)
}

// Unwrap returns the error of package sysroot.
func (e *StaterootError) Unwrap() error { return e.Err }

// StagedError says that a deployment is staged and would be dropped.
type StagedError struct {
	Stateroot string
	// Name is the name of the deployment, and Image its image, or its refspec, or empty.
	Name, Image string
	Locked      bool
}

// Error implements error.
func (e *StagedError) Error() string {
	what := e.Image
	if what == "" {
		what = "a deployment without an image"
	}
	locked := ""
	if e.Locked {
		locked = ", and is held back from it"
	}
	return fmt.Sprintf("%s (%s of stateroot %s) is staged for the next boot%s, and would be dropped",
		what, e.Name, e.Stateroot, locked)
}

// StageMode says whether a deployment is staged: made now, and put into the boot menu when the host shuts down, so that
// changes of /etc until then are not lost.
type StageMode uint8

const (
	// StageAuto stages in the sysroot that the host runs from, and nowhere else.
	StageAuto StageMode = iota
	// StageAlways stages. Elsewhere than in the sysroot that the host runs from, that is an error.
	StageAlways
	// StageNever puts the deployment into the boot menu at once.
	StageNever
)

// Options say what is deployed. Only Commit and Origin have no default.
type Options struct {
	// Sysroot is the path of the sysroot, "/" if it is empty.
	Sysroot string
	// Stateroot is the name of the stateroot. If it is empty, it is that of the booted deployment, and else "default".
	Stateroot string
	// Commit is the commit to deploy.
	Commit object.Checksum
	// Origin is the image that the deployment is updated from.
	Origin imgref.OstreeImageReference
	// KernelArgs replace all kernel arguments. If it is nil, those of the deployment that is updated are kept; if it is
	// empty but not nil, there are none.
	KernelArgs []string
	Stage      StageMode
	// ReplaceStaged drops a staged deployment.
	ReplaceStaged bool
	// AllowUnverified allows an origin that asks for no verification where the one before did.
	AllowUnverified bool
	// Host is the running system; tests replace it.
	Host sysroot.Host
}

func (o *Options) sysroot() string {
	if o.Sysroot == "" {
		return "/"
	}
	return o.Sysroot
}

// Result is what was deployed.
type Result struct {
	// Deployment is the new deployment.
	Deployment *sysroot.Deployment
	// Messages are the lines that ostree printed, such as how many files of /etc it merged.
	Messages []string
}

// Deploy deploys a commit. It is [NewPlan] and [Plan.Run].
func Deploy(ctx context.Context, opts Options) (*Result, error) {
	p, err := NewPlan(ctx, opts)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx)
}

// Run does what the plan says. The sysroot must not have changed since.
func (p *Plan) Run(ctx context.Context) (*Result, error) {
	file, err := os.CreateTemp("", "ostree-ext-origin-")
	if err != nil {
		return nil, fmt.Errorf("writing the origin: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(p.Origin)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("writing the origin: %w", err)
	}
	var messages []string
	for _, command := range p.Commands {
		args := slices.Clone(command[1:])
		for i, arg := range args {
			if arg == originArg {
				args[i] = "--origin-file=" + file.Name()
			}
		}
		out, err := runOSTree(ctx, args...)
		if err != nil {
			return nil, fmt.Errorf("deploying %s: %w", p.Commit, err)
		}
		for line := range strings.Lines(string(out)) {
			messages = append(messages, strings.TrimSuffix(line, "\n"))
		}
	}
	d, err := p.find()
	if err != nil {
		return nil, err
	}
	return &Result{Deployment: d, Messages: messages}, nil
}

// find returns the deployment that was made.
func (p *Plan) find() (*sysroot.Deployment, error) {
	s, err := p.opts.Host.Open(p.opts.sysroot())
	if err != nil {
		return nil, err
	}
	defer s.Close()
	list, err := s.Deployments()
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if d.Commit == p.opts.Commit && d.Stateroot == p.Stateroot && d.Staged == p.Staged &&
			d.Origin != nil && d.Origin.Image == p.Image {
			return d, nil
		}
	}
	return nil, fmt.Errorf("ostree reported that it deployed %s, but `ostree admin status` does not list it", p.Commit)
}

// ImagesInUse returns the images that the deployments of a sysroot came from, each once. An origin that cannot be read
// is an error, since its image is not known.
func ImagesInUse(s *sysroot.Sysroot) ([]imgref.ImageReference, error) {
	list, err := s.Deployments()
	if err != nil {
		return nil, fmt.Errorf("reading the deployments of %s: %w", s.Path(), err)
	}
	var images []imgref.ImageReference
	for _, d := range list {
		if d.Origin == nil || d.Origin.Image == "" {
			continue
		}
		ref, err := imgref.ParseOstreeImageReference(d.Origin.Image)
		if err != nil {
			return nil, fmt.Errorf("reading the origin of deployment %d (%s): %w", d.Index, d.Name(), err)
		}
		if !slices.Contains(images, ref.Image) {
			images = append(images, ref.Image)
		}
	}
	return images, nil
}

// runOSTree runs the host's ostree.
func runOSTree(ctx context.Context, args ...string) ([]byte, error) {
	out, err := hosttool.Run(ctx, "ostree", args...)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, ErrNoOSTree
	}
	return out, err
}

// checkCommit checks that a commit is in the repository, and complete.
func checkCommit(ctx context.Context, r *repo.Repo, commit object.Checksum) error {
	if _, err := repo.LoadCommit(ctx, r, commit); err != nil {
		return err
	}
	state, err := r.IsPartial(commit)
	if err != nil {
		return err
	}
	if state != repo.CommitComplete {
		return fmt.Errorf("%w: %s", ErrPartial, commit)
	}
	return nil
}

// checkKernelArg checks an argument that goes into a line of a boot loader entry.
func checkKernelArg(arg string) error {
	if strings.TrimSpace(arg) == "" || strings.ContainsFunc(arg, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: %q", ErrInvalidKernelArg, arg)
	}
	for word := range strings.FieldsSeq(arg) {
		if word == "ostree" || strings.HasPrefix(word, "ostree=") {
			return fmt.Errorf("%w: %q: libostree sets ostree= itself", ErrInvalidKernelArg, arg)
		}
	}
	return nil
}
