package advice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice/reason"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Build is one of two builds that are compared.
type Build struct {
	Tree rootfs.Tree
	// Same reports whether the content of an entry is known to be that of an entry of the other build. It may be nil.
	Same func(index, other int) bool
}

// Compare says what differs between two builds of the same sources, and why where that can be known. Sizes are those of
// the second build, or of the first for what only that has. Files that are advice by their name are reported under that
// name.
func Compare(ctx context.Context, from, to Build) (*Report, error) {
	c := &comparison{
		from: from, to: to, ctx: ctx, old: newCollector(from.Tree, Options{}), now: newCollector(to.Tree, Options{}),
	}
	c.now.files = make([][]File, len(c.now.rules))
	if err := c.run(); err != nil {
		return nil, err
	}
	r := c.now.report()
	return r, r.Estimate(ctx, &either{c.from.Tree, c.to.Tree})
}

type comparison struct {
	from, to Build
	ctx      context.Context
	old, now *collector
	x, y     []byte // buffers
}

// run compares the entries of both trees, which are sorted by path.
func (c *comparison) run() error {
	a, b := c.from.Tree.Entries(), c.to.Tree.Entries()
	for i, j := 0, 0; i < a.Len() || j < b.Len(); {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		var order int
		switch {
		case i == a.Len():
			order = 1
		case j == b.Len():
			order = -1
		default:
			order = comparePaths(a.At(i), b.At(j))
		}
		switch {
		case order < 0:
			c.only(c.old, a.At(i), i, "only in the first", c.to.Tree.Entries().Len())
			i++
		case order > 0:
			c.only(c.now, b.At(j), j, "only in the second", 0)
			j++
		default:
			if err := c.both(i, j); err != nil {
				return fmt.Errorf("%s: %w", b.At(j).Path(), err)
			}
			i++
			j++
		}
	}
	return nil
}

// comparePaths compares the paths of two entries as lists sort them.
func comparePaths(a, b rootfs.Entry) int {
	if a.Dir == b.Dir {
		return strings.Compare(a.Name, b.Name)
	}
	return strings.Compare(a.Path(), b.Path())
}

// only adds an entry that one of the trees has. shift is added to its index, see [either].
func (c *comparison) only(of *collector, e rootfs.Entry, i int, why string, shift int) {
	if e.IsDir() || e.Link != i && e.Size > 0 {
		return
	}
	c.add(c.rule(of, i, e, ruleOnlyOne), i+shift, e, why)
}

func (c *comparison) add(rule, index int, e rootfs.Entry, why string) {
	f := File{Path: e.Path(), Bytes: uint64(e.Size), Why: why, index: index}
	if e.Size == 0 {
		f.index = -1
	}
	c.now.files[rule] = append(c.now.files[rule], f)
}

// rule returns the rule of a file by its name, or else that of a reason.
func (c *comparison) rule(of *collector, i int, e rootfs.Entry, name string) int {
	if e.IsRegular() && e.Size > 0 {
		if rule := of.judge(i, e); rule >= 0 {
			return rule
		}
		if isInitramfs(e.Dir, e.Name) {
			return c.now.named[ruleInitramfs]
		}
	}
	return c.now.named[name]
}

// both compares the entries of a path.
func (c *comparison) both(i, j int) error {
	x, y := c.from.Tree.Entries().At(i), c.to.Tree.Entries().At(j)
	if why := headerDifference(x, y); why != "" {
		c.add(c.now.named[ruleMetadata], j, y, why)
		return nil
	}
	if !y.IsRegular() || y.Link != j {
		return nil
	}
	if !x.Object.IsZero() && x.Object == y.Object || c.to.Same != nil && c.to.Same(j, i) {
		return nil
	}
	if x.Size == y.Size {
		if same, err := c.equal(i, j); same || err != nil {
			return err
		}
	}
	r, err := reason.Of(
		reason.File{Size: x.Size, Open: func() (io.ReadCloser, error) { return c.from.Tree.Open(c.ctx, i) }},
		reason.File{Size: y.Size, Open: func() (io.ReadCloser, error) { return c.to.Tree.Open(c.ctx, j) }})
	if err != nil {
		return err
	}
	rule := c.rule(c.now, j, y, r.Name)
	why := r.Detail
	if c.now.rules[rule].Name != r.Name {
		why = strings.TrimSuffix(r.Name+": "+why, ": ")
	}
	c.add(rule, j, y, why)
	return nil
}

// headerDifference says what differs between two entries besides content.
func headerDifference(x, y rootfs.Entry) string {
	switch {
	case x.Mode&object.ModeTypeMask != y.Mode&object.ModeTypeMask:
		return "its type differs"
	case x.Mode != y.Mode:
		return fmt.Sprintf("mode %04o, and %04o", x.Mode&^object.ModeTypeMask, y.Mode&^object.ModeTypeMask)
	case x.UID != y.UID || x.GID != y.GID:
		return fmt.Sprintf("owner %d:%d, and %d:%d", x.UID, x.GID, y.UID, y.GID)
	case x.Target != y.Target:
		return fmt.Sprintf("link to %.200q, and to %.200q", x.Target, y.Target)
	case x.Device != y.Device:
		return "the device differs"
	case !slices.EqualFunc(x.Xattrs, y.Xattrs, func(p, q object.Xattr) bool {
		return p.Name == q.Name && bytes.Equal(p.Value, q.Value)
	}):
		return "extended attributes differ"
	}
	return ""
}

// equal reports whether two files of one size have the same content.
func (c *comparison) equal(i, j int) (same bool, err error) {
	const size = 128 << 10
	if c.x == nil {
		c.x, c.y = make([]byte, size), make([]byte, size)
	}
	r, err := c.from.Tree.Open(c.ctx, i)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s, err := c.to.Tree.Open(c.ctx, j)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for {
		n, err := io.ReadFull(r, c.x)
		m, err2 := io.ReadFull(s, c.y)
		for _, e := range []error{err, err2} {
			if e != nil && !errors.Is(e, io.EOF) && !errors.Is(e, io.ErrUnexpectedEOF) {
				return false, e
			}
		}
		if !bytes.Equal(c.x[:n], c.y[:m]) {
			return false, nil
		}
		if err != nil {
			return true, nil
		}
	}
}

// either opens files of two trees: an index behind the last entry of the second tree is one of the first.
type either struct{ from, to rootfs.Tree }

// Entries implements [rootfs.Tree].
func (t *either) Entries() *rootfs.List { return t.to.Entries() }

// Open implements [rootfs.Tree].
func (t *either) Open(ctx context.Context, i int) (io.ReadCloser, error) {
	if n := t.to.Entries().Len(); i >= n {
		return t.from.Open(ctx, i-n)
	}
	return t.to.Open(ctx, i)
}
