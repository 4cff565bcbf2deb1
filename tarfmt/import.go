package tarfmt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// These are the format's limits on data that is held in memory as a whole.
const (
	maxMetadataSize  = 10 << 20
	maxXattrBodySize = 1 << 20
)

// ImportOptions says how an imported commit is verified.
type ImportOptions struct {
	// Verify, if not nil, checks the commit's signatures. It is called with the bytes of the commit and of its detached
	// metadata, which are nil if there are none, before anything is written.
	Verify func(commit object.Checksum, commitBytes, commitMeta []byte) error
	// Remote is the remote whose keys Verify uses, or empty. It appears in messages.
	Remote string
}

// ImportCommit reads a stream with one commit, as [ExportCommit] and [ExportFinal] write it, and returns the commit's
// checksum. The commit is marked as partial. The caller removes the mark, after [repo.Txn.VerifyComplete] if it needs
// to, sets refs and ends the transaction. After an error the transaction holds part of the objects and must be aborted.
//
// It reads to the end of the archive, and may read a little more of the stream into its buffer.
func ImportCommit(ctx context.Context, txn *repo.Txn, r io.Reader, opts ImportOptions) (object.Checksum, error) {
	im := newImporter(ctx, txn, r)
	commit, err := im.commit(opts)
	if err == nil {
		err = im.rest()
	}
	if err := im.pool.wait(err); err != nil {
		return commit, err
	}
	return commit, im.fillSysroot(commit)
}

// VerifyCommit calls verify as [ImportCommit] does, and reads no further. Nothing is imported.
func VerifyCommit(
	ctx context.Context, r io.Reader, verify func(commit object.Checksum, commitBytes, commitMeta []byte) error,
) error {
	im := newImporter(ctx, nil, r)
	verified := errors.New("verified")
	_, err := im.commit(ImportOptions{Verify: func(id object.Checksum, data, detached []byte) error {
		if err := verify(id, data, detached); err != nil {
			return err
		}
		return verified
	}})
	if waitErr := im.pool.wait(err); !errors.Is(waitErr, verified) {
		return waitErr
	}
	return nil
}

// ImportObjectSet reads a stream of file objects, as [ExportChunk] writes it, and returns their checksums, sorted. They
// include objects that the repository had before. To keep the objects from being pruned, store a [SyntheticCommit] of
// them. After an error the transaction must be aborted.
func ImportObjectSet(ctx context.Context, txn *repo.Txn, r io.Reader) ([]object.Checksum, error) {
	im := newImporter(ctx, txn, r)
	im.set = map[object.Checksum]struct{}{}
	if err := im.pool.wait(im.rest()); err != nil {
		return nil, err
	}
	objects := make([]object.Checksum, 0, len(im.set))
	for c := range im.set {
		objects = append(objects, c)
	}
	slices.SortFunc(objects, object.Checksum.Compare)
	return objects, nil
}

// SyntheticCommit returns a commit whose root directory has the given file objects, each named by its checksum, with
// its dirtree and dirmeta. The result depends only on the set of objects.
func SyntheticCommit(objects []object.Checksum) (commit, dirtree, dirmeta []byte) {
	sorted := slices.Clone(objects)
	slices.SortFunc(sorted, object.Checksum.Compare)
	var tree object.DirTree
	for _, c := range slices.Compact(sorted) {
		tree.Files = append(tree.Files, object.FileEntry{Name: c.String(), Checksum: c})
	}
	dirtree = must(object.EncodeDirTree(&tree))
	dirmeta = must(object.EncodeDirMeta(&object.DirMeta{Mode: object.ModeDir | 0o755}))
	root := object.Commit{Tree: object.HashMetadata(dirtree), Meta: object.HashMetadata(dirmeta)}
	commit = must(object.EncodeCommit(&root))
	return commit, dirtree, dirmeta
}

// must is for encoding objects that are valid whatever the input is.
func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

// importer imports a stream. The calling goroutine reads and checks it; a pool writes the objects, which takes most of
// the time.
type importer struct {
	ctx    context.Context
	txn    *repo.Txn
	tar    *tarReader
	pool   *pool
	xattrs xattrCache

	// set collects the file objects of an object set. It is nil while a commit is read.
	set map[object.Checksum]struct{}
	// pending is the reference to the xattrs of the next file object.
	pending *xattrRef
}

type xattrRef struct {
	file object.Checksum
	body object.Checksum
}

func newImporter(ctx context.Context, txn *repo.Txn, r io.Reader) *importer {
	return &importer{ctx: ctx, txn: txn, tar: newTarReader(r), pool: newPool(ctx)}
}

// next returns the next entry below the repository.
func (im *importer) next() (*entry, error) {
	for {
		if err := im.ctx.Err(); err != nil {
			return nil, err
		}
		if im.pool.failed() {
			return nil, errStopped
		}
		e, err := im.tar.next()
		if err != nil {
			return nil, err
		}
		if e.typ == typeDir {
			continue
		}
		if !utf8.ValidString(e.path) {
			return nil, invalidf("Invalid non-utf8 path %q", shown(e.path))
		}
		rest, ok := repoPath(e.path)
		if !ok {
			continue
		}
		if _, name := lastComponents(rest); name == "config" || rest == "refs" || strings.HasPrefix(rest, "refs/") {
			continue
		}
		e.object = rest
		return e, nil
	}
}

// rest reads a commit stream after its first entries, or a whole object set.
func (im *importer) rest() error {
	for {
		e, err := im.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := im.entry(e); err != nil {
			return err
		}
	}
}

func (im *importer) entry(e *entry) error {
	switch dir, rest, _ := strings.Cut(e.object, "/"); dir {
	case "objects":
		return im.object(e)
	case "xattrs":
		_, name := lastComponents(rest)
		c, err := parseChecksum(name)
		if err != nil {
			return err
		}
		return im.xattrBody(e, c)
	default:
		return nil
	}
}

func (im *importer) object(e *entry) error {
	c, kind, err := parseObjectPath(e.object)
	if err != nil {
		return err
	}
	switch kind {
	case kindFile:
		return im.file(e, c)
	case kindXattrs:
		return im.xattrBody(e, c)
	case kindXattrsLink, kindXattrsV0:
		return im.xattrLink(e, c, kind)
	case kindCommit:
		return invalidf("Found multiple commit objects")
	case kindDirTree, kindDirMeta, kindCommitMeta:
	default:
		return invalidf("Invalid object type %s", shown(string(kind)))
	}
	switch {
	case im.set != nil:
		return invalidf("Found metadata object %s.%s in object set mode", c, kind)
	case kind == kindDirTree:
		return im.treeObject(e, object.Name{Checksum: c, Type: object.TypeDirTree})
	case kind == kindDirMeta:
		return im.treeObject(e, object.Name{Checksum: c, Type: object.TypeDirMeta})
	default:
		return invalidf("Invalid metadata object type; expected dirtree or dirmeta, found %s", kind)
	}
}

// metadata reads a metadata object.
func (im *importer) metadata(e *entry, c object.Checksum, kind objectKind) ([]byte, error) {
	if e.size > maxMetadataSize {
		return nil, invalidf("object of size %d exceeds %d bytes", e.size, maxMetadataSize)
	}
	if !isRegular(e.typ) {
		return nil, invalidf("Invalid non-regular metadata object %s.%s", c, kind)
	}
	return im.tar.all()
}

func (im *importer) treeObject(e *entry, name object.Name) error {
	data, err := im.metadata(e, name.Checksum, objectKind(name.Type.String()))
	if err != nil {
		return err
	}
	return im.pool.submit(int64(len(data)), func() error {
		data, err := object.NormalizeMetadata(name.Type, data)
		if err != nil {
			return invalid(err, "object %s", name)
		}
		return im.txn.WriteMetadataAs(im.ctx, name, data)
	})
}

// xattrBody reads an xattr body, which later references name by its checksum.
func (im *importer) xattrBody(e *entry, want object.Checksum) error {
	data, err := im.readXattrs(e)
	if err != nil {
		return err
	}
	if got := object.Checksum(sha256.Sum256(data)); got != want {
		return invalidf("Checksum mismatch, expected '%s' but computed '%s'", want, got)
	}
	im.xattrs.add(want, data)
	return nil
}

func (im *importer) readXattrs(e *entry) ([]byte, error) {
	if !isRegular(e.typ) {
		return nil, invalidf("Invalid xattr entry of type %s", typeName(e.typ))
	}
	if e.size > maxXattrBodySize {
		return nil, invalidf("Invalid xattr size %d", e.size)
	}
	return im.tar.all()
}

// xattrLink reads the reference to the xattrs of the next file object. In the current version it contains them.
func (im *importer) xattrLink(e *entry, file object.Checksum, kind objectKind) error {
	if im.pending != nil {
		return invalidf("Found previous dangling xattrs for file object '%s'", im.pending.file)
	}
	var body object.Checksum
	var err error
	switch {
	case kind == kindXattrsV0:
		if e.typ != typeHardLink {
			return invalidf("Non-hardlink xattrs reference found for %s", file)
		}
		_, name := lastComponents(e.link)
		body, err = parseChecksum(name)
	case e.typ == typeHardLink:
		body, err = parseLinkTarget(e.link)
	case isRegular(e.typ):
		var data []byte
		if data, err = im.readXattrs(e); err == nil {
			body = sha256.Sum256(data)
			im.xattrs.add(body, data)
		}
	default:
		return invalidf("Unexpected xattrs type %s found for %s", typeName(e.typ), file)
	}
	if err != nil {
		return err
	}
	im.pending = &xattrRef{file: file, body: body}
	return nil
}

func (im *importer) file(e *entry, c object.Checksum) error {
	ref := im.pending
	if ref == nil {
		return invalidf("Missing xattrs reference for file object %s", c)
	}
	if ref.file != c {
		return invalidf("Object mismatch, found xattrs for %s", ref.file)
	}
	im.pending = nil
	if im.set != nil {
		if _, dup := im.set[c]; dup {
			return invalidf("Duplicate object: %s", c)
		}
		im.set[c] = struct{}{}
	}
	if has, err := im.txn.HasObject(object.Name{Checksum: c, Type: object.TypeFile}); err != nil || has {
		return err
	}
	h, err := im.fileHeader(e, c, ref.body)
	if err != nil {
		return err
	}
	if h.IsSymlink() {
		return im.pool.submit(0, func() error { return im.txn.WriteFileAs(im.ctx, c, h, 0, strings.NewReader("")) })
	}
	return im.pool.writeFile(im.tar, e.size, func(r io.Reader) error {
		err := im.txn.WriteFileAs(im.ctx, c, h, e.size, r)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("file object %s: %w", c, err)
		}
		return err
	})
}

func (im *importer) fileHeader(e *entry, c, body object.Checksum) (*object.FileHeader, error) {
	xattrs, err := im.xattrs.get(body)
	if err != nil {
		return nil, invalid(err, "file object %s", c)
	}
	if e.uid > math.MaxUint32 || e.gid > math.MaxUint32 || e.mode > math.MaxUint32 {
		return nil, invalidf("file object %s: out of range integral type conversion attempted", c)
	}
	h := &object.FileHeader{UID: uint32(e.uid), GID: uint32(e.gid), Xattrs: xattrs}
	switch {
	case isRegular(e.typ):
		h.Mode = object.ModeRegular | uint32(e.mode)
		if h.Mode&^0o7777 != object.ModeRegular {
			return nil, invalidf("file object %s: invalid mode %o", c, e.mode)
		}
	case e.typ == typeSymlink:
		h.Mode = object.ModeSymlink | 0o777
		h.Target = e.link
		if h.Target == "" || !utf8.ValidString(h.Target) {
			return nil, invalidf("file object %s: invalid symlink target %q", c, shown(h.Target))
		}
	default:
		return nil, invalidf("Invalid tar entry of type %s", typeName(e.typ))
	}
	return h, nil
}
