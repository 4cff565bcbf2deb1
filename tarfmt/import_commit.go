package tarfmt

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// commit reads the first two entries of a commit stream: the commit, and its detached metadata or another object.
func (im *importer) commit(opts ImportOptions) (object.Checksum, error) {
	e, err := im.next()
	if errors.Is(err, io.EOF) {
		return object.Checksum{}, invalidf("Commit object not found")
	}
	if err != nil {
		return object.Checksum{}, err
	}
	commit, kind, err := parseMetadataPath(e)
	if err != nil {
		return object.Checksum{}, err
	}
	if kind != kindCommit {
		return object.Checksum{}, invalidf("Expected commit object, not %s", kind.name())
	}
	data, err := im.metadata(e, commit, kind)
	if err != nil {
		return object.Checksum{}, err
	}
	return commit, im.afterCommit(commit, data, opts)
}

// afterCommit verifies the commit, given the entry that follows it. Nothing is written before.
func (im *importer) afterCommit(commit object.Checksum, data []byte, opts ImportOptions) error {
	e, err := im.next()
	if errors.Is(err, io.EOF) {
		return invalidf("End of stream after commit object")
	}
	if err != nil {
		return err
	}
	c, kind, err := parseMetadataPath(e)
	if err != nil {
		return err
	}
	if kind != kindCommitMeta {
		if opts.Verify != nil {
			if err := opts.Verify(commit, data, nil); err != nil {
				using := "Verifying ostree commit in tar stream"
				if opts.Remote != "" {
					using = fmt.Sprintf("Using remote %s for verification", opts.Remote)
				}
				return invalid(err, "%s; Expected commitmeta object, not %s", using, kind.name())
			}
		}
		if err := im.writeCommit(commit, data); err != nil {
			return err
		}
		return im.entry(e)
	}
	if c != commit {
		return invalidf("Expected commitmeta checksum %s, found %s", commit, c)
	}
	detached, err := im.metadata(e, c, kind)
	if err != nil {
		return err
	}
	if opts.Verify != nil {
		if err := opts.Verify(commit, data, detached); err != nil {
			return invalid(err, "Verifying ostree commit in tar stream")
		}
	}
	normal, err := object.NormalizeMetadata(object.TypeCommitMeta, detached)
	if err != nil {
		return invalid(err, "object %s.%s", c, kind)
	}
	if err := im.writeCommit(commit, data); err != nil {
		return err
	}
	if normal, err = im.withOwnKeys(commit, normal); err != nil {
		return err
	}
	return im.txn.WriteDetachedMetadata(im.ctx, commit, normal)
}

// ownKeys begin the keys of detached metadata that say what this program found out about a commit in a repository, such
// as which layer it was made from, and who signed it. Other pulls depend on that.
const ownKeys = "ostree-ext."

// withOwnKeys returns detached metadata of a stream without such keys, which nobody else may write, and with those that
// the repository has for the commit.
func (im *importer) withOwnKeys(commit object.Checksum, detached []byte) ([]byte, error) {
	given, err := gvariant.ParseDict(detached)
	if err != nil {
		return nil, invalid(err, "object %s.%s", commit, kindCommitMeta)
	}
	stored, err := repo.LoadDetachedMetadata(im.ctx, im.txn, commit)
	if err != nil {
		stored = nil // it is replaced
	}
	own := func(e gvariant.Entry) bool { return strings.HasPrefix(e.Key, ownKeys) }
	others := slices.DeleteFunc(slices.Clone(given), own)
	changed := len(others) < len(given)
	for _, e := range stored {
		if own(e) {
			others, changed = others.Set(e.Key, e.Value), true
		}
	}
	switch {
	case !changed:
		return detached, nil
	case len(others) == 0:
		return nil, nil
	}
	return others.Encode(), nil
}

// writeCommit writes the commit and marks it as partial: the mark stays until a caller knows that it is complete.
func (im *importer) writeCommit(commit object.Checksum, data []byte) error {
	name := object.Name{Checksum: commit, Type: object.TypeCommit}
	if _, err := object.ParseCommit(data); err != nil {
		return invalid(err, "object %s", name)
	}
	im.txn.MarkPartial(commit)
	return im.txn.WriteMetadataAs(im.ctx, name, data)
}

// fillSysroot writes the dirtree of an empty /sysroot. Exporters leave it out, so a commit without another empty
// directory would never be complete.
func (im *importer) fillSysroot(commit object.Checksum) error {
	c, err := repo.LoadCommit(im.ctx, im.txn, commit)
	if err != nil {
		return err
	}
	root, err := repo.LoadDirTree(im.ctx, im.txn, c.Tree)
	if errors.Is(err, repo.ErrObjectNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	empty, err := object.EncodeDirTree(&object.DirTree{})
	if err != nil {
		return err
	}
	name := object.Name{Checksum: object.HashMetadata(empty), Type: object.TypeDirTree}
	if d, ok := root.Dir("sysroot"); ok && d.Tree == name.Checksum {
		return im.txn.WriteMetadataAs(im.ctx, name, empty)
	}
	return nil
}

// parseMetadataPath parses the path of one of the first two entries, which are objects whatever directory they are in.
func parseMetadataPath(e *entry) (object.Checksum, objectKind, error) {
	c, kind, err := parseObjectPath(e.object)
	if err != nil {
		return c, kind, err
	}
	switch kind {
	case kindFile, kindCommit, kindCommitMeta, kindDirTree, kindDirMeta:
		return c, kind, nil
	default:
		return c, kind, invalidf("Invalid object type %s", shown(string(kind)))
	}
}
