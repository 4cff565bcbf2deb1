package inflate

// Limits of the format.
const (
	maxLitLen   = 286
	maxDist     = 30
	maxCodeBits = 15
	maxMatch    = 258
	windowSize  = 32 << 10
)

// The number of bits of the first table lookup. Longer codes need a second lookup.
const (
	litBits  = 11
	distBits = 8
	metaBits = 7
)

// The sizes of tables, for the first lookup and all second ones. In a complete code, at least two symbols share each
// table of second lookups.
const (
	litEntries  = 1<<litBits + maxLitLen/2<<(maxCodeBits-litBits)
	distEntries = 1<<distBits + 32/2<<(maxCodeBits-distBits)
)

// The lowest eight bits of a table entry are the number of bits to take from the input. An entry without one of these
// flags is a length or distance: it has the base from bit 16, and from bit 8 the number of taken bits that are the
// code. The other taken bits are added to the base.
const (
	entryLiteral = 1 << 31 // a literal, from bit 16
	entryOther   = 1 << 15 // one of the following, or an invalid code
	entryMore    = 1 << 14 // a second lookup in the table from bit 16, with the number of bits in bits 8 to 11
	entryEnd     = 1 << 13 // the end of the block
)

var litSymbols, distSymbols, metaSymbols = symbols()

// symbols are the entries of all symbols, without the lengths of their codes (RFC 1951, section 3.2.5).
func symbols() (lit [288]uint32, dist [32]uint32, meta [19]uint32) {
	for s := range lit {
		lit[s] = entryOther
	}
	for s := range 256 {
		lit[s] = entryLiteral | uint32(s)<<16
	}
	lit[256] = entryOther | entryEnd
	base := uint32(3)
	for c := range 28 {
		extra := uint32(0)
		if c >= 8 {
			extra = uint32(c/4 - 1)
		}
		lit[257+c] = base<<16 | extra
		base += 1 << extra
	}
	lit[285] = maxMatch << 16
	base = 1
	for c := range dist {
		if c >= maxDist {
			dist[c] = entryOther
			continue
		}
		extra := uint32(0)
		if c >= 4 {
			extra = uint32(c/2 - 1)
		}
		dist[c] = base<<16 | extra
		base += 1 << extra
	}
	for s := range meta {
		meta[s] = uint32(s) << 16
	}
	return lit, dist, meta
}

// fill makes a table for codes of the given lengths. It reports false if the lengths do not form a complete code. Like
// zlib it accepts a single code of one bit, and no code at all.
func fill(table []uint32, first int, lengths []uint8, symbols []uint32) bool {
	var counts, next [maxCodeBits + 2]int
	longest := 0
	for _, n := range lengths {
		counts[n]++
		longest = max(longest, int(n))
	}
	counts[0] = 0
	code := 0
	for n := 1; n <= maxCodeBits; n++ {
		next[n] = code
		code = (code + counts[n]) << 1
	}
	used := code >> (maxCodeBits + 1 - longest) // of 1<<longest
	if longest > 0 && used != 1<<longest && (used != 1 || longest != 1) {
		return false
	}
	for i := range 1 << first {
		table[i] = entryOther
	}
	secondBits := max(longest-first, 0)
	free := 1 << first
	for s, length := range lengths {
		n := int(length)
		if n == 0 {
			continue
		}
		reversed := reverse(next[n], n)
		next[n]++
		if n <= first {
			e := withLength(symbols[s], n)
			for i := reversed; i < 1<<first; i += 1 << n {
				table[i] = e
			}
			continue
		}
		link := &table[reversed&(1<<first-1)]
		if *link&entryMore == 0 {
			*link = entryOther | entryMore | uint32(free)<<16 | uint32(secondBits)<<8 | uint32(first)
			free += 1 << secondBits
		}
		second := table[*link>>16:][:1<<secondBits]
		e := withLength(symbols[s], n-first)
		for i := reversed >> first; i < len(second); i += 1 << (n - first) {
			second[i] = e
		}
	}
	return true
}

// withLength adds the length of its code to a symbol's entry.
func withLength(e uint32, n int) uint32 {
	if e&(entryLiteral|entryOther) == 0 {
		e |= uint32(n) << 8
	}
	return e + uint32(n)
}

// reverse returns the lowest n bits in the opposite order.
func reverse(code, n int) int {
	r := 0
	for range n {
		r = r<<1 | code&1
		code >>= 1
	}
	return r
}
