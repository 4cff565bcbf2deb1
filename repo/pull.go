package repo

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// PullOptions say how [Repo.PullLocal] copies.
type PullOptions struct {
	// Remote is the remote whose refs are written. If it is empty, local refs are written.
	Remote string
	// Depth is how many ancestors of each commit are copied too; [AllHistory] copies all of them.
	Depth int
	// Untrusted verifies all objects, even those that could be linked or copied as they are.
	Untrusted bool
	// CommitOnly copies only the commit objects, which are then marked as partial.
	CommitOnly bool
	// NoDetached leaves out detached metadata.
	NoDetached bool
	// Verify, if not nil, decides whether a commit is accepted. It is called for each commit, even if NoDetached is set or
	// the commit exists already, with its bytes, whose hash was checked, and those of its detached metadata, which are nil
	// if there is none. No object becomes visible before all commits were accepted. A signature covers the trees and files
	// only if Untrusted is set too.
	Verify func(ctx context.Context, commit object.Checksum, data, detached []byte) error
}

// PullLocal copies commits and all their objects from another repository of any mode, and then sets the refs among
// names. Names are refs of src or ids of commits; none means all local refs of src. Objects are hard-linked if both
// repositories store them alike on one filesystem. Objects that are not linked are verified, and all are if Untrusted
// is set. A repository of mode bare-user-only accepts only objects that it can store.
func (r *Repo) PullLocal(ctx context.Context, src *Repo, names []string, opts PullOptions) (stats Stats, err error) {
	lock, err := src.Lock(ctx, LockShared)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	txn, err := r.Begin(ctx)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, txn.Abort()) }()
	p := &puller{txn: txn, src: src, opts: opts}
	if p.share, err = sameOwnerAndDevice(r, src); err != nil {
		return stats, err
	}
	commits, err := p.resolve(names)
	if err != nil {
		return stats, err
	}
	if err := p.pull(ctx, commits); err != nil {
		return stats, fmt.Errorf("pulling from %s: %w", src.path, err)
	}
	return txn.Commit(ctx)
}

type puller struct {
	txn   *Txn
	src   *Repo
	opts  PullOptions
	share bool // hard links between the repositories are possible

	complete []object.Checksum // commits that are not partial
}

// sameOwnerAndDevice reports whether the repositories can share files without letting another user change them.
func sameOwnerAndDevice(a, b *Repo) (bool, error) {
	var x, y unix.Stat_t
	if err := unix.Fstat(a.objects.fd, &x); err != nil {
		return false, err
	}
	if err := unix.Fstat(b.objects.fd, &y); err != nil {
		return false, err
	}
	return x.Dev == y.Dev && x.Uid == y.Uid, nil
}

// resolve finds the commits and records the refs to write.
func (p *puller) resolve(names []string) ([]object.Checksum, error) {
	if len(names) == 0 {
		refs, err := p.src.Refs("")
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			if remote, _, err := ParseRefspec(ref.Name); err == nil && remote == "" && ref.Collection == "" {
				names = append(names, ref.Name)
			}
		}
	}
	var commits []object.Checksum
	for _, name := range names {
		c, err := object.ParseChecksum(name)
		if err == nil {
			commits = append(commits, c)
			continue
		}
		if c, err = p.src.ResolveRef(name); err != nil {
			return nil, err
		}
		commits = append(commits, c)
		_, ref, err := ParseRefspec(name)
		if err != nil {
			return nil, err
		}
		if p.opts.Remote != "" {
			ref = p.opts.Remote + ":" + ref
		}
		if err := p.txn.SetRef(ref, c); err != nil {
			return nil, err
		}
	}
	return commits, nil
}

// pull copies the objects of the commits. The walk copies the metadata objects that it reads; other goroutines copy the
// files.
func (p *puller) pull(ctx context.Context, commits []object.Checksum) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	err := Traverse(gctx, p.src, commits, TraverseOptions{Depth: p.opts.Depth, CommitOnly: p.opts.CommitOnly},
		func(n object.Name) error {
			if n.Type == object.TypeCommit {
				return p.commit(gctx, n.Checksum)
			}
			g.Go(func() error { return p.object(gctx, n) })
			return nil
		})
	if e := g.Wait(); e != nil {
		// This error made the walk stop too.
		return e
	}
	if err != nil || p.opts.CommitOnly || !p.anyPartial() {
		return err
	}
	// With partial commits around, absent objects were left out, whichever commit needed them. Complete commits must not
	// lack any.
	for _, c := range p.complete {
		err := Traverse(ctx, p.txn, []object.Checksum{c}, TraverseOptions{}, func(n object.Name) error {
			have, err := p.txn.HasObject(n)
			if err == nil && !have {
				err = ErrObjectNotFound
			}
			if err != nil {
				return fmt.Errorf("object %s: %w", n, err)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("commit %s is not marked as partial, and not complete in %s: %w", c, p.src.Path(), err)
		}
	}
	return nil
}

func (p *puller) commit(ctx context.Context, c object.Checksum) error {
	state, err := p.src.IsPartial(c)
	if err != nil {
		return err
	}
	switch {
	case p.opts.CommitOnly:
		have, err := p.txn.HasObject(object.Name{Checksum: c, Type: object.TypeCommit})
		if err != nil {
			return err
		}
		if !have {
			p.txn.MarkPartial(c)
		}
	case state != CommitComplete:
		p.txn.MarkPartial(c)
	default:
		p.txn.UnmarkPartial(c)
		p.complete = append(p.complete, c)
	}
	detached, err := p.src.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeCommitMeta})
	missing := isMissing(err)
	if err != nil && !missing {
		return err
	}
	if err := p.admit(ctx, c, detached); err != nil {
		return err
	}
	if missing || p.opts.NoDetached {
		return nil
	}
	return p.txn.WriteDetachedMetadata(ctx, c, detached)
}

// admit copies a commit object. If it is verified, the very bytes that were verified are stored.
func (p *puller) admit(ctx context.Context, c object.Checksum, detached []byte) error {
	n := object.Name{Checksum: c, Type: object.TypeCommit}
	if p.opts.Verify == nil {
		return p.object(ctx, n)
	}
	data, err := p.src.Metadata(ctx, n)
	if err != nil {
		return err
	}
	if actual := object.HashMetadata(data); actual != c {
		return &object.CorruptError{Name: n, Actual: actual}
	}
	if err := p.opts.Verify(ctx, c, data, detached); err != nil {
		return err
	}
	return p.txn.WriteMetadataAs(ctx, n, data)
}

// object copies one object. An object that a partial commit lacks is left out.
func (p *puller) object(ctx context.Context, n object.Name) error {
	have, err := p.txn.HasObject(n)
	if have || err != nil {
		return err
	}
	err = p.transfer(ctx, n)
	if isMissing(err) && n.Type != object.TypeCommit {
		if partial := p.anyPartial(); partial {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("object %s: %w", n, err)
	}
	return nil
}

// anyPartial reports whether an absent object may belong to a partial commit.
func (p *puller) anyPartial() bool {
	p.txn.notes.Lock()
	defer p.txn.notes.Unlock()
	for _, partial := range p.txn.partial {
		if partial {
			return true
		}
	}
	return false
}

func (p *puller) transfer(ctx context.Context, n object.Name) error {
	linkable, err := p.linkable(ctx, n)
	if err != nil {
		return err
	}
	if linkable {
		if p.opts.Untrusted {
			if err := verifyObject(ctx, p.src, n); err != nil {
				return err
			}
		}
		done, err := p.txn.linkObject(ctx, &p.src.objects, n)
		if done || err != nil {
			return err
		}
	}
	if n.Type != object.TypeFile {
		data, err := p.src.Metadata(ctx, n)
		if err != nil {
			return err
		}
		return p.txn.WriteMetadataAs(ctx, n, data)
	}
	content, info, err := p.src.OpenFile(ctx, n.Checksum)
	if err != nil {
		return err
	}
	return errors.Join(p.txn.WriteFileAs(ctx, n.Checksum, &info.FileHeader, info.Size, content), content.Close())
}

// linkable reports whether the object is stored alike in both repositories.
func (p *puller) linkable(ctx context.Context, n object.Name) (bool, error) {
	to, from := p.txn.repo.mode, p.src.mode
	switch {
	case !p.share:
		return false, nil
	case n.Type == object.TypeDirMeta && to == ModeBareUserOnly:
		// Metadata is small, and must be read anyway.
		return false, nil
	case n.Type != object.TypeFile:
		return true, nil
	case to != from:
		return false, nil
	case to == ModeBareUserOnly:
		// Libostree may have stored files there that the mode cannot hold.
		info, err := p.src.objects.fileInfo(n.Checksum)
		if isMissing(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return !info.IsSymlink() && canonical(0, 0, info.Mode, nil) == nil, nil
	}
	return true, nil
}

// linkObject stages a hard link to an object of another repository. It reports false if that is impossible, or if the
// object is in a parent of that repository.
func (t *Txn) linkObject(ctx context.Context, from *objectDir, n object.Name) (bool, error) {
	release, err := t.use(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	dir, err := t.stage.dir(n.Checksum[0])
	if err != nil {
		return false, err
	}
	err = unix.Linkat(from.fd, loosePath(n, from.mode), dir, looseBase(n, t.repo.mode), 0)
	switch {
	case errors.Is(err, unix.EEXIST):
		return true, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EXDEV), errors.Is(err, unix.EMLINK), errors.Is(err, unix.EPERM):
		return false, nil
	case err != nil:
		return false, err
	}
	t.known.stage(n)
	if n.Type == object.TypeFile {
		t.stats.contentTotal.Add(1)
		t.stats.contentWritten.Add(1)
	} else {
		t.stats.metadataTotal.Add(1)
		t.stats.metadataWritten.Add(1)
	}
	return true, nil
}
