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
		if isRegular(e.typ) && strings.HasSuffix(e.path, "."+string(kindCommit)) {
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
