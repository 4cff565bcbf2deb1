// Package plan plans images of commits and of root filesystems whose layers follow the content. It finds components,
// packs them, continues from the prior image, and writes the layers. The command line and the BuildKit frontend both
// use it, and so make the same images from the same options.
//
// A build has two steps. [Commit] or [Tree] reads trees and metadata and returns a [Plan], which can be shown to the
// user. [Plan.Image] makes the image.
package plan

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// DefaultMaxLayers is the default limit on the number of layers of an image. It leaves room under Docker's limit of
// 125 for layers that are added later.
const DefaultMaxLayers = 100

// MaxLayersLimit is the largest limit on the number of layers: containers/storage does not support more.
const MaxLayersLimit = 499

// Packing is a way to distribute components over layers.
type Packing uint8

const (
	// PackCost minimises the expected download of updates.
	PackCost Packing = iota
	// PackUpstream makes the same layers as upstream's ostree-ext.
	PackUpstream
)

// ParsePacking parses "cost" or "upstream".
func ParsePacking(s string) (Packing, error) {
	switch s {
	case "cost":
		return PackCost, nil
	case "upstream":
		return PackUpstream, nil
	}
	return 0, fmt.Errorf("unknown packing %q: use cost or upstream", s)
}

// ParseRebalance parses "never", "auto" or "always".
func ParseRebalance(s string) (packing.Rebalance, error) {
	switch s {
	case "never":
		return packing.RebalanceNever, nil
	case "auto":
		return packing.RebalanceAuto, nil
	case "always":
		return packing.RebalanceAlways, nil
	}
	return 0, fmt.Errorf("unknown rebalance policy %q: use never, auto or always", s)
}

// Options says how to split an image. The zero value splits by cost into at most [DefaultMaxLayers] layers.
type Options struct {
	// Image holds the options that do not concern the split. This package sets its Split and Prior, and adds to its
	// ConfigLabels.
	Image encapsulate.Options
	// SingleLayer puts everything into one layer.
	SingleLayer bool
	// MaxLayers limits the number of layers. With upstream's packing the first layer does not count. 0 means the default
	// of the packing.
	MaxLayers int
	Packing   Packing
	// UpdateInterval is the number of days between two updates of a host, or 0 if it is not known.
	UpdateInterval int
	Rebalance      packing.Rebalance
	// Components says how components are found.
	Components component.Options
	// Mapping says which object belongs to which component. If it is set, no components are searched for. It is used for
	// commits only.
	Mapping *upstream.Mapping
	// Prior is the image that hosts have now, or nil. Its plan affects which components share a layer, and so how much
	// an update downloads. A layer is taken over only if it has the diff-id of the layer that would be made.
	Prior *oci.Image
	// Annotate returns annotations for a layer of a root filesystem that follows components. It may be nil.
	Annotate func(*chunking.ArrangedLayer) map[string]string
	// KeepUnreadable takes over layers of the prior image even if they cannot be read, because the receiver of the image
	// has them. Such a layer has no blob, and the image has no manifest.
	KeepUnreadable bool
}

// ErrLayers is wrapped by errors about an invalid limit on the number of layers.
var ErrLayers = errors.New("invalid number of layers")

func (o *Options) maxLayers() (int, error) {
	switch {
	case o.MaxLayers == 0:
		return DefaultMaxLayers, nil
	case o.MaxLayers < 2 || o.MaxLayers > MaxLayersLimit:
		return 0, fmt.Errorf("%w: %d: give 2 to %d, or ask for a single layer", ErrLayers, o.MaxLayers, MaxLayersLimit)
	}
	return o.MaxLayers, nil
}

// intervals maps names of intervals to days.
var intervals = map[string]int{"daily": 1, "weekly": 7, "biweekly": 14, "monthly": 30, "quarterly": 90, "yearly": 365}

// ParseInterval parses an interval and returns it in days. It accepts "7", "7d", "2w", daily, weekly, biweekly,
// monthly, quarterly and yearly.
func ParseInterval(s string) (days int, err error) {
	if days, ok := intervals[s]; ok {
		return days, nil
	}
	number, unit := s, 1
	if n, ok := strings.CutSuffix(s, "w"); ok {
		number, unit = n, 7
	} else if n, ok := strings.CutSuffix(s, "d"); ok {
		number = n
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 3650 {
		return 0, fmt.Errorf("invalid interval %q: "+
			"give days (7, 7d), weeks (2w), or daily, weekly, biweekly, monthly, quarterly or yearly", s)
	}
	return n * unit, nil
}
