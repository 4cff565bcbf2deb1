package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

//go:embed page.html
var pageSource string

// Sizes of the treemap.
const (
	pageWidth  = 1200.0
	pageHeight = 640.0
	// A rectangle gets a label if it is at least this wide and high, in pixels.
	minLabelWidth, minLabelHeight = 46.0, 14.0
)

// WriteHTML writes a self-contained page with a treemap. Each layer is an area, divided among its components and
// coloured by the probability of a change. The page needs no network and no scripts. Characters that cannot be seen are
// escaped.
func (r *Layers) WriteHTML(w io.Writer, title string) error {
	page, err := template.New("page").Funcs(template.FuncMap{
		"size": formatSize, "percent": percent,
		"megabytes": func(b float64) float64 { return b / 1e6 },
		"inc":       func(i int) int { return i + 1 },
	}).Parse(pageSource)
	if err != nil {
		return err
	}
	var total uint64
	for _, l := range r.Layers {
		total += l.Bytes
	}
	var b strings.Builder
	err = page.Execute(&b, struct {
		Title         string
		Width, Height float64
		Total         uint64
		Report        *Layers
		Boxes         []box
	}{title, pageWidth, pageHeight, total, r, r.boxes()})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, printable.Text(b.String()))
	return err
}

// box is one rectangle of the treemap.
type box struct {
	X, Y, W, H float64
	Fill       template.CSS
	Label      string
	Tip        string
	Layer      bool
}

// boxes lays out the layers, and the components in each layer.
func (r *Layers) boxes() []box {
	var values []float64
	for _, l := range r.Layers {
		values = append(values, float64(max(l.Bytes, 1)))
	}
	var out []box
	for i, area := range squarify(values, rect{0, 0, pageWidth, pageHeight}) {
		l := &r.Layers[i]
		name := fmt.Sprintf("layer %d", i+1)
		if l.First {
			name = "commit"
		}
		tip := fmt.Sprintf("%s: %s, %d components, changes in %s of updates",
			name, formatSize(l.Bytes), len(l.Components), percent(l.Probability))
		out = append(out, area.box(box{Fill: colour(l), Tip: tip, Layer: true, Label: labelFor(area, name)}))
		if len(l.Sizes) == len(l.Components) && len(l.Components) > 0 {
			out = append(out, componentBoxes(l, area.inset(2))...)
		}
	}
	return out
}

func componentBoxes(l *Layer, area rect) []box {
	values := make([]float64, len(l.Sizes))
	for i, s := range l.Sizes {
		values[i] = float64(max(s, 1))
	}
	var out []box
	for i, part := range squarify(values, area) {
		id := l.Components[i]
		tip := fmt.Sprintf("%s: %s", id, formatSize(l.Sizes[i]))
		out = append(out, part.box(box{Fill: colour(l), Label: labelFor(part, id), Tip: tip}))
	}
	return out
}

// labelFor shortens a text so that it fits into a rectangle.
func labelFor(area rect, text string) string {
	if area.w < minLabelWidth || area.h < minLabelHeight {
		return ""
	}
	if n := int(area.w / 6.5); len(text) > n {
		text = strings.ToValidUTF8(text[:max(n-1, 1)], "") + "…"
	}
	return text
}

// colour goes from green to red with the probability of a change. Layers kept from the prior image are grey.
func colour(l *Layer) template.CSS {
	if l.Kept {
		return "#b8bec6"
	}
	return template.CSS(fmt.Sprintf("hsl(%.0f 65%% 72%%)", 150*(1-l.Probability)))
}

func percent(p float64) string { return fmt.Sprintf("%.1f %%", 100*p) }

// formatSize formats a number of bytes for people.
func formatSize(n uint64) string { return sizes.Format(int64(min(n, math.MaxInt64))) }

// rect is an area of the page in pixels.
type rect struct{ x, y, w, h float64 }

func (r rect) box(b box) box {
	b.X, b.Y, b.W, b.H = r.x, r.y, r.w, r.h
	return b
}

func (r rect) inset(by float64) rect {
	return rect{r.x + by, r.y + by, max(r.w-2*by, 0), max(r.h-2*by, 0)}
}

// squarify divides an area into rectangles in proportion to values, as close to squares as possible. It uses the
// algorithm of Bruls, Huizing and van Wijk, Squarified Treemaps (2000). The result is in the order of values.
func squarify(values []float64, area rect) []rect {
	order := make([]int, len(values))
	var total float64
	for i, s := range values {
		order[i] = i
		total += s
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case values[a] > values[b]:
			return -1
		case values[a] < values[b]:
			return 1
		}
		return 0
	})
	out := make([]rect, len(values))
	if total <= 0 {
		return out
	}
	scale := area.w * area.h / total
	for len(order) > 0 {
		n, sum := rowOf(order, values, scale, min(area.w, area.h))
		area = placeRow(out, order[:n], values, scale, sum, area)
		order = order[n:]
	}
	return out
}

// rowOf returns how many of the next values make the best row along a side, and their total area.
func rowOf(order []int, values []float64, scale, side float64) (n int, sum float64) {
	best := -1.0
	for n < len(order) {
		next := sum + values[order[n]]*scale
		thickness := next / side
		largest, smallest := values[order[0]]*scale/thickness, values[order[n]]*scale/thickness
		worst := max(largest/thickness, thickness/smallest)
		if best >= 0 && worst > best {
			break
		}
		best, sum = worst, next
		n++
	}
	return n, sum
}

// placeRow places a row along the shorter side and returns the rest of the area.
func placeRow(out []rect, row []int, values []float64, scale, sum float64, area rect) rect {
	if area.w <= 0 || area.h <= 0 {
		return rect{}
	}
	if area.w >= area.h {
		width, y := sum/area.h, area.y
		for _, i := range row {
			h := values[i] * scale / width
			out[i] = rect{area.x, y, width, h}
			y += h
		}
		return rect{area.x + width, area.y, max(area.w-width, 0), area.h}
	}
	height, x := sum/area.w, area.x
	for _, i := range row {
		w := values[i] * scale / height
		out[i] = rect{x, area.y, w, height}
		x += w
	}
	return rect{area.x, area.y + height, area.w, max(area.h-height, 0)}
}
