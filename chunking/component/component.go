// Package component finds the components of a root filesystem: which files belong together because they come from one
// source package, one language package, one rule of the user, and how often each of them changes.
//
// [Detect] runs the detectors in the order of their priority. Each detector claims files. Files that none claims are
// grouped by directory. The packages below this one read the databases of package managers. The tree is not trusted: a
// broken database causes a warning, and the files that it cannot assign are grouped by directory.
//
// The result does not mention layers; package chunking arranges it in layers.
package component

import (
	"math"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Component is a set of files that are expected to change together.
type Component struct {
	// ID names the component in every build, without version and architecture: "rpm/systemd", "deb/openssl",
	// "apk/busybox", "alpm/glibc", "portage/dev-lang/python:3.12", "user/NAME", "python/requests", "sys/initramfs",
	// "file/opt/model.bin".
	ID string
	// Packages are the names for the layer's annotation "ostree.components": the installed packages of a source, sorted,
	// or the last part of the ID if there are none.
	Packages []string
	// Changes are the distinct days on which the component is known to have changed, as days since 1970-01-01 UTC, in
	// ascending order. They come from changelogs.
	Changes []int64
	// Built is the newest build or install date. It is zero if it is not known.
	Built time.Time
	// Interval is the number of days between two changes that the user gave, or 0.
	Interval float64
	// Probability is the chance to change in one update that the user gave, or nil.
	Probability *float64
	// Frequency is upstream's relative number of changes, from content metadata. It is 0 if it is not known, and
	// [AlwaysChanges] for content that changes with every build.
	Frequency uint32
	// Exclusive asks for a layer that holds nothing else.
	Exclusive bool
}

// AlwaysChanges is the frequency of content that changes with every build.
const AlwaysChanges = math.MaxUint32

// Claim says which component an entry of the tree belongs to. A Set has one for each entry, up to millions.
type Claim struct {
	// Component is an index of [Set.Components], or -1 for directories.
	Component int32
	// Reason is an index of [Set.Reasons].
	Reason int32
	// With is the index of the entry through which the owner was found, such as the source of a compiled file, or 0.
	With int32
}

// Reason says why an entry belongs to a component.
type Reason struct {
	// Detector is what found the owner: "rule", "xattr", "rpm", "deb", "apk", "alpm", "portage", "opkg", "chisel", "nix",
	// "guix", "brew", "snap", "flatpak", "nuget", "conda", "python", "ruby", "composer", "r", "node", "dotnet", "jar",
	// "go", "rust", "system", "big-file" or "remainder".
	Detector string
	// Text explains the reason to the user, such as the package that lists the path, or the rule's name. [Set.Explain]
	// appends the path of [Claim.With].
	Text string
}

// Set holds the components of a tree.
type Set struct {
	// Components is sorted by ID. Each component has at least one file.
	Components []Component
	// Claims has one element for each entry of the tree.
	Claims []Claim
	// Reasons are the reasons of claims. The first one, for directories, is empty.
	Reasons []Reason
	// Installed are the packages that the databases list, as [Packages] returns them.
	Installed []Installed
	// Reference is the newest date in the databases, at which histories end. It is zero if there is none.
	Reference time.Time
	// Warnings are for the user, in a fixed order.
	Warnings []string
}

// Explain says why an entry of the tree belongs to its component.
func (s *Set) Explain(entries *rootfs.List, i int) Reason {
	c := s.Claims[i]
	r := s.Reasons[c.Reason]
	if c.With > 0 {
		r.Text += entries.At(int(c.With)).Path()
	}
	return r
}

// These are the IDs of components that every system has and that packers treat specially.
const (
	// PackageDatabase is the state of the package managers. It changes with every update.
	PackageDatabase = "sys/pkgdb"
	// Initramfs is the initial RAM disk of all kernels.
	Initramfs = "sys/initramfs"
	// Volatile holds files that should not be in an image and differ in each.
	Volatile = "sys/volatile"
)

// These are the names of detectors. Those of package managers have the name of the package manager.
const (
	detectorRule      = "rule"
	detectorXattr     = "xattr"
	detectorSystem    = "system"
	detectorBigFile   = "big-file"
	detectorRemainder = "remainder"
)

// Fallbacks are the detectors that find files in any tree.
var Fallbacks = []string{detectorSystem, detectorBigFile, detectorRemainder}
