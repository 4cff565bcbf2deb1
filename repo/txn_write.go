package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// smallFile is the size in bytes up to which content is read into memory and hashed first, so that existing objects are
// not written again.
const smallFile = 128 << 10

// WriteMetadata stores a commit, dirtree or dirmeta and returns its id. It converts the bytes to normal form first, so
// the id may differ from the hash of the given bytes.
func (t *Txn) WriteMetadata(ctx context.Context, typ object.Type, data []byte) (object.Checksum, error) {
	normal, err := object.NormalizeMetadata(typ, data)
	if err != nil {
		return object.Checksum{}, err
	}
	c := object.HashMetadata(normal)
	return c, t.storeMetadata(ctx, object.Name{Checksum: c, Type: typ}, normal)
}

// WriteMetadataAs stores the bytes of a commit, dirtree or dirmeta as they are. If they do not hash to the given id,
// the error is a [*object.CorruptError]. A tombstone is not named by its content and is stored under any id.
func (t *Txn) WriteMetadataAs(ctx context.Context, name object.Name, data []byte) error {
	switch name.Type {
	case object.TypeCommitMeta:
		return t.WriteDetachedMetadata(ctx, name.Checksum, data)
	case object.TypeTombstone:
	case object.TypeCommit, object.TypeDirTree, object.TypeDirMeta:
		if actual := object.HashMetadata(data); actual != name.Checksum {
			return &object.CorruptError{Name: name, Actual: actual}
		}
	default:
		return fmt.Errorf("object %s is not metadata", name)
	}
	return t.storeMetadata(ctx, name, data)
}

// WriteCommit stores a commit and returns its id.
func (t *Txn) WriteCommit(ctx context.Context, c *object.Commit) (object.Checksum, error) {
	data, err := object.EncodeCommit(c)
	if err != nil {
		return object.Checksum{}, err
	}
	id := object.HashMetadata(data)
	return id, t.storeMetadata(ctx, object.Name{Checksum: id, Type: object.TypeCommit}, data)
}

// storeMetadata stages bytes whose id was checked.
func (t *Txn) storeMetadata(ctx context.Context, n object.Name, data []byte) error {
	release, err := t.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	if len(data) > object.MaxMetadataSize {
		return fmt.Errorf("object %s: %d bytes are more than %d", n, len(data), object.MaxMetadataSize)
	}
	t.stats.metadataTotal.Add(1)
	if ok, err := t.known.has(n); ok || err != nil {
		return err
	}
	if n.Type == object.TypeDirMeta && t.repo.mode == ModeBareUserOnly {
		if err := canonicalDirMeta(n, data); err != nil {
			return err
		}
	}
	written, err := t.stageFile(n, data, nil)
	if written {
		t.stats.metadataWritten.Add(1)
	}
	return err
}

// WriteDetachedMetadata sets the detached metadata of a commit: the bytes of an a{sv}, stored beside the commit. It
// replaces the old one; nil stores an empty file, which means none.
func (t *Txn) WriteDetachedMetadata(ctx context.Context, c object.Checksum, data []byte) error {
	release, err := t.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	if len(data) > object.MaxMetadataSize {
		return fmt.Errorf("detached metadata of commit %s: %d bytes are more than %d", c, len(data), object.MaxMetadataSize)
	}
	t.notes.Lock()
	defer t.notes.Unlock()
	t.detached[c] = bytes.Clone(data)
	return nil
}

// stageDetached writes the detached metadata to the staging directory. It is called at the end because only the last
// value for each commit counts.
func (t *Txn) stageDetached() error {
	for c, data := range t.detached {
		if _, err := t.stageFile(object.Name{Checksum: c, Type: object.TypeCommitMeta}, data, nil); err != nil {
			return err
		}
	}
	return nil
}

// WriteFile stores a file object and returns its id. r must have exactly size bytes. Xattrs are sorted, and those with
// empty values are left out, since mode bare cannot store them. All are left out if the repository's configuration
// disables xattrs.
func (t *Txn) WriteFile(ctx context.Context, h *object.FileHeader, size int64, r io.Reader) (object.Checksum, error) {
	return t.writeFile(ctx, contentJob{header: t.cleanHeader(h), size: size, r: r})
}

// WriteFileAs stores a file object whose id is known. If header and content hash to another id, the error is a
// [*object.CorruptError]. If the object exists, the content is read and hashed but not written.
func (t *Txn) WriteFileAs(
	ctx context.Context, want object.Checksum, h *object.FileHeader, size int64, r io.Reader,
) error {
	_, err := t.writeFile(ctx, contentJob{header: h, size: size, r: r, want: want, prescribed: true})
	return err
}

// WriteHeader stores a file object with a new header, such as one with another label, and the content of the object
// from. It returns its id. Repositories that store content uncompressed share its blocks if the filesystem can;
// otherwise it is copied. It is not verified that the content matches from. A symlink cannot become a regular file, nor
// the reverse.
func (t *Txn) WriteHeader(
	ctx context.Context, h *object.FileHeader, from object.Checksum,
) (c object.Checksum, err error) {
	content, info, err := t.OpenFile(ctx, from)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	if info.IsSymlink() != h.IsSymlink() {
		return c, fmt.Errorf("object %s of mode %#o with a header of mode %#o: %w",
			from, info.Mode, h.Mode, object.ErrNotNormal)
	}
	j := contentJob{header: t.cleanHeader(h), size: info.Size, r: content}
	j.shared, _ = content.(*plainFile)
	return t.writeFile(ctx, j)
}

// contentJob is one file to write.
type contentJob struct {
	header     *object.FileHeader
	size       int64
	r          io.Reader
	shared     *plainFile // r, if its blocks may be shared; nil otherwise
	want       object.Checksum
	prescribed bool
	hash       hash.Hash
}

// id returns the id of what was hashed. It is an error if another id was asked for.
func (j *contentJob) id() (object.Checksum, error) {
	var c object.Checksum
	j.hash.Sum(c[:0])
	if j.prescribed && c != j.want {
		return c, &object.CorruptError{Name: fileName(j.want), Actual: c}
	}
	return c, nil
}

func (t *Txn) writeFile(ctx context.Context, j contentJob) (object.Checksum, error) {
	release, err := t.use(ctx)
	if err != nil {
		return object.Checksum{}, err
	}
	defer release()
	if err := t.checkHeader(&j); err != nil {
		return object.Checksum{}, err
	}
	if j.r == nil {
		j.r = eofReader{}
	}
	if j.hash, err = object.FileHasher(j.header); err != nil {
		return object.Checksum{}, err
	}
	t.stats.contentTotal.Add(1)
	if j.size <= smallFile {
		return t.writeSmall(j)
	}
	return t.writeLarge(ctx, j)
}

// writeSmall writes content that fits into memory.
func (t *Txn) writeSmall(j contentJob) (object.Checksum, error) {
	buf := t.reads.pools.copies.Get().(*[]byte)
	defer t.reads.pools.copies.Put(buf)
	content := (*buf)[:j.size]
	exact := exactReader{r: j.r, left: j.size}
	if _, err := io.ReadFull(&exact, content); err != nil {
		return object.Checksum{}, inputError(err, j.size, exact.left)
	}
	if err := exact.end(); err != io.EOF {
		return object.Checksum{}, inputError(err, j.size, 0)
	}
	j.hash.Write(content)
	c, err := j.id()
	if err != nil {
		return c, err
	}
	if ok, err := t.known.has(fileName(c)); ok || err != nil {
		return c, err
	}
	if err := t.space.reserve(j.size); err != nil {
		return c, err
	}
	written, err := t.stageContent(fileName(c), j.header, content)
	return c, t.settle(written, j.size, err)
}

// settle counts content that was written, and returns the space of content that was not.
func (t *Txn) settle(written bool, size int64, err error) error {
	if written {
		t.stats.contentWritten.Add(1)
		t.stats.contentBytes.Add(size)
	} else {
		t.space.giveBack(size)
	}
	return err
}

// inputError returns the error about content that is not of the promised length.
func inputError(err error, size, left int64) error {
	switch {
	case left > 0 && errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w with %d/%d bytes remaining", err, left, size)
	case left > 0 && errors.Is(err, object.ErrCorrupt):
		return fmt.Errorf("%w with %d/%d bytes remaining", io.ErrUnexpectedEOF, left, size)
	case errors.Is(err, object.ErrCorrupt):
		return fmt.Errorf("%w: content is longer than %d bytes", object.ErrCorrupt, size)
	}
	return err
}

// stageContent writes a file object whose content is in memory.
func (t *Txn) stageContent(n object.Name, h *object.FileHeader, content []byte) (bool, error) {
	switch {
	case t.repo.mode == ModeArchive:
		packed := t.reads.pools.packed.Get().(*bytes.Buffer)
		defer t.reads.pools.packed.Put(packed)
		packed.Reset()
		if err := t.pack(packed, h, content); err != nil {
			return false, err
		}
		return t.stageFile(n, packed.Bytes(), h)
	case !h.IsSymlink():
		return t.stageFile(n, content, h)
	case t.repo.mode == ModeBareUser:
		return t.stageFile(n, append([]byte(h.Target), 0), h)
	default:
		return t.stageSymlink(n, h)
	}
}

// pack appends the stored form of mode archive to w.
func (t *Txn) pack(w io.Writer, h *object.FileHeader, content []byte) error {
	header, err := object.EncodeArchiveHeader(&object.FileInfo{FileHeader: *h, Size: int64(len(content))})
	if err != nil {
		return err
	}
	if _, err := w.Write(object.FrameHeader(header)); err != nil || h.IsSymlink() {
		return err
	}
	d := t.reads.pools.deflaters.Get().(*deflater)
	defer t.reads.pools.deflaters.Put(d)
	d.reset(w)
	if _, err := d.w.Write(content); err != nil {
		return err
	}
	return d.finish()
}

// writeLarge hashes and writes content as it is read. If the object turns out to exist, the copy is dropped.
func (t *Txn) writeLarge(ctx context.Context, j contentJob) (object.Checksum, error) {
	if j.prescribed {
		if ok, err := t.known.has(fileName(j.want)); err != nil {
			return object.Checksum{}, err
		} else if ok {
			if err := t.pump(ctx, &j, io.Discard); err != nil {
				return object.Checksum{}, err
			}
			return j.id()
		}
	}
	if err := t.space.reserve(j.size); err != nil {
		return object.Checksum{}, err
	}
	c, written, err := t.streamFile(ctx, &j)
	return c, t.settle(written, j.size, err)
}

func (t *Txn) streamFile(ctx context.Context, j *contentJob) (c object.Checksum, written bool, err error) {
	temp, err := t.stage.create()
	if err != nil {
		return c, false, err
	}
	defer func() { err = errors.Join(err, temp.close()) }()
	switch {
	case t.repo.mode == ModeArchive:
		err = t.pumpPacked(ctx, j, fdWriter(temp.fd))
	case j.shared != nil && j.shared.clone(temp.fd):
		err = t.pump(ctx, j, io.Discard)
	default:
		err = t.pump(ctx, j, fdWriter(temp.fd))
	}
	if err != nil {
		return c, false, err
	}
	if c, err = j.id(); err != nil {
		return c, false, err
	}
	if ok, err := t.known.has(fileName(c)); ok || err != nil {
		return c, false, err
	}
	written, err = t.finishFile(temp, fileName(c), j.header)
	if written && t.repo.Config().Fsync {
		startWriteback(temp.fd)
	}
	return c, written, err
}

// pump hashes the content and passes it on.
func (t *Txn) pump(ctx context.Context, j *contentJob, w io.Writer) error {
	buf := t.reads.pools.copies.Get().(*[]byte)
	defer t.reads.pools.copies.Put(buf)
	exact := exactReader{r: j.r, left: j.size}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := exact.Read(*buf)
		j.hash.Write((*buf)[:n])
		if _, err := w.Write((*buf)[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return inputError(err, j.size, exact.left)
		}
	}
}

// pumpPacked is pump for mode archive: it compresses what it passes on.
func (t *Txn) pumpPacked(ctx context.Context, j *contentJob, w io.Writer) error {
	header, err := object.EncodeArchiveHeader(&object.FileInfo{FileHeader: *j.header, Size: j.size})
	if err != nil {
		return err
	}
	if _, err := w.Write(object.FrameHeader(header)); err != nil {
		return err
	}
	d := t.reads.pools.deflaters.Get().(*deflater)
	defer t.reads.pools.deflaters.Put(d)
	d.reset(w)
	if err := t.pump(ctx, j, d.w); err != nil {
		return err
	}
	return d.finish()
}
