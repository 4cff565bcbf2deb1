package tarfmt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ReplaceDetached copies the stream of a commit, as [ExportCommit] and [ExportFinal] write it, with other detached
// metadata: the bytes of an a{sv}, or nil for none. All other bytes stay as they are. It reads to the end of the
// stream.
func ReplaceDetached(ctx context.Context, w io.Writer, r io.Reader, detached []byte) error {
	if detached != nil {
		normal, err := object.NormalizeMetadata(object.TypeCommitMeta, detached)
		if err != nil || !bytes.Equal(normal, detached) {
			return invalid(errors.Join(err, object.ErrNotNormal), "the new detached metadata")
		}
	}
	c := newCopier(ctxio.Writer(ctx, w), ctxio.Reader(ctx, r))
	commit, err := c.untilCommit()
	if err != nil {
		return err
	}
	if detached != nil {
		out := newStreamWriter(c.w)
		defer out.release()
		if err := out.file(objectPath(commit, string(kindCommitMeta)), detached); err != nil {
			return err
		}
		if err := out.flush(); err != nil {
			return err
		}
	}
	e, err := c.next()
	if errors.Is(err, io.EOF) {
		return invalidf("Expected metadata object after commit")
	}
	if err != nil {
		return err
	}
	id, kind, err := parseObjectPath(e.path)
	if err != nil {
		return err
	}
	if kind == kindCommitMeta && id != commit {
		return invalidf("Expected commitmeta checksum %s, found %s", commit, id)
	}
	if err := c.finish(kind != kindCommitMeta); err != nil {
		return err
	}
	return c.rest()
}

// SignedCommit is a commit in a stream.
type SignedCommit struct {
	ID object.Checksum
	// Commit is the bytes of the commit, and Detached those of its detached metadata, nil if there are none.
	Commit, Detached []byte
}

// ReadCommit returns the commit in a stream, as [ExportCommit] and [ExportFinal] write it. It checks that the commit
// has the hash that is its name. It reads to the end of the archive.
func ReadCommit(ctx context.Context, r io.Reader) (*SignedCommit, error) {
	t := newTarReader(ctxio.Reader(ctx, r))
	e, err := t.next()
	for err == nil && !holds(e, kindCommit) {
		e, err = t.next()
	}
	if errors.Is(err, io.EOF) {
		return nil, invalidf("Missing commit object")
	}
	if err != nil {
		return nil, err
	}
	c := &SignedCommit{}
	if c.ID, c.Commit, err = t.object(e); err != nil {
		return nil, err
	}
	if actual := object.HashMetadata(c.Commit); actual != c.ID {
		name := object.Name{Checksum: c.ID, Type: object.TypeCommit}
		return nil, invalid(&object.CorruptError{Name: name, Actual: actual}, "object %s", name)
	}
	if e, err = t.next(); err == nil && holds(e, kindCommitMeta) {
		var of object.Checksum
		if of, c.Detached, err = t.object(e); err == nil && of != c.ID {
			err = invalidf("Expected commitmeta checksum %s, found %s", c.ID, of)
		}
	}
	for err == nil {
		_, err = t.next()
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return c, nil
}

// holds reports whether an entry is a file with an object of a kind.
func holds(e *entry, kind objectKind) bool {
	return isRegular(e.typ) && strings.HasSuffix(e.path, "."+string(kind))
}

// object reads a metadata object.
func (t *tarReader) object(e *entry) (id object.Checksum, data []byte, err error) {
	if id, _, err = parseObjectPath(e.path); err != nil {
		return id, nil, err
	}
	if e.size > maxMetadataSize {
		return id, nil, invalidf("object of size %d exceeds %d bytes", e.size, maxMetadataSize)
	}
	data, err = t.all()
	return id, data, err
}

// copier reads the entries of a stream and passes on the bytes that they came from.
type copier struct {
	w    io.Writer
	tee  *teeReader
	tar  *tarReader
	done int64 // bytes that were passed on or dropped
}

// teeReader keeps what was read and not passed on yet.
type teeReader struct {
	r    io.Reader
	kept bytes.Buffer
	n    int64
}

func (t *teeReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.kept.Write(p[:n])
	t.n += int64(n)
	return n, err
}

func newCopier(w io.Writer, r io.Reader) *copier {
	tee := &teeReader{r: r}
	return &copier{w: w, tee: tee, tar: newTarReader(tee)}
}

// next reads the header of the next entry, with the records before it.
func (c *copier) next() (*entry, error) { return c.tar.next() }

// flush passes on everything up to the current position, or drops it.
func (c *copier) flush(keep bool) error {
	at := c.tee.n - int64(c.tar.r.Buffered())
	data := c.tee.kept.Next(int(at - c.done))
	c.done = at
	if !keep {
		return nil
	}
	_, err := c.w.Write(data)
	return err
}

// finish passes on the current entry, or drops it.
func (c *copier) finish(keep bool) error {
	for {
		if err := c.flush(keep); err != nil {
			return err
		}
		left := c.tar.left + c.tar.pad
		if left == 0 {
			return nil
		}
		step := min(left, bufferSize)
		if err := c.tar.skip(step); err != nil {
			return err
		}
		content := min(step, c.tar.left)
		c.tar.left -= content
		c.tar.pad -= step - content
	}
}

// untilCommit passes on entries up to the commit, and returns its checksum.
func (c *copier) untilCommit() (object.Checksum, error) {
	for {
		e, err := c.next()
		if errors.Is(err, io.EOF) {
			return object.Checksum{}, invalidf("Missing commit object")
		}
		if err != nil {
			return object.Checksum{}, err
		}
		if err := c.finish(true); err != nil {
			return object.Checksum{}, err
		}
		if holds(e, kindCommit) {
			commit, _, err := parseObjectPath(e.path)
			return commit, err
		}
	}
}

// rest passes on the rest of the stream.
func (c *copier) rest() error {
	if _, err := c.w.Write(c.tee.kept.Bytes()); err != nil {
		return err
	}
	_, err := io.Copy(c.w, c.tee.r)
	return err
}
