package rechunk

import (
	"context"
	"fmt"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
)

// Commit is a commit of the sources.
type Commit struct {
	Short, Hash, Subject string
}

// maxCommits bounds the commits in a changelog.
const maxCommits = 1000

// Commits returns the commits of a Git repository, given by its work tree, that are in one revision and not in another,
// the newest first, without merges. There are at most 1000. It needs git.
func Commits(ctx context.Context, dir, since, until string) ([]Commit, error) {
	git, err := hosttool.Find("git", "git")
	if err != nil {
		return nil, err
	}
	out, err := hosttool.Run(ctx, git, "-C", dir, "-c", "log.showSignature=false", "log", "--no-merges", "--no-color",
		fmt.Sprintf("--max-count=%d", maxCommits), "--format=%h%x00%H%x00%s", "--end-of-options", since+".."+until, "--")
	if err != nil {
		return nil, fmt.Errorf("listing the commits from %s to %s in %s: %w", since, until, dir, err)
	}
	var list []Commit
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), "\x00"); len(f) == 3 {
			list = append(list, Commit{Short: f[0], Hash: f[1], Subject: f[2]})
		}
	}
	return list, nil
}
