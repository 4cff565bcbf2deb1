package rechunk

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// dateForm is the form of <date>, as 240305, and timestampForm that of <timestamp>. Both are in UTC.
const (
	dateForm      = "060102"
	timestampForm = "2006-01-02T15:04:05Z"
)

// Version returns the version of an image: the template, with the day for <date>. If the previous image or another one
// in its repository has that version already, it gets the suffix .1, or the next one that is free. A suffix of one
// digit that the template has itself is replaced.
func Version(template string, now time.Time, previous *Previous) string {
	v := strings.ReplaceAll(template, "<date>", now.UTC().Format(dateForm))
	if previous == nil {
		return v
	}
	taken := func(s string) bool { return s == previous.Version || slices.Contains(previous.Tags, s) }
	next := suffix(previous.Version, v) + 1
	if !taken(v) && next == 1 {
		return v
	}
	if n := len(v); next == 1 && n > 3 && v[n-2] == '.' && '0' <= v[n-1] && v[n-1] <= '9' {
		v = v[:n-2]
		next = suffix(previous.Version, v) + 1
	}
	for ; ; next++ {
		if s := v + "." + strconv.Itoa(next); !taken(s) {
			return s
		}
	}
}

// suffix returns the number that a version has after another version and a dot, or 0.
func suffix(version, begin string) int {
	digits, ok := strings.CutPrefix(version, begin+".")
	if n, err := strconv.Atoi(digits); ok && err == nil && n > 0 && n < 1_000_000 && strconv.Itoa(n) == digits {
		return n
	}
	return 0
}
