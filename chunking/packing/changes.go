package packing

import (
	"fmt"
	"math"
	"slices"
)

// Changes says how often an item's content changes. The zero value means never.
type Changes struct {
	perUpdate float64
	perDay    float64
	days      []int
	known     bool // days is a history, possibly an empty one
}

// PerUpdate is an item that changes with probability p in one update, from 0 to 1, independent of all others.
func PerUpdate(p float64) Changes { return Changes{perUpdate: p} }

// PerDay is an item that changes rate times a day on average, independent of all others.
func PerDay(rate float64) Changes { return Changes{perDay: rate} }

// History is an item that changes rate times a day on average and did so on the given days, counted back from the
// reference time: 0 is its last day. Days outside Params.Window are ignored. Items with a history that changed on the
// same days are expected to do so again.
func History(rate float64, days []int) Changes {
	return Changes{perDay: rate, days: slices.Clone(days), known: true}
}

// RateOfDays estimates the changes a day from the number of days with a change in a window, given in days.
func RateOfDays(days, window int) float64 {
	return (float64(days) + eventPrior) / float64(window)
}

// RateLearned estimates the changes a day from successive builds, for items without another record, given the number of
// changes seen and the days of exposure.
func RateLearned(changes int, exposure float64) float64 {
	const unseen = 180 // days after which one change is expected of something never seen
	return (float64(changes) + 1) / (exposure + unseen)
}

// eventPrior is the fraction of a change that is added to the record of every item.
const eventPrior = 0.5

func (c Changes) validate() error {
	if math.IsNaN(c.perUpdate) || c.perUpdate < 0 || c.perUpdate > 1 {
		return fmt.Errorf("probability %v is not between 0 and 1", c.perUpdate)
	}
	if math.IsNaN(c.perDay) || c.perDay < 0 {
		return fmt.Errorf("rate of %v changes a day is below 0", c.perDay)
	}
	return nil
}
