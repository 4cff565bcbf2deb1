package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
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
	if _, err := fmt.Fprintf(w, "%d layers, %s\n", len(r.Layers), formatSize(total)); err != nil || r.Bound == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "expected download of an update: %s; with a layer for each component: %s (%.3f times that)\n",
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
		return "(the commit)"
	case len(l.Components) > n:
		return fmt.Sprintf("%s and %d more", printable.Line(strings.Join(l.Components[:n], ", ")), len(l.Components)-n)
	}
	return printable.Line(strings.Join(l.Components, ", "))
}

// WriteTable writes the layers to download, with the reasons, and the components that differ.
func (d *Difference) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range d.Layers {
		why := "because of " + strings.Join(l.Because, ", ")
		if len(l.Because) > 8 {
			why = fmt.Sprintf("because of %s and %d more", strings.Join(l.Because[:8], ", "), len(l.Because)-8)
		} else if len(l.Because) == 0 {
			why = ""
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", formatSize(l.Bytes), l.summary(3), printable.Line(why))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(d.Components) > 0 {
		fmt.Fprintln(w, "components:")
	}
	for _, c := range d.Components {
		fmt.Fprintf(w, "  %-8s %s (%s)\n", c.Change, printable.Line(c.ID), formatSize(c.Bytes))
	}
	_, err := fmt.Fprintf(w, "to download: %s in %d layers; shared: %s in %d; no longer used: %s in %d\n",
		formatSize(d.Download), len(d.Layers), formatSize(d.Shared), d.SharedLayers, formatSize(d.Removed), d.RemovedLayers)
	return err
}
