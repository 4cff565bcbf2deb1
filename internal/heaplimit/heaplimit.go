// Package heaplimit keeps the memory of a program small. Only main functions should use it, since it changes a setting
// of the whole process.
package heaplimit

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Base is the size in bytes below which the heap stays if possible. Without it most of a larger heap would be garbage
// that the collector has not freed yet.
const Base = 96 << 20

// overhead is roughly the memory of a process besides its heap, in bytes.
const overhead = 8 << 20

// Set sets the memory limit, unless the user set GOMEMLIMIT. The limit grows with the live heap, to at least an eighth
// more. With a fixed limit the collector would run all the time once the live heap comes near it, as it does for trees
// of several hundred thousand files.
func Set() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(Base)
	afterEachCollection(func() { debug.SetMemoryLimit(limit(live())) })
}

// limit returns the memory limit for a live heap of the given size in bytes.
func limit(live uint64) int64 { return max(Base, int64(live+live/8)+overhead) }

// live returns the size of the heap that the last collection found in use.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// sentinel is an unreachable object that each collection finds.
type sentinel struct{ do func() }

func afterEachCollection(do func()) { arm(&sentinel{do}) }

func arm(s *sentinel) {
	runtime.SetFinalizer(s, func(s *sentinel) {
		s.do()
		arm(s)
	})
}
