package page

import (
	"fmt"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// Column is a column of a chart: an update.
type Column struct {
	Name string
	// Parts are stacked, the first one at the bottom. Marked is the number of those whose sum is written.
	Parts  []Part
	Marked int
	Tip    string
}

// Sizes in a chart, in pixels.
const (
	axisWidth, headRoom, footRoom = 66, 22, 26
	// Columns take this part of the space that they have, and are at most this wide.
	columnShare, maxColumn = 0.72, 96
	// gridLines is the largest number of steps on the axis.
	gridLines = 4
	// maxTotal is more than any image has. What is larger is cut off.
	maxTotal = 1 << 60
)

// drawColumns draws a chart with an axis from 0.
func drawColumns(columns []Column, width, height int) *drawing {
	d := &drawing{Width: width, Height: height}
	var most uint64
	for i := range columns {
		most = max(most, total(columns[i].Parts))
	}
	most = min(most, maxTotal)
	step := niceStep(most)
	top := max((most+step-1)/step, 1) * step
	bottom, room := float64(height-footRoom), float64(height-footRoom-headRoom)
	y := func(n uint64) float64 { return bottom - float64(room*(float64(n)/float64(top))) }
	for n := uint64(0); n <= top; n += step {
		d.Lines = append(d.Lines, drawnLine{pixels(axisWidth - 6), pixels(float64(width)), pixels(y(n))})
		label := formatSize(n)
		if n == 0 {
			label = "0"
		}
		d.Texts = append(d.Texts, drawnText{"axis", pixels(axisWidth - 12), pixels(y(n) + 4), label})
	}
	each := float64(width-axisWidth) / float64(len(columns))
	for i := range columns {
		c := &columns[i]
		w := min(float64(each*columnShare), maxColumn)
		middle := axisWidth + float64(each*(float64(i)+0.5))
		var below, marked uint64
		for n, p := range c.Parts {
			from, to := y(below), y(below+p.Bytes)
			below += p.Bytes
			if n < c.Marked {
				marked = below
			}
			if p.Bytes > 0 {
				d.Rects = append(d.Rects, drawnRect{string(p.Class), pixels(middle - w/2), pixels(to), pixels(w),
					pixels(max(from-to, 1)), printable.Line(c.Tip)})
			}
		}
		if label := formatSize(marked); fits(label, each) {
			d.Texts = append(d.Texts, drawnText{"mark", pixels(middle), pixels(y(marked) - 6), label})
		}
		if name := fit(c.Name, each-4); name != "" {
			d.Texts = append(d.Texts, drawnText{"tick", pixels(middle), pixels(bottom + 17), name})
		} else if name := fmt.Sprint(i + 1); fits(name, each) {
			d.Texts = append(d.Texts, drawnText{"tick", pixels(middle), pixels(bottom + 17), name})
		}
	}
	return d
}

func fits(text string, width float64) bool {
	return float64(utf8.RuneCountInString(text))*letter <= width
}

// niceStep returns a step of 1, 2 or 5 times a power of ten, so that at most gridLines of them reach a number.
func niceStep(most uint64) uint64 {
	for step := uint64(1); ; step *= 10 {
		for _, n := range []uint64{1, 2, 5} {
			if most/(n*step) < gridLines || step >= maxTotal/10 {
				return n * step
			}
		}
	}
}
