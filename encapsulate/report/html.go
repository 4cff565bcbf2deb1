package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/report/page"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// How much the pages show at once; the rest is behind a fold, or in a number.
const (
	shownNames, shownReasons, shownCauses = 3, 3, 6
	// maxTitle is the length in characters of an instruction in a list.
	maxTitle = 160
)

// notes explain the sizes.
const (
	noteEstimate = "Sizes are compressed. What a component takes of its layer is estimated from samples of its files."
	noteSizes    = "Sizes are compressed."
	notePlan     = "Sizes are compressed, and estimated from samples of the files."
)

// WriteHTML writes a page for a browser about an image or a plan.
func (r *Layers) WriteHTML(w io.Writer) error {
	p := &page.Page{MapTitle: "Where the bytes are"}
	if r.info != nil {
		r.imagePage(p)
	} else {
		r.planPage(p)
	}
	for i := range r.Layers {
		p.Map = append(p.Map, r.area(&r.Layers[i]))
	}
	return p.Write(w)
}

func (r *Layers) imagePage(p *page.Page) {
	p.Kind, p.Title = "Image", r.name
	p.Answer, p.Question = formatSize(r.total()), "in "+sizes.Count(len(r.Layers), "layer")
	p.Names = []page.Name{named("image", r.info)}
	if half, n := r.largest(); n > 0 {
		p.Lead = append(p.Lead, half)
	}
	p.Legend, p.LegendTitle = r.legend(), "has changed"
	summary := "largest first"
	p.Sections = append(p.Sections, page.Section{ID: "layers", Title: "Layers", Summary: summary, Open: true,
		Rows: r.rows(r.Layers)})
	p.Notes = []string{noteSizes}
	if slices.ContainsFunc(r.Layers, func(l Layer) bool { return len(l.CompressedSizes) > 0 }) {
		p.Notes = []string{noteEstimate}
	}
}

func (r *Layers) planPage(p *page.Page) {
	p.Kind, p.Title = "Plan", "Planned layers"
	if r.name != "" {
		p.Title = r.name
		p.Names = []page.Name{{Label: "plan of", Text: r.name}}
	}
	about, note := "≈ ", notePlan
	if r.unmeasured {
		about, note = "", "Sizes are those of the list."
	}
	var fresh, kept []Layer
	var freshBytes, keptBytes uint64
	for _, l := range r.Layers {
		if l.Kept {
			kept, keptBytes = append(kept, l), keptBytes+l.size()
		} else {
			fresh, freshBytes = append(fresh, l), freshBytes+l.size()
		}
	}
	p.Answer, p.Question = about+formatSize(r.total()), "in "+sizes.Count(len(r.Layers), "layer")
	if r.unmeasured {
		p.Question = "uncompressed, " + p.Question
	}
	title := "Layers"
	if r.continued {
		title = "New layers"
		p.Answer = about + formatSize(freshBytes)
		p.Question = fmt.Sprintf("new, in %d of %s", len(fresh), sizes.Count(len(r.Layers), "layer"))
		p.Strip = []page.Part{{Class: page.Changed, Bytes: freshBytes}, {Class: page.Kept, Bytes: keptBytes}}
		if len(kept) > 0 {
			p.Lead = append(p.Lead, fmt.Sprintf("The other %s, %s%s, stay as in the prior image: hosts have them already.",
				sizes.Count(len(kept), "layer"), about, formatSize(keptBytes)))
		}
	}
	if r.Bound > 0 {
		p.Lead = append(p.Lead, fmt.Sprintf("An update is expected to download %s%s. With a layer for each component it "+
			"would be %s%s.", about, formatSize(uint64(r.Expected)), about, formatSize(uint64(r.Bound))))
	}
	if half, n := r.largest(); n > 0 && !r.continued {
		p.Lead = append(p.Lead, half)
	}
	p.Legend = r.legend()
	if !r.continued {
		p.LegendTitle = "changes in so many updates"
	}
	if len(fresh) > 0 {
		p.Sections = append(p.Sections, page.Section{ID: "layers", Title: title, Open: true, Rows: r.rows(fresh),
			Summary: sizes.Count(len(fresh), "layer") + ", " + about + formatSize(freshBytes) + ", largest first"})
	}
	if len(kept) > 0 {
		p.Sections = append(p.Sections, page.Section{ID: "kept", Title: "Kept layers", Rows: r.rows(kept),
			Summary: sizes.Count(len(kept), "layer") + ", " + about + formatSize(keptBytes)})
	}
	p.Notes = []string{note, "The layer with the commit or the directories is not among them: it is made with the image."}
}

// total is the size of all layers.
func (r *Layers) total() (n uint64) {
	for i := range r.Layers {
		n += r.Layers[i].size()
	}
	return n
}

// largest says in which components half of the bytes are, and how many they are. It is 0 if that says little.
func (r *Layers) largest() (text string, n int) {
	type part struct {
		id    string
		bytes uint64
	}
	var parts []part
	for i := range r.Layers {
		l := &r.Layers[i]
		for n, bytes := range l.parts() {
			parts = append(parts, part{l.Components[n], bytes})
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.bytes, a.bytes) })
	total, sum := r.total(), uint64(0)
	for sum < total/2 && n < len(parts) {
		sum += parts[n].bytes
		n++
	}
	if n == 0 || n == len(parts) || sum < total/2 {
		return "", 0
	}
	names := shorten(parts[:n], 4, func(p part) string { return p.id + " (" + formatSize(p.bytes) + ")" })
	if n == 1 {
		return "Half of it is one component: " + names + ".", n
	}
	return fmt.Sprintf("Half of it is in %d components: %s.", n, names), n
}

// changesKnown reports whether the image says how often its components change. The first image of its kind does not.
func (r *Layers) changesKnown() bool {
	return slices.ContainsFunc(r.Layers, func(l Layer) bool {
		return slices.ContainsFunc(l.Changes, func(n int) bool { return n > 0 })
	})
}

// legend explains the colours that occur.
func (r *Layers) legend() []page.Colour {
	texts := []page.Colour{
		{Class: page.Often0, Text: "never"}, {Class: page.Often1, Text: "once"},
		{Class: page.Often2, Text: "2 to 3 times"}, {Class: page.Often3, Text: "4 to 7 times"},
		{Class: page.Often4, Text: "8 times or more"}, {Class: page.Plain, Text: "not known"},
	}
	if r.info == nil {
		texts = []page.Colour{
			{Class: page.Often0, Text: "less than 1 %"}, {Class: page.Often1, Text: "1 to 5 %"},
			{Class: page.Often2, Text: "5 to 20 %"}, {Class: page.Often3, Text: "20 to 50 %"},
			{Class: page.Often4, Text: "50 % or more"}, {Class: page.Plain, Text: "not known"},
			{Class: page.Changed, Text: "changed or new"}, {Class: page.Along, Text: "unchanged, but in a new layer"},
			{Class: page.Kept, Text: "kept from the prior image"},
		}
	}
	used := map[page.Class]bool{}
	for i := range r.Layers {
		for _, a := range r.bar(&r.Layers[i]) {
			used[a.Class] = true
		}
	}
	if len(used) == 1 && used[page.Plain] {
		return nil
	}
	return slices.DeleteFunc(texts, func(c page.Colour) bool { return !used[c.Class] })
}

// class is the colour of a component of a layer, or of the layer if it has none.
func (r *Layers) class(l *Layer, component int) page.Class {
	switch {
	case l.Kept:
		return page.Kept
	case r.info == nil && r.continued && component < len(l.Components) && l.isNew(component):
		return page.Changed
	case r.info == nil && r.continued:
		return page.Along
	case r.info == nil && l.Probability > 0:
		return often(l.Probability, 0.01, 0.05, 0.2, 0.5)
	case component < len(l.Changes) && r.changesKnown():
		return often(float64(l.Changes[component]), 1, 2, 4, 8)
	}
	return page.Plain
}

// isNew reports whether a component of a planned layer differs from the prior image.
func (l *Layer) isNew(component int) bool {
	return component < len(l.changed) && l.changed[component] != ""
}

// often returns the colour for how often something changes, given the limits between the colours.
func often(n float64, limits ...float64) page.Class {
	at := 0
	for at < len(limits) && n >= limits[at] {
		at++
	}
	return []page.Class{page.Often0, page.Often1, page.Often2, page.Often3, page.Often4}[at]
}

// bar divides a layer by colour.
func (r *Layers) bar(l *Layer) []page.Part {
	parts := l.parts()
	if len(parts) == 0 {
		return []page.Part{{Class: r.class(l, 0), Bytes: l.size()}}
	}
	return byClass(parts, func(i int) page.Class { return r.class(l, i) })
}

// barOrder is the order of the colours in a bar.
var barOrder = []page.Class{
	page.Changed, page.Along, page.Often4, page.Often3, page.Often2, page.Often1, page.Often0, page.Plain, page.Kept,
	page.Gone,
}

// byClass adds up the parts of each colour.
func byClass(sizes []uint64, class func(i int) page.Class) []page.Part {
	sums := map[page.Class]uint64{}
	for i, n := range sizes {
		sums[class(i)] += n
	}
	var out []page.Part
	for _, c := range barOrder {
		if n, ok := sums[c]; ok {
			out = append(out, page.Part{Class: c, Bytes: n})
		}
	}
	return out
}

// area is a layer in the treemap.
func (r *Layers) area(l *Layer) page.Area {
	return areaOf(l, func(i int) page.Class { return r.class(l, i) }, func(i int) string {
		switch {
		case l.Kept:
			return "kept"
		case r.info == nil && l.Probability > 0:
			return "its layer changes in " + percent(l.Probability) + " of updates"
		case i < len(l.Changes) && r.changesKnown():
			return l.changeText(i)
		}
		return ""
	})
}

// areaOf makes an area of a layer. class and tip say the colour of each component, and more about it.
func areaOf(l *Layer, class func(i int) page.Class, tip func(i int) string) page.Area {
	say := func(name string, bytes uint64, more string) string {
		text := name + ": " + formatSize(bytes)
		if more != "" {
			text += ", " + more
		}
		return text
	}
	a := page.Area{Name: l.name(), Class: class(0), Bytes: l.size(), Tip: say(cut(l.name()), l.size(), tip(0))}
	for i, bytes := range l.parts() {
		id := l.Components[i]
		a.Parts = append(a.Parts, page.Area{Name: id, Class: class(i), Bytes: bytes, Tip: say(id, bytes, tip(i))})
	}
	return a
}

// rows lists layers, the largest first.
func (r *Layers) rows(layers []Layer) []page.Row {
	layers = slices.Clone(layers)
	slices.SortStableFunc(layers, func(a, b Layer) int { return cmp.Compare(b.size(), a.size()) })
	var rows []page.Row
	for i := range layers {
		l := &layers[i]
		row := layerRow(l, layers[0].size())
		row.Bar = r.bar(l)
		row.Approximate = l.Compressed > 0
		if r.info == nil && l.Probability > 0 {
			row.Chance, row.Tag = percent(l.Probability), "of updates · "+row.Tag
		}
		row.Why = l.why(r)
		row.Table = l.table(r)
		rows = append(rows, row)
	}
	return rows
}

// layerRow makes a row of a layer, without bar, reasons and table.
func layerRow(l *Layer, scale uint64) page.Row {
	row := page.Row{Bytes: l.size(), Scale: max(scale, 1), Tag: fmt.Sprintf("layer %d", l.position)}
	order := bySize(l)
	for _, i := range order[:min(len(order), shownNames)] {
		row.Names = append(row.Names, cut(l.Components[i]))
	}
	row.More = len(order) - len(row.Names)
	if len(order) == 0 || l.First {
		row.Names, row.More = []string{cut(l.name())}, 0
	}
	if len(order) > 1 {
		row.Tag += fmt.Sprintf(" · %d components", len(order))
	}
	for _, f := range []page.Name{{Label: "digest", Text: l.Digest}, {Label: "diff-id", Text: l.DiffID}} {
		if f.Text != "" {
			row.Facts = append(row.Facts, f)
		}
	}
	if name := l.name(); cut(name) != name {
		row.Facts = append(row.Facts, page.Name{Label: "made by", Text: name})
	}
	return row
}

// bySize returns the positions of a layer's components, the largest first.
func bySize(l *Layer) []int {
	order := make([]int, len(l.Components))
	for i := range order {
		order[i] = i
	}
	if sizes := l.parts(); len(sizes) == len(order) {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	}
	return order
}

// why says why a planned layer has these components, or how often a layer of an image changed.
func (l *Layer) why(r *Layers) []page.Why {
	if r.info == nil {
		return l.placing()
	}
	if len(l.Changes) == 0 || !r.changesKnown() {
		return nil
	}
	most := 0
	for i, n := range l.Changes {
		if n > l.Changes[most] {
			most = i
		}
	}
	what := ""
	if len(l.Components) > 1 {
		what = "at most " + l.Components[most] + ":"
		if l.Changes[most] == 0 {
			what = ""
		}
	}
	return []page.Why{{What: strings.TrimLeft(what+" "+l.changeText(most), " ")}}
}

// placing says why a planned layer has these components, and how they differ from the prior image.
func (l *Layer) placing() []page.Why {
	var out []page.Why
	changed := map[string][]string{}
	for i, how := range l.changed {
		if how != "" && !l.Kept {
			changed[how] = append(changed[how], l.Components[i])
		}
	}
	for _, how := range []string{Changed, Added} {
		ids := changed[how]
		switch {
		case len(ids) > 0 && len(l.Components) == 1:
			out = append(out, page.Why{How: how})
		case len(ids) > 0:
			out = append(out, page.Why{What: shorten(ids, shownNames, describeComponent), How: how})
		}
	}
	if text := l.placement(); text != "" {
		out = append(out, page.Why{What: text})
	}
	return out
}

// placement says why a planned layer has these components.
func (l *Layer) placement() string {
	const seldom, nearlyAlways = 0.05, 0.5
	switch often := l.Probability >= nearlyAlways; {
	case l.Reason == Kept:
		return "nothing in it changed"
	case l.Reason == Exclusive:
		return "alone, because a rule asks for it"
	case l.Reason == Alone && often:
		return "alone, so that it does not bring others along"
	case l.Reason == Alone:
		return "alone, so that others do not bring it along"
	case l.Reason == Together && often:
		return "together, since they change with most updates"
	case l.Reason == Together && l.Probability < seldom:
		return "together, since they seldom change"
	case l.Reason == Together:
		return "together, since they change about as often"
	}
	return ""
}

// changeText says how often a component of an image changed.
func (l *Layer) changeText(i int) string {
	n, since, last := l.Changes[i], l.since[i], l.LastChanged[i]
	text := "never changed"
	switch {
	case n == 1:
		text = "changed once"
	case n > 1:
		text = fmt.Sprintf("changed %d times", n)
	}
	if since != "" {
		text += " since " + since
	}
	if n > 0 && last != "" {
		text += ", last " + last
	}
	return text
}

// table lists the components of a layer, the largest first.
func (l *Layer) table(r *Layers) *page.Table {
	if len(l.Components) == 0 {
		return nil
	}
	t := &page.Table{Head: []string{"component", "size", ""}, Sizes: []int{1}}
	sizes := l.parts()
	for _, i := range bySize(l) {
		line := page.Line{Class: r.class(l, i), Cells: []string{l.Components[i], "", ""}}
		if i < len(sizes) {
			line.Cells[1] = formatSize(sizes[i])
		}
		switch {
		case i < len(l.known):
			line.Cells[2] = l.known[i]
			if how := l.changed[i]; how != "" {
				line.Cells[2] = strings.TrimPrefix(line.Cells[2]+"; "+how, "; ")
			}
		case i < len(l.Changes) && r.changesKnown():
			line.Cells[2] = l.changeText(i)
		}
		if i < len(l.installed) {
			line.Below = strings.Join(l.installed[i], ", ")
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

// named describes an image in the head of a page.
func named(label string, s *Summary) page.Name {
	var more []string
	if s.Version != "" {
		more = append(more, "version "+s.Version)
	}
	if !s.Created.IsZero() {
		more = append(more, s.Created.Format(time.DateOnly))
	}
	if s.Digest != "" {
		more = append(more, shortDigest(s.Digest))
	}
	return page.Name{Label: label, Text: s.Image, Detail: strings.Join(more, " · ")}
}

// shortDigest is the beginning of a digest, as long as people need to tell images apart.
func shortDigest(d digest.Digest) string {
	const length = len("sha256:") + 12
	return string(d[:min(len(d), length)])
}

// cut shortens a text.
func cut(s string) string {
	if letters := []rune(s); len(letters) > maxTitle {
		return string(letters[:maxTitle-1]) + "…"
	}
	return s
}
