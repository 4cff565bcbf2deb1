package bundle

import (
	"context"
	"time"
)

// Limits of a search.
const (
	MaxManifests = maxManifests
	MaxBundles   = maxBundles
	MaxPages     = maxPages
	MaxListed    = maxListed
)

// SetPace has a search wait for servers in another way.
func (s *Search) SetPace(stall time.Duration, sleep func(context.Context, time.Duration) error) {
	s.pace.sleep = sleep
	if stall > 0 {
		s.pace.stall = stall
	}
}
