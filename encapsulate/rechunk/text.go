package rechunk

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// Inputs say how to describe an image.
type Inputs struct {
	// Version is the template of the version; see [Version]. It may be empty.
	Version string
	// Pretty, Changelog and the values of Labels are texts with placeholders.
	Pretty, Changelog string
	Labels            map[string]string
	// Revision is the commit of the sources, or empty.
	Revision string
	// Formatters are the forms of lists, by name. Those that are missing have a default.
	Formatters map[string]string
	Now        time.Time
	// Packages are those of the image.
	Packages Packages
	// Previous is the image that hosts have now, or nil.
	Previous *Previous
	// Commits are those of the sources since the previous image.
	Commits []Commit
}

// Description describes an image.
type Description struct {
	// Version is empty if none was asked for.
	Version string
	// Labels are for the configuration and the annotations. Info is the value of [LabelInfo], which is only for the
	// configuration, since it is long.
	Labels    map[string]string
	Info      string
	Changelog string
	// Warnings are about placeholders that stand for nothing.
	Warnings []string
}

// defaults are the formatters that need not be given.
var defaults = map[string]string{
	"commits.none":   "-\n",
	"commits.commit": "- **<short>** <subject>\n",
	"pkgupd.none":    "-\n",
	"pkgupd.update":  " - **<package>**: <old> → <new>\n",
	"pkgupd.add":     " - **<package>**: x → <new>\n",
	"pkgupd.remove":  " - **<package>**: <old> → x\n",
}

// ParseFormatter reads NAME=FORMAT, in which \n, \t and \r stand for these characters.
func ParseFormatter(s string) (name, format string, err error) {
	name, format, ok := strings.Cut(s, "=")
	if _, known := defaults[name]; !ok || !known {
		return "", "", fmt.Errorf("%q is not NAME=FORMAT with one of the names %s", s,
			strings.Join(slices.Sorted(maps.Keys(defaults)), ", "))
	}
	return name, strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r").Replace(format), nil
}

// Describe describes an image.
func Describe(in Inputs) (*Description, error) {
	d := &Description{Labels: map[string]string{}}
	if in.Version != "" {
		d.Version = Version(in.Version, in.Now, in.Previous)
		d.Labels[LabelVersion] = d.Version
	}
	if in.Revision != "" {
		d.Labels[LabelRevision] = in.Revision
	}
	var err error
	if d.Info, err = encodeInfo(d.Version, in.Revision, in.Packages); err != nil {
		return nil, err
	}
	w := &writer{in: in, d: d, values: map[string]string{
		"date": in.Now.UTC().Format(dateForm), "timestamp": in.Now.UTC().Format(timestampForm), "imginfo": d.Info,
		"commits": in.commits(), "pkgupd": in.updates(),
	}}
	w.set("version", d.Version)
	if in.Previous != nil {
		w.set("previous", in.Previous.Version)
	}
	w.set("pretty", w.fill("pretty", in.Pretty))
	d.Changelog = w.text("the changelog", "<changelog>")
	for _, name := range slices.Sorted(maps.Keys(in.Labels)) {
		d.Labels[name] = w.text("the label "+name, in.Labels[name])
	}
	return d, nil
}

// writer fills in texts.
type writer struct {
	in     Inputs
	d      *Description
	values map[string]string
}

func (w *writer) set(name, value string) {
	if value != "" {
		w.values[name] = value
	}
}

// text returns a text with the changelog and everything else filled in.
func (w *writer) text(what, template string) string {
	return w.fill(what, strings.ReplaceAll(template, "<changelog>", w.in.Changelog))
}

var placeholder = regexp.MustCompile(`<(?:(version|relver):([^<>\s]+)|([a-z]+))>`)

// fill replaces the placeholders of a text. What it puts in is not looked at again, and what it does not know stays.
func (w *writer) fill(what, text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		m := placeholder.FindStringSubmatch(found)
		if m[1] == "" {
			if v, ok := w.values[m[3]]; ok {
				return v
			}
			return found
		}
		whole, ok := w.in.Packages[m[2]]
		switch proper, _ := split(whole); {
		case !ok || proper == "":
			w.d.Warnings = append(w.d.Warnings, fmt.Sprintf("%s has %s, and no package of that name is installed", what, found))
			return found
		case m[1] == "version":
			return proper
		}
		return whole
	})
}

func (in Inputs) format(name string) string {
	if f, ok := in.Formatters[name]; ok {
		return f
	}
	return defaults[name]
}

func (in Inputs) commits() string {
	var b strings.Builder
	for _, c := range in.Commits {
		b.WriteString(strings.NewReplacer("<short>", c.Short, "<hash>", c.Hash, "<subject>", printable.Line(c.Subject)).
			Replace(in.format("commits.commit")))
	}
	if b.Len() == 0 {
		return in.format("commits.none")
	}
	return b.String()
}

// updates returns the packages that were added, updated and removed, in this order, each sorted by name. The release is
// given only if nothing else differs.
func (in Inputs) updates() string {
	if in.Previous == nil || len(in.Previous.Packages) == 0 || len(in.Packages) == 0 {
		return in.format("pkgupd.none")
	}
	old := in.Previous.Packages
	var added, updated, removed strings.Builder
	write := func(to *strings.Builder, form, name, before, after string) {
		to.WriteString(strings.NewReplacer("<package>", name, "<old>", before, "<new>", after).Replace(in.format(form)))
	}
	for _, name := range slices.Sorted(maps.Keys(in.Packages)) {
		after, release := split(in.Packages[name])
		was, ok := old[name]
		if !ok {
			write(&added, "pkgupd.add", name, "", after)
			continue
		}
		before, oldRelease := split(was)
		switch {
		case before != after:
			write(&updated, "pkgupd.update", name, before, after)
		case oldRelease != "" && oldRelease != release:
			write(&updated, "pkgupd.update", name, was, in.Packages[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, ok := in.Packages[name]; !ok {
			before, _ := split(old[name])
			write(&removed, "pkgupd.remove", name, before, "")
		}
	}
	if s := added.String() + updated.String() + removed.String(); s != "" {
		return s
	}
	return in.format("pkgupd.none")
}
