package packing_test

import (
	"fmt"
	"log"

	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
)

func ExamplePack() {
	result, err := packing.Pack([]packing.Item{
		{ID: "deb/linux-firmware", Size: 180 << 20, Changes: packing.PerDay(0.02)},
		{ID: "deb/linux", Size: 90 << 20, Changes: packing.PerDay(0.1)},
		{ID: "deb/bash", Size: 8 << 20, Changes: packing.PerDay(0.002)},
		{ID: "deb/coreutils", Size: 17 << 20, Changes: packing.PerDay(0.002)},
		{ID: "deb/tzdata", Size: 2 << 20, Changes: packing.PerDay(0.01)},
	}, packing.Params{MaxBins: 3, Horizons: []int{7}, Overhead: packing.DefaultOverhead})
	if err != nil {
		log.Fatal(err)
	}
	for _, bin := range result.Bins {
		fmt.Printf("%d MiB, changes in %.0f%% of weekly updates: %v\n",
			bin.Size>>20, 100*bin.Probability, bin.Items)
	}
	// Output:
	// 27 MiB, changes in 9% of weekly updates: [deb/bash deb/coreutils deb/tzdata]
	// 180 MiB, changes in 13% of weekly updates: [deb/linux-firmware]
	// 90 MiB, changes in 50% of weekly updates: [deb/linux]
}
