package packing

import (
	"fmt"
	"runtime"
	"testing"
)

// Not parallel: it measures the process. Memory is all that was allocated, which is more than was held at any time.
func TestTwoThousandComponentsTakeLessThanAHundredMebibytes(t *testing.T) {
	for _, layers := range []int{64, 499} {
		p := manyComponents(t, 2000, Params{MaxLayers: layers})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		plan, err := Pack(p.components, p.params)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("%d layers: %d MiB, %.4f × the bound", layers, allocated>>20, plan.Expected/plan.Bound)
		if allocated > 100<<20 {
			t.Errorf("%d layers: %d MiB", layers, allocated>>20)
		}
	}
}

// BenchmarkTwoThousandComponents is the time that planning takes for a large system.
func BenchmarkTwoThousandComponents(b *testing.B) {
	for _, layers := range []int{64, 120, 499} {
		b.Run(fmt.Sprintf("layers=%d", layers), func(b *testing.B) {
			p := manyComponents(b, 2000, Params{MaxLayers: layers})
			for b.Loop() {
				if _, err := Pack(p.components, p.params); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
