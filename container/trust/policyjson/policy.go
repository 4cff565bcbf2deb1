// Package policyjson reads containers-policy.json(5): what a policy says, from bytes alone. Which scopes an image has
// and whether it fulfils a requirement is left to the packages that judge images: package policy does so with the
// library of the container tools, and package keyed by keys alone.
package policyjson

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrInvalid is wrapped by errors about the content of a policy.
var ErrInvalid = errors.New("invalid policy")

// A Policy is what a policy says.
type Policy struct {
	// Default are the requirements for images that are in no scope. They are never empty.
	Default []Requirement
	// Transports has the requirements of each transport by scope. The scope "" has all images of the transport. No list
	// is empty.
	Transports map[string]map[string][]Requirement
}

// Parse reads a policy. It is strict, as the container tools are: keys that it does not know, keys that are there
// twice and empty lists are errors, which wrap [ErrInvalid] and say where the mistake is.
func Parse(data []byte) (*Policy, error) {
	p, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return p, nil
}

func parse(data []byte) (*Policy, error) {
	v, err := root(data)
	if err != nil {
		return nil, err
	}
	top, err := v.fields("default", "transports")
	if err != nil {
		return nil, err
	}
	p := &Policy{Transports: map[string]map[string][]Requirement{}}
	fallback, ok := top["default"]
	if !ok {
		return nil, v.errorf("%q is missing", "default")
	}
	if p.Default, err = parseRequirements(fallback); err != nil {
		return nil, err
	}
	transports, ok := top["transports"]
	if !ok {
		return p, nil
	}
	all, err := transports.object()
	if err != nil {
		return nil, err
	}
	for _, transport := range slices.Sorted(maps.Keys(all)) {
		scopes, err := all[transport].object()
		if err != nil {
			return nil, err
		}
		lists := map[string][]Requirement{}
		for _, scope := range slices.Sorted(maps.Keys(scopes)) {
			if lists[scope], err = parseRequirements(scopes[scope]); err != nil {
				return nil, err
			}
		}
		p.Transports[transport] = lists
	}
	return p, nil
}

// ParseRequirement reads one requirement.
func ParseRequirement(text []byte) (Requirement, error) {
	v, err := root(text)
	if err != nil {
		return Requirement{}, err
	}
	return parseRequirement(v)
}
