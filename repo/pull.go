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
	// Remote is the remote whose refs are written; empty writes local ones.
	Remote string
	// Depth is how many ancestors of each commit are copied besides it, [AllHistory] for all.
	Depth int
	// Untrusted verifies objects also where they could be linked or copied as they are.
	Untrusted bool
	// CommitOnly copies the commit objects alone, which are then marked as partial.
	CommitOnly bool
	// NoDetached leaves out detached metadata.
	NoDetached bool
}

// PullLocal copies commits with all that they need from another repository of any mode, and then sets the refs among
// what was asked for. Names are refs of src or ids of commits; without any, all local refs of src are meant. Objects are
// linked where both repositories store them alike on one filesystem. Whatever is not, and everything if Untrusted is
// set, is verified. A repository of mode bare-user-only takes only objects that it can hold.
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

// sameOwnerAndDevice reports whether files may be shared without giving somebody the power to change them.
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

// resolve finds the commits, and notes the refs to write.
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

// pull copies what the commits need. Other than what the walk reads, files are copied by several goroutines.
func (p *puller) pull(ctx context.Context, commits []object.Checksum) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	err := Traverse(gctx, p.src, commits, TraverseOptions{Depth: p.opts.Depth, CommitOnly: p.opts.CommitOnly}, func(n object.Name) error {
		if n.Type == object.TypeCommit {
			return p.commit(gctx, n.Checksum)
		}
		g.Go(func() error { return p.object(gctx, n) })
		return nil
	})
	if e := g.Wait(); e != nil {
		// It is what made the walk stop, too.
		return e
	}
	if err != nil || p.opts.CommitOnly || !p.anyPartial() {
		return err
	}
	// Beside partial commits an absent object was let pass, whoever needed it. Complete ones must not have lost any.
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
	if err := p.object(ctx, object.Name{Checksum: c, Type: object.TypeCommit}); err != nil || p.opts.NoDetached {
		return err
	}
	data, err := p.src.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeCommitMeta})
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.txn.WriteDetachedMetadata(ctx, c, data)
}

// object copies one object. One that a partial commit lacks is left out.
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

// anyPartial reports whether an absent object may be none of a complete commit.
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
		// It is small, and must be looked at.
		return false, nil
	case n.Type != object.TypeFile:
		return true, nil
	case to != from:
		return false, nil
	case to == ModeBareUserOnly:
		// libostree puts files there that the mode cannot hold.
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

// linkObject stages an object of another repository as a further name of its file. It reports false where that is
// impossible, or the object is in a parent of that repository.
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
