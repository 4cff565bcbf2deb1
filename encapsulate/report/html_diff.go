package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/report/page"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// WriteHTML writes a page for a browser about an update.
func (d *Difference) WriteHTML(w io.Writer) error {
	p := &page.Page{
		Kind: "Update", Title: formatSize(d.Download) + " from " + d.from.short() + " to " + d.to.short(),
		Answer: formatSize(d.Download),
		Question: fmt.Sprintf("to download, in %d of %s", len(d.Layers),
			sizes.Count(len(d.Layers)+d.SharedLayers, "layer")),
		Names:       []page.Name{named("from", d.from), named("to", d.to)},
		CausesTitle: "Because of", MapTitle: "The new image",
	}
	if d.Download == 0 {
		p.Answer, p.Question = "Nothing", "to download"
	}
	if len(d.Causes) > 0 {
		p.Lead = append(p.Lead, "Because of "+shorten(d.Causes, 2, causeInWords)+".")
	}
	if d.SharedLayers > 0 {
		p.Lead = append(p.Lead, fmt.Sprintf("%s, %s of %s, %s there already.", sizes.Count(d.SharedLayers, "layer"),
			formatSize(d.Shared), formatSize(d.Download+d.Shared), verb(d.SharedLayers)))
	}
	changed := d.changedBytes()
	p.Strip = []page.Part{
		{Class: page.Changed, Bytes: changed}, {Class: page.Along, Bytes: d.Download - changed},
		{Class: page.Kept, Bytes: d.Shared},
	}
	p.Legend = []page.Colour{
		{Class: page.Changed, Text: "changed or new: " + formatSize(changed)},
		{Class: page.Along, Text: "unchanged, but in a new layer: " + formatSize(d.Download-changed)},
		{Class: page.Kept, Text: "there already: " + formatSize(d.Shared)},
	}
	p.Legend = slices.DeleteFunc(p.Legend, func(c page.Colour) bool {
		return !slices.ContainsFunc(p.Strip, func(s page.Part) bool { return s.Class == c.Class && s.Bytes > 0 })
	})
	p.Causes, p.MoreCauses = d.causeRows()
	for i := range d.Layers {
		l := &d.Layers[i]
		p.Map = append(p.Map, areaOf(&l.Layer, l.class, l.tip))
	}
	for i := range d.kept {
		p.Map = append(p.Map, areaOf(&d.kept[i], func(int) page.Class { return page.Kept },
			func(int) string { return "there already" }))
	}
	p.Sections = d.sections()
	p.Notes = []string{noteEstimate}
	if d.Packages == nil {
		p.Notes = append(p.Notes, "The images do not say which packages they have, so versions are not known.")
	}
	return p.Write(w)
}

func verb(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func (d *Difference) sections() []page.Section {
	var out []page.Section
	if len(d.Layers) > 0 {
		out = append(out, page.Section{ID: "downloads", Title: "Layers to download", Open: true, Rows: d.rows(),
			Summary: sizes.Count(len(d.Layers), "layer") + ", " + formatSize(d.Download) + ", largest first"})
	}
	if len(d.Packages) > 0 {
		c := count(d.Packages)
		out = append(out, page.Section{ID: "packages", Title: "Packages", Table: packageTable(d.Packages),
			Summary: fmt.Sprintf("%d changed, %d added, %d removed", c.Changed, c.Added, c.Removed)})
	}
	for _, s := range []struct {
		id, title string
		layers    []Layer
		bytes     uint64
		class     page.Class
	}{
		{"kept", "Layers that are there already", d.kept, d.Shared, page.Kept},
		{"gone", "Layers that are no longer used", d.gone, d.Removed, page.Gone},
	} {
		if len(s.layers) == 0 {
			continue
		}
		out = append(out, page.Section{ID: s.id, Title: s.title, Rows: plainRows(s.layers, s.class),
			Summary: sizes.Count(len(s.layers), "layer") + ", " + formatSize(s.bytes)})
	}
	return out
}

// plainRows lists layers in one colour, the largest first. What is gone has no components: they are elsewhere now.
func plainRows(layers []Layer, class page.Class) []page.Row {
	layers = slices.Clone(layers)
	slices.SortStableFunc(layers, func(a, b Layer) int { return cmp.Compare(b.Bytes, a.Bytes) })
	var rows []page.Row
	for i := range layers {
		l := &layers[i]
		row := layerRow(l, layers[0].Bytes)
		row.Bar = []page.Part{{Class: class, Bytes: l.Bytes}}
		if class != page.Gone && len(l.Components) > 0 {
			row.Table = &page.Table{Head: []string{"component", "size"}, Sizes: []int{1}}
			sizes := l.parts()
			for _, i := range bySize(l) {
				line := page.Line{Cells: []string{l.Components[i], ""}}
				if i < len(sizes) {
					line.Cells[1] = formatSize(sizes[i])
				}
				row.Table.Rows = append(row.Table.Rows, line)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// changedBytes is the part of the download that changed. The rest comes along in the same layers.
func (d *Difference) changedBytes() (n uint64) {
	for i := range d.Layers {
		for _, p := range d.Layers[i].bar() {
			if p.Class == page.Changed {
				n += p.Bytes
			}
		}
	}
	return n
}

// class is the colour of a component of a layer to download.
func (l *LayerDifference) class(i int) page.Class {
	switch {
	case l.Reason == Compression, l.Reason == Split:
		return page.Along
	case l.Reason == Changed && i < len(l.Components) && len(l.parts()) > 0:
		if _, changed := slices.BinarySearch(l.Because, l.Components[i]); !changed {
			return page.Along
		}
	}
	return page.Changed
}

func (l *LayerDifference) bar() []page.Part {
	if parts := l.parts(); len(parts) > 0 {
		return byClass(parts, l.class)
	}
	return []page.Part{{Class: l.class(0), Bytes: l.Bytes}}
}

func (l *LayerDifference) tip(i int) string {
	switch {
	case l.class(i) == page.Along:
		return "unchanged, but in a new layer"
	case i < len(l.Components):
		if groups := inGroups(l.byComponent[l.Components[i]]); len(groups) > 0 {
			return groups[0].versions
		}
	}
	return "changed or new"
}

// rows lists the layers to download, the largest first.
func (d *Difference) rows() []page.Row {
	order := make([]*LayerDifference, len(d.Layers))
	for i := range d.Layers {
		order[i] = &d.Layers[i]
	}
	slices.SortStableFunc(order, func(a, b *LayerDifference) int { return cmp.Compare(b.Bytes, a.Bytes) })
	var rows []page.Row
	for _, l := range order {
		row := layerRow(&l.Layer, order[0].Bytes)
		row.Bar = l.bar()
		row.Why, row.MoreWhy = l.why(d)
		if changed := l.changedFirst(); len(changed) > 0 && len(changed) < len(l.Components) {
			// What changed is named before what comes along.
			row.Names = nil
			for _, i := range changed[:min(len(changed), shownNames)] {
				row.Names = append(row.Names, l.Components[i])
			}
			row.More = len(l.Components) - len(row.Names)
		}
		row.Table = l.table(d)
		rows = append(rows, row)
	}
	return rows
}

// changedFirst returns the positions of the components that changed, the largest first.
func (l *LayerDifference) changedFirst() []int {
	return slices.DeleteFunc(bySize(&l.Layer), func(i int) bool {
		_, changed := slices.BinarySearch(l.Because, l.Components[i])
		return !changed
	})
}

// why says why a layer is downloaded, and how many reasons are left out.
func (l *LayerDifference) why(d *Difference) (list []page.Why, more int) {
	switch l.Reason {
	case First:
		if d.to.commit {
			return []page.Why{{What: "the commit, with its directories: new in each build"}}, 0
		}
		return []page.Why{{What: "the directories of the image: one of them is new, gone or has another mode"}}, 0
	case Compression:
		return []page.Why{{What: "the content is the same:", How: "only compressed otherwise"}}, 0
	case Split:
		return []page.Why{{What: "the components are the same:", How: "only split otherwise"}}, 0
	case Unknown:
		return []page.Why{{What: "its content is new; the images do not say what changed in it"}}, 0
	}
	others := map[string][]string{}
	var how []string
	for _, i := range l.changedFirst() {
		id := l.Components[i]
		if packages := whyOf(l.byComponent[id]); len(packages) > 0 {
			list = append(list, packages...)
			continue
		}
		text := d.change(id, len(l.rest) > 0)
		if len(others[text]) == 0 {
			how = append(how, text)
		}
		others[text] = append(others[text], id)
	}
	list = append(list, whyOf(l.rest)...)
	for _, text := range how {
		what := shorten(others[text], shownNames, describeComponent)
		if len(l.Components) == 1 && what == l.Components[0] {
			what = ""
		}
		list = append(list, page.Why{What: what, How: text})
	}
	if len(l.Because) == 0 {
		list = append(list, page.Why{What: shorten(l.Removed, shownNames, func(s string) string { return s }), How: Removed})
	}
	return list[:min(len(list), shownReasons)], max(len(list)-shownReasons, 0)
}

// change says how a component of which no package differs changed. unsure says that packages of its layer differ of
// which the component is not known.
func (d *Difference) change(id string, unsure bool) string {
	how := d.changes[id]
	if how == Changed && !unsure && d.ofPackages(id) {
		return "changed, though its packages are the same"
	}
	return cmp.Or(how, Changed)
}

// ofPackages reports whether a component is made of packages whose versions both images say.
func (d *Difference) ofPackages(id string) bool {
	system, _, _ := strings.Cut(id, "/")
	return d.systems[system]
}

// describeComponent explains the components that every build changes.
func describeComponent(id string) string {
	switch id {
	case "sys/pkgdb":
		return "the databases of the package manager"
	case "sys/initramfs":
		return "the initial RAM disk"
	case "sys/volatile":
		return "files that differ in each installation"
	}
	return id
}

// whyOf says how packages changed.
func whyOf(list []PackageDifference) (out []page.Why) {
	for _, g := range inGroups(list) {
		out = append(out, page.Why{What: shorten(g.names, 4, func(s string) string { return s }), How: g.versions})
	}
	return out
}

// table lists the components of a layer to download: what changed before what comes along, the largest first.
func (l *LayerDifference) table(d *Difference) *page.Table {
	if len(l.Components) == 0 {
		return nil
	}
	t := &page.Table{Head: []string{"component", "size", "why"}, Sizes: []int{1}}
	sizes := l.parts()
	add := func(i int) {
		id := l.Components[i]
		line := page.Line{Class: l.class(i), Quiet: l.class(i) == page.Along, Cells: []string{id, "", ""}}
		if i < len(sizes) {
			line.Cells[1] = formatSize(sizes[i])
		}
		switch groups := inGroups(l.byComponent[id]); {
		case len(groups) > 0:
			line.Cells[2] = shorten(groups, len(groups), func(g group) string {
				return strings.Join(g.names, ", ") + " " + g.versions
			})
		case line.Quiet:
			line.Cells[2] = "unchanged"
		default:
			line.Cells[2] = d.change(id, len(l.rest) > 0)
		}
		t.Rows = append(t.Rows, line)
	}
	for _, quiet := range []bool{false, true} {
		for _, i := range bySize(&l.Layer) {
			if (l.class(i) == page.Along) == quiet {
				add(i)
			}
		}
	}
	for _, id := range l.Removed {
		t.Rows = append(t.Rows, page.Line{Class: page.Gone, Cells: []string{id, "", "removed"}})
	}
	return t
}

// packageTable lists packages that differ.
func packageTable(list []PackageDifference) *page.Table {
	t := &page.Table{Head: []string{"package", "before", "after"}}
	for _, p := range list {
		from, to := p.From, p.To
		if p.Change == Added {
			from = "–"
		} else if p.Change == Removed {
			to = "–"
		}
		t.Rows = append(t.Rows, page.Line{Cells: []string{nameOf(p), from, to}})
	}
	return t
}

// causeInWords names a cause in a sentence.
func causeInWords(c Cause) string {
	text := describeComponent(cut(c.Name))
	if groups := inGroups(c.Packages); len(groups) > 0 {
		text += " " + groups[0].versions
	} else if c.Reason == Compression || c.Reason == Split || c.Reason == Removed || c.Reason == Added {
		text += " (" + reasonText(c.Reason) + ")"
	}
	return text + " (" + formatSize(c.Bytes) + ")"
}

// reasonText says in a few words why something is downloaded.
func reasonText(reason string) string {
	switch reason {
	case Compression:
		return "only compressed otherwise"
	case Split:
		return "only split otherwise"
	case First:
		return "the first layer"
	case Unknown:
		return "new content"
	}
	return reason
}

// causeRows lists the largest causes, and says what is left out.
func (d *Difference) causeRows() (rows []page.Row, more string) {
	causes := d.Causes
	shown := causes[:min(len(causes), shownCauses)]
	for i := range shown {
		c := &shown[i]
		row := page.Row{Bytes: c.Bytes, Scale: max(causes[0].Bytes, 1), Bar: c.bar(), Names: []string{cut(c.Name)}}
		row.Why = c.why(d)
		rows = append(rows, row)
	}
	var rest uint64
	for _, c := range causes[len(shown):] {
		rest += c.Bytes
	}
	if n := len(causes) - len(shown); n > 0 {
		more = fmt.Sprintf("and %d more, %s together", n, formatSize(rest))
	}
	return rows, more
}

// bar divides what a cause costs into what changed, and what comes along.
func (c *Cause) bar() []page.Part {
	own := min(c.own, c.Bytes)
	return []page.Part{{Class: page.Changed, Bytes: own}, {Class: page.Along, Bytes: c.Bytes - own}}
}

func (c *Cause) why(d *Difference) []page.Why {
	list := whyOf(c.Packages)
	if len(list) > shownReasons {
		list = list[:shownReasons]
	}
	if len(list) == 0 {
		text := reasonText(c.Reason)
		if c.Reason == Changed {
			text = d.change(c.Name, false)
		}
		if described := describeComponent(c.Name); described != c.Name {
			text = described + ": new in nearly every build"
		}
		list = []page.Why{{What: text}}
	}
	return list
}
