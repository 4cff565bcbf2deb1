package component

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// The xattrs with which the user assigns files to components. Everything below a directory inherits them.
const (
	xattrComponent = "user.component"
	xattrInterval  = "user.update-interval"
)

// directive holds the xattrs that apply to an entry.
type directive struct {
	name     string
	from     string // the path that has the xattr
	interval float64
}

// xattrs claims entries whose xattr, or that of a parent directory, names a component.
func (d *detection) xattrs(context.Context, Options) error {
	inherited, several := map[string]directive{}, map[string]bool{}
	for i, e := range d.entries.All() {
		at := inherited[e.Dir]
		if v, ok := e.Xattrs.Get(xattrComponent); ok {
			if name := strings.TrimRight(string(v), "\x00\n"); validName(name) {
				at.name, at.from = name, e.Path()
			} else {
				d.warnf("%s: the value of %s is not a valid name: %q", e.Path(), xattrComponent, abbreviate(name))
			}
		}
		if v, ok := e.Xattrs.Get(xattrInterval); ok {
			days, err := parseInterval(strings.TrimRight(string(v), "\x00\n"))
			if err != nil {
				d.warnf("%s: %s: %v", e.Path(), xattrInterval, err)
			} else {
				at.interval = days
			}
		}
		if e.IsDir() {
			if at != (directive{}) {
				inherited[e.Path()] = at
			}
			continue
		}
		if at.name != "" && d.claims[i].Component < 0 {
			d.claimDirected(i, at, several)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(several)) {
		d.warnf("component %s has several intervals: the shortest counts", name)
	}
	return nil
}

// claimDirected claims an entry for the component that an xattr names. It adds the name to several if its xattrs have
// different intervals.
func (d *detection) claimDirected(i int, at directive, several map[string]bool) {
	id := "user/" + at.name
	d.claim(i, id, detectorXattr, "xattr "+xattrComponent+" of "+at.from)
	f := d.list[d.byID[id]]
	f.Exclusive = true
	if at.interval == 0 {
		return
	}
	if f.Interval > 0 && f.Interval != at.interval {
		several[at.name] = true
		at.interval = min(at.interval, f.Interval)
	}
	f.Interval = at.interval
}
