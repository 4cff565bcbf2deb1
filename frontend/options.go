package frontend

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

const (
	// argPrefix is the prefix of build arguments that are options.
	argPrefix = "OSTREE_EXT_"
	// optPrefix is the prefix of our options among those that a client passes on. It is optional.
	optPrefix = "ostree-ext:"

	keyBuildArg = "build-arg:"
	keyCmdline  = "cmdline"
)

// ParseOptions returns our options among those of a build. They are on the syntax line, among the options of the
// client, and among the build arguments; later ones in this list win. The error wraps [request.ErrOption] and lists the
// valid names or values.
func ParseOptions(all map[string]string) (request.Options, error) {
	var o request.Options
	words := strings.Fields(all[keyCmdline])
	for _, word := range words[min(1, len(words)):] {
		name, value, found := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		if !found {
			value = "true"
		}
		if err := o.Set(name, value); err != nil {
			return o, fmt.Errorf("syntax line: %w", err)
		}
	}
	known := request.Names()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		name, ours := strings.CutPrefix(key, optPrefix)
		if !ours && !slices.Contains(known, name) {
			if slices.ContainsFunc(known, func(k string) bool { return isSlip(name, k) }) {
				return o, o.Set(name, all[key])
			}
			continue
		}
		if err := o.Set(name, all[key]); err != nil {
			return o, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		arg, isArg := strings.CutPrefix(key, keyBuildArg)
		name, ours := strings.CutPrefix(arg, argPrefix)
		// Ignore empty arguments, which scripts use for unset options.
		if !isArg || !ours || all[key] == "" {
			continue
		}
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if err := o.Set(name, all[key]); err != nil {
			return o, fmt.Errorf("build argument %s: %w", arg, err)
		}
	}
	in := request.Image
	if o.Ref != "" {
		in = request.Commit
	}
	return o, o.Check(request.Frontend, in)
}

// isSlip reports whether a name is one of ours with a letter missing, added or changed. Other unknown names are options
// of BuildKit's own frontend, which are passed in the same map.
func isSlip(name, ours string) bool {
	if len(name) > len(ours) {
		name, ours = ours, name
	}
	if len(ours)-len(name) > 1 || len(ours) < 5 {
		return false
	}
	same := 0
	for same < len(name) && name[same] == ours[same] {
		same++
	}
	rest := name[same:]
	if len(name) == len(ours) {
		rest = rest[min(1, len(rest)):]
	}
	return rest == ours[min(same+1, len(ours)):]
}
