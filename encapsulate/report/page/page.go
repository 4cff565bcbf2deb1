// Package page writes a page for a browser: one file with an answer, what it is made of, a chart, and lists that
// unfold.
//
// The page refers to nothing outside itself, and its content security policy forbids that too. It shows everything
// without scripts; a script only adds a search. All text is escaped, and characters that are not printed are shown as
// escapes of Go. Equal pages give equal bytes on every machine.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"math/bits"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

//go:embed page.html
var source string

//go:embed page.css
var styles string

//go:embed page.js
var script string

// Class is a colour, which has the same meaning on every page.
type Class string

// The colours.
const (
	// Changed is what is downloaded because it changed, and Along what is downloaded with it.
	Changed Class = "changed"
	Along   Class = "along"
	// Kept is what is there already.
	Kept Class = "kept"
	// Gone is what is no longer used.
	Gone Class = "gone"
	// Plain is what nothing more is known of.
	Plain Class = "plain"
	// Often0 to Often4 say how often something changes, from seldom to nearly always.
	Often0 Class = "often0"
	Often1 Class = "often1"
	Often2 Class = "often2"
	Often3 Class = "often3"
	Often4 Class = "often4"
)

// Page is the content of a page. Sizes are in bytes.
type Page struct {
	// Kind says in a word what the page is, and Title is the title of the window.
	Kind, Title string
	// Answer is the first thing to read, and Question what it answers.
	Answer, Question string
	// Lead are sentences below it.
	Lead []string
	// Names say what the page is about.
	Names []Name
	// Strip is a bar over the whole width.
	Strip []Part
	// Legend explains the colours. LegendTitle is what its texts say, or "".
	LegendTitle string
	Legend      []Colour
	// Causes are the largest causes, and MoreCauses says what is not among them.
	CausesTitle string
	Causes      []Row
	MoreCauses  string
	// Map is a treemap.
	MapTitle string
	Map      []Area
	// Chart has a column for each update.
	ChartTitle string
	Chart      []Column
	Sections   []Section
	// Notes are at the end.
	Notes []string
}

// Name is a labelled text. Detail says more.
type Name struct{ Label, Text, Detail string }

// Colour is an entry of the legend.
type Colour struct {
	Class Class
	Text  string
}

// Part is a part of a bar.
type Part struct {
	Class Class
	Bytes uint64
}

// Section is a part of the page with a list. A section that is not open is folded.
type Section struct {
	ID, Title, Summary string
	Open               bool
	Note               string
	Rows               []Row
	Table              *Table
}

// Row is an entry of a list: a layer, a cause or an update.
type Row struct {
	Bytes uint64
	// Approximate says that Bytes is an estimate.
	Approximate bool
	// Bar is drawn so that Scale bytes have the full width.
	Bar   []Part
	Scale uint64
	// Names are what the row is about, and More the number of those that are left out.
	Names []string
	More  int
	// Tag is a remark about the row, Chance the probability of a change, or "".
	Tag, Chance string
	// Why are the reasons, and MoreWhy the number of those that are left out.
	Why     []Why
	MoreWhy int
	// Facts and Table are shown when the row is unfolded.
	Facts []Name
	Table *Table
}

// Unfolds reports whether the row has more to show.
func (r Row) Unfolds() bool { return r.Table != nil || len(r.Facts) > 0 }

// Why is a reason: what changed, and how.
type Why struct{ What, How string }

// Table is a table.
type Table struct {
	// Head are the titles of the columns. Sizes are the columns that are aligned to the right.
	Head  []string
	Sizes []int
	Rows  []Line
}

// Numeric reports whether a column is aligned to the right.
func (t *Table) Numeric(i int) bool {
	for _, n := range t.Sizes {
		if n == i {
			return true
		}
	}
	return false
}

// Line is a row of a table. A line with a class begins with its colour; a quiet one is less important.
type Line struct {
	Class Class
	Quiet bool
	Cells []string
	// Below is written below the first cell.
	Below string
}

// Write writes a page.
func (p *Page) Write(w io.Writer) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"size": formatSize, "text": printable.Line, "system": system, "base": base, "bars": bars, "total": total,
	}).Parse(source)
	if err != nil {
		return err
	}
	view := struct {
		*Page
		Policy                string
		Styles                template.CSS
		Script                template.JS
		MapWide, MapSmall     *drawing
		ChartWide, ChartSmall *drawing
	}{Page: p, Policy: policy(), Styles: template.CSS(styles), Script: template.JS(script)}
	if len(p.Map) > 0 {
		view.MapWide = drawMap(p.Map, 1000, 400).named("map wide", p.MapTitle)
		view.MapSmall = drawMap(p.Map, 400, 440).named("map small", p.MapTitle)
	}
	if len(p.Chart) > 0 {
		view.ChartWide = drawColumns(p.Chart, 1000, 300).named("chart wide", p.ChartTitle)
		view.ChartSmall = drawColumns(p.Chart, 400, 280).named("chart small", p.ChartTitle)
	}
	return t.Execute(w, view)
}

// policy is the content security policy: nothing is loaded, and only the style and the script of the page apply.
func policy() string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'",
		sum(styles), sum(script))
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(h[:])
}

// formatSize formats a number of bytes for people.
func formatSize(n uint64) string { return sizes.Format(int64(min(n, math.MaxInt64))) }

// system is the part of a component's ID before the name, and base the rest.
func system(id string) string {
	if before, _, ok := strings.Cut(id, "/"); ok && before != "" && !strings.ContainsAny(before, " :.") {
		return printable.Line(before) + "/"
	}
	return ""
}

func base(id string) string { return printable.Line(id[len(idSystem(id)):]) }

// idSystem is like [system], as it is in the ID.
func idSystem(id string) string {
	if system(id) == "" {
		return ""
	}
	return id[:strings.IndexByte(id, '/')+1]
}

// bar is a part of a bar. X and Width are in percent.
type bar struct {
	Class    Class
	X, Width string
}

// leastBar is the width of the smallest part of a bar, in parts of 10000, so that it can be seen.
const leastBar = 50

func bars(parts []Part, scale uint64) []bar {
	var out []bar
	var before uint64
	for _, p := range parts {
		from, to := share(before, scale), share(before+p.Bytes, scale)
		before += p.Bytes
		if p.Bytes > 0 {
			out = append(out, bar{p.Class, hundredths(from), hundredths(max(to-from, leastBar))})
		}
	}
	return out
}

// total is the sum of parts.
func total(parts []Part) (n uint64) {
	for _, p := range parts {
		n += p.Bytes
	}
	return n
}

// share returns n/of in parts of 10000.
func share(n, of uint64) uint64 {
	if n >= of {
		return 10000
	}
	high, low := bits.Mul64(n, 10000)
	q, _ := bits.Div64(high, low, of)
	return q
}

func hundredths(n uint64) string { return fmt.Sprintf("%d.%02d%%", n/100, n%100) }
