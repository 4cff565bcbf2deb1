package deflate

// Limits of the format.
const (
	windowSize = 32 << 10
	minMatch   = 3
	maxMatch   = 258

	numLitLen   = 286
	numDist     = 30
	endOfBlock  = 256
	maxCodeBits = 15
	maxMetaBits = 7
)

// params say how much effort the search for matches makes.
type params struct {
	fast  bool // use compressFast, which ignores the other fields
	chain int  // how many earlier positions are tried
	nice  int  // a match of this length ends the search
	lazy  int  // a shorter match waits until the next position was tried; 0 for never
	good  int  // after a match of this length the next search tries a quarter of the positions
	far3  int  // largest useful distance of a match of three bytes
	edge  int  // how many positions at either end of a match are inserted
}

// levels are indexed by level.
var levels = [10]params{
	1: {fast: true},
	2: {chain: 2, nice: 24, lazy: 0, good: 8, far3: 0, edge: 4},
	3: {chain: 3, nice: 24, lazy: 6, good: 8, far3: 1 << 11, edge: 8},
	4: {chain: 4, nice: 32, lazy: 8, good: 8, far3: 1 << 12, edge: 8},
	5: {chain: 6, nice: 32, lazy: 12, good: 8, far3: 1 << 12, edge: 12},
	6: {chain: 16, nice: 64, lazy: 24, good: 8, far3: 1 << 12, edge: 32},
	7: {chain: 48, nice: 128, lazy: 32, good: 16, far3: 1 << 12, edge: 64},
	8: {chain: 96, nice: 160, lazy: 96, good: 32, far3: 1 << 13, edge: maxMatch},
	9: {chain: 500, nice: 258, lazy: 258, good: 64, far3: 1 << 14, edge: maxMatch},
}

// The range of compression levels.
const (
	MinLevel     = 1
	DefaultLevel = 6
	MaxLevel     = 9
)

// lengthCode maps a match length minus 3 to its code minus 257; lengthBase and lengthExtra are the inverse.
var (
	lengthBase  [29]uint16
	lengthExtra [29]uint8
	lengthCode  [256]uint8
	distBase    [numDist]uint16 // distance minus 1
	distExtra   [numDist]uint8
	distCodeLow [256]uint8 // for distances up to 256
	distCodeTop [256]uint8 // for larger ones, by (distance-1)>>7
)

var _ = fillTables()

// fillTables computes the tables of RFC 1951, section 3.2.5.
func fillTables() bool {
	base := 0
	for c := range 28 {
		extra := 0
		if c >= 8 {
			extra = c/4 - 1
		}
		lengthBase[c], lengthExtra[c] = uint16(base), uint8(extra)
		for n := base; n < base+1<<extra && n < 256; n++ {
			lengthCode[n] = uint8(c)
		}
		base += 1 << extra
	}
	lengthBase[28], lengthExtra[28], lengthCode[255] = 255, 0, 28

	base = 0
	for c := range numDist {
		extra := 0
		if c >= 4 {
			extra = c/2 - 1
		}
		distBase[c], distExtra[c] = uint16(base), uint8(extra)
		for n := base; n < base+1<<extra; n++ {
			if n < 256 {
				distCodeLow[n] = uint8(c)
			} else {
				distCodeTop[n>>7] = uint8(c)
			}
		}
		base += 1 << extra
	}
	return true
}

// distCode returns the code of a distance minus 1.
func distCode(d uint32) uint8 {
	if d < 256 {
		return distCodeLow[d]
	}
	return distCodeTop[d>>7]
}
