package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/deploy"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// preview prints what would be done.
func (f *deployFlags) preview(
	ctx context.Context, a *app, from imgref.OstreeImageReference, opts deploy.Options, followed *deploy.DeploymentStatus,
) error {
	plan, err := f.plan(ctx, a, from, opts)
	if err != nil {
		return err
	}
	if followed != nil && followed.Commit == plan.Commit {
		return a.noUpdate(followed)
	}
	a.warnLost(plan)
	if f.json {
		return a.printJSON(plan)
	}
	return a.printf("%s", planText(plan))
}

// plan returns the plan for an image that may not be stored.
func (f *deployFlags) plan(
	ctx context.Context, a *app, from imgref.OstreeImageReference, opts deploy.Options,
) (_ *deploy.Plan, err error) {
	f.fetch.opts.Peek = true
	r, p, closeBoth, err := f.prepare(ctx, a, from, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeBoth()) }()
	img := p.Previous
	if !p.Present {
		if img, err = storedAs(ctx, r, p, opts.Origin); err != nil {
			return nil, err
		}
	}
	if img != nil {
		opts.Commit = img.Commit
		return deploy.NewPlan(ctx, opts)
	}
	if err := f.fetch.imports.CheckBudget(p); err != nil {
		return nil, err
	}
	return deploy.Preview(ctx, opts, p)
}

// storedAs returns an image if it is stored under its target, and nil otherwise.
func storedAs(
	ctx context.Context, r *repo.Repo, p *store.Prepared, target imgref.OstreeImageReference,
) (*store.Image, error) {
	img, err := store.Query(ctx, r, target.Image)
	switch {
	case errors.Is(err, store.ErrNoImage) || err == nil && img.ManifestDigest != p.Image.Top.Digest:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return img, nil
}

// planText returns a plan as text.
func planText(p *deploy.Plan) string {
	var b strings.Builder
	when := "at once"
	if p.Staged {
		when = "when the system shuts down"
	}
	fmt.Fprintf(&b, "Would deploy %s\n", p.Image)
	if p.Fetch == nil {
		fmt.Fprintf(&b, "  Commit:     %s\n", p.Commit)
	} else {
		fmt.Fprintf(&b, "  Fetches:    %s with %s, which need %s of %s free in the repository\n",
			sizes.Count(p.Fetch.Layers, "layer"), sizes.Format(p.Fetch.Bytes), sizes.Format(p.Fetch.Needed),
			sizes.Format(p.Fetch.Free))
	}
	fmt.Fprintf(&b, "  Stateroot:  %s of %s\n", p.Stateroot, p.Sysroot)
	if p.Previous != "" {
		fmt.Fprintf(&b, "  Updates:    %s\n", p.Previous)
	}
	fmt.Fprintf(&b, "  Boot menu:  changes %s\n", when)
	fmt.Fprintf(&b, "  Kernel:     %s\n", kernelText(p))
	fmt.Fprintf(&b, "  Arguments:  %s\n", strings.Join(p.KernelArgs, " "))
	for _, list := range []struct {
		verb        string
		deployments []deploy.Deployed
	}{{"Keeps", p.Keep}, {"Drops", p.Drop}} {
		for _, d := range list.deployments {
			from := d.Image
			if from == "" {
				from = "(no origin)"
			}
			fmt.Fprintf(&b, "  %s:      %s (%s, %s of stateroot %s)\n", list.verb, from, d.State, d.Name, d.Stateroot)
		}
	}
	for _, command := range p.Commands {
		fmt.Fprintf(&b, "  Runs:       %s\n", shellLine(command))
	}
	return b.String()
}

// kernelText returns the kernel of a plan and what it needs.
func kernelText(p *deploy.Plan) string {
	version := cmp.Or(printable.Line(p.Kernel), "not known before it is fetched")
	free := fmt.Sprintf("of %s free in %s", sizes.Format(p.Boot.Free+p.Boot.Freed), p.Boot.Path)
	if p.Fetch != nil && !p.Fetch.Kernel {
		return fmt.Sprintf("%s; what it needs %s is known when it is there", version, free)
	}
	return fmt.Sprintf("%s, needs %s %s", version, sizes.Format(p.Boot.Needed), free)
}

// shellLine returns a command as it is typed.
func shellLine(command []string) string {
	words := make([]string, len(command))
	for i, w := range command {
		if w == "" || strings.ContainsFunc(w, func(r rune) bool {
			return !strings.ContainsRune("-_=./:,+@%", r) && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
		}) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words[i] = w
	}
	return strings.Join(words, " ")
}
