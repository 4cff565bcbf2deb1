package derived

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// Merge applies a layer commit to a tree, in which nil metadata of the root means that there is nothing yet. It reports
// whether the layer has hard links to lower layers; then files holds what they resolve to, by path.
//
// The rules are those of upstream's program, which checks layers out on top of each other: a directory that exists
// keeps its owner, mode and xattrs, unless the layer makes it opaque; everything else replaces what is there. But
// the whiteouts of a layer never hide what the layer itself has, and ".wh." alone hides nothing.
func Merge(ctx context.Context, txn *repo.Txn, tree *repo.MutableTree, layer object.Checksum) (Links, error) {
	c, err := repo.LoadCommit(ctx, txn, layer)
	if err != nil {
		return nil, err
	}
	m := &merger{txn: txn, tree: tree}
	links, err := m.resolve(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := m.dir(ctx, "/", object.DirEntry{Tree: c.Tree, Meta: c.Meta}, 0); err != nil {
		return nil, err
	}
	return links, m.link(ctx, links)
}

// Links are the files that the hard links of a layer to lower layers lead to, by path in the commit.
type Links map[string]object.Checksum

type merger struct {
	txn  *repo.Txn
	tree *repo.MutableTree
}

// resolve finds the files of the lower layers that the layer has links to.
func (m *merger) resolve(ctx context.Context, c *object.Commit) (Links, error) {
	links, err := lowerLinks(c)
	if err != nil || len(links) == 0 {
		return nil, err
	}
	tree, meta, err := m.tree.WriteTo(ctx, m.txn)
	if err != nil && !errors.Is(err, repo.ErrEmptyTree) {
		return nil, err
	}
	found := make(Links, len(links))
	for _, l := range links {
		dangling := fmt.Errorf("%w: %.200q is a hard link to %.200q, which neither it nor a lower layer has",
			tarfmt.ErrInvalidStream, l[0], l[1])
		if err != nil {
			return nil, dangling
		}
		view := repo.ViewTree(m.txn, tree, meta)
		item, lookErr := lookupFile(ctx, view, l[1])
		switch {
		case errors.Is(lookErr, fs.ErrNotExist) || lookErr == nil && item.IsDir():
			return nil, dangling
		case lookErr != nil:
			return nil, lookErr
		}
		found[l[0]] = item.File
	}
	return found, nil
}

// lookupFile follows the symlinks in the directories of a path, but not the last one.
func lookupFile(ctx context.Context, view *repo.TreeView, p string) (repo.TreeItem, error) {
	dir, err := view.Resolve(ctx, path.Dir(p))
	if err != nil {
		return repo.TreeItem{}, err
	}
	return view.Lookup(ctx, path.Join(dir.Path, path.Base(p)))
}

// link puts the files of lower layers where the layer has its links.
func (m *merger) link(ctx context.Context, links Links) error {
	for p, id := range links {
		if err := m.file(ctx, p, id); err != nil {
			return err
		}
	}
	return nil
}

// file puts a file in place of what is there.
func (m *merger) file(ctx context.Context, p string, id object.Checksum) error {
	if old, err := m.tree.Lookup(ctx, p); err == nil && old.Dir {
		if err := m.tree.Remove(ctx, p); err != nil {
			return err
		}
	}
	return m.tree.SetFile(ctx, p, id)
}

// dir merges a directory of the layer.
func (m *merger) dir(ctx context.Context, p string, e object.DirEntry, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	d, err := repo.LoadDirTree(ctx, m.txn, e.Tree)
	if err != nil {
		return err
	}
	markers, err := m.markers(ctx, d)
	if err != nil {
		return err
	}
	if err := m.enter(ctx, p, e.Meta, markers[opaqueName]); err != nil {
		return err
	}
	for _, f := range d.Files {
		name, ok := strings.CutPrefix(f.Name, whiteoutPrefix)
		if !ok || !markers[f.Name] || name == "" || strings.HasPrefix(name, whiteoutPrefix) {
			continue
		}
		if err := m.tree.Remove(ctx, path.Join(p, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, f := range d.Files {
		if markers[f.Name] {
			continue
		}
		if err := m.file(ctx, path.Join(p, f.Name), f.Checksum); err != nil {
			return err
		}
	}
	for _, sub := range d.Dirs {
		if err := m.dir(ctx, path.Join(p, sub.Name), sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// markers returns the names in a directory of a layer that are whiteouts or the opaque mark.
func (m *merger) markers(ctx context.Context, d *object.DirTree) (map[string]bool, error) {
	var markers map[string]bool
	for _, f := range d.Files {
		if !strings.HasPrefix(f.Name, whiteoutPrefix) {
			continue
		}
		info, err := m.txn.FileInfo(ctx, f.Checksum)
		if err != nil {
			return nil, err
		}
		if info.IsSymlink() {
			continue
		}
		if markers == nil {
			markers = map[string]bool{}
		}
		markers[f.Name] = true
	}
	return markers, nil
}

// enter makes a directory, if it is not there or must be made anew.
func (m *merger) enter(ctx context.Context, p string, meta object.Checksum, anew bool) error {
	old, err := m.tree.Lookup(ctx, p)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && old.Dir && !old.Meta.IsZero() && !anew:
		return nil
	case err == nil:
		if err := m.tree.Remove(ctx, p); err != nil {
			return err
		}
	}
	return m.tree.SetDirMeta(ctx, p, meta)
}

// Resolved writes the layer commit again with the files that its hard links to lower layers lead to. So programs that
// do not know the record of these links have the files. The record stays, and counts for [Merge].
func Resolved(ctx context.Context, txn *repo.Txn, layer object.Checksum, links Links) (object.Checksum, error) {
	return Rewrite(ctx, txn, layer, func(tree *repo.MutableTree) (bool, error) {
		m := &merger{txn: txn, tree: tree}
		return true, m.link(ctx, links)
	})
}

// Rewrite writes a commit with a changed tree, and everything else as it was. If change returns false, the commit stays
// as it is.
func Rewrite(
	ctx context.Context, txn *repo.Txn, id object.Checksum, change func(*repo.MutableTree) (bool, error),
) (object.Checksum, error) {
	c, err := repo.LoadCommit(ctx, txn, id)
	if err != nil {
		return id, err
	}
	tree, err := repo.TreeFromCommit(ctx, txn, id)
	if err != nil {
		return id, err
	}
	changed, err := change(tree)
	if err != nil || !changed {
		return id, err
	}
	if c.Tree, c.Meta, err = tree.WriteTo(ctx, txn); err != nil {
		return id, err
	}
	return txn.WriteCommit(ctx, c)
}
