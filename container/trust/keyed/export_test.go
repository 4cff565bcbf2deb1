package keyed

// Recorded is what judges the promise of a log.
var Recorded = recorded
