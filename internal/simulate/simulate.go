// Package simulate replays successive updates of an image under different packings and counts the bytes that a host
// downloads. A World is the sequence of images, with the content of each package marked by a version; a Packer assigns
// the packages of an image to layers, and knows nothing of later images.
package simulate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Package is one package in one image.
type Package struct {
	Name    string
	Size    uint64 // bytes
	Version int    // differs where content differs
	Rates   Rates
}

// Rates is what is known about a package's changes when an image is built.
type Rates struct {
	// Chance is the probability to change in one update, if that is known.
	Chance float64
	// Days are those with a change, counted back from the build, ascending.
	Days []int
	// Frequency is the number that upstream's packing sorts by. It is MaxUint32 for content that always changes.
	Frequency uint32
	// Stability is the probability not to change in a week, as chunkah estimates it.
	Stability float64
}

// Image is the packages of one build, sorted by name.
type Image []Package

// World is an image and its updates.
type World struct {
	Name   string
	Images []Image
	// Days is the number of days between two images.
	Days int
}

// Prior is what a packer may know about the previous image.
type Prior struct {
	Image  Image
	Layers [][]string
}

// Packer assigns packages to at most k layers. The prior is nil for the first image.
type Packer struct {
	Name string
	Pack func(image Image, k int, prior *Prior) ([][]string, error)
}

// Result is what hosts download with a packer.
type Result struct {
	Packer string
	Layers int
	// Bytes has the bytes of each update, from one image to the next.
	Bytes []uint64
	// Bound has the bytes of each update with one layer for each package.
	Bound []uint64
}

// Mean returns the mean number of bytes of an update.
func (r *Result) Mean() float64 { return mean(r.Bytes) }

// Excess returns the bytes of all updates divided by the bound; 1 is perfect.
func (r *Result) Excess() float64 { return mean(r.Bytes) / mean(r.Bound) }

func mean(bytes []uint64) float64 {
	total := 0.0
	for _, b := range bytes {
		total += float64(b)
	}
	return total / float64(max(1, len(bytes)))
}

// Run replays the world for each packer and each number of layers. Results are in the order of packers, then layers.
func Run(ctx context.Context, world *World, packers []Packer, layers []int, workers int) ([]Result, error) {
	results := make([]Result, len(packers)*len(layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, workers))
	for i, packer := range packers {
		for j, k := range layers {
			group.Go(func() error {
				r, err := replay(ctx, world, packer, k)
				if err != nil {
					return fmt.Errorf("%s with %d layers: %w", packer.Name, k, err)
				}
				results[i*len(layers)+j] = r
				return nil
			})
		}
	}
	return results, group.Wait()
}

func replay(ctx context.Context, world *World, packer Packer, k int) (Result, error) {
	result := Result{Packer: packer.Name, Layers: k}
	var prior *Prior
	for _, image := range world.Images {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		layers, err := packer.Pack(image, k, prior)
		if err != nil {
			return Result{}, err
		}
		if err := check(image, layers, k); err != nil {
			return Result{}, err
		}
		if prior != nil {
			result.Bytes = append(result.Bytes, download(image, layers, prior))
			result.Bound = append(result.Bound, download(image, singles(image), &Prior{prior.Image, singles(prior.Image)}))
		}
		prior = &Prior{image, layers}
	}
	return result, nil
}

// check refuses an invalid plan, so that no packer wins by losing content.
func check(image Image, layers [][]string, k int) error {
	if len(layers) > k {
		return fmt.Errorf("the plan has %d layers", len(layers))
	}
	names := slices.Sorted(slices.Values(slices.Concat(layers...)))
	if !slices.EqualFunc(names, image, func(name string, p Package) bool { return name == p.Name }) {
		return fmt.Errorf("the plan has %d packages, not the %d of the image", len(names), len(image))
	}
	return nil
}

// download returns the bytes of the layers that the prior image does not have.
func download(image Image, layers [][]string, prior *Prior) uint64 {
	had := map[string]bool{}
	packages := prior.Image.byName()
	for _, l := range prior.Layers {
		had[content(packages, l)] = true
	}
	packages = image.byName()
	var bytes uint64
	for _, l := range layers {
		if had[content(packages, l)] {
			continue
		}
		for _, name := range l {
			bytes += packages[name].Size
		}
	}
	return bytes
}

// content returns a string that identifies the content of a layer.
func content(packages map[string]*Package, layer []string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(slices.Values(layer)) {
		fmt.Fprintf(&b, "%s %d\n", name, packages[name].Version)
	}
	return b.String()
}

func singles(image Image) [][]string {
	layers := make([][]string, len(image))
	for i := range image {
		layers[i] = []string{image[i].Name}
	}
	return layers
}

func (image Image) byName() map[string]*Package {
	packages := make(map[string]*Package, len(image))
	for i := range image {
		packages[image[i].Name] = &image[i]
	}
	return packages
}

// changed returns the packages of the image whose content differs from the prior image.
func (image Image) changed(prior *Prior) map[string]bool {
	before := prior.Image.byName()
	changed := map[string]bool{}
	for i := range image {
		p := &image[i]
		if old, ok := before[p.Name]; ok && old.Version != p.Version {
			changed[p.Name] = true
		}
	}
	return changed
}
