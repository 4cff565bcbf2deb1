// Package release describes a release: what goes into it, where it comes from, and what it consists of. Everything is a
// function of the sources, the version and Go's version.
//
// [Find] says which version the sources are. [SBOM] and [Provenance] make documents, [Sums] checksums, and [Packages]
// packages of distributions.
package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Module is the path of this module, and URL its address.
const (
	Module = "github.com/ostree-ext/ostree-ext-go"
	URL    = "https://" + Module
)

// Arches returns the architectures of a release, as Go calls them.
func Arches() []string { return []string{"amd64", "arm64", "riscv64", "ppc64le", "s390x"} }

// Source says which sources a release is made from.
type Source struct {
	// Version is the tag, such as v1.2.3.
	Version string
	// Commit is the commit of the sources, or empty if they are not in a repository of git.
	Commit string
	// Modified says that files differ from those of the commit.
	Modified bool
	// Time is when the commit was made, or that of SOURCE_DATE_EPOCH. Files get it as their time.
	Time time.Time
}

// Revision is the commit as programs print it.
func (s *Source) Revision() string {
	if s.Commit != "" && s.Modified {
		return s.Commit + "-modified"
	}
	return s.Commit
}

// A version is one of Semantic Versioning, with the v of Go's. Metadata after a + cannot be in names of images.
var versionForm = regexp.MustCompile(`^v(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})` +
	`(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

// Errors about sources that cannot be released.
var (
	// ErrNoTag says that no tag names the sources.
	ErrNoTag = errors.New("HEAD has no tag such as v1.2.3: make one, or say the version with VERSION=")
	// ErrModified says that a tag names other sources.
	ErrModified = errors.New("files differ from those of the tag: commit them and tag that, or say the version with " +
		"VERSION=")
)

// Find returns what the sources in a directory are. The version is the one that is given, or else the tag of HEAD,
// from which no file may differ. epoch is the value of SOURCE_DATE_EPOCH, which may be empty.
func Find(ctx context.Context, dir, version, epoch string) (*Source, error) {
	s := &Source{Version: version}
	if _, err := git(ctx, dir, "rev-parse", "--git-dir"); err == nil {
		if err := s.readGit(ctx, dir); err != nil {
			return nil, err
		}
	} else if version == "" {
		return nil, fmt.Errorf("%s is not in a repository of git: say the version with VERSION=", dir)
	}
	if !versionForm.MatchString(s.Version) {
		return nil, fmt.Errorf("%q is not a version: it should be like v1.2.3 or v1.2.3-rc.1", s.Version)
	}
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		s.Time = time.Unix(seconds, 0)
	} else if s.Time.IsZero() {
		s.Time = time.Unix(0, 0)
	}
	s.Time = s.Time.UTC()
	return s, nil
}

func (s *Source) readGit(ctx context.Context, dir string) error {
	head, err := git(ctx, dir, "log", "-1", "--format=%H %ct")
	if err != nil {
		return err
	}
	commit, when, _ := strings.Cut(head, " ")
	seconds, err := strconv.ParseInt(when, 10, 64)
	if err != nil {
		return fmt.Errorf("the time of commit %s: %w", commit, err)
	}
	s.Commit, s.Time = commit, time.Unix(seconds, 0)
	changes, err := git(ctx, dir, "status", "--porcelain")
	if err != nil {
		return err
	}
	s.Modified = changes != ""
	if s.Version != "" {
		return nil
	}
	tags, err := git(ctx, dir, "tag", "--points-at=HEAD", "--list", "v*", "--sort=-version:refname")
	if err != nil {
		return err
	}
	for tag := range strings.FieldsSeq(tags) {
		if versionForm.MatchString(tag) {
			s.Version = tag
			break
		}
	}
	switch {
	case s.Version == "":
		return ErrNoTag
	case s.Modified:
		return fmt.Errorf("%w:\n%s", ErrModified, changes)
	}
	return nil
}

// git runs git and returns what it prints, trimmed.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	// The owner of the files is often not the user, such as in containers.
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=*", "-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}
