//go:build interop

package simulate

import (
	"strings"
	"testing"
)

// This is the whole comparison on the Fedora list with 50 updates, which takes most of a minute: our packing downloads
// less than every other at each number of layers. The tables are in the log; README.md has a copy.
func TestFiftyUpdatesOfTheFedoraListDownloadLeastWithOurs(t *testing.T) {
	t.Parallel()
	list, err := ReadList(fedoraList)
	if err != nil {
		t.Fatal(err)
	}
	layers := []int{16, 32, 64, 100, 120}
	packers := []Packer{Continued(0), Upstream(), RPMOstree(), Chunkah()}
	for _, years := range []float64{4, 16, 64} {
		world := list.World(years, 50, 1)
		results, err := Run(t.Context(), world, packers, layers, 2)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if ours := results[i%len(layers)]; r.Mean() < ours.Mean() {
				t.Errorf("%s, %d layers: %.1f MB, %s has %.1f MB", world.Name, r.Layers, ours.Mean()/1e6, r.Packer, r.Mean()/1e6)
			}
		}
		var table strings.Builder
		if err := Table(&table, world, results); err != nil {
			t.Fatal(err)
		}
		t.Log("\n" + table.String())
	}
}
