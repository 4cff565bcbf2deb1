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

// Prior is the image that hosts have now, as far as an arrangement has to know it.
type Prior struct {
	// Layers in their order, without the first.
	Layers []PriorLayer
	// Components by ID, as in [Record].
	Components map[string]Known
}

// PriorLayer is a layer of the image that hosts have now. Either its components are known, or which entries of the tree it has.
type PriorLayer struct {
	// Components are the members' IDs if the layer follows components, and Key is that of its content then.
	Components []string
	Key        Key
	// Foreign says that the layer does not follow components, and was read. Entries are what it has of the new tree, without
	// directories; none if it has anything else.
	Foreign bool
	Entries []uint32
}

// ArrangeOptions says what an arrangement is for.
type ArrangeOptions struct {
	// MaxChunks is the limit on the number of layers besides the first, at least 1.
	MaxChunks int
	// Format names the form of the layers, with all that changes their bytes. It goes into keys.
	Format string
	// ParentDirs says that layers have entries for the directories above their files.
	ParentDirs bool
	// Sharing of the layers' format.
	Sharing Sharing
	// UpdateInterval is how many days pass between two updates of a host; 0 means that it is not known.
	UpdateInterval int
	Rebalance      packing.Rebalance
	// Prior is the image to continue from, or nil.
	Prior *Prior
	// Density estimates how much of each of some units compression leaves, in thousandths from 1 to 1000. May be nil:
	// nothing is compressed then.
	Density func(units []Unit) ([]int, error)
	// Exclude are entries that are in no layer, because the base image has them. May be nil.
	Exclude func(index int) bool
}

// Arrangement says which files of a tree go into which layer, and why.
type Arrangement struct {
	Layers []ArrangedLayer
	// Units are what was arranged, sorted by ID.
	Units []Unit
	// Record is the arrangement for the next image. Its first key is for the caller to set.
	Record Record
	// Expected is the expected download of one update in compressed bytes, Bound what it would be with a layer for each component.
	Expected, Bound float64
	// Dirty are the prior layers that are not in this image.
	Dirty []DirtyLayer
	// Warnings are for the user.
	Warnings []string
}

// ArrangedLayer is one layer.
type ArrangedLayer struct {
	// Entries are indexes into the tree's list, ascending.
	Entries []uint32
	// Components are the members' IDs, sorted. For a layer that was taken over from another program's image they are those
	// that have a file in it.
	Components []string
	// Packages are the names for the layer's annotation, sorted.
	Packages []string
	// Size is that of the distinct contents in bytes.
	Size uint64
	// Probability is the chance that an update changes the layer.
	Probability float64
	Key         Key
	// Prior is the index of the prior image's layer with just this content, or -1.
	Prior int
}

// DirtyLayer is a layer of the prior image that has to be made anew.
type DirtyLayer struct {
	// Prior is its index.
	Prior int
	// Changed and Removed are the members that made it dirty, by ID.
	Changed, Removed []string
}

// Arrange packs the components of a tree into layers such that updates are expected to download little, and keeps what it can
// of the prior image. The tree's entries have objects.
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
	whole     []Unit // with everything
	rest      []Unit // without what is in layers that are taken over
	known     map[string]Known
	taken     []int // prior layers that are taken over by their files
	dirty     map[int]bool
	out       Arrangement
}

// exclude takes out what no layer shall have.
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

// learn brings what is known of the components up to this image.
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

// takeOver keeps the prior layers without components all of whose files are still there.
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
	// Some layers are for what is new; what is least to fetch is opened.
	if limit := a.opts.MaxChunks - 1 - a.opts.MaxChunks/8; len(found) > limit {
		slices.SortFunc(found, func(x, y candidate) int { return cmp.Or(cmp.Compare(y.size, x.size), cmp.Compare(x.layer, y.layer)) })
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

// pack arranges what is not taken over.
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
		a.out.Warnings = append(a.out.Warnings, "more components ask for a layer of their own than there are layers: some share one; raise --max-layers")
	}
	a.out.Expected, a.out.Bound = packed.Expected, packed.Bound
	return nil
}

// memberKey is the key of a layer with these components, or no key if one of them is gone.
func (a *arranger) memberKey(ids []string, units map[string]*Unit) Key {
	for _, id := range ids {
		if _, ok := units[id]; !ok {
			return Key{}
		}
	}
	return a.key(entriesOf(ids, units))
}

// entriesOf are the entries of some components.
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

// key hashes everything that the bytes of a layer depend on.
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

// hashParents hashes a directory and those above it.
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

// finish orders the layers, names their packages, and writes the record.
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
	for _, n := range slices.Sorted(maps.Keys(a.dirty)) {
		a.out.Dirty = append(a.out.Dirty, a.whyDirty(n, byID))
	}
}

// describe says what is in a layer that does not follow components.
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

// whyDirty compares the members of a prior layer with what they are now.
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
