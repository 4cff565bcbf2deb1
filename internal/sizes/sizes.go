// Package sizes formats numbers of bytes and of things for people, and reads sizes that they write.
package sizes

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

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

// Count returns a number with the name of what is counted, which gets an s unless there is one of it: "1 layer".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ErrInvalid says that text is not a number of bytes.
var ErrInvalid = errors.New("not a size: write a number of bytes, or one with a unit, such as 500MB or 2GiB")

var units = map[string]float64{
	"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// Parse reads a number of bytes with an optional unit: kB, MB, GB and TB are powers of 1000, KiB, MiB, GiB and TiB of
// 1024. Case does not matter, nor does the B. The error is [ErrInvalid].
func Parse(s string) (int64, error) {
	end := strings.LastIndexAny(s, "0123456789.") + 1
	unit, ok := units[strings.ToLower(strings.TrimSpace(s[end:]))]
	n, err := strconv.ParseFloat(s[:end], 64)
	if n *= unit; !ok || err != nil || n < 0 || n >= math.MaxInt64 {
		return 0, ErrInvalid
	}
	return int64(n), nil
}
