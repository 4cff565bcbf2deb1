package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

func newRepoInitCommand(a *app) *cobra.Command {
	var path, mode string
	c := &cobra.Command{
		Use:   "init --repo=REPO",
		Short: "Make an empty repository",
		Long: `Makes an empty repository. If there is a repository already, it does nothing. The mode says how file
objects are stored: archive compresses them and suits building and serving; bare stores owners and
extended attributes on the files themselves and needs root; bare-user stores them separately and does
not need root; bare-user-only does not store them.`,
		Example: "  ostree-ext repo init --repo=repo --mode=archive",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := repoPath(path)
			if err != nil {
				return err
			}
			m, err := repo.ParseMode(mode)
			if err != nil {
				return &usageError{err}
			}
			r, err := repo.Init(dir, m)
			if err != nil {
				return fmt.Errorf("--repo: %w", err)
			}
			return r.Close()
		},
	}
	repoFlag(c, &path)
	c.Flags().StringVar(&mode, "mode", "bare", "`MODE`: bare, bare-user, bare-user-only or archive")
	return c
}

func newRepoRefsCommand(a *app) *cobra.Command {
	var path, create string
	var remove, asJSON, revisions, force bool
	c := &cobra.Command{
		Use:   "refs --repo=REPO [PREFIX | REV]",
		Short: "List, create or delete refs",
		Example: `  ostree-ext repo refs --repo=repo exampleos
  ostree-ext repo refs --repo=repo --create=exampleos/x86_64/testing exampleos/x86_64/stable
  ostree-ext repo refs --repo=repo --delete exampleos/x86_64/testing`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			arg := strings.Join(args, "")
			if force && create == "" {
				return usagef("--force is for --create")
			}
			if (create != "" || remove) && arg == "" {
				return usagef("name the revision or the ref")
			}
			return withRepo(path, func(r *repo.Repo) error {
				switch {
				case create != "":
					return createRef(cmd, r, create, arg, force)
				case remove:
					return r.DeleteRef(cmd.Context(), arg)
				}
				return a.listRefs(r, arg, revisions, asJSON)
			})
		},
	}
	repoFlag(c, &path)
	fs := c.Flags()
	fs.StringVar(&create, "create", "", "create `REF` for REV")
	fs.BoolVar(&force, "force", false, "let --create replace a ref")
	fs.BoolVar(&remove, "delete", false, "delete the ref")
	fs.BoolVar(&revisions, "revision", false, "also print commits")
	fs.BoolVar(&asJSON, "json", false, "print a JSON object: ref to commit")
	for _, change := range []string{"create", "delete"} {
		c.MarkFlagsMutuallyExclusive(change, "json")
		c.MarkFlagsMutuallyExclusive(change, "revision")
	}
	c.MarkFlagsMutuallyExclusive("create", "delete")
	c.MarkFlagsMutuallyExclusive("json", "revision")
	return c
}

func createRef(cmd *cobra.Command, r *repo.Repo, ref, revision string, force bool) error {
	if err := checkRefArgument(ref); err != nil {
		return err
	}
	rev, err := r.ResolveRev(revision)
	if err != nil {
		return err
	}
	if old, err := r.ResolveRef(ref); err == nil && !force {
		return fmt.Errorf("ref %s already exists, at %s: --force replaces it", ref, old)
	}
	return r.SetRef(cmd.Context(), ref, rev)
}

func (a *app) listRefs(r *repo.Repo, prefix string, revisions, asJSON bool) error {
	refs, err := r.Refs(prefix)
	if err != nil {
		return err
	}
	if asJSON {
		m := make(map[string]string, len(refs))
		for _, ref := range refs {
			m[ref.Name] = ref.Commit.String()
		}
		return a.printJSON(m)
	}
	for _, ref := range refs {
		line := ref.Name
		if revisions {
			line += "\t" + ref.Commit.String()
		}
		if err := a.printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

func newRepoRevParseCommand(a *app) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "rev-parse --repo=REPO REV...",
		Short: "Print the commits that revisions name",
		Long: `A revision is a ref, REMOTE:REF, a commit, or the first digits of a commit. It may be followed by ^
for the parent.`,
		Example: "  ostree-ext repo rev-parse --repo=repo exampleos/x86_64/stable^",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return withRepo(path, func(r *repo.Repo) error {
				for _, arg := range args {
					rev, err := r.ResolveRev(arg)
					if err != nil {
						return err
					}
					if err := a.printf("%s\n", rev); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	repoFlag(c, &path)
	return c
}
