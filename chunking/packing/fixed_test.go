package packing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestExponentialIsExactToTheLastUnit(t *testing.T) {
	t.Parallel()
	table := newExpTable()
	r := rand.New(rand.NewPCG(7, 7))
	for range 100_000 {
		x := r.Uint64N(33 << exponentBits)
		if r.IntN(2) == 0 {
			x >>= r.IntN(40)
		}
		want := math.Exp(-float64(x)/(1<<exponentBits)) * (1 << chanceBits)
		if got := table.unchanged(x); math.Abs(float64(got)-want) > 0.5001 {
			t.Fatalf("e^-%d/2^36 = %d, want %.3f", x, got, want)
		}
	}
}

func TestExponentsOfChancesAddUpToChances(t *testing.T) {
	t.Parallel()
	table := newExpTable()
	for _, p := range []float64{0, 1e-9, 1e-4, 0.01, 0.25, 0.4999, 0.5, 0.5001, 0.75, 0.99, 0.9999, 1 - 1e-9, 1} {
		got := float64(one-table.unchanged(exponentOfChance(p))) / float64(one)
		if math.Abs(got-p) > 1e-9 {
			t.Errorf("chance %v comes back as %v", p, got)
		}
		x := float64(exponentOfChance(p)) / (1 << exponentBits)
		if want := min(32, -math.Log1p(-p)); math.Abs(x-want) > 1e-8 {
			t.Errorf("exponent of %v is %v, want %v", p, x, want)
		}
	}
}

func TestOverlongExponentsDoNotWrap(t *testing.T) {
	t.Parallel()
	if got := newExpTable().unchanged(times(1<<60, maxDays)); got != 0 {
		t.Errorf("unchanged with chance %d, want 0", got)
	}
}

// The hash was recorded on amd64. An architecture that differs in one bit fails here.
func TestCostsAreTheSameOnEveryArchitecture(t *testing.T) {
	t.Parallel()
	table := newExpTable()
	var hash uint64 = 14695981039346656037
	mix := func(v uint64) { hash = (hash ^ v) * 1099511628211 }
	for i := range 10_000 {
		p := float64(i) / 10_000
		mix(exponentOfChance(p))
		mix(exponentOfRate(p * 3))
		mix(table.unchanged(exponentOfChance(p) * 7))
	}
	if want := uint64(0x9517b93734e3fe9b); hash != want {
		t.Errorf("hash of costs %#x, want %#x", hash, want)
	}
}

// The order of adding and removing members does not change a sum.
func TestSumsDoNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	p := manyItems(t, 300, Params{MaxBins: 10})
	want := p.cost(p.total(allOf(300)))
	order := rand.New(rand.NewPCG(3, 3)).Perm(300)
	if got := p.cost(p.total(order)); got != want {
		t.Errorf("cost %d in another order, %d before", got, want)
	}
}

// manyItems returns random items with histories, like those of a large system.
func manyItems(t testing.TB, n int, params Params) *packer {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	items := make([]Item, n)
	for i := range items {
		rate := math.Exp(1.5*r.NormFloat64() - 4)
		var days []int
		for day := range 730 {
			if r.Float64() < rate {
				days = append(days, day)
			}
		}
		size := uint64(math.Exp(2*r.NormFloat64() + 13))
		items[i] = Item{ID: fmt.Sprintf("c%05d", i), Size: size, Changes: History(rate, days)}
	}
	m, err := newModel(params)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := m.groups(items)
	if err != nil {
		t.Fatal(err)
	}
	return &packer{model: m, params: params, items: items, groups: groups}
}

func TestJoiningNeighboursBeforehandKeepsEveryComponent(t *testing.T) {
	t.Parallel()
	p := manyItems(t, 1000, Params{MaxBins: 10})
	var members []int
	for _, it := range p.coarsen(p.byChancePerByte(p.groups), 100) {
		members = append(members, it.members...)
	}
	slices.Sort(members)
	if !slices.Equal(members, allOf(1000)) {
		t.Errorf("%d members of 1000", len(members))
	}
}

// If there are more items than arrange takes, some are joined first.
func TestManyThousandComponentsArePacked(t *testing.T) {
	t.Parallel()
	p := manyItems(t, 2500, Params{MaxBins: 100})
	result, err := Pack(p.items, p.params)
	if err != nil {
		t.Fatal(err)
	}
	if members := 0; len(result.Bins) == 100 {
		for _, l := range result.Bins {
			members += len(l.Items)
		}
		if members != 2500 {
			t.Errorf("%d members of 2500", members)
		}
	} else {
		t.Errorf("%d layers, want 100", len(result.Bins))
	}
}

func BenchmarkPack(b *testing.B) {
	for _, n := range []int{400, 1000, 2000} {
		for _, k := range []int{64, 100, 499} {
			b.Run(fmt.Sprintf("%d components in %d layers", n, k), func(b *testing.B) {
				p := manyItems(b, n, Params{MaxBins: k})
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Pack(p.items, p.params); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
