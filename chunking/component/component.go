// Package component finds the components of a root filesystem: which files belong together because they come from one
// source package, one language package, one rule of the user, and how often each of them changes.
//
// [Detect] runs the detectors in the order of their priority; each claims files, and what nobody claims goes to a
// remainder by top directory. The databases of package managers are read by the packages below this one. All of it is
// hostile until checked: a database that is broken is a warning and its files fall to the remainder.
//
// What comes out says nothing of layers; package chunking arranges it in layers.
package component

import (
	"math"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Component is a set of files that are expected to change together.
type Component struct {
	// ID names the component in every build, without version and architecture: "rpm/systemd", "deb/openssl",
	// "apk/busybox", "alpm/glibc", "user/NAME", "python/requests", "sys/initramfs", "file/opt/model.bin".
	ID string
	// Packages are the names that go into the layer's annotation "ostree.components": the installed packages of a source,
	// sorted; the ID's last part where there are none.
	Packages []string
	// Changes are the distinct days on which the component is known to have changed, as days since 1970-01-01 UTC, in
	// ascending order. They come from changelogs.
	Changes []int64
	// Built is the newest build or install date, zero if it is not known.
	Built time.Time
	// Interval is how many days pass between two changes, as the user said; 0 if nobody said.
	Interval float64
	// Probability is the chance to change in one update, as the user said; nil if nobody said.
	Probability *float64
	// Frequency is upstream's relative number of changes, from content metadata; 0 if not known, [AlwaysChanges] for what
	// changes with every build.
	Frequency uint32
	// Exclusive asks for a layer that holds nothing else.
	Exclusive bool
}

// AlwaysChanges is the frequency of what changes with every build.
const AlwaysChanges = math.MaxUint32

// Claim says which component an entry of the tree belongs to. There is one for each of up to millions of entries.
type Claim struct {
	// Component is an index of [Set.Components], or -1 for directories.
	Component int32
	// Reason is an index of [Set.Reasons].
	Reason int32
	// With is the index of the entry that the owner was found by, such as the source of a compiled file, or 0.
	With int32
}

// Reason says why an entry belongs to a component.
type Reason struct {
	// Detector is what found the owner: "rule", "xattr", "rpm", "deb", "apk", "alpm", "opkg", "chisel", "nix", "guix",
	// "brew", "snap", "flatpak", "nuget", "conda", "python", "node", "ruby", "jar", "go", "rust", "system", "big-file", "remainder".
	Detector string
	// Text is what a person is told: the package that lists the path, the rule's name. The path of [Claim.With] follows it.
	Text string
}

// Set is what was found in a tree.
type Set struct {
	// Components are sorted by ID; each has at least one file.
	Components []Component
	// Claims has one element for each entry of the tree.
	Claims []Claim
	// Reasons of claims. The first is that of directories: none.
	Reasons []Reason
	// Reference is the newest date that the databases know, the time at which histories end. It is zero if they know none.
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

// IDs of components that every system has and that packers treat specially.
const (
	// PackageDatabase is what the package managers write about themselves. It changes with every update.
	PackageDatabase = "sys/pkgdb"
	// Initramfs is the initial RAM disk of all kernels.
	Initramfs = "sys/initramfs"
	// Volatile is what should not be in an image and differs in each.
	Volatile = "sys/volatile"
)

// Names of detectors. Those of package managers are their names.
const (
	detectorRule      = "rule"
	detectorXattr     = "xattr"
	detectorSystem    = "system"
	detectorBigFile   = "big-file"
	detectorRemainder = "remainder"
)

// Fallbacks are the detectors that find something in any tree.
var Fallbacks = []string{detectorSystem, detectorBigFile, detectorRemainder}
