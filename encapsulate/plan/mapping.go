package plan

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// mappedSet returns the components that a mapping lists by object.
func mappedSet(tree rootfs.Tree, m *upstream.Mapping) (*component.Set, error) {
	set := &component.Set{}
	index := map[string]int32{}
	add := func(c component.Component) {
		if _, ok := index[c.ID]; !ok {
			index[c.ID] = 0
			set.Components = append(set.Components, c)
		}
	}
	for _, c := range m.Packages {
		_, exclusive := m.Exclusive[c.ID]
		// The ID contains a version, the name does not.
		add(component.Component{ID: c.Name, Packages: []string{c.Name}, Frequency: c.ChangeFrequency, Exclusive: exclusive})
	}
	for id := range m.Exclusive {
		add(component.Component{ID: id, Packages: []string{id}, Exclusive: true})
	}
	slices.SortFunc(set.Components, func(a, b component.Component) int { return cmp.Compare(a.ID, b.ID) })
	for i, c := range set.Components {
		index[c.ID] = int32(i)
	}
	names := map[string]string{}
	for _, c := range m.Packages {
		names[c.ID] = c.Name
	}
	owner := map[object.Checksum]int32{}
	for _, o := range m.Objects {
		name, ok := names[o.Package]
		if !ok {
			return nil, fmt.Errorf("%w: %s", upstream.ErrUnknownPackage, o.Package)
		}
		owner[o.Object] = index[name]
	}
	exclusive := map[string]int32{}
	for id, paths := range m.Exclusive {
		for _, p := range paths {
			exclusive[p.Path] = index[id]
		}
	}
	set.Reasons = []component.Reason{{Detector: "contentmeta"}}
	for _, e := range tree.Entries().All() {
		claim := component.Claim{Component: -1}
		if !e.IsDir() {
			c, ok := exclusive[e.Path()]
			if !ok {
				c, ok = owner[e.Object]
			}
			if !ok {
				return nil, fmt.Errorf("%w: %s, at %s", upstream.ErrUnmapped, e.Object, e.Path())
			}
			claim.Component = c
		}
		set.Claims = append(set.Claims, claim)
	}
	return set, nil
}

// upstreamMapping converts the components of a tree into upstream's form. All paths of an object with several owners
// go to one of them.
func upstreamMapping(tree rootfs.Tree, set *component.Set) *upstream.Mapping {
	m := &upstream.Mapping{}
	owner, sizes := map[object.Checksum]int32{}, map[int32]uint64{}
	size := map[object.Checksum]int64{}
	for i, e := range tree.Entries().All() {
		c := set.Claims[i].Component
		if c < 0 {
			continue
		}
		size[e.Object] = e.Size
		if old, ok := owner[e.Object]; !ok || c < old {
			owner[e.Object] = c
		}
	}
	objects := slices.SortedFunc(maps.Keys(owner), object.Checksum.Compare)
	for _, o := range objects {
		c := owner[o]
		sizes[c] += uint64(size[o])
		m.Objects = append(m.Objects, upstream.Assignment{Object: o, Package: set.Components[c].ID})
	}
	for i, c := range set.Components {
		if _, ok := sizes[int32(i)]; ok {
			m.Packages = append(m.Packages, upstream.Package{
				ID: c.ID, Name: c.ID, Source: c.ID, ChangeFrequency: frequency(&c), Size: sizes[int32(i)],
			})
		}
	}
	slices.SortStableFunc(m.Packages, func(a, b upstream.Package) int { return cmp.Compare(b.Size, a.Size) })
	return m
}

// frequency returns the number of changes as upstream counts them: the entries of a changelog. A component without
// packages always changes.
func frequency(c *component.Component) uint32 {
	switch {
	case c.Frequency > 0:
		return c.Frequency
	case c.ID == component.PackageDatabase, c.ID == component.Initramfs, c.ID == component.Volatile:
		return component.AlwaysChanges
	}
	return uint32(len(c.Changes))
}

// UseContentMeta sets the options from content metadata. The form of upstream's command line lists layers: its labels
// and time replace those of the options, and it selects upstream's packing unless a packing was chosen. The form of
// upstream's library lists components. The error wraps [upstream.ErrContentMeta].
func (o *Options) UseContentMeta(ctx context.Context, src repo.Source, data []byte, packingChosen bool) error {
	var form struct{ Version, Map json.RawMessage }
	if json.Unmarshal(data, &form) == nil && form.Version == nil && form.Map != nil {
		m, err := upstream.ParseLibraryContentMeta(data)
		if err != nil {
			return err
		}
		o.Mapping = m
		return m.Measure(ctx, src)
	}
	meta, err := upstream.ParseContentMeta(data)
	if err != nil {
		return err
	}
	o.Mapping = &meta.Mapping
	if meta.Created != nil {
		o.Image.Created = meta.Created
	}
	labels := maps.Clone(o.Image.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, meta.Labels)
	o.Image.Labels = labels
	if !packingChosen {
		o.Packing = PackUpstream
	}
	return nil
}
