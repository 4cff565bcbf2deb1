package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

func newDiffCommand(a *app) *cobra.Command {
	var repoPath, subdir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "diff --repo=REPO FROM TO",
		Short: "Say which paths differ between two commits",
		Long: `Prints a line per path: A for added, D for removed, M for changed. Directories end in a slash. Owner,
mode and extended attributes are compared, too. The content of an added or removed directory is not
listed.`,
		Example: `  ostree-ext diff --repo=repo exampleos/x86_64/stable^ exampleos/x86_64/stable
  ostree-ext diff --repo=repo --subdir=/usr/etc old new`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRepo(repoPath, func(r *repo.Repo) error {
				from, err := r.ResolveRev(args[0])
				if err != nil {
					return err
				}
				to, err := r.ResolveRev(args[1])
				if err != nil {
					return err
				}
				d, err := repo.Diff(cmd.Context(), r, from, to, subdir)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(d)
				}
				return a.printDiff(d)
			})
		},
	}
	repoFlag(c, &repoPath)
	c.Flags().StringVar(&subdir, "subdir", "", "compare only `PATH`; the printed paths are relative to it")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// printDiff prints a line with a letter and a path for each difference.
func (a *app) printDiff(d *repo.TreeDiff) error {
	for _, part := range []struct {
		letter, suffix string
		paths          []string
	}{
		{"M", "", d.ChangedFiles}, {"M", "/", d.ChangedDirs}, {"D", "", d.RemovedFiles}, {"D", "/", d.RemovedDirs},
		{"A", "", d.AddedFiles}, {"A", "/", d.AddedDirs},
	} {
		for _, p := range part.paths {
			if err := a.printf("%s    %s%s\n", part.letter, strings.TrimSuffix(p, "/"), part.suffix); err != nil {
				return err
			}
		}
	}
	return nil
}
