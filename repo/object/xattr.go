package object

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// NewXattrs converts a list to the form in which it is hashed. It sorts the list by name and keeps the last of several
// values of a name. It drops empty values, which a repository of mode bare cannot store.
func NewXattrs(list []Xattr) Xattrs {
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b Xattr) int { return cmp.Compare(a.Name, b.Name) })
	out := sorted[:0]
	for i, x := range sorted {
		if i+1 < len(sorted) && sorted[i+1].Name == x.Name || len(x.Value) == 0 {
			continue
		}
		out = append(out, x)
	}
	if len(out) == 0 {
		return nil
	}
	return Xattrs(out)
}

// Get returns the value of a name.
func (x Xattrs) Get(name string) ([]byte, bool) {
	for _, a := range x {
		if a.Name == name {
			return a.Value, true
		}
	}
	return nil, false
}

// Validate returns an error that wraps [ErrNotNormal] if the list is not in the form in which it is hashed.
func (x Xattrs) Validate() error {
	for i, a := range x {
		if a.Name == "" || strings.Contains(a.Name, "\x00") {
			return fmt.Errorf("%w: xattr name %q", ErrNotNormal, a.Name)
		}
		if i > 0 && x[i-1].Name >= a.Name {
			return fmt.Errorf("%w: xattrs %q and %q are not in order", ErrNotNormal, x[i-1].Name, a.Name)
		}
	}
	return nil
}

// EncodeXattrs returns the serialised a(ayay).
func EncodeXattrs(x Xattrs) []byte { return appendXattrs(nil, x) }

func appendXattrs(b []byte, x Xattrs) []byte {
	base := len(b)
	ends := make([]int, 0, len(x))
	for _, a := range x {
		start := len(b)
		b = append(append(b, a.Name...), 0)
		nameEnd := len(b) - start
		b = append(b, a.Value...)
		b = gvariant.AppendOffsets(b, len(b)-start, nameEnd)
		ends = append(ends, len(b)-base)
	}
	if len(x) == 0 {
		return b
	}
	return gvariant.AppendOffsets(b, len(b)-base, ends...)
}

// ParseXattrs parses a serialised a(ayay). If it is not in normal form or not sorted, the error wraps [ErrNotNormal].
func ParseXattrs(data []byte) (Xattrs, error) {
	x, err := parseXattrsLoose(data)
	if err != nil {
		return nil, err
	}
	if err := x.Validate(); err != nil {
		return nil, err
	}
	if !bytes.Equal(EncodeXattrs(x), data) {
		return nil, fmt.Errorf("%w: xattrs", ErrNotNormal)
	}
	return x, nil
}

// ParseXattrsLoose also accepts what old writers stored: any order, and names without their NUL. The result is sorted.
// Empty values stay, since they are part of what is hashed.
func ParseXattrsLoose(data []byte) (Xattrs, error) {
	list, err := parseXattrsLoose(data)
	if err != nil {
		return nil, err
	}
	return sortXattrs(list), nil
}

// sortXattrs sorts stored xattrs into the order in which they are hashed.
func sortXattrs(list Xattrs) Xattrs {
	slices.SortStableFunc(list, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func parseXattrsLoose(data []byte) (Xattrs, error) {
	if len(data) == 0 {
		return nil, nil
	}
	v, err := gvariant.New("a(ayay)", data)
	if err != nil {
		return nil, err
	}
	x := make(Xattrs, 0, min(v.Len(), 64))
	for e, err := range v.Elements() {
		if err != nil {
			return nil, fmt.Errorf("xattrs: %w", err)
		}
		name, err := byteMember(e, 0)
		if err != nil {
			return nil, fmt.Errorf("xattrs: %w", err)
		}
		value, err := byteMember(e, 1)
		if err != nil {
			return nil, fmt.Errorf("xattrs: %w", err)
		}
		x = append(x, Xattr{Name: string(bytes.TrimSuffix(name, []byte{0})), Value: bytes.Clone(value)})
	}
	return x, nil
}

// byteMember returns member i of a tuple, which must be of type ay.
func byteMember(v gvariant.Value, i int) ([]byte, error) {
	m, err := v.Index(i)
	if err != nil {
		return nil, err
	}
	return m.ByteArray()
}
