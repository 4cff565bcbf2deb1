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
	known     bool // days is a history, which may be empty
}

// PerUpdate returns the changes of an item that changes in one update with probability p, from 0 to 1, independently
// of all other items.
func PerUpdate(p float64) Changes { return Changes{perUpdate: p} }

// PerDay returns the changes of an item that changes rate times a day on average, independently of all other items.
func PerDay(rate float64) Changes { return Changes{perDay: rate} }

// History returns the changes of an item that changes rate times a day on average, and that changed on the given
// days. Days are counted back from the reference time: 0 is the last day before it. Days outside of Params.Window are
// ignored. Items that changed on the same days are expected to do so again.
func History(rate float64, days []int) Changes {
	return Changes{perDay: rate, days: slices.Clone(days), known: true}
}

// RateOfDays estimates the changes per day of an item that changed on the given number of days in a window.
func RateOfDays(days, window int) float64 {
	return (float64(days) + eventPrior) / float64(window)
}

// RateLearned estimates the changes per day of an item from earlier builds, which saw the given number of changes in
// exposure days. It is for items without any other history.
func RateLearned(changes int, exposure float64) float64 {
	const unseen = 180 // days after which one change of a new item is expected
	return (float64(changes) + 1) / (exposure + unseen)
}

// eventPrior is the number of changes that is added to every item's history.
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
