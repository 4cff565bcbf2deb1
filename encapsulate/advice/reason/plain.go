package reason

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// plain compares two contents that are not archives.
func plain(a, b []byte) Reason {
	switch {
	case isPyc(a) && isPyc(b):
		if bytes.Equal(a[16:], b[16:]) && bytes.Equal(a[:8], b[:8]) {
			x, y := binary.LittleEndian.Uint32(a[8:]), binary.LittleEndian.Uint32(b[8:])
			if x != y {
				return Reason{PycTimes, fmt.Sprintf("the header has the time %s, and %s", clock(int64(x)), clock(int64(y)))}
			}
		}
	case isSQLite(a) && isSQLite(b):
		if equalPages(a, b) {
			return Reason{SQLite, "only the counters of changes in the header differ"}
		}
		return Reason{Content, "pages of the database differ"}
	}
	if isText(a) && isText(b) {
		if r, ok := texts(string(a), string(b)); ok {
			return r
		}
	}
	if len(a) == len(b) {
		return sameLength(a, b)
	}
	return Reason{Name: Content}
}

// isPyc reports whether a content is a compiled Python file of version 3.7 or later with a time in its header.
func isPyc(data []byte) bool {
	return len(data) >= 16 && data[2] == '\r' && data[3] == '\n' && binary.LittleEndian.Uint32(data[4:]) == 0
}

const sqliteHeader = "SQLite format 3\x00"

func isSQLite(data []byte) bool {
	return len(data) >= 100 && bytes.HasPrefix(data, []byte(sqliteHeader))
}

// equalPages reports whether two databases are equal except for what counts changes in the header: the file change
// counter, the schema cookie, the version for which the counter is valid, and the version of the library that wrote.
// See section 1.3 of https://www.sqlite.org/fileformat2.html.
func equalPages(a, b []byte) bool {
	counters := func(data []byte) []byte {
		data = slices.Clone(data)
		for _, at := range []int{24, 40, 92, 96} {
			clear(data[at : at+4])
		}
		return data
	}
	return len(a) == len(b) && bytes.Equal(counters(a[:100]), counters(b[:100])) && bytes.Equal(a[100:], b[100:])
}

func isText(data []byte) bool { return bytes.IndexByte(data, 0) < 0 }

// changing are texts that differ in each build: times, and random names.
var changing = []struct {
	name string
	text *regexp.Regexp
}{
	{Times, regexp.MustCompile(`(?i)` +
		`\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?( ?(Z|UTC|GMT|[+-]\d\d:?\d\d))?\b` +
		`|\b((mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?(\d{1,2} )?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* ` +
		`+(\d{1,2},? )?(\d{4}|\d\d:\d\d:\d\d)( \d\d:\d\d:\d\d)?( [A-Z]{3,4})?( \d{4})?( [+-]\d{4})?` +
		`|\b\d\d:\d\d:\d\d(\.\d+)?\b|\b1\d{9}(\.\d+|\d{3}|\d{6}|\d{9})?\b|\b20[2-9]\d[01]\d[0-3]\d([T_-]?\d{4,6}Z?)?\b` +
		`|:\d{5}(:\d*){6}(?m:$)`)}, // the day of the last change in /etc/shadow
	{Random, regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b` +
		`|\b[0-9a-f]{12,128}\b|\b(tmp|temp)[.\-_]?[0-9a-z_]{6,12}\b|\b[A-Za-z0-9+/]{22,}={0,2}`)},
}

// texts compares two texts: the order of their lines, and what they say besides times and random names.
func texts(a, b string) (Reason, bool) {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	if len(x) == len(y) && equalSorted(x, y) {
		return Reason{LineOrder, "the same lines come in another order"}, true
	}
	names := []string{}
	for _, c := range changing {
		mark := "\x00" + c.name
		p, q := c.text.ReplaceAllString(a, mark), c.text.ReplaceAllString(b, mark)
		if p != a || q != b {
			names = append(names, c.name)
		}
		if p == q {
			return Reason{names[len(names)-1], firstLine(x, y)}, true
		}
		a, b = p, q
	}
	if len(names) > 0 && equalSorted(strings.Split(a, "\n"), strings.Split(b, "\n")) {
		return Reason{names[len(names)-1], "and the order of lines"}, true
	}
	return Reason{}, false
}

func equalSorted(x, y []string) bool {
	x, y = slices.Clone(x), slices.Clone(y)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// firstLine shows the first line that differs.
func firstLine(x, y []string) string {
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d: %.120q, and %.120q", i+1, x[i], y[i])
		}
	}
	return ""
}

const (
	// fewBytes is how many bytes may differ between two contents for the difference to be one value, such as a time, and
	// fewRuns how many such places there may be.
	fewBytes = 64
	fewRuns  = 64
)

// sameLength compares two contents of one length that are not text.
func sameLength(a, b []byte) Reason {
	var from, to, runs, differing int
	last := -fewBytes
	for i := range a {
		if a[i] == b[i] {
			continue
		}
		if differing == 0 {
			from = i
		}
		differing++
		if i-last > 8 {
			runs++
		}
		if last = i; runs == 1 {
			to = i
		}
	}
	if runs > fewRuns || differing > fewRuns*fewBytes {
		return Reason{Name: Content}
	}
	detail := fmt.Sprintf("%s at %s: the first at offset %d", count(differing, "byte"), count(runs, "place"), from)
	if isTime(a, b, from, to) {
		return Reason{Times, detail}
	}
	if runs == 1 && differing >= 8 && differing <= fewBytes {
		return Reason{Random, detail}
	}
	return Reason{Content, detail}
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// isWord reports whether bytes are characters of ASCII, which are rarely a time.
func isWord(data []byte) bool {
	return !slices.ContainsFunc(data, func(c byte) bool { return c < 0x20 || c > 0x7e })
}

// isTime reports whether two contents have times since 2010, in seconds, where they differ first. These places are from
// one index to another. Times of a few years share their highest byte.
func isTime(a, b []byte, from, to int) bool {
	recent := func(v uint32) bool { return v > 1262304000 && v < 4102444800 } // 2010 to 2100
	for at := max(0, to-3); at <= from && at+4 <= len(a); at++ {
		x, y := a[at:at+4], b[at:at+4]
		if isWord(x) && isWord(y) {
			continue
		}
		le, be := binary.LittleEndian, binary.BigEndian
		if to < at+3 && recent(le.Uint32(x)) && recent(le.Uint32(y)) ||
			from > at && recent(be.Uint32(x)) && recent(be.Uint32(y)) {
			return true
		}
	}
	return false
}
