package advice

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// Layers are the layers of an image, seen from its tree.
type Layers struct {
	// Of returns the index of the layer that has the content of the regular file at an index of the tree.
	Of func(index int) int
	// Hidden are the files of layers that the tree does not have.
	Hidden []HiddenFile
}

// HiddenFile is a file of a layer that a later layer replaces or deletes.
type HiddenFile struct {
	Path string
	Size int64
	// Layer is the index of the layer.
	Layer int
}

// minDuplicate is the size in bytes from which a file in two layers is worth advice.
const minDuplicate = 64e3

// layers adds what the layers of an image show.
func (c *examiner) layers(ctx context.Context, l *Layers) error {
	for _, h := range l.Hidden {
		if strings.HasPrefix(strings.TrimPrefix(h.Path, "/"), "sysroot/ostree/repo/") {
			continue // each layer of a commit has the configuration of the repository
		}
		rule := c.named[ruleHidden]
		why := fmt.Sprintf("in layer %d", h.Layer+1)
		if i, ok := c.x.Find(h.Path); ok && c.x.Entry(i).IsRegular() && c.x.Entry(i).Size > 0 {
			why += fmt.Sprintf(", replaced in layer %d", l.Of(i)+1)
		}
		c.files[rule] = append(c.files[rule], File{Path: h.Path, Bytes: uint64(h.Size), Why: why, index: -1})
	}
	return c.duplicates(ctx, l)
}

// duplicates adds files whose content several layers have. Only files of the same size are read.
func (c *examiner) duplicates(ctx context.Context, l *Layers) error {
	var list []int
	for i, e := range c.all() {
		if e.Size >= minDuplicate {
			list = append(list, i)
		}
	}
	size := func(i int) int64 { return c.x.Entry(i).Size }
	slices.SortFunc(list, func(i, j int) int { return cmp.Or(cmp.Compare(size(i), size(j)), cmp.Compare(i, j)) })
	for len(list) > 0 {
		n := 1
		for n < len(list) && size(list[n]) == size(list[0]) {
			n++
		}
		if err := c.sameSize(ctx, l, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// sameSize adds the files among some of one size whose content another layer has, too.
func (c *examiner) sameSize(ctx context.Context, l *Layers, list []int) error {
	if !slices.ContainsFunc(list, func(i int) bool { return l.Of(i) != l.Of(list[0]) }) {
		return nil
	}
	first := map[[sha256.Size]byte]int{}
	for _, i := range list {
		sum, err := c.sum(ctx, i)
		if err != nil {
			return err
		}
		j, ok := first[sum]
		if !ok {
			first[sum] = i
			continue
		}
		if l.Of(i) != l.Of(j) {
			c.add(c.named[ruleDuplicates], i, c.x.Entry(i), fmt.Sprintf("in layer %d, and in layer %d as %s",
				l.Of(i)+1, l.Of(j)+1, c.x.Entry(j).Path()))
		}
	}
	return nil
}

func (c *examiner) sum(ctx context.Context, i int) (sum [sha256.Size]byte, err error) {
	r, err := c.tree.Open(ctx, i)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	_, err = io.Copy(h, r)
	return [sha256.Size]byte(h.Sum(nil)), errors.Join(err, r.Close())
}

// DividedAnew returns the advice about the layers of an image that hosts with another have to download although none of
// their components changed, because the build did not continue from that image. Both must carry a plan; if one does
// not, or if there are no such layers, the result is nil.
func DividedAnew(from, to *oci.Image) *Advice {
	old, err := chunking.ParseRecord(from.Config.Labels[chunking.LabelRecord])
	if err != nil {
		return nil
	}
	now, err := chunking.ParseRecord(to.Config.Labels[chunking.LabelRecord])
	if err != nil || now.Fit(diffIDs(to)) != chunking.Fitting {
		return nil
	}
	var files []File
	for n, l := range now.Layers {
		at := now.At + 1 + n
		layer := &to.Layers[at]
		had := slices.ContainsFunc(from.Layers, func(f oci.Layer) bool { return f.DiffID == layer.DiffID })
		changed := func(id string) bool {
			k, ok := old.Components[id]
			return !ok || !bytes.Equal(k.Digest[:], componentDigest(now, id))
		}
		if had || len(l.Components) == 0 || slices.ContainsFunc(l.Components, changed) {
			continue
		}
		size := uint64(layer.Descriptor.Size)
		files = append(files, File{
			Path: fmt.Sprintf("layer %d (%s)", at+1, layer.Descriptor.Digest), Bytes: size, index: -1, download: size,
			Why: printable.Line(layer.Title()),
		})
	}
	if len(files) == 0 {
		return nil
	}
	m := newMatcher()
	a := m.rules[m.named[rulePrior]].advice(files)
	return &a
}

func componentDigest(r *chunking.Record, id string) []byte {
	k := r.Components[id]
	return k.Digest[:]
}

func diffIDs(image *oci.Image) []string {
	list := make([]string, len(image.Layers))
	for i, l := range image.Layers {
		list[i] = l.DiffID.String()
	}
	return list
}

// Add adds advice to a report.
func (r *Report) Add(a *Advice) {
	if a != nil {
		r.Advice = append(r.Advice, *a)
		r.finish()
	}
}
