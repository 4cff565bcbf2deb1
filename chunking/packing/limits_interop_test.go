//go:build interop

package packing

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Not parallel: it measures the process. Processor time, not the clock's, so that other work on the machine does not
// count; the plan itself uses two cores. Memory is all that was allocated, which is more than was held at any time.
func TestTwoThousandComponentsTakeTwoSecondsAndAHundredMebibytes(t *testing.T) {
	for _, layers := range []int{64, 100, 120, 499} {
		p := manyComponents(t, 2000, Params{MaxLayers: layers})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := processorTime(t)
		plan, err := Pack(p.components, p.params)
		if err != nil {
			t.Fatal(err)
		}
		taken := processorTime(t) - start
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("%d layers: %v, %d MiB, %.4f × the bound", layers, taken, allocated>>20, plan.Expected/plan.Bound)
		if taken > 2*time.Second || allocated > 100<<20 {
			t.Errorf("%d layers: %v and %d MiB", layers, taken, allocated>>20)
		}
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
