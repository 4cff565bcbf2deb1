package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

func newRepoCommand(a *app) *cobra.Command {
	return group("repo", "OSTree repositories",
		newRepoInitCommand(a), newRepoCommitCommand(a), newRepoLsCommand(a), newRepoShowCommand(a), newRepoRevParseCommand(a),
		newRepoRefsCommand(a), newRepoCheckoutCommand(a), newRepoPullLocalCommand(a), newRepoFsckCommand(a),
		newRepoPruneCommand(a))
}

// repoFlag adds --repo. The default is OSTREE_REPO, as for the ostree program.
func repoFlag(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "repo", "", "`DIR` of the repository (default: $OSTREE_REPO)")
}

// repoPath returns the repository that the option or the environment names.
func repoPath(flag string) (string, error) {
	if flag == "" {
		flag = os.Getenv("OSTREE_REPO")
	}
	if flag == "" {
		return "", usagef("missing --repo: name the repository with it, or in OSTREE_REPO")
	}
	return flag, nil
}

// withRepo calls f with a repository, and closes it.
func withRepo(flag string, f func(*repo.Repo) error) (err error) {
	path, err := repoPath(flag)
	if err != nil {
		return err
	}
	r, err := repo.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return f(r)
}

// checkWriteRef checks the value of --write-ref. It refuses an empty value, which a script may pass if a variable is
// not set, because the commit would be left without a ref.
func checkWriteRef(cmd *cobra.Command, ref string) error {
	if !cmd.Flags().Changed("write-ref") {
		return nil
	}
	return checkRefArgument(ref)
}

// checkRefArgument checks that a ref is valid, before any work is done.
func checkRefArgument(ref string) error {
	_, name, err := repo.ParseRefspec(ref)
	if err == nil {
		err = repo.ValidateRef(name)
	}
	if err != nil {
		return &usageError{err}
	}
	return nil
}
