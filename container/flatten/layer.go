package flatten

import (
	"context"
	"errors"
	"io"

	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// content is what the overlay stores for each file.
type content struct {
	place
	number int // position in the list, counted from 1
}

// place is the position of a file's content.
type place struct {
	spool  int
	offset int64
}

type entry = overlay.Entry[content]

// spool collects the contents of a layer's files.
type spool struct {
	number int
	file   io.Writer // nil discards them
	budget *budget
	offset int64
}

// read reads the decompressed stream of a layer up to the end of the archive.
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
