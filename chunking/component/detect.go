package component

import (
	"context"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Rule is a rule of the user.
type Rule struct{}

// Options says how components are found.
type Options struct {
	// Rules go before everything else; the first that matches counts.
	Rules []Rule
	// Strict makes a broken package database an error.
	Strict bool
}

// ParseRules reads a mapping file.
func ParseRules(data []byte) ([]Rule, error) { return nil, nil }

// Detect finds the components of a tree.
func Detect(ctx context.Context, tree rootfs.Tree, opts Options) (*Set, error) {
	set := &Set{}
	entries := tree.Entries()
	index := map[string]int{}
	top := func(p string) string {
		name, _, _ := strings.Cut(p[1:], "/")
		return "file/" + name
	}
	for i := range entries {
		if id := top(entries[i].Path); !entries[i].IsDir() {
			if _, ok := index[id]; !ok {
				index[id] = 0
				set.Components = append(set.Components, Component{ID: id, Packages: []string{id[5:]}})
			}
		}
	}
	slices.SortFunc(set.Components, func(a, b Component) int { return strings.Compare(a.ID, b.ID) })
	for i, c := range set.Components {
		index[c.ID] = i
	}
	for i := range entries {
		c := Claim{Component: -1}
		if !entries[i].IsDir() {
			c = Claim{Component: index[top(entries[i].Path)], Detector: DetectorRemainder, Reason: "nothing else claims it"}
		}
		set.Claims = append(set.Claims, c)
	}
	return set, ctx.Err()
}
