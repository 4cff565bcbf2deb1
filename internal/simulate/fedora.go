package simulate

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
)

// List is a list of packages with change frequencies, as ostree-ext's library reads it.
type List []struct {
	ID        string `json:"identifier"`
	Frequency uint32 `json:"change_frequency"`
	Size      uint64 `json:"size"`
}

// ReadList reads a list of packages in JSON, compressed with gzip.
func ReadList(path string) (List, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var list List
	if err := json.NewDecoder(z).Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

func (l List) image() Image {
	image := make(Image, len(l))
	for i, p := range l {
		image[i] = Package{Name: p.ID, Size: p.Size, Rates: Rates{Frequency: p.Frequency}}
	}
	slices.SortFunc(image, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return image
}

// World draws random updates of the list, 26 a year, given the number of years over which its frequencies were counted.
// A package changes with p = 1 − e^(−f/(26·years)), independently of the others; one that always changes has
// 0.9999. A tenth of the packages is missing at first. In each update one package is added and one removed, each with
// probability ½.
func (l List) World(years float64, updates int, seed uint64) *World {
	r := rand.New(rand.NewPCG(seed, uint64(years)))
	packages := l.image()
	for i := range packages {
		rates := &packages[i].Rates
		rates.Chance = 1 - math.Exp(-float64(rates.Frequency)/(26*years))
		if rates.Frequency == math.MaxUint32 {
			rates.Chance = 0.9999
		}
		rates.Stability = math.Sqrt(1 - rates.Chance)
	}
	turnover := newTurnover(r, packages)
	world := &World{Name: fmt.Sprintf("Fedora list, frequencies over %v years", years), Days: 14}
	world.Images = append(world.Images, turnover.image(packages))
	for range updates {
		for i := range packages {
			if r.Float64() < packages[i].Rates.Chance {
				packages[i].Version++
			}
		}
		turnover.step()
		world.Images = append(world.Images, turnover.image(packages))
	}
	return world
}

// turnover says which packages are in the image.
type turnover struct {
	rand *rand.Rand
	in   []bool
	base []bool // never removed
}

func newTurnover(r *rand.Rand, packages []Package) *turnover {
	t := &turnover{rand: r, in: make([]bool, len(packages)), base: make([]bool, len(packages))}
	for i := range packages {
		t.base[i] = packages[i].Rates.Frequency == math.MaxUint32
		t.in[i] = t.base[i] || r.Float64() >= 0.1
	}
	return t
}

// step adds one package and removes one, each with probability ½.
func (t *turnover) step() {
	for _, in := range []bool{false, true} {
		if t.rand.IntN(2) == 0 {
			continue
		}
		var candidates []int
		for i := range t.in {
			if t.in[i] == in && !t.base[i] {
				candidates = append(candidates, i)
			}
		}
		if len(candidates) > 0 {
			t.in[candidates[t.rand.IntN(len(candidates))]] = !in
		}
	}
}

func (t *turnover) image(packages []Package) Image {
	var image Image
	for i, in := range t.in {
		if in {
			image = append(image, packages[i])
		}
	}
	return image
}
