package component

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

const (
	// maxListed is the limit on all lists of language packages, in bytes. It is several times what large systems have.
	// It is needed since one file, under many names, may be the list of many packages.
	maxListed = 256 << 20
	// pathCost is the number of bytes that a path counts for besides its length.
	pathCost = 64
	// maxWalked is the limit on the entries that are visited in directories of language packages. Only hostile trees
	// have it, in which many such directories lie in each other.
	maxWalked = 32 << 20
)

// listed counts n bytes of a list of a language package. The error wraps [pkgdb.ErrTooLarge].
func (d *detection) listed(n int) error {
	if d.listedBytes += n + pathCost; d.listedBytes > maxListed {
		return fmt.Errorf("%w: the lists of language packages have more than %s", pkgdb.ErrTooLarge, sizes.Format(maxListed))
	}
	return nil
}

// below yields the entries below a directory of a language package. It ends when maxWalked is reached.
func (d *detection) below(dir string) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range d.x.Below(dir) {
			if d.walked++; d.walked > maxWalked || !yield(i) {
				return
			}
		}
	}
}

// walkedTooFar returns an error that wraps [pkgdb.ErrTooLarge] if maxWalked is reached.
func (d *detection) walkedTooFar() error {
	if d.walked <= maxWalked {
		return nil
	}
	return fmt.Errorf("%w: too many directories of language packages lie in each other", pkgdb.ErrTooLarge)
}

// readList reads the list of a language package. The limit is in bytes. The error wraps [pkgdb.ErrBroken] if the file
// is too large, and [pkgdb.ErrTooLarge] if all lists are.
func (d *detection) readList(ctx context.Context, language, p string, limit int64) ([]byte, error) {
	data, err := d.x.ReadFile(ctx, p, limit)
	if errors.Is(err, repo.ErrTooLarge) {
		return nil, pkgdb.Broken("%s: %s has more than %s", language, p, sizes.Format(limit))
	}
	if err != nil {
		return nil, err
	}
	return data, d.listed(len(data))
}

// decode decodes a list of JSON. The error wraps [pkgdb.ErrBroken].
func decode(name string, data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	offset := int64(len(data))
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &typ):
		offset = typ.Offset
	}
	return jsonFault(name, data, offset, err)
}

// jsonFault returns an error about a file of JSON with the line in which the decoder was. It wraps [pkgdb.ErrBroken].
func jsonFault(name string, data []byte, offset int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		offset, err = int64(len(data)), io.ErrUnexpectedEOF
	}
	line := 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
	if errors.Is(err, pkgdb.ErrBroken) {
		return fmt.Errorf("%s:%d: %w", name, line, err)
	}
	return fmt.Errorf("%s:%d: %w: %w", name, line, pkgdb.ErrBroken, err)
}
