package chunking

import "math"

// Component is a set of objects that are expected to change together. The JSON form is upstream's.
type Component struct {
	// ID is unique; for a package it holds the version.
	ID string `json:"identifier"`
	// Name goes into the layer's annotation. It stays the same over versions.
	Name string `json:"name"`
	// Source is the source package. The packing does not read it.
	Source string `json:"srcid"`
	// ChangeTimeOffset is in hours since the oldest component was built. The packing does not read it.
	ChangeTimeOffset uint32 `json:"change_time_offset"`
	// ChangeFrequency only orders components; [AlwaysChanges] is the highest.
	ChangeFrequency uint32 `json:"change_frequency"`
	// Size is that of the component's objects in bytes.
	Size uint64 `json:"size"`
}

// AlwaysChanges is the frequency of components that change with every build. They share one layer.
const AlwaysChanges = math.MaxUint32
