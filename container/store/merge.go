package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/selinux"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/derived"
)

// injected are files that container engines put into the layers of builds. They are dropped where they are empty.
var injected = []string{"/usr/etc/hostname", "/usr/etc/resolv.conf"}

// merge writes the merge commit and all refs.
func (im *importer) merge(ctx context.Context) error {
	txn, err := im.begin(ctx)
	if err != nil {
		return err
	}
	m := &merger{importer: im, txn: txn}
	commit, err := m.write(ctx)
	expected := im.want.IsZero() || commit == im.want
	if err == nil && expected {
		err = m.refs(ctx, commit)
	}
	if err == nil {
		_, err = txn.Commit(ctx)
	}
	if err != nil {
		return fmt.Errorf("merging the layers: %w", errors.Join(err, txn.Abort()))
	}
	if !expected {
		return nil
	}
	im.res.Image, err = Load(ctx, im.repo, commit)
	if err == nil && !im.opts.NoRef {
		im.res.Ref = im.target()
	}
	return err
}

// target is the reference under which the image is stored.
func (im *importer) target() imgref.ImageReference {
	if im.opts.Target != (imgref.ImageReference{}) {
		return im.opts.Target
	}
	return im.p.Ref.Image
}

type merger struct {
	*importer
	txn  *repo.Txn
	tree *repo.MutableTree
}

// write writes the merge commit.
func (m *merger) write(ctx context.Context) (id object.Checksum, err error) {
	if err := m.makeTree(ctx); err != nil {
		return id, err
	}
	metadata, err := m.p.metadata()
	if err != nil {
		return id, err
	}
	c := &object.Commit{Parent: m.res.Base, Timestamp: created(m.p.Image), Metadata: metadata}
	if c.Tree, c.Meta, err = m.tree.WriteTo(ctx, m.txn); err != nil {
		return id, err
	}
	if id, err = m.txn.WriteCommit(ctx, c); err != nil {
		return id, err
	}
	return id, m.noteSignatures(ctx, id)
}

// noteSignatures records the signatures of the image with its merge commit.
func (m *merger) noteSignatures(ctx context.Context, id object.Checksum) error {
	if m.p.Image.Signatures == nil {
		return nil
	}
	old, err := repo.LoadDetachedMetadata(ctx, m.txn, id)
	if err != nil {
		old = nil
	}
	d, err := withSignatures(old, keySignatures, m.p.Image)
	if err != nil || len(d) == 0 {
		return err
	}
	return m.txn.WriteDetachedMetadata(ctx, id, d.Encode())
}

// makeTree merges the layers into the tree.
func (m *merger) makeTree(ctx context.Context) (err error) {
	if m.tree, err = m.start(ctx); err != nil {
		return err
	}
	if err := m.layers(ctx); err != nil {
		return err
	}
	for _, p := range injected {
		if err := m.dropEmpty(ctx, p); err != nil {
			return err
		}
	}
	return m.relabel(ctx)
}

// start returns the tree of the base commit, or an empty one.
func (m *merger) start(ctx context.Context) (*repo.MutableTree, error) {
	if m.res.Base.IsZero() {
		return repo.NewMutableTree(), nil
	}
	return repo.TreeFromCommit(ctx, m.txn, m.res.Base)
}

// derivedLayers yields the layers on top of the commit, in the order of the image. A layer may be there twice.
func (m *merger) derivedLayers(yield func(*Layer) error) error {
	for i := range m.p.Image.Layers {
		l := &m.p.Image.Layers[i]
		if l.Kind != oci.Derived && l.Kind != oci.Plain {
			continue
		}
		for j := range m.p.Layers {
			if m.p.Layers[j].Descriptor.Digest == l.Descriptor.Digest {
				if err := yield(&m.p.Layers[j]); err != nil {
					return fmt.Errorf("layer %s: %w", l.Descriptor.Digest, err)
				}
				break
			}
		}
	}
	return nil
}

// layers applies the derived layers to the tree.
func (m *merger) layers(ctx context.Context) error {
	return m.derivedLayers(func(l *Layer) error {
		links, err := derived.Merge(ctx, m.txn, m.tree, l.Commit)
		if err != nil || len(links) == 0 {
			return err
		}
		return m.rewritten(ctx, l, func() (object.Checksum, error) {
			return derived.Resolved(ctx, m.txn, l.Commit, links)
		})
	})
}

// rewritten replaces the commit of a layer.
func (m *merger) rewritten(ctx context.Context, l *Layer, write func() (object.Checksum, error)) error {
	id, err := write()
	if err != nil || id == l.Commit {
		return err
	}
	known := provenDiffIDs(ctx, m.txn, readSecret(m.repo), l.Commit)
	l.Commit = id
	return recordDiffIDs(ctx, m.txn, id, known...)
}

// dropEmpty removes a regular file that is empty.
func (m *merger) dropEmpty(ctx context.Context, p string) error {
	e, err := m.tree.Lookup(ctx, p)
	if errors.Is(err, fs.ErrNotExist) || err == nil && e.Dir {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := m.txn.FileInfo(ctx, e.File)
	if err != nil || info.IsSymlink() || info.Size != 0 {
		return err
	}
	return m.tree.Remove(ctx, p)
}

// relabel gives the tree and the derived layers the labels of the policy in the merged tree.
func (m *merger) relabel(ctx context.Context) error {
	tree, meta, err := m.tree.WriteTo(ctx, m.txn)
	if err != nil {
		return err
	}
	policy, err := selinux.Load(ctx, repo.ViewTree(m.txn, tree, meta))
	if errors.Is(err, selinux.ErrNoPolicy) {
		if len(m.guessed) > 0 {
			return errNoLabels
		}
		return nil
	}
	if err != nil {
		return err
	}
	l := derived.NewLabeller(m.txn, policy.Label)
	if _, err := l.Tree(ctx, m.tree); err != nil {
		return err
	}
	return m.derivedLayers(func(layer *Layer) error {
		before := layer.Commit
		err := m.rewritten(ctx, layer, func() (object.Checksum, error) {
			return derived.Rewrite(ctx, m.txn, layer.Commit, func(tree *repo.MutableTree) (bool, error) {
				return l.Tree(ctx, tree)
			})
		})
		m.relabelled = m.relabelled || layer.Commit != before
		return err
	})
}

// refs sets the refs of all layers, also of those that have one, which another process may have removed meanwhile, and
// that of the image.
func (m *merger) refs(ctx context.Context, commit object.Checksum) error {
	for i := range m.p.Layers {
		l := &m.p.Layers[i]
		ref, err := layerRef(l.Descriptor.Digest)
		if err != nil {
			return err
		}
		if err := m.txn.SetRef(ref, l.Commit); err != nil {
			return err
		}
	}
	ref := ""
	if !m.opts.NoRef {
		var err error
		if ref, err = imageRef(m.target()); err != nil {
			return err
		}
	}
	return m.txn.Complete(ctx, commit, ref)
}
