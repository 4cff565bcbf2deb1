package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// WriteTable writes a line for each layer and a summary.
func (r *Layers) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "layer\tsize\tchanges\t  components")
	var total uint64
	for i, l := range r.Layers {
		total += l.Bytes
		fmt.Fprintf(t, "%d\t%s\t%s\t  %s\n", i+1, formatSize(l.Bytes), l.chance(), l.summary(6))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s, %s\n", sizes.Count(len(r.Layers), "layer"), formatSize(total))
	if err != nil || r.Bound == 0 {
		return err
	}
	_, err = fmt.Fprintf(w, "expected download of an update: %s; with a layer for each component: %s (%.3f times that)\n",
		formatSize(uint64(r.Expected)), formatSize(uint64(r.Bound)), r.Expected/r.Bound)
	return err
}

func (l *Layer) chance() string {
	switch {
	case l.Kept:
		return "kept"
	case l.Probability == 0:
		return "-"
	}
	return percent(l.Probability)
}

// summary names the components, at most n of them.
func (l *Layer) summary(n int) string {
	switch {
	case l.First:
		return "(the commit or the directories)"
	case len(l.Components) > n:
		return fmt.Sprintf("%s and %d more", printable.Line(strings.Join(l.Components[:n], ", ")), len(l.Components)-n)
	}
	return printable.Line(strings.Join(l.Components, ", "))
}

// WriteTable writes the layers to download, with the reasons, and the components and packages that differ.
func (d *Difference) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range d.Layers {
		l := &d.Layers[i]
		fmt.Fprintf(t, "%s\t%s\t%s\n", formatSize(l.Bytes), l.summary(3), printable.Line(l.because()))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(d.Components) > 0 {
		fmt.Fprintln(w, "components:")
	}
	for _, c := range d.Components {
		fmt.Fprintf(w, "  %-8s %s (%s uncompressed)\n", c.Change, printable.Line(c.ID), formatSize(c.Bytes))
	}
	if len(d.Packages) > 0 {
		fmt.Fprintln(w, "packages:")
	}
	for _, p := range d.Packages {
		version := strings.TrimSuffix(strings.TrimSuffix(p.versions(), Added), Removed)
		fmt.Fprintf(w, "  %-8s %s\n", p.Change, printable.Line(strings.TrimRight(nameOf(p)+" "+version, " ")))
	}
	_, err := fmt.Fprintf(w, "to download: %s in %s; shared: %s in %d; no longer used: %s in %d\n",
		formatSize(d.Download), sizes.Count(len(d.Layers), "layer"), formatSize(d.Shared), d.SharedLayers,
		formatSize(d.Removed), d.RemovedLayers)
	return err
}

// because says in a few words why a layer is downloaded. It is "" if that is not known.
func (l *LayerDifference) because() string {
	ids, gone := l.Because, ""
	switch {
	case l.Reason == Compression:
		return "only compressed otherwise"
	case l.Reason == Split:
		return "only split otherwise"
	case l.Reason != Changed:
		return ""
	case len(ids) == 0:
		ids, gone = l.Removed, " (removed)"
	}
	return "because of " + shorten(ids, 8, func(id string) string {
		if groups := inGroups(l.byComponent[id]); len(groups) > 0 {
			return id + " (" + groups[0].versions + ")"
		}
		return id + gone
	})
}

// shorten joins texts, at most n of them.
func shorten[T any](list []T, n int, text func(T) string) string {
	var b strings.Builder
	for i, e := range list {
		switch {
		case i == n:
			fmt.Fprintf(&b, " and %d more", len(list)-n)
			return b.String()
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(text(e))
	}
	return b.String()
}

// group is a number of packages whose versions differ in the same way.
type group struct {
	names    []string
	versions string
}

// inGroups puts packages together whose versions differ in the same way, in the order of their first ones.
func inGroups(list []PackageDifference) []group {
	var out []group
	at := map[string]int{}
	for _, p := range list {
		v := p.versions()
		if _, ok := at[v]; !ok {
			at[v] = len(out)
			out = append(out, group{versions: v})
		}
		g := &out[at[v]]
		g.names = append(g.names, p.Name)
	}
	return out
}

// versions says how the version differs.
func (p PackageDifference) versions() string {
	switch {
	case p.Change == Changed:
		return p.From + " → " + p.To
	case p.Change == Added:
		return strings.TrimLeft(p.To+" added", " ")
	}
	return strings.TrimLeft(p.From+" removed", " ")
}

func nameOf(p PackageDifference) string {
	if p.System == "" {
		return p.Name
	}
	return p.System + "/" + p.Name
}

// WriteTable writes a line for each update, with the largest causes, and a summary.
func (h *History) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "update to\tdownload\tkept\tlayers\tlargest causes")
	for i := range h.Updates {
		u := &h.Updates[i]
		causes := shorten(u.Causes, 3, func(c Cause) string { return c.title() + " " + formatSize(c.Bytes) })
		fmt.Fprintf(t, "%s\t%s\t%s\t%d of %d\t%s\n", printable.Line(u.To), formatSize(u.Download), formatSize(u.Shared),
			u.DownloadLayers, u.DownloadLayers+u.SharedLayers, printable.Line(causes))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %s to download; without shared layers: %s\n", sizes.Count(len(h.Updates), "update"),
		formatSize(h.Download), formatSize(h.Whole))
	return err
}

// title names the cause for people.
func (c *Cause) title() string {
	switch c.Reason {
	case Compression:
		return c.Name + " (only compressed otherwise)"
	case Split:
		return c.Name + " (only split otherwise)"
	case Removed:
		return c.Name + " (removed)"
	}
	return c.Name
}

// name names a layer for people: its components, or how it was made.
func (l *Layer) name() string {
	switch {
	case l.First && l.title != "":
		return l.title
	case l.First:
		return "(the first layer)"
	case len(l.Components) > 0:
		return l.summary(2)
	case l.title != "":
		return l.title
	}
	return l.Digest
}

func percent(p float64) string { return fmt.Sprintf("%.1f %%", 100*p) }

// formatSize formats a number of bytes for people.
func formatSize(n uint64) string { return sizes.Format(int64(min(n, math.MaxInt64))) }
