package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

func newRepoCommand(a *app) *cobra.Command {
	return group("repo", "OSTree repositories",
		newRepoInitCommand(a), newRepoCommitCommand(a), newRepoLsCommand(a), newRepoShowCommand(a), newRepoRevParseCommand(a),
		newRepoRefsCommand(a), newRepoCheckoutCommand(a), newRepoPullLocalCommand(a), newRepoSignCommand(a),
		newRepoFsckCommand(a), newRepoPruneCommand(a))
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

// withRepo calls f with the repository that --repo or the environment names, and closes it.
func withRepo(flag string, f func(*repo.Repo) error) error {
	path, err := repoPath(flag)
	if err != nil {
		return err
	}
	what := "--repo"
	if flag == "" {
		what = "OSTREE_REPO"
	}
	return withNamedRepo(what, path, f)
}

// withNamedRepo is like [withRepo], for the repository that another flag or an argument names. what is its name.
func withNamedRepo(what, path string, f func(*repo.Repo) error) (err error) {
	r, err := openRepo(what, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return withRefs(f(r), path)
}

// openRepo opens the repository that a flag, an argument or a variable names. what is its name.
func openRepo(what, path string) (*repo.Repo, error) {
	r, err := repo.Open(path)
	if err == nil {
		return r, nil
	}
	_, missing := os.Stat(path)
	switch {
	case !errors.Is(err, fs.ErrNotExist), missing != nil && what == "SOURCE":
		return nil, fmt.Errorf("%s: %w", what, err)
	case missing != nil:
		return nil, fmt.Errorf("%s: %w; 'ostree-ext repo init --repo=%s' makes a repository", what, err, path)
	}
	return nil, fmt.Errorf("%s: %s is not an OSTree repository: %w", what, path, err)
}

// hintedError is an error that already says where refs are listed.
type hintedError struct{ error }

func (e hintedError) Unwrap() error { return e.error }

// withRefs adds to the error about a ref that does not exist how to list those of the repository.
func withRefs(err error, path string) error {
	if _, ok := errors.AsType[hintedError](err); ok || !errors.Is(err, repo.ErrRefNotFound) {
		return err
	}
	return hintedError{fmt.Errorf("%w: 'ostree-ext repo refs --repo=%s' lists the refs", err, path)}
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
