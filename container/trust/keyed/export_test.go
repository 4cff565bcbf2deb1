package keyed

// Scopes is scopes.
var Scopes = scopes
