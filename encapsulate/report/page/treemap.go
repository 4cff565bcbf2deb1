package page

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// Area is a layer in a treemap.
type Area struct {
	Name  string
	Class Class
	Bytes uint64
	// Tip is shown when the pointer is on the area.
	Tip string
	// Parts divide the area.
	Parts []Area
}

// drawing is a picture. Coordinates are in the units of its view box, about pixels, as text with one decimal.
type drawing struct {
	Class, Label  string
	Width, Height int
	Rects         []drawnRect
	Texts         []drawnText
	Lines         []drawnLine
}

// named sets the class and the label.
func (d *drawing) named(class, label string) *drawing {
	d.Class, d.Label = class, label
	return d
}

type drawnRect struct {
	Class      string
	X, Y, W, H string
	Tip        string
}

type drawnText struct {
	Class string
	X, Y  string
	Text  string
}

type drawnLine struct{ X1, X2, Y string }

// Sizes in a treemap, in pixels.
const (
	// A rectangle gets a label if it is at least this wide and high, and the size, too, if it is higher.
	minLabelWidth, minLabelHeight, minSizeHeight = 44, 16, 32
	// letter is the width of a letter, and line the height of a line.
	letter, line = 6.4, 13
	// gap is between layers. Parts that are smaller than leastPart are drawn as one.
	gap, leastPart = 2, 14
)

// rect is an area in pixels.
type rect struct{ x, y, w, h float64 }

func (r rect) inset(by float64) rect {
	return rect{r.x + by, r.y + by, max(r.w-2*by, 0), max(r.h-2*by, 0)}
}

// drawMap draws a treemap: an area for each layer, divided among its components.
func drawMap(areas []Area, width, height int) *drawing {
	d := &drawing{Width: width, Height: height}
	for i, r := range squarify(bytesOf(areas), rect{0, 0, float64(width), float64(height)}) {
		a := &areas[i]
		r = r.inset(gap / 2)
		if len(a.Parts) < 2 {
			if len(a.Parts) == 1 {
				a = &a.Parts[0]
			}
			d.area(r, a)
			continue
		}
		d.parts(r, a)
	}
	return d
}

// parts draws the parts of a layer. The smallest ones are drawn together.
func (d *drawing) parts(r rect, layer *Area) {
	parts := slices.Clone(layer.Parts)
	slices.SortStableFunc(parts, func(x, y Area) int { return cmp.Compare(y.Bytes, x.Bytes) })
	var total, rest uint64
	for _, p := range parts {
		total += p.Bytes
	}
	n := len(parts)
	for n > 1 && total > 0 && float64(r.w*r.h)*(float64(rest+parts[n-1].Bytes)/float64(total)) < leastPart*leastPart {
		n--
		rest += parts[n].Bytes
	}
	if n < len(parts)-1 {
		small := Area{Class: parts[len(parts)-1].Class, Bytes: rest}
		small.Tip = fmt.Sprintf("%d small components in %s: %s", len(parts)-n, layer.Name, formatSize(rest))
		parts = append(parts[:n], small)
	}
	for i, p := range squarify(bytesOf(parts), r) {
		d.area(p.inset(0.25), &parts[i])
	}
}

func (d *drawing) area(r rect, a *Area) {
	if r.w < 0.5 || r.h < 0.5 {
		return
	}
	d.Rects = append(d.Rects, drawnRect{string(a.Class), pixels(r.x), pixels(r.y), pixels(r.w), pixels(r.h),
		printable.Line(a.Tip)})
	if label := fit(a.Name, r.w-8); label != "" && r.w >= minLabelWidth && r.h >= minLabelHeight {
		d.Texts = append(d.Texts, drawnText{"on-" + string(a.Class), pixels(r.x + 4), pixels(r.y + line - 1), label})
		if size := formatSize(a.Bytes); r.h >= minSizeHeight && fit(size, r.w-8) == size {
			d.Texts = append(d.Texts, drawnText{"size on-" + string(a.Class), pixels(r.x + 4), pixels(r.y + 2*line - 1), size})
		}
	}
}

// fit shortens a text to a width.
func fit(text string, width float64) string {
	letters := []rune(printable.Line(text))
	switch n := int(width / letter); {
	case len(letters) <= n:
		return string(letters)
	case n < 4:
		return ""
	default:
		return string(letters[:n-1]) + "…"
	}
}

func pixels(n float64) string { return fmt.Sprintf("%.1f", n) }

func bytesOf(areas []Area) []float64 {
	values := make([]float64, len(areas))
	for i := range areas {
		values[i] = float64(max(areas[i].Bytes, 1))
	}
	return values
}

// squarify divides an area into rectangles in proportion to values, as close to squares as possible. It uses the
// algorithm of Bruls, Huizing and van Wijk, Squarified Treemaps (2000). The result is in the order of values.
// Conversions keep compilers from joining a product and a sum, which would round otherwise on some architectures.
func squarify(values []float64, area rect) []rect {
	order := make([]int, len(values))
	var total float64
	for i, s := range values {
		order[i] = i
		total += s
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	out := make([]rect, len(values))
	if total <= 0 {
		return out
	}
	scale := float64(area.w*area.h) / total
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
		next := sum + float64(values[order[n]]*scale)
		thickness := next / side
		largest := float64(values[order[0]]*scale) / thickness
		smallest := float64(values[order[n]]*scale) / thickness
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
			h := float64(values[i]*scale) / width
			out[i] = rect{area.x, y, width, h}
			y += h
		}
		return rect{area.x + width, area.y, max(area.w-width, 0), area.h}
	}
	height, x := sum/area.w, area.x
	for _, i := range row {
		w := float64(values[i]*scale) / height
		out[i] = rect{x, area.y, w, height}
		x += w
	}
	return rect{area.x, area.y + height, area.w, max(area.h-height, 0)}
}
