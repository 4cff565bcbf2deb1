package upstream

// Package is a set of objects that are expected to change together, usually the objects of an installed package.
// Upstream calls it a component or an object source. The JSON form is upstream's.
type Package struct {
	// ID is unique. For an installed package it contains the version.
	ID string `json:"identifier"`
	// Name goes into the layer's annotation. It is the same for all versions.
	Name string `json:"name"`
	// Source is the source package. The packing does not read it.
	Source string `json:"srcid"`
	// ChangeTimeOffset is the time of the build, in hours after the build of the oldest package. The packing does not
	// read it.
	ChangeTimeOffset uint32 `json:"change_time_offset"`
	// ChangeFrequency is used only to sort packages. [component.AlwaysChanges] is the highest.
	ChangeFrequency uint32 `json:"change_frequency"`
	// Size is the size of the package's objects in bytes.
	Size uint64 `json:"size"`
}
