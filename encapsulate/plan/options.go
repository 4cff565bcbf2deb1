// Package plan makes images whose layers follow the content: of a commit, or of a root filesystem. It is where
// finding components, packing them, remembering the image before, and writing layers come together; the command line
// and the BuildKit frontend call it with the same options, and so give the same images.
//
// A build has two steps. [Commit] and [Tree] make a [Plan], which reads trees and metadata and can be shown to a person;
// [Plan.Image] makes the image of it.
package plan

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// DefaultMaxLayers is the limit on all layers of an image, which leaves some for images on top under Docker's limit of 125.
const DefaultMaxLayers = 100

// MaxLayersLimit is the largest limit that makes sense: containers' storage has no more.
const MaxLayersLimit = 499

// Packing is how components are distributed over layers.
type Packing uint8

const (
	// PackCost makes the expected download of updates small.
	PackCost Packing = iota
	// PackUpstream makes the bins and layers of upstream's ostree-ext.
	PackUpstream
)

// ParsePacking reads "cost" or "upstream".
func ParsePacking(s string) (Packing, error) {
	switch s {
	case "cost":
		return PackCost, nil
	case "upstream":
		return PackUpstream, nil
	}
	return 0, fmt.Errorf("unknown packing %q: use cost or upstream", s)
}

// ParseRebalance reads "never", "auto" or "always".
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
	// Image is what the image is to be beside its layers. Its Split, Prior and ConfigLabels are set by this package.
	Image encapsulate.Options
	// SingleLayer asks for one layer.
	SingleLayer bool
	// MaxLayers is the limit on all layers, or for upstream's packing on those besides the first. 0 means the default of
	// the packing.
	MaxLayers int
	Packing   Packing
	// UpdateInterval is how many days pass between two updates of a host, 0 if that is not known.
	UpdateInterval int
	Rebalance      packing.Rebalance
	// Components says how components are found.
	Components component.Options
	// Mapping unless nil says which object belongs to which component, so that none has to be found. It counts for commits
	// only.
	Mapping *upstream.Mapping
	// Prior is the image that hosts have now, or nil. What it says of itself decides which components share a layer, and so
	// how much an update downloads; a layer is taken over only where it is what would be made.
	Prior *oci.Image
	// HeldElsewhere takes over layers of the prior image also if they are not at hand, because whoever gets the image has
	// them. There is no blob of such a layer, and no manifest of the image.
	HeldElsewhere bool
}

// ErrLayers says that a limit on layers makes no sense.
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

// intervals are the names of spans of days.
var intervals = map[string]int{"daily": 1, "weekly": 7, "biweekly": 14, "monthly": 30, "quarterly": 90, "yearly": 365}

// ParseInterval reads a span of days: "7", "7d", "2w", or one of daily, weekly, biweekly, monthly, quarterly and yearly.
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
		return 0, fmt.Errorf("invalid interval %q: give days (7, 7d), weeks (2w), or daily, weekly, biweekly, monthly, quarterly or yearly", s)
	}
	return n * unit, nil
}
