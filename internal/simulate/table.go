package simulate

import (
	"fmt"
	"io"
	"strings"
)

// Table writes results as a Markdown table: a row for each packer, a column for each number of layers, and in each cell
// the mean number of megabytes (10⁶ bytes) of an update and its ratio to the bound.
func Table(w io.Writer, world *World, results []Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %d updates", world.Name, len(world.Images)-1)
	if len(results) > 0 {
		fmt.Fprintf(&b, "; bound %.1f MB", mean(results[0].Bound)/1e6)
	}
	b.WriteString("\n")
	for i, r := range results {
		if i == 0 || r.Packer != results[i-1].Packer {
			if i == 0 {
				header(&b, results)
			}
			fmt.Fprintf(&b, "\n| %s |", r.Packer)
		}
		fmt.Fprintf(&b, " %.1f × %.3f |", r.Mean()/1e6, r.Excess())
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func header(b *strings.Builder, results []Result) {
	b.WriteString("\n| MB × excess |")
	columns := 0
	for _, r := range results {
		if r.Packer != results[0].Packer {
			break
		}
		columns++
		fmt.Fprintf(b, " %d layers |", r.Layers)
	}
	b.WriteString("\n|" + strings.Repeat("---|", columns+1))
}
