package packing

import (
	"fmt"
	"runtime"
	"testing"
)

// The test is not parallel because it measures the whole process. It counts all allocations, which are more than was
// in use at any time.
func TestTwoThousandComponentsTakeLessThanAHundredMebibytes(t *testing.T) {
	for _, bins := range []int{64, 499} {
		p := manyItems(t, 2000, Params{MaxBins: bins})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		result, err := Pack(p.items, p.params)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("%d layers: %d MiB, %.4f × the bound", bins, allocated>>20, result.Expected/result.Bound)
		if allocated > 100<<20 {
			t.Errorf("%d layers: %d MiB", bins, allocated>>20)
		}
	}
}

// BenchmarkTwoThousandComponents measures planning for a large system.
func BenchmarkTwoThousandComponents(b *testing.B) {
	for _, bins := range []int{64, 120, 499} {
		b.Run(fmt.Sprintf("layers=%d", bins), func(b *testing.B) {
			p := manyItems(b, 2000, Params{MaxBins: bins})
			for b.Loop() {
				if _, err := Pack(p.items, p.params); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
