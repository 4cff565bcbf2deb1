package tarfmt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ExportTree writes the tree of a commit as an ordinary layer, without objects: each directory and file with its owner,
// mode and, for files, its xattrs except the label. Files in a directory come before its subdirectories. Files with the
// same object are written each time. /usr/etc is written as /etc. Layers that were imported by package derived are
// passed on in this way; their whiteouts are files here, and become whiteouts again.
func ExportTree(ctx context.Context, w io.Writer, src repo.Source, commit object.Checksum) error {
	c, err := repo.LoadCommit(ctx, src, commit)
	if err != nil {
		return err
	}
	e := treeExporter{src: src, out: newStreamWriter(w)}
	defer e.out.release()
	err = repo.WalkTree(ctx, src, c.Tree, repo.TreeVisitor{
		Tree: func(d *repo.TreeDir) error { return e.files(ctx, d) },
		Dir: func(parent string, d object.DirEntry) (bool, error) {
			meta, err := repo.LoadDirMeta(ctx, src, d.Meta)
			if err != nil {
				return false, err
			}
			return false, e.out.dir(mapEtc(path.Join(parent, d.Name)[1:]), dirAttributes(meta))
		},
	})
	if err != nil {
		return err
	}
	return e.out.end()
}

type treeExporter struct {
	src repo.Source
	out *streamWriter
}

func (e *treeExporter) files(ctx context.Context, d *repo.TreeDir) error {
	for _, f := range d.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := path.Join(d.Path, f.Name)
		if err := e.file(ctx, mapEtc(p[1:]), f.Checksum); err != nil {
			return fmt.Errorf("%s (file object %s): %w", p, f.Checksum, err)
		}
	}
	return nil
}

func (e *treeExporter) file(ctx context.Context, p string, c object.Checksum) (err error) {
	content, info, err := e.src.OpenFile(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	records, err := paxXattrs(info.Xattrs)
	if err != nil {
		return err
	}
	if len(records) > 0 {
		e.out.pax(records)
	}
	attrs := attributes{uid: info.UID, gid: info.GID, mode: info.Mode}
	if info.IsSymlink() {
		h := newHeader(typeSymlink, attrs, 0)
		long, err := h.setTarget(info.Target)
		if err != nil {
			return err
		}
		target := ""
		if long {
			target = info.Target
		}
		return e.out.linkEntry(&h, p, target)
	}
	h := newHeader(typeRegular, attrs, info.Size)
	if err := e.out.entry(&h, p); err != nil {
		return err
	}
	if _, err := io.CopyN(writerOf{e.out}, content, info.Size); err != nil {
		return err
	}
	e.out.pad(info.Size)
	return e.out.err
}

// writerOf makes a stream writer an io.Writer.
type writerOf struct{ out *streamWriter }

func (w writerOf) Write(p []byte) (int, error) {
	w.out.write(p)
	return len(p), w.out.err
}
