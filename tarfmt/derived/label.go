package derived

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

const labelXattr = "security.selinux"

// labelled returns a header with the SELinux label for a path, or h itself if it has that label.
func labelled(
	h *object.FileHeader, label func(string, uint32) (string, error), p string,
) (*object.FileHeader, error) {
	want, err := label(p, h.Mode)
	if err != nil {
		return nil, fmt.Errorf("SELinux label: %w", err)
	}
	have, ok := h.Xattrs.Get(labelXattr)
	if ok && bytes.Equal(have, append([]byte(want), 0)) || !ok && want == "" {
		return h, nil
	}
	list := make([]object.Xattr, 0, len(h.Xattrs)+1)
	for _, x := range h.Xattrs {
		if x.Name != labelXattr {
			list = append(list, x)
		}
	}
	if want != "" {
		list = append(list, object.Xattr{Name: labelXattr, Value: append([]byte(want), 0)})
	}
	changed := *h
	changed.Xattrs = object.NewXattrs(list)
	return &changed, nil
}

// Labeller gives files the labels of a policy. It remembers what it has read and written, so that the same file in the
// merged tree and in a layer costs nothing the second time. It is not safe for concurrent use.
type Labeller struct {
	txn   *repo.Txn
	label func(path string, mode uint32) (string, error)
	files map[object.Checksum]*object.FileHeader
	dirs  map[object.Checksum]*object.FileHeader
	done  map[relabel]object.Checksum
}

// relabel is a file or directory with a new label.
type relabel struct {
	from  object.Checksum
	label string
}

// NewLabeller returns a labeller that writes to a transaction. label is as in [ImportOptions].
func NewLabeller(txn *repo.Txn, label func(path string, mode uint32) (string, error)) *Labeller {
	return &Labeller{
		txn: txn, label: label, files: map[object.Checksum]*object.FileHeader{},
		dirs: map[object.Checksum]*object.FileHeader{}, done: map[relabel]object.Checksum{},
	}
}

// Tree labels all files and directories of a tree, and reports whether any label changed. Objects whose label is right
// stay the same. Objects that were replaced stay in the repository.
func (l *Labeller) Tree(ctx context.Context, tree *repo.MutableTree) (changed bool, err error) {
	type change struct {
		path string
		dir  bool
		id   object.Checksum
	}
	var changes []change
	err = tree.Walk(ctx, func(p string, e repo.TreeEntry) error {
		from := e.File
		if e.Dir {
			from = e.Meta
		}
		id, err := l.object(ctx, p, e.Dir, from)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if id != from {
			changes = append(changes, change{p, e.Dir, id})
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	for _, c := range changes {
		if c.dir {
			err = tree.SetDirMeta(ctx, c.path, c.id)
		} else {
			err = tree.SetFile(ctx, c.path, c.id)
		}
		if err != nil {
			return false, err
		}
	}
	return len(changes) > 0, nil
}

// object returns the object to use for a file or directory at a path.
func (l *Labeller) object(ctx context.Context, p string, dir bool, from object.Checksum) (object.Checksum, error) {
	old, err := l.header(ctx, dir, from)
	if err != nil {
		return from, err
	}
	h, err := labelled(old, l.label, p)
	if err != nil || h == old {
		return from, err
	}
	value, _ := h.Xattrs.Get(labelXattr)
	key := relabel{from, string(value)}
	if id, ok := l.done[key]; ok {
		return id, nil
	}
	var id object.Checksum
	if dir {
		id, err = writeDirMeta(ctx, l.txn, &object.DirMeta{UID: h.UID, GID: h.GID, Mode: h.Mode, Xattrs: h.Xattrs})
	} else {
		id, err = l.txn.WriteHeader(ctx, h, from)
	}
	if err != nil {
		return from, err
	}
	l.done[key] = id
	// The new object has the right label, unless another path asks for another one.
	if dir {
		l.dirs[id] = h
	} else {
		l.files[id] = h
	}
	return id, nil
}

func (l *Labeller) header(ctx context.Context, dir bool, c object.Checksum) (*object.FileHeader, error) {
	if dir {
		h := l.dirs[c]
		if h == nil {
			m, err := repo.LoadDirMeta(ctx, l.txn, c)
			if err != nil {
				return nil, err
			}
			h = &object.FileHeader{UID: m.UID, GID: m.GID, Mode: m.Mode, Xattrs: m.Xattrs}
			l.dirs[c] = h
		}
		return h, nil
	}
	h := l.files[c]
	if h == nil {
		info, err := l.txn.FileInfo(ctx, c)
		if err != nil {
			return nil, err
		}
		h = &info.FileHeader
		l.files[c] = h
	}
	return h, nil
}
