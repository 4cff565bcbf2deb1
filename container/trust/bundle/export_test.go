package bundle

import (
	"context"
	"net/http"
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

// NextQuery returns the query of the next page.
func NextQuery(link, host, path string) (query string, more bool, err error) {
	return nextQuery(http.Header{"Link": {link}}, host, path)
}
