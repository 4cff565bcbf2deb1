package packing

import (
	"math"
	"math/bits"
)

// An exponent is −ln of the probability of no change, as an integer in units of 2⁻³⁶. Exponents are added
// exactly, so the cost of a set does not depend on the order of its members. Probabilities are integers in units of
// 2⁻³².
const (
	exponentBits = 36
	exponentMax  = 32 << exponentBits // e⁻³² is far below 2⁻³²
	exponentGone = 23 << exponentBits // e⁻²³ is rounded to 0
	chanceBits   = 32
	one          = uint64(1) << chanceBits
)

// exponentOfRate returns the exponent per day of a rate.
func exponentOfRate(perDay float64) uint64 {
	if perDay >= 32 {
		return exponentMax
	}
	return uint64(float64(perDay * (1 << exponentBits)))
}

// exponentOfChance returns −ln(1−p). Each product and sum is rounded separately (the conversions prevent fused
// operations), so that the result is the same on every architecture.
func exponentOfChance(p float64) uint64 {
	if p >= 1 {
		return exponentMax
	}
	halvings := 0
	if p > 0.5 {
		rest, exp := math.Frexp(1 - p) // 1−p = rest·2^exp, exact; rest in [½, 1)
		p, halvings = 1-rest, -exp
	}
	// −ln(1−p) = 2·artanh(p/(2−p)), and p ≤ ½ makes the argument at most ⅓.
	z := float64(p / float64(2-p))
	zz := float64(z * z)
	sum, power := 0.0, z
	for n := 1; n < 60; n += 2 {
		sum = float64(sum + float64(power/float64(n)))
		power = float64(power * zz)
	}
	v := float64(float64(2*sum) + float64(float64(halvings)*math.Ln2))
	return min(exponentMax, uint64(math.Floor(float64(float64(v*(1<<exponentBits))+0.5))))
}

// expTable computes e⁻ˣ from three tables of powers in units of 2⁻⁶³.
type expTable struct {
	whole  [32]uint64  // e⁻ⁱ
	upper  [256]uint64 // e^(−i/2⁸)
	middle [256]uint64 // e^(−i/2¹⁶)
}

const unit63 = uint64(1) << 63

func newExpTable() *expTable {
	t := new(expTable)
	// e^(−2⁻¹⁶) by its series: 1 − 2⁻¹⁶ + 2⁻³³ − 2⁻⁴⁸/6.
	const step = unit63 - 1<<47 + 1<<30 - 1<<15/6
	fillPowers(t.middle[:], step)
	fillPowers(t.upper[:], mul63(t.middle[255], t.middle[1]))
	fillPowers(t.whole[:], mul63(t.upper[255], t.upper[1]))
	return t
}

// fillPowers sets powers[i] to the i-th power of base. It squares, so that rounding errors grow only with the
// logarithm of i.
func fillPowers(powers []uint64, base uint64) {
	powers[0] = unit63
	powers[1] = base
	for i := 2; i < len(powers); i++ {
		powers[i] = mul63(powers[i/2], powers[i-i/2])
	}
}

// mul63 multiplies two numbers in units of 2⁻⁶³. It drops the lowest bit of the product, which is far below the
// units of the final result.
func mul63(a, b uint64) uint64 {
	hi, _ := bits.Mul64(a, b)
	return hi << 1
}

// unchanged returns e⁻ˣ for an exponent x, in units of 2⁻³².
func (t *expTable) unchanged(x uint64) uint64 {
	if x >= exponentGone {
		return 0
	}
	r := x & (1<<20 - 1)
	rest := unit63 - r<<27 + r*r>>10
	v := mul63(t.whole[x>>exponentBits], t.upper[x>>28&255])
	v = mul63(v, mul63(t.middle[x>>20&255], rest))
	return (v + 1<<30) >> 31
}

// times multiplies an exponent by a number of days. The result is limited to a value so far below 2⁶⁴ that a few
// results can be added.
func times(exponent uint64, days uint64) uint64 {
	hi, lo := bits.Mul64(exponent, days)
	if hi != 0 || lo > exponentMax {
		return exponentMax
	}
	return lo
}
