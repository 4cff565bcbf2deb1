package keyed

// Scopes is scopes.
var Scopes = scopes

// Recorded is what judges the promise of a log.
var Recorded = recorded
