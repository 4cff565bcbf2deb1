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
		newRepoRefsCommand(a), newRepoCheckoutCommand(a), newRepoPullLocalCommand(a), newRepoFsckCommand(a), newRepoPruneCommand(a))
}

// repoFlag adds --repo, whose default is OSTREE_REPO as with the ostree program.
func repoFlag(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "repo", "", "`DIR` of the repository (default: $OSTREE_REPO)")
}

// repoPath is the repository that the options and the environment name.
func repoPath(flag string) (string, error) {
	if flag == "" {
		flag = os.Getenv("OSTREE_REPO")
	}
	if flag == "" {
		return "", usagef("missing --repo: name the repository with it, or in OSTREE_REPO")
	}
	return flag, nil
}

// withRepo opens a repository for the time of a call.
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

// checkWriteRef checks the value of --write-ref. An empty one, as from a variable that is not set, would leave the commit
// without the ref that was asked for.
func checkWriteRef(cmd *cobra.Command, ref string) error {
	if !cmd.Flags().Changed("write-ref") {
		return nil
	}
	return checkRefArgument(ref)
}

// checkRefArgument refuses a ref that could not be written before any work is done for it.
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
