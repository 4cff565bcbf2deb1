package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

var errNotDir error = unix.ENOTDIR

// SetRef sets a ref, "name" or "remote:name", to a commit at once and durably. Use [Txn.SetRef] for refs to new
// objects.
func (r *Repo) SetRef(ctx context.Context, refspec string, c object.Checksum) error {
	if err := r.writableRef(ctx); err != nil {
		return err
	}
	file, err := parseRefPath(refspec)
	if err != nil {
		return err
	}
	if err := r.clearRefPath(file); err != nil {
		return err
	}
	if err := r.replaceFile(file, []byte(c.String()+"\n")); err != nil {
		return fmt.Errorf("ref %s: %w", refspec, err)
	}
	return r.refsChanged(file)
}

// DeleteRef deletes a ref. It is not an error if the ref does not exist; it is one if an alias points to it.
func (r *Repo) DeleteRef(ctx context.Context, refspec string) error {
	if err := r.writableRef(ctx); err != nil {
		return err
	}
	remote, ref, err := ParseRefspec(refspec)
	if err != nil {
		return err
	}
	if remote == "" {
		if err := r.refuseAliased(ref); err != nil {
			return err
		}
	}
	file := refFile(remote, ref)
	info, err := r.root.Lstat(file)
	if err != nil {
		return ignoreNoRef(err)
	}
	if info.IsDir() {
		return nil
	}
	if err := r.root.Remove(file); err != nil {
		return ignoreMissing(err)
	}
	if err := r.syncDir(path.Dir(file)); err != nil {
		return err
	}
	return r.refsChanged(file)
}

// SetAlias makes the local ref name an alias of the local ref target: it follows later changes of target.
func (r *Repo) SetAlias(ctx context.Context, name, target string) error {
	if err := r.writableRef(ctx); err != nil {
		return err
	}
	if err := ValidateRef(target); err != nil {
		return err
	}
	file, err := parseRefPath(name)
	if err != nil {
		return err
	}
	if strings.Contains(name, ":") {
		return fmt.Errorf("%w: alias %.80q: only local refs can be aliases", ErrInvalidRef, name)
	}
	if _, ok, err := r.readRef(refFile("", target)); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("cannot create alias to non-existent ref '%s': %w", target, ErrRefNotFound)
	}
	if err := r.clearRefPath(file); err != nil {
		return err
	}
	temp := path.Join("tmp", tempName("alias-"))
	if err := r.root.Symlink(strings.Repeat("../", strings.Count(name, "/"))+target, temp); err != nil {
		return err
	}
	if err := r.root.Rename(temp, file); err != nil {
		return errors.Join(fmt.Errorf("ref %s: %w", name, err), r.root.Remove(temp))
	}
	if err := r.syncDir(path.Dir(file)); err != nil {
		return err
	}
	return r.refsChanged(file)
}

func (r *Repo) writableRef(ctx context.Context) error {
	if !r.writable {
		return r.readOnlyError()
	}
	return ctx.Err()
}

// refuseAliased returns an error if an alias points to the ref, which would dangle.
func (r *Repo) refuseAliased(ref string) error {
	l := refLister{repo: r}
	if err := l.below(refsHeads, "", "", 0); err != nil {
		return err
	}
	for _, other := range l.refs {
		if other.Alias == ref && other.Name != ref {
			return fmt.Errorf("ref '%s' has an active alias: '%s'", ref, other.Name)
		}
	}
	return nil
}

// clearRefPath makes the parent directories of a ref's file, and removes empty directories in its place.
func (r *Repo) clearRefPath(file string) error {
	name := displayRef(file)
	if err := r.root.MkdirAll(path.Dir(file), 0o777); err != nil {
		if errors.Is(err, errNotDir) || errors.Is(err, os.ErrExist) {
			return fmt.Errorf("conflict: a part of %s exists as a ref when attempting write", name)
		}
		return fmt.Errorf("ref %s: %w", name, err)
	}
	info, err := r.root.Lstat(file)
	if err != nil || !info.IsDir() {
		return ignoreMissing(err)
	}
	l := refLister{repo: r}
	if err := l.below(file, name+"/", "", 0); err != nil {
		return err
	}
	if len(l.refs) > 0 {
		return fmt.Errorf("conflict: %s exists under %s when attempting write", l.refs[0].Name, name)
	}
	return r.removeEmptyDirs(file)
}

// removeEmptyDirs removes a directory that contains only directories.
func (r *Repo) removeEmptyDirs(dir string) error {
	f, err := r.root.Open(dir)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names {
		sub := path.Join(dir, name)
		if info, err := r.root.Lstat(sub); err != nil {
			return err
		} else if !info.IsDir() {
			return fmt.Errorf("conflict: %s is in the place of ref %s", sub, displayRef(dir))
		}
		if err := r.removeEmptyDirs(sub); err != nil {
			return err
		}
	}
	return r.root.Remove(dir)
}

// displayRef returns the name of the ref that a file holds.
func displayRef(file string) string {
	if ref, ok := strings.CutPrefix(file, refsHeads+"/"); ok {
		return ref
	}
	return strings.Replace(strings.TrimPrefix(file, refsRemotes+"/"), "/", ":", 1)
}

// refsChanged makes the directories above a new ref durable. It updates the time of the repository's directory, which
// invalidates libostree's caches.
func (r *Repo) refsChanged(file string) error {
	for dir := path.Dir(path.Dir(file)); dir != "refs" && dir != "."; dir = path.Dir(dir) {
		if err := r.syncDir(dir); err != nil {
			return err
		}
	}
	now := time.Now()
	return r.root.Chtimes(".", now, now)
}
