package component

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// missing is a file of a package that is not at its path in the tree.
type missing struct {
	digest                  [sha256.Size]byte
	id, detector, path, pkg string
}

const (
	// maxLost is the memory in bytes for missing files. A database may list millions.
	maxLost = 48 << 20
	// missingCost is the memory in bytes that a missing file takes besides its path.
	missingCost = 128
)

// lose remembers a file that is not at the path in its package database, if its content identifies it elsewhere.
func (d *detection) lose(f *pkgdb.File, id, detector, pkg string) {
	if f.Digest == ([sha256.Size]byte{}) || f.Size <= 0 || f.Ghost {
		return
	}
	if d.lost == nil {
		d.lost = map[int64][]missing{}
		for _, e := range d.entries.All() {
			if e.IsRegular() {
				d.lost[e.Size] = nil
			}
		}
	}
	if _, ok := d.lost[f.Size]; !ok {
		return // no file in the tree has this size
	}
	if d.lostBytes += missingCost + len(f.Path); d.lostBytes > maxLost {
		return
	}
	d.lost[f.Size] = append(d.lost[f.Size], missing{f.Digest, id, detector, f.Path, pkg})
}

// moved claims unowned files that have the content of a missing file of a package. Tools that build systems move files
// of packages out of /opt or /var. Content that several components have in common is not claimed.
func (d *detection) moved(ctx context.Context, opts Options) error {
	if d.lostBytes > maxLost {
		err := fmt.Errorf("%w: too many of its files are missing to look for all of them at other paths", pkgdb.ErrTooLarge)
		if err := d.fault(err, opts); err != nil {
			return err
		}
	}
	for i, e := range d.entries.All() {
		if d.claims[i].Component >= 0 || !e.IsRegular() || len(d.lost[e.Size]) == 0 {
			continue
		}
		digest, err := d.digest(ctx, i)
		if err != nil {
			return err
		}
		if m := recognise(d.lost[e.Size], digest); m != nil {
			d.claim(i, m.id, m.detector, "package "+m.pkg+", which has it as "+m.path)
		}
	}
	return nil
}

// recognise returns the missing file with a digest. It returns nil if there is none, or if several components have one.
func recognise(list []missing, digest [sha256.Size]byte) (m *missing) {
	for i := range list {
		switch {
		case list[i].digest != digest:
		case m == nil:
			m = &list[i]
		case m.id != list[i].id:
			return nil
		}
	}
	return m
}

// digest returns the SHA-256 of a file.
func (d *detection) digest(ctx context.Context, i int) (sum [sha256.Size]byte, err error) {
	r, err := d.tree.Open(ctx, i)
	if err != nil {
		return sum, err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), ctx.Err()
}
