// Package sizes formats numbers of bytes for people.
package sizes

import "fmt"

// Format formats a number of bytes as GLib does, and so as ostree and upstream do: with powers of 1000, one decimal,
// and a no-break space before the unit. The unit is chosen before rounding, so 999950 is "1000.0 kB".
func Format(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	}
	units := []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	div, unit := int64(1000), 0
	for n/div >= 1000 && unit < len(units)-1 {
		div *= 1000
		unit++
	}
	return fmt.Sprintf("%.1f\u00a0%s", float64(n)/float64(div), units[unit])
}
