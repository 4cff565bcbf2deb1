package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/report/page"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// maxCauses is the number of causes of each update that the page lists.
const maxCauses = 100

// WriteHTML writes a page for a browser about several updates.
func (h *History) WriteHTML(w io.Writer) error {
	n := len(h.Updates)
	p := &page.Page{
		Kind: "History", Title: formatSize(h.Download) + " in " + sizes.Count(n, "update"),
		Answer: formatSize(h.Download), Question: "to download in " + sizes.Count(n, "update"),
		ChartTitle: "Bytes for each update",
		Legend: []page.Colour{
			{Class: page.Changed, Text: "changed or new"}, {Class: page.Along, Text: "unchanged, but in a new layer"},
			{Class: page.Kept, Text: "there already"},
		},
		Notes: []string{noteEstimate},
	}
	largest := 0
	var most uint64
	for i := range h.Updates {
		u := &h.Updates[i]
		if u.Download > h.Updates[largest].Download {
			largest = i
		}
		most = max(most, u.Download)
		p.Chart = append(p.Chart, u.column())
	}
	p.Lead = h.lead(largest)
	if n > 0 {
		p.Names = []page.Name{named("first", &h.Images[0]), named("last", &h.Images[n])}
	}
	updates := page.Section{ID: "updates", Title: "Updates", Summary: "oldest first", Open: true}
	for i := range h.Updates {
		updates.Rows = append(updates.Rows, h.Updates[i].row(i+1, max(most, 1)))
	}
	p.Sections = []page.Section{updates, h.imagesSection()}
	return p.Write(w)
}

// lead says what the updates cost, and which one most.
func (h *History) lead(largest int) []string {
	if len(h.Updates) == 0 {
		return nil
	}
	var out []string
	average := h.Download / uint64(len(h.Updates))
	text := formatSize(average) + " on average."
	if h.Download > 0 {
		text += fmt.Sprintf(" Without shared layers it would be %s in all, %.1f times as much.", formatSize(h.Whole),
			float64(h.Whole)/float64(h.Download))
	}
	out = append(out, text)
	if u := &h.Updates[largest]; len(h.Updates) > 1 && len(u.Causes) > 0 {
		out = append(out, fmt.Sprintf("The largest, to %s, is %s: because of %s.", u.to.short(), formatSize(u.Download),
			shorten(u.Causes, 2, causeInWords)))
	}
	return out
}

func (u *Update) column() page.Column {
	return page.Column{
		Name: u.to.short(), Marked: 2,
		Parts: []page.Part{
			{Class: page.Changed, Bytes: u.changed}, {Class: page.Along, Bytes: u.Download - u.changed},
			{Class: page.Kept, Bytes: u.Shared},
		},
		Tip: fmt.Sprintf("%s to %s: %s to download, %s there already", u.from.short(), u.to.short(),
			formatSize(u.Download), formatSize(u.Shared)),
	}
}

// row describes an update. number counts from 1.
func (u *Update) row(number int, scale uint64) page.Row {
	row := page.Row{
		Bytes: u.Download, Scale: scale, Names: []string{u.from.short() + " → " + u.to.short()},
		Bar: []page.Part{{Class: page.Changed, Bytes: u.changed}, {Class: page.Along, Bytes: u.Download - u.changed}},
		Tag: fmt.Sprintf("update %d · %d of %s", number, u.DownloadLayers,
			sizes.Count(u.DownloadLayers+u.SharedLayers, "layer")),
	}
	for i := range u.Causes[:min(len(u.Causes), shownReasons)] {
		c := &u.Causes[i]
		how := formatSize(c.Bytes)
		if groups := inGroups(c.Packages); len(groups) > 0 {
			how = groups[0].versions + " · " + how
		}
		row.Why = append(row.Why, page.Why{What: cut(c.Name), How: how})
	}
	row.MoreWhy = max(len(u.Causes)-shownReasons, 0)
	row.Facts = []page.Name{
		{Label: "kept", Text: fmt.Sprintf("%s in %s", formatSize(u.Shared), sizes.Count(u.SharedLayers, "layer"))},
		{Label: "unused", Text: fmt.Sprintf("%s in %s", formatSize(u.Removed), sizes.Count(u.RemovedLayers, "layer"))},
	}
	if p := u.Packages; p != nil {
		row.Facts = append(row.Facts, page.Name{Label: "packages",
			Text: fmt.Sprintf("%d changed, %d added, %d removed", p.Changed, p.Added, p.Removed)})
	}
	row.Table = u.table()
	return row
}

// table lists the causes of an update.
func (u *Update) table() *page.Table {
	if len(u.Causes) == 0 {
		return nil
	}
	t := &page.Table{Head: []string{"cause", "download", "why"}, Sizes: []int{1}}
	for i := range u.Causes[:min(len(u.Causes), maxCauses)] {
		c := &u.Causes[i]
		why := shorten(inGroups(c.Packages), len(c.Packages), func(g group) string {
			return strings.Join(g.names, ", ") + " " + g.versions
		})
		if why == "" {
			why = reasonText(c.Reason)
		}
		t.Rows = append(t.Rows, page.Line{Cells: []string{cut(c.Name), formatSize(c.Bytes), why}})
	}
	if n := len(u.Causes) - maxCauses; n > 0 {
		t.Rows = append(t.Rows, page.Line{Quiet: true, Cells: []string{fmt.Sprintf("%d more", n), "", ""}})
	}
	return t
}

func (h *History) imagesSection() page.Section {
	t := &page.Table{Head: []string{"image", "size", "layers", "version"}, Sizes: []int{1, 2}}
	for i := range h.Images {
		s := &h.Images[i]
		below := s.Digest.String()
		if !s.Created.IsZero() {
			below = s.Created.Format(time.DateOnly) + " · " + below
		}
		t.Rows = append(t.Rows, page.Line{Below: below,
			Cells: []string{s.Image, formatSize(s.Bytes), fmt.Sprint(s.Layers), s.Version}})
	}
	return page.Section{ID: "images", Title: "Images", Summary: sizes.Count(len(h.Images), "image"), Table: t}
}
