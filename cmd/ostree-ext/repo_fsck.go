package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// checked is the result of repo fsck as JSON.
type checked struct {
	Commits  int      `json:"commits"`
	Partial  int      `json:"partial"`
	Objects  int      `json:"objects"`
	Problems []string `json:"problems"`
	Images   []string `json:"images"`
}

// printFsck prints what a check found, and which stored images it concerns.
func (a *app) printFsck(ctx context.Context, r *repo.Repo, report repo.FsckReport, asJSON bool) error {
	needing, err := store.Needing(ctx, r, report.Problems)
	if err != nil {
		return err
	}
	c := checked{
		Commits: report.Commits, Partial: report.Partial, Objects: report.Objects, Problems: []string{}, Images: []string{},
	}
	for i, p := range report.Problems {
		c.Problems = append(c.Problems, p.String())
		if !asJSON {
			fmt.Fprintln(a.err, printable.Line(p.String()))
		}
		if p.Unsigned {
			continue // the image cannot be put right by fetching it again
		}
		for _, image := range needing[i] {
			c.Images = append(c.Images, image.String())
			if !asJSON {
				fmt.Fprintln(a.err, printable.Line("  needed by the image "+image.String()))
			}
		}
	}
	if report.Partial > 0 {
		incomplete, err := store.Incomplete(ctx, r)
		if err != nil {
			return err
		}
		if !asJSON {
			fmt.Fprintf(a.err, "partial commits, not checked: %d\n", report.Partial)
		}
		for _, image := range incomplete {
			c.Images = append(c.Images, image.String())
			if !asJSON {
				fmt.Fprintln(a.err, printable.Line("  needed by the image "+image.String()))
			}
		}
	}
	slices.Sort(c.Images)
	c.Images = slices.Compact(c.Images)
	if asJSON {
		return a.printJSON(c)
	}
	if len(c.Images) > 0 {
		fmt.Fprintln(a.err, "images can be put right with 'ostree-ext container image repair'")
	}
	if len(report.Problems) > 0 {
		return nil
	}
	return a.printf("object fsck of %d commits completed successfully - no errors found.\n", report.Commits)
}
