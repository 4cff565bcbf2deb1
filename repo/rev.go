package repo

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// minPrefix is the least number of digits of a commit's id that are looked up. Libostree has no such minimum.
const minPrefix = 4

// ResolveRef returns the commit that a ref points to. A ref is "remote:name", "remote/name", or "name" for a local ref
// or else one of any remote. Parent repositories are searched too. If the ref does not exist, the error wraps
// [ErrRefNotFound].
func (r *Repo) ResolveRef(refspec string) (object.Checksum, error) {
	remote, ref, err := ParseRefspec(refspec)
	if err != nil {
		return object.Checksum{}, err
	}
	for p := r; p != nil; p = p.parent {
		files, err := p.refCandidates(remote, ref)
		if err != nil {
			return object.Checksum{}, err
		}
		for _, file := range files {
			if c, ok, err := p.readRef(file); ok || err != nil {
				return c, err
			}
		}
	}
	return object.Checksum{}, fmt.Errorf("refspec '%s' %w", refspec, ErrRefNotFound)
}

// refCandidates returns the files that may hold a ref, in order of precedence.
func (r *Repo) refCandidates(remote, ref string) ([]string, error) {
	files := []string{refFile(remote, ref)}
	if remote != "" {
		return files, nil
	}
	files = append(files, path.Join(refsRemotes, ref))
	var remotes []string
	l := refLister{repo: r}
	if err := l.eachDir(refsRemotes, func(name string) error {
		remotes = append(remotes, name)
		return nil
	}); err != nil {
		return nil, err
	}
	slices.Sort(remotes)
	for _, name := range remotes {
		files = append(files, path.Join(refsRemotes, name, ref))
	}
	return files, nil
}

// ResolveRev returns the commit that a revision names: the 64 digits of its id, a ref as in [Repo.ResolveRef], or the
// first digits of an id, at least four. Each "^" appended stands for the parent. A ref takes precedence over an
// abbreviated id. Errors wrap [ErrRefNotFound] or [ErrNotUnique].
//
// A commit given by its full id need not exist.
func (r *Repo) ResolveRev(rev string) (object.Checksum, error) {
	base := strings.TrimRight(rev, "^")
	c, err := r.resolveBase(base)
	if err != nil {
		return object.Checksum{}, err
	}
	for range len(rev) - len(base) {
		commit, err := LoadCommit(context.Background(), r, c)
		if err != nil {
			return object.Checksum{}, err
		}
		if commit.Parent.IsZero() {
			return object.Checksum{}, fmt.Errorf("commit %s has no parent: %w", c, ErrRefNotFound)
		}
		c = commit.Parent
	}
	return c, nil
}

func (r *Repo) resolveBase(rev string) (object.Checksum, error) {
	if c, err := object.ParseChecksum(rev); err == nil {
		return c, nil
	}
	digits := len(rev) >= minPrefix && len(rev) < 64 && strings.Trim(rev, "0123456789abcdef") == ""
	c, err := r.ResolveRef(rev)
	if err == nil || !digits {
		return c, err
	}
	for p := r; p != nil; p = p.parent {
		found, err := p.objects.withPrefix(rev)
		switch {
		case err != nil:
			return object.Checksum{}, err
		case len(found) > 1:
			return object.Checksum{}, fmt.Errorf("refspec %s %w", rev, ErrNotUnique)
		case len(found) == 1:
			return found[0], nil
		}
	}
	return object.Checksum{}, err
}
