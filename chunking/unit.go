package chunking

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Unit is a component with its files in a tree. An arrangement puts them into a layer together.
type Unit struct {
	component.Component
	// Entries are indexes into the tree's list, ascending.
	Entries []uint32
	// Size is the size of the distinct contents in bytes.
	Size uint64
	// Digest changes if a path, content, owner, mode or xattr changes.
	Digest Digest
}

// Digest is a short hash of the content of a component. It serves to find out whether the content changed.
type Digest [8]byte

// Sharing says which paths of a tree must be in the same layer.
type Sharing uint8

const (
	// ShareObjects is for layers of OSTree objects. All paths of an object are in the same layer, unless the object is
	// so small that copies in several layers cost less than changing a layer because of the other paths.
	ShareObjects Sharing = iota
	// ShareLinks is for ordinary layers. All hard links of a file are in the same layer.
	ShareLinks
)

// smallObject is the size in bytes up to which an object with several owners is copied into the layer of each.
const smallObject = packing.DefaultOverhead

// Units distributes the files of a tree over its components. Every file in the tree must have its object set. A file
// with paths in several components goes to the one that changes least often, and among equal ones to the one with the
// smallest ID. Components without files are left out. The order of the others stays.
func Units(tree rootfs.Tree, set *component.Set, sharing Sharing) []Unit {
	entries := tree.Entries()
	u := &unitMaker{entries: entries, set: set, sharing: sharing, rates: make([]float64, len(set.Components))}
	reference := dayOf(set.Reference)
	for i := range set.Components {
		u.rates[i] = dailyRate(&set.Components[i], Known{}, reference)
	}
	owner := u.owners()
	units, count := make([]Unit, len(set.Components)), make([]int, len(set.Components))
	for _, c := range owner {
		if c >= 0 {
			count[c]++
		}
	}
	for i, c := range owner {
		if c < 0 {
			continue
		}
		if units[c].Entries == nil {
			units[c].Entries = make([]uint32, 0, count[c])
		}
		units[c].Entries = append(units[c].Entries, uint32(i))
	}
	for i := range units {
		units[i].Component = set.Components[i]
		units[i].measure(entries)
	}
	return slices.DeleteFunc(units, func(u Unit) bool { return len(u.Entries) == 0 })
}

type unitMaker struct {
	entries *rootfs.List
	set     *component.Set
	sharing Sharing
	rates   []float64
}

// owners returns the component of each entry, and -1 for directories.
func (u *unitMaker) owners() []int32 {
	// The owner of each file, by the index of its first path.
	owner := make([]int32, u.entries.Len())
	for i := range owner {
		owner[i] = -1
	}
	for i, e := range u.entries.All() {
		c := u.set.Claims[i].Component
		if c < 0 || u.copied(e) {
			continue
		}
		if old := owner[e.Link]; old < 0 || cmp.Or(cmp.Compare(u.rates[c], u.rates[old]), cmp.Compare(c, old)) < 0 {
			owner[e.Link] = c
		}
	}
	for i, e := range u.entries.All() {
		if c := u.set.Claims[i].Component; c < 0 || u.copied(e) {
			owner[i] = c
		} else {
			owner[i] = owner[e.Link]
		}
	}
	return owner
}

// copied reports whether each owner of a file gets its own copy.
func (u *unitMaker) copied(e rootfs.Entry) bool {
	return u.sharing == ShareObjects && e.Size <= smallObject
}

// measure sets Size and Digest.
func (u *Unit) measure(entries *rootfs.List) {
	h := sha256.New()
	var buf []byte
	for _, i := range u.Entries {
		buf = hashFile(h, buf, entries.At(int(i)))
	}
	u.Size = sizeOf(entries, u.Entries)
	copy(u.Digest[:], h.Sum(nil))
}

// sizeOf returns the size of the distinct contents of the given entries in bytes.
func sizeOf(entries *rootfs.List, indexes []uint32) (size uint64) {
	// A sorted list is used because a map of all objects of a large component would take more memory.
	byObject := slices.Clone(indexes)
	slices.SortFunc(byObject, func(i, j uint32) int { return entries.Object(int(i)).Compare(entries.Object(int(j))) })
	for n, i := range byObject {
		if n == 0 || entries.Object(int(i)) != entries.Object(int(byObject[n-1])) {
			size += uint64(entries.At(int(i)).Size)
		}
	}
	return size
}

// Rates of components about which nothing is known, in changes per day.
const (
	// window is the number of days of history that count.
	window = 730
	// rateAlways is the rate of components that change with nearly every image.
	rateAlways = 1
	// minHistory is the least number of days with changes in a history. A changelog with fewer was written by a machine.
	minHistory = 3
	// frequencyYear is the number of days over which upstream's frequencies count changes.
	frequencyYear = 365
)

// volatile are the components that change with nearly every image, whatever their history says.
var volatile = []string{component.PackageDatabase, component.Initramfs, component.Volatile}

// changesOf returns the expected changes of a component. They come from the user, else from its changelog, else from
// earlier images.
func changesOf(c *component.Component, known Known, reference int64) packing.Changes {
	switch {
	case c.Probability != nil:
		return packing.PerUpdate(*c.Probability)
	case c.Interval > 0:
		return packing.PerDay(1 / c.Interval)
	case len(c.Changes) >= minHistory && c.Frequency == 0 && !slices.Contains(volatile, c.ID):
		days := history(c, reference)
		return packing.History(packing.RateOfDays(len(days), window), days)
	}
	return packing.PerDay(dailyRate(c, known, reference))
}

// Basis says, for people, how it is known how often the unit changes. known is what earlier images showed.
func (u *Unit) Basis(known Known) string {
	switch {
	case u.Probability != nil, u.Interval > 0:
		return "a rule says how often it changes"
	case u.Frequency == component.AlwaysChanges, slices.Contains(volatile, u.ID):
		return "it changes with nearly every build"
	case u.Frequency > 0:
		return "content metadata say how often it changes"
	case len(u.Changes) >= minHistory:
		return fmt.Sprintf("its changelog has changes on %d days", len(u.Changes))
	case known.Changes > 0:
		return fmt.Sprintf("earlier images changed it %d times", known.Changes)
	}
	return ""
}

// history returns the days with changes within the window, counted back from the reference day.
func history(c *component.Component, reference int64) []int {
	var days []int
	for _, d := range c.Changes {
		if back := reference - d; back >= 0 && back < window {
			days = append(days, int(back))
		}
	}
	return days
}

// dailyRate returns the expected number of changes of a component per day.
func dailyRate(c *component.Component, known Known, reference int64) float64 {
	switch {
	case c.Probability != nil:
		// The probability is for one update, taken here as one per week.
		return -math.Log1p(-min(*c.Probability, 0.999)) / 7
	case c.Interval > 0:
		return 1 / c.Interval
	case c.Frequency == component.AlwaysChanges, slices.Contains(volatile, c.ID):
		return rateAlways
	case c.Frequency > 0:
		return float64(c.Frequency) / frequencyYear
	case len(c.Changes) >= minHistory:
		return packing.RateOfDays(len(history(c, reference)), window)
	}
	return packing.RateLearned(known.Changes, float64(max(0, reference-known.First)))
}

// hashFile adds a path and its object to a hash. It returns the buffer for the next call.
func hashFile(h hash.Hash, buf []byte, e rootfs.Entry) []byte {
	buf = e.AppendPath(append(buf[:0], 0, 0, 0, 0))
	binary.BigEndian.PutUint32(buf, uint32(len(buf)-4))
	buf = append(buf, e.Object[:]...)
	h.Write(buf)
	return buf
}
