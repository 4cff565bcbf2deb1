package flatten

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// content is what the overlay carries for each file.
type content struct {
	place
	number int // in the order of the list, from one on
}

// place is where the content of a file is.
type place struct {
	spool  int
	offset int64
}

type entry = overlay.Entry[content]

// readLayer reads one layer, and puts the contents of its files into the spool.
func readLayer(
	ctx context.Context, image *encapsulate.Prior, l encapsulate.PriorLayer, s *spool,
) (list []entry, err error) {
	blob, err := image.Open(ctx, l)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	z, err := encapsulate.DecompressAll(l.MediaType, blob)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	sum := sha256.New()
	stream := io.TeeReader(z, sum)
	if list, err = s.read(ctx, stream); err != nil {
		return nil, err
	}
	// What follows the archive belongs to the diff-id, too.
	n, err := io.Copy(io.Discard, io.LimitReader(stream, maxRest+1))
	if err != nil {
		return nil, err
	}
	if n > maxRest {
		return nil, fmt.Errorf("%w: more than %d bytes follow the archive", tarfmt.ErrInvalidStream, maxRest)
	}
	// The blob's digest is checked at its end.
	if _, err := io.Copy(io.Discard, blob); err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); l.DiffID.Algorithm != "sha256" || got != l.DiffID.Hex {
		return nil, fmt.Errorf("%w: its diff-id is sha256:%s, not %s", tarfmt.ErrInvalidStream, got, l.DiffID)
	}
	return list, nil
}

// spool takes the contents of a layer's files.
type spool struct {
	number int
	file   io.Writer // nil keeps nothing
	budget *budget
	offset int64
}

// read reads the decompressed stream of a layer to the end of its archive.
func (s *spool) read(ctx context.Context, r io.Reader) (list []entry, err error) {
	in := plain.NewReader[content](ctx, r, plain.ReadOptions{Memory: s.budget.entry, Content: s.budget.content})
	var buf []byte
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if e.File == nil || e.File.Size == 0 || s.file == nil {
			continue
		}
		if buf == nil {
			buf = make([]byte, 64<<10)
		}
		e.File.Content.place = place{s.number, s.offset}
		n, err := io.CopyBuffer(struct{ io.Writer }{s.file}, in, buf)
		if err != nil {
			return nil, err
		}
		s.offset += n
	}
}
