package request

import (
	"maps"
	"slices"
	"strings"
)

// Changes are changes of the labels or the annotations of an image.
type Changes struct {
	// Clear removes all that the image would inherit, and Remove some of them, sorted.
	Clear  bool
	Remove []string
	// Set are those that are added. They replace others.
	Set map[string]string
}

// ParseChanges reads changes in their order: KEY=VALUE sets a label, KEY- removes one, and - removes all, those that
// were set before included. name is the option that they are the values of, for the [*Error].
func ParseChanges(name string, changes []string) (c Changes, err error) {
	removed := map[string]bool{}
	for _, change := range changes {
		key, value, sets := strings.Cut(change, "=")
		bare, removes := strings.CutSuffix(change, "-")
		switch {
		case sets && key != "":
			if c.Set == nil {
				c.Set = map[string]string{}
			}
			c.Set[key] = value
			delete(removed, key)
		case sets || !removes:
			return Changes{}, &Error{Options: []string{name}, Value: &change,
				Why: "give KEY=VALUE, KEY- to remove one, or - to remove all"}
		case bare == "":
			c = Changes{Clear: true}
			clear(removed)
		default:
			delete(c.Set, bare)
			removed[bare] = true
		}
	}
	if !c.Clear {
		c.Remove = slices.Sorted(maps.Keys(removed))
	}
	return c, nil
}

// Apply returns what was inherited with the changes.
func (c *Changes) Apply(inherited map[string]string) map[string]string {
	out := map[string]string{}
	if !c.Clear {
		maps.Copy(out, inherited)
	}
	for _, key := range c.Remove {
		delete(out, key)
	}
	maps.Copy(out, c.Set)
	return out
}
