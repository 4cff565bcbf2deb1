package chunking

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Prior is what an arrangement uses of the image that hosts have now.
type Prior struct {
	// Layers are the layers in their order, without the first.
	Layers []PriorLayer
	// Components are the components by ID, as in [Record].
	Components map[string]Known
}

// PriorLayer is a layer of the prior image. Either its components are known, or the entries of the tree that it has.
type PriorLayer struct {
	// Components are the IDs of the layer's components, and Key is the key of its content. They are set if the layer
	// follows components.
	Components []string
	Key        Key
	// Foreign says that the layer does not follow components, and that it was read. Entries are the entries of the new
	// tree that it has, without directories. There are none if the layer has anything else.
	Foreign bool
	Entries []uint32
}

// ArrangeOptions are the options of [Arrange].
type ArrangeOptions struct {
	// MaxChunks is the limit on the number of layers after the first. It must be at least 1.
	MaxChunks int
	// Format names the format of the layers, and so everything about it that affects their bytes. It is part of keys.
	Format string
	// ParentDirs says that layers contain the directories above their files.
	ParentDirs bool
	// Sharing is the sharing of the layers' format.
	Sharing Sharing
	// UpdateInterval is the number of days between two updates of a host, or 0 if it is not known.
	UpdateInterval int
	Rebalance      packing.Rebalance
	// Prior is the image to continue from, or nil.
	Prior *Prior
	// Density estimates the compressed size of each unit, in thousandths of its size from 1 to 1000. If it is nil,
	// layers are not compressed.
	Density func(units []Unit) ([]int, error)
	// Exclude reports whether an entry is left out of all layers, because the base image has it. It may be nil.
	Exclude func(index int) bool
}

// Arrangement says which files of a tree go into which layer, and why.
type Arrangement struct {
	Layers []ArrangedLayer
	// Units are the arranged units, sorted by ID.
	Units []Unit
	// Record is the arrangement as the next image reads it. The caller sets Record.First.
	Record Record
	// Expected is the expected download of one update in compressed bytes. Bound is the same with one layer for each
	// component.
	Expected, Bound float64
	// Dirty are the layers of the prior image that are not in this image.
	Dirty []DirtyLayer
	// Added are the IDs of the components that the prior image does not have, sorted. It is empty if there is no prior
	// image, or if that does not know its components.
	Added []string
	// Warnings are messages for the user.
	Warnings []string
}

// ArrangedLayer is one layer of an arrangement.
type ArrangedLayer struct {
	// Entries are indexes into the tree's list, ascending.
	Entries []uint32
	// Components are the IDs of the layer's components, sorted. In a layer taken over from another program's image these
	// are the components with a file in it.
	Components []string
	// Packages are the names in the layer's annotation, sorted.
	Packages []string
	// Size is the size of the distinct contents in bytes.
	Size uint64
	// Probability is the probability that an update changes the layer.
	Probability float64
	Key         Key
	// Prior is the index of the layer of the prior image with the same content, or -1.
	Prior int
}

// DirtyLayer is a layer of the prior image that is not kept.
type DirtyLayer struct {
	// Prior is the index of the layer.
	Prior int
	// Changed and Removed are the IDs of the components that changed or are gone.
	Changed, Removed []string
}

// Arrange packs the components of a tree into layers so that the expected download of updates is small. It keeps the
// layers of the prior image that did not change. Every file in the tree must have its object set.
func Arrange(tree rootfs.Tree, set *component.Set, opts ArrangeOptions) (*Arrangement, error) {
	a := &arranger{tree: tree, index: rootfs.NewIndex(tree), opts: opts, reference: dayOf(set.Reference)}
	if opts.Prior != nil {
		a.prior = *opts.Prior
	}
	a.whole = Units(tree, set, opts.Sharing)
	a.exclude()
	if err := a.learn(); err != nil {
		return nil, err
	}
	a.takeOver()
	if err := a.pack(); err != nil {
		return nil, err
	}
	a.finish(set)
	return &a.out, nil
}

type arranger struct {
	tree      rootfs.Tree
	index     *rootfs.Index
	opts      ArrangeOptions
	prior     Prior
	reference int64
	whole     []Unit // with all files
	rest      []Unit // without the files in layers that are taken over
	known     map[string]Known
	taken     []int // foreign layers of the prior image that are taken over
	dirty     map[int]bool
	out       Arrangement
}

// exclude removes the entries that belong in no layer.
func (a *arranger) exclude() {
	if a.opts.Exclude == nil {
		return
	}
	for i := range a.whole {
		u := &a.whole[i]
		u.Entries = slices.DeleteFunc(u.Entries, func(i uint32) bool { return a.opts.Exclude(int(i)) })
		u.measure(a.tree.Entries())
	}
	a.whole = slices.DeleteFunc(a.whole, func(u Unit) bool { return len(u.Entries) == 0 })
}

// learn updates what is known about the components with this image.
func (a *arranger) learn() error {
	a.known = make(map[string]Known, len(a.whole))
	var unknown []Unit
	for _, u := range a.whole {
		old, ok := a.prior.Components[u.ID]
		k := old.learn(ok, u.Digest, u.Size, a.reference)
		if k.Density == 0 {
			unknown = append(unknown, u)
		}
		a.known[u.ID] = k
	}
	if a.opts.Density == nil || len(unknown) == 0 {
		return nil
	}
	densities, err := a.opts.Density(unknown)
	if err != nil {
		return err
	}
	for i, u := range unknown {
		k := a.known[u.ID]
		k.Density = densities[i]
		a.known[u.ID] = k
	}
	return nil
}

// takeOver keeps the foreign layers of the prior image whose files are all still there.
func (a *arranger) takeOver() {
	entries := a.tree.Entries()
	taken := make([]bool, entries.Len())
	type candidate struct {
		layer, size int
		entries     []uint32
	}
	var found []candidate
	a.dirty = map[int]bool{}
	for n, l := range a.prior.Layers {
		if !l.Foreign {
			continue
		}
		if len(l.Entries) == 0 || slices.ContainsFunc(l.Entries, func(i uint32) bool { return taken[i] }) {
			a.dirty[n] = true
			continue
		}
		c := candidate{layer: n, entries: slices.Clone(l.Entries)}
		for _, i := range c.entries {
			taken[i] = true
			c.size += int(entries.At(int(i)).Size)
		}
		found = append(found, c)
	}
	// Some layers are left for new files. The smallest layers are given up for that.
	if limit := a.opts.MaxChunks - 1 - a.opts.MaxChunks/8; len(found) > limit {
		slices.SortFunc(found, func(x, y candidate) int {
			return cmp.Or(cmp.Compare(y.size, x.size), cmp.Compare(x.layer, y.layer))
		})
		for _, c := range found[limit:] {
			a.dirty[c.layer] = true
			for _, i := range c.entries {
				taken[i] = false
			}
		}
		found = found[:limit]
	}
	slices.SortFunc(found, func(x, y candidate) int { return cmp.Compare(x.layer, y.layer) })
	for _, c := range found {
		slices.Sort(c.entries)
		a.taken = append(a.taken, c.layer)
		a.out.Layers = append(a.out.Layers, ArrangedLayer{Entries: c.entries, Prior: c.layer, Key: a.key(c.entries)})
	}
	for _, u := range a.whole {
		if slices.ContainsFunc(u.Entries, func(i uint32) bool { return taken[i] }) {
			u.Entries = slices.DeleteFunc(slices.Clone(u.Entries), func(i uint32) bool { return taken[i] })
			u.measure(entries)
		}
		if len(u.Entries) > 0 {
			a.rest = append(a.rest, u)
		}
	}
}

// pack arranges the files that are not in layers taken over.
func (a *arranger) pack() error {
	if len(a.rest) == 0 {
		return nil
	}
	byID := make(map[string]*Unit, len(a.rest))
	items := make([]packing.Item, len(a.rest))
	for i := range a.rest {
		u := &a.rest[i]
		byID[u.ID] = u
		items[i] = packing.Item{
			ID: u.ID, Size: a.known[u.ID].weight(u.Size), Exclusive: u.Exclusive,
			Changes: changesOf(&u.Component, a.known[u.ID], a.reference),
		}
	}
	params := packing.Params{
		MaxBins: a.opts.MaxChunks - len(a.taken), Window: window, Overhead: packing.DefaultOverhead,
		Rebalance: a.opts.Rebalance,
	}
	if a.opts.UpdateInterval > 0 {
		params.Horizons = []int{a.opts.UpdateInterval}
	}
	byKey := map[Key]int{}
	for n, l := range a.prior.Layers {
		if len(l.Components) == 0 {
			continue
		}
		key := a.memberKey(l.Components, byID)
		dirty := key != l.Key
		if dirty {
			a.dirty[n] = true
		} else {
			byKey[key] = n
		}
		params.Prior = append(params.Prior, packing.PriorBin{Items: l.Components, Dirty: dirty})
	}
	packed, err := packing.Pack(items, params)
	if err != nil {
		return fmt.Errorf("packing %d components into %d layers: %w", len(items), params.MaxBins, err)
	}
	for _, b := range packed.Bins {
		layer := ArrangedLayer{Components: b.Items, Probability: b.Probability, Prior: -1}
		for _, id := range b.Items {
			layer.Size += byID[id].Size
		}
		layer.Entries = entriesOf(b.Items, byID)
		layer.Key = a.key(layer.Entries)
		if n, ok := byKey[layer.Key]; ok {
			layer.Prior = n
			delete(byKey, layer.Key)
		}
		a.out.Layers = append(a.out.Layers, layer)
	}
	for _, n := range byKey {
		a.dirty[n] = true // opened for a better packing
	}
	if packed.MergedExclusive {
		a.out.Warnings = append(a.out.Warnings, "there are more components with a layer of their own than layers, "+
			"so they are packed like others: raise --max-layers")
	}
	a.out.Expected, a.out.Bound = packed.Expected, packed.Bound
	return nil
}

// memberKey returns the key of a layer with the given components, or the zero key if one of them is gone.
func (a *arranger) memberKey(ids []string, units map[string]*Unit) Key {
	for _, id := range ids {
		if _, ok := units[id]; !ok {
			return Key{}
		}
	}
	return a.key(entriesOf(ids, units))
}

// entriesOf returns the entries of the given components.
func entriesOf(ids []string, units map[string]*Unit) []uint32 {
	if len(ids) == 1 {
		return units[ids[0]].Entries
	}
	n := 0
	for _, id := range ids {
		n += len(units[id].Entries)
	}
	entries := make([]uint32, 0, n)
	for _, id := range ids {
		entries = append(entries, units[id].Entries...)
	}
	slices.Sort(entries)
	return entries
}

// key returns a hash of everything that the bytes of a layer depend on.
func (a *arranger) key(entries []uint32) (k Key) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%t\x00", a.opts.Format, a.opts.ParentDirs)
	list := a.tree.Entries()
	var last string
	var buf []byte
	for _, i := range entries {
		e := list.At(int(i))
		if a.opts.ParentDirs && e.Dir != last {
			last = e.Dir
			a.hashParents(h, last)
		}
		buf = hashFile(h, buf, e)
		if a.opts.Sharing == ShareLinks {
			buf = append(list.At(e.Link).AppendPath(buf[:0]), 0)
			h.Write(buf)
		}
	}
	copy(k[:], h.Sum(nil))
	return k
}

// hashParents hashes a directory and the directories above it.
func (a *arranger) hashParents(h io.Writer, dir string) {
	for d := dir; ; d = path.Dir(d) {
		if i, ok := a.index.Find(d); ok {
			e := a.index.Entry(i)
			fmt.Fprintf(h, "%s\x00%d %d %o %q\x00", d, e.UID, e.GID, e.Mode, e.Xattrs)
		}
		if d == "/" {
			return
		}
	}
}

// finish sorts the layers, sets their packages, and fills in the record.
func (a *arranger) finish(set *component.Set) {
	slices.SortStableFunc(a.out.Layers, func(x, y ArrangedLayer) int {
		return cmp.Compare(uint(x.Prior), uint(y.Prior)) // kept layers in their order, then the others
	})
	byID := make(map[string]*Unit, len(a.whole))
	for i := range a.whole {
		byID[a.whole[i].ID] = &a.whole[i]
	}
	follows := func(l *ArrangedLayer) bool { return l.Prior < 0 || !a.prior.Layers[l.Prior].Foreign }
	a.out.Record = Record{Format: a.opts.Format, Reference: a.reference, Components: a.known}
	for i := range a.out.Layers {
		l := &a.out.Layers[i]
		record := RecordLayer{Key: l.Key}
		if follows(l) {
			record.Components = l.Components
		} else {
			a.describe(l, set)
		}
		names := map[string]bool{}
		for _, id := range l.Components {
			for _, p := range byID[id].Packages {
				names[p] = true
			}
		}
		l.Packages = slices.Sorted(maps.Keys(names))
		a.out.Record.Layers = append(a.out.Record.Layers, record)
	}
	a.out.Units = a.whole
	for i := range a.whole {
		if _, ok := a.prior.Components[a.whole[i].ID]; !ok && len(a.prior.Components) > 0 {
			a.out.Added = append(a.out.Added, a.whole[i].ID)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(a.dirty)) {
		a.out.Dirty = append(a.out.Dirty, a.whyDirty(n, byID))
	}
}

// describe sets the components of a layer that does not follow components.
func (a *arranger) describe(l *ArrangedLayer, set *component.Set) {
	ids := map[string]bool{}
	for _, i := range l.Entries {
		if c := set.Claims[i].Component; c >= 0 {
			ids[set.Components[c].ID] = true
		}
	}
	l.Size = sizeOf(a.tree.Entries(), l.Entries)
	l.Components = slices.DeleteFunc(slices.Sorted(maps.Keys(ids)), func(id string) bool {
		_, ok := slices.BinarySearchFunc(a.whole, id, func(u Unit, id string) int { return cmp.Compare(u.ID, id) })
		return !ok
	})
}

// whyDirty compares the components of a prior layer with the current ones.
func (a *arranger) whyDirty(n int, units map[string]*Unit) DirtyLayer {
	d := DirtyLayer{Prior: n}
	for _, id := range a.prior.Layers[n].Components {
		u, ok := units[id]
		switch {
		case !ok:
			d.Removed = append(d.Removed, id)
		case u.Digest != a.prior.Components[id].Digest:
			d.Changed = append(d.Changed, id)
		}
	}
	return d
}
