package upstream

// Package is what upstream calls a component or an object source: a set of objects that are expected to change together,
// mostly those of a package. The JSON form is upstream's.
type Package struct {
	// ID is unique; for a package it holds the version.
	ID string `json:"identifier"`
	// Name goes into the layer's annotation. It stays the same over versions.
	Name string `json:"name"`
	// Source is the source package. The packing does not read it.
	Source string `json:"srcid"`
	// ChangeTimeOffset is in hours since the oldest package was built. The packing does not read it.
	ChangeTimeOffset uint32 `json:"change_time_offset"`
	// ChangeFrequency only orders packages; [component.AlwaysChanges] is the highest.
	ChangeFrequency uint32 `json:"change_frequency"`
	// Size is that of the package's objects in bytes.
	Size uint64 `json:"size"`
}
