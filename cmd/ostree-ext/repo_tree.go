package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

func newRepoLsCommand(a *app) *cobra.Command {
	var path string
	var opts repo.ListOptions
	var checksums, xattrs, asJSON bool
	c := &cobra.Command{
		Use:   "ls --repo=REPO REV [PATH...]",
		Short: "List the files of a commit",
		Long: `Prints a line per file: type and mode, owner, size and path, as 'ostree ls' does. The default path is
the root.`,
		Example: "  ostree-ext repo ls --repo=repo -R exampleos/x86_64/stable /usr/lib/modules",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			paths := args[1:]
			if len(paths) == 0 {
				paths = []string{"/"}
			}
			return withRepo(path, func(r *repo.Repo) error {
				rev, err := r.ResolveRev(args[0])
				if err != nil {
					return err
				}
				for _, p := range paths {
					err := repo.List(cmd.Context(), r, rev, p, opts, func(e *repo.ListEntry) error {
						if asJSON {
							return a.printLine(listed(e))
						}
						return a.printf("%s\n", e.Line(checksums, xattrs))
					})
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	repoFlag(c, &path)
	fs := c.Flags()
	fs.BoolVarP(&opts.Recursive, "recursive", "R", false, "list directories recursively")
	fs.BoolVarP(&opts.DirectoryOnly, "dironly", "d", false, "list a directory itself, not its content")
	fs.BoolVarP(&checksums, "checksum", "C", false, "print checksums")
	fs.BoolVarP(&xattrs, "xattrs", "X", false, "print extended attributes")
	fs.BoolVar(&asJSON, "json", false, "print a JSON object per line")
	c.MarkFlagsMutuallyExclusive("xattrs", "json")
	return c
}

// listedEntry is a file as JSON.
type listedEntry struct {
	Path     string `json:"path"`
	Mode     string `json:"mode"` // octal, with the file type
	UID      uint32 `json:"uid"`
	GID      uint32 `json:"gid"`
	Size     int64  `json:"size"`
	Target   string `json:"target,omitempty"`
	Checksum string `json:"checksum"`
	DirMeta  string `json:"dirmeta,omitempty"`
}

func listed(e *repo.ListEntry) listedEntry {
	l := listedEntry{
		Path: e.Path, Mode: fmt.Sprintf("%06o", e.Mode), UID: e.UID, GID: e.GID, Size: e.Size, Target: e.Target,
		Checksum: e.Checksum.String(),
	}
	if e.IsDir() {
		l.DirMeta = e.DirMeta.String()
	}
	return l
}

func newRepoCheckoutCommand(a *app) *cobra.Command {
	var path string
	var opts repo.CheckoutOptions
	var union, unionAdd, unionIdentical bool
	c := &cobra.Command{
		Use:   "checkout --repo=REPO REV DIR",
		Short: "Write the files of a commit to a directory",
		Long: `Writes the files of a commit to DIR, which must not exist unless one of the --union options is given.
Files are hard links into the repository if its mode allows that: do not change them in place.`,
		Example: `  ostree-ext repo checkout --repo=repo --user exampleos/x86_64/stable tree
  ostree-ext repo checkout --repo=repo --user --subpath=/usr/etc --union exampleos/x86_64/stable etc`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case union:
				opts.Overwrite = repo.OverwriteUnion
			case unionAdd:
				opts.Overwrite = repo.OverwriteUnionAdd
			case unionIdentical:
				opts.Overwrite = repo.OverwriteUnionIdentical
			}
			return withRepo(path, func(r *repo.Repo) error {
				rev, err := r.ResolveRev(args[0])
				if err != nil {
					return err
				}
				err = r.Checkout(cmd.Context(), rev, args[1], opts)
				if errors.Is(err, fs.ErrExist) && opts.Overwrite == repo.OverwriteNone {
					err = fmt.Errorf("%w: name a directory that does not exist, or give one of the --union options", err)
				}
				return err
			})
		},
	}
	repoFlag(c, &path)
	fs := c.Flags()
	fs.BoolVarP(&opts.User, "user", "U", false, "do not set owners and extended attributes; does not need root")
	fs.StringVar(&opts.Subpath, "subpath", "", "write only what is at `PATH`")
	fs.BoolVar(&union, "union", false, "keep existing directories, replace existing files")
	fs.BoolVar(&unionAdd, "union-add", false, "keep existing files, add the others")
	fs.BoolVar(&unionIdentical, "union-identical", false, "fail if an existing file differs")
	fs.BoolVar(&opts.Whiteouts, "whiteouts", false, "treat .wh. files as whiteouts")
	fs.BoolVar(&opts.PassthroughWhiteouts, "process-passthrough-whiteouts", false,
		"turn .ostree-wh. files into overlayfs whiteouts")
	fs.BoolVarP(&opts.ForceCopy, "force-copy", "C", false, "copy files; never link")
	fs.BoolVarP(&opts.RequireHardlinks, "require-hardlinks", "H", false, "fail if a file cannot be linked")
	fs.BoolVarP(&opts.BareUserOnlyDirs, "bareuseronly-dirs", "M", false, "limit the modes of directories to 0775")
	c.MarkFlagsMutuallyExclusive("union", "union-add", "union-identical")
	c.MarkFlagsMutuallyExclusive("force-copy", "require-hardlinks")
	return c
}

func newRepoPullLocalCommand(a *app) *cobra.Command {
	var path, remote string
	var opts repo.PullOptions
	var verify verifyFlags
	c := &cobra.Command{
		Use:   "pull-local --repo=REPO SOURCE [REF | COMMIT]...",
		Short: "Copy commits from a repository on this machine",
		Long: `Copies refs or commits from the repository SOURCE, by default all its refs. Objects are hard-linked if
both repositories allow it.

With --gpg-verify, --sign-verify or both, each commit must have a good signature of that kind, by a key
of the remote: nothing is written before all were verified. Its configuration is that in the repository
DIR, and also tells which types of signatures --sign-verify accepts. A signature covers the files only if
they match the commit, so these options imply --untrusted.`,
		Example: `  ostree-ext repo pull-local --repo=host build exampleos/x86_64/stable
  ostree-ext repo pull-local --repo=host --remote=exampleos --sign-verify build exampleos/x86_64/stable`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Remote = remote
			if verify.kinds() != 0 && remote == "" {
				return usagef("--gpg-verify and --sign-verify need the keys of a remote: name it with --remote")
			}
			return withRepo(path, func(r *repo.Repo) (err error) {
				if verify.kinds() != 0 {
					v, err := verify.verifier(r, remote)
					if err != nil {
						return err
					}
					opts.Verify, opts.Untrusted = verifies(v), true
				}
				src, err := openRepo("SOURCE", args[0])
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, src.Close()) }()
				_, err = r.PullLocal(cmd.Context(), src, args[1:], opts)
				return withRefs(err, args[0])
			})
		},
	}
	repoFlag(c, &path)
	fs := c.Flags()
	fs.StringVar(&remote, "remote", "", "write the refs as those of remote `NAME`")
	fs.IntVar(&opts.Depth, "depth", 0, "also copy `N` ancestors of each commit; -1 for all (default 0)")
	fs.BoolVar(&opts.Untrusted, "untrusted", false, "check the checksum of every object")
	verify.add(fs)
	return c
}

func newRepoFsckCommand(a *app) *cobra.Command {
	var path, remote string
	var opts repo.FsckOptions
	var verify verifyFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "fsck --repo=REPO",
		Short: "Check every object of every commit",
		Long: `Reads and hashes every object of every commit that is not marked as partial.

With --gpg-verify, --sign-verify or both, each of these commits must also have a good signature of that
kind. Keys are those of the system and, for GPG, those of all remotes. With --remote they are those of
the remote, and only commits count that its refs lead to.`,
		Example: `  ostree-ext repo fsck --repo=repo --all`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if remote != "" && verify.kinds() == 0 {
				return usagef("--remote is for --gpg-verify and --sign-verify")
			}
			return withRepo(path, func(r *repo.Repo) error {
				if err := verify.fsck(cmd.Context(), r, remote, &opts); err != nil {
					return err
				}
				report, err := r.Fsck(cmd.Context(), opts)
				if err != nil && !errors.Is(err, repo.ErrRepositoryCorrupt) {
					return err
				}
				if err := a.printFsck(cmd.Context(), r, report, asJSON); err != nil {
					return err
				}
				return err
			})
		},
	}
	repoFlag(c, &path)
	fs := c.Flags()
	fs.BoolVarP(&opts.All, "all", "a", false, "go on after the first error")
	fs.BoolVar(&opts.Delete, "delete", false, "delete corrupt objects and mark their commits partial")
	fs.BoolVar(&opts.VerifyBindings, "verify-bindings", false, "check that commits are bound to the refs that name them")
	fs.BoolVar(&opts.VerifyBackRefs, "verify-back-refs", false, "check that the refs that commits are bound to exist")
	fs.BoolVar(&opts.AddTombstones, "add-tombstones", false, "write tombstones for parents that are missing")
	verify.add(fs)
	fs.StringVar(&remote, "remote", "", "verify with the keys of remote `NAME`, and only its commits")
	fs.BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

func newRepoPruneCommand(a *app) *cobra.Command {
	var path, younger, deleteCommit string
	var opts repo.PruneOptions
	var depth int
	var asJSON bool
	c := &cobra.Command{
		Use:   "prune --repo=REPO",
		Short: "Delete unreachable objects",
		Long: `Deletes objects that are not part of any commit, or with --refs-only of any commit that a ref leads to.
No other program can write to the repository meanwhile.`,
		Example: `  ostree-ext repo prune --repo=repo --refs-only --depth=2
  ostree-ext repo prune --repo=repo --keep-younger-than=720h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("depth") && depth >= 0 {
				opts.Depth = &depth
			}
			if younger != "" {
				d, err := time.ParseDuration(younger)
				if err != nil || d < 0 {
					return usagef("--keep-younger-than: %q is not a duration such as 720h", younger)
				}
				opts.KeepYoungerThan = time.Now().Add(-d)
			}
			return withRepo(path, func(r *repo.Repo) error {
				if deleteCommit != "" {
					rev, err := r.ResolveRev(deleteCommit)
					if err != nil {
						return err
					}
					opts.DeleteCommits = []object.Checksum{rev}
				}
				stats, err := r.Prune(cmd.Context(), opts)
				if err != nil {
					return err
				}
				return a.printPruned(stats, opts.NoPrune, asJSON)
			})
		},
	}
	repoFlag(c, &path)
	fs := c.Flags()
	fs.BoolVar(&opts.RefsOnly, "refs-only", false, "keep only what refs lead to")
	fs.IntVar(&depth, "depth", -1, "keep `N` ancestors of each ref (default -1, for all)")
	fs.Lookup("depth").DefValue = ""
	fs.StringVar(&younger, "keep-younger-than", "", "keep commits of the last `DURATION`, such as 720h")
	fs.StringArrayVar(&opts.OnlyBranches, "only-branch", nil, "cut the history of `REF` only")
	fs.StringVar(&deleteCommit, "delete-commit", "", "delete `COMMIT` first")
	fs.BoolVar(&opts.CommitOnly, "commit-only", false, "delete commits and no other objects")
	fs.BoolVar(&opts.NoPrune, "no-prune", false, "only print what would be deleted")
	fs.BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

func (a *app) printPruned(s repo.PruneStats, dry, asJSON bool) error {
	if asJSON {
		return a.printJSON(map[string]int64{"total": int64(s.Total), "deleted": int64(s.Deleted), "bytes": s.Bytes})
	}
	if err := a.printf("Total objects: %d\n", s.Total); err != nil {
		return err
	}
	switch {
	case s.Deleted == 0:
		return a.printf("No unreachable objects\n")
	case dry:
		return a.printf("Would delete: %d objects, freeing %s\n", s.Deleted, sizes.Format(s.Bytes))
	}
	return a.printf("Deleted %d objects, %s freed\n", s.Deleted, sizes.Format(s.Bytes))
}
