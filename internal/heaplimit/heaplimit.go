// Package heaplimit keeps the memory of a program small. It is for the main functions alone, as it sets what the whole process
// has one of.
package heaplimit

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Base is what the heap stays below as long as it can, in bytes; most of what it would grow to otherwise is what the collector
// has not freed yet.
const Base = 96 << 20

// overhead is what a process has besides its heap, roughly, in bytes.
const overhead = 8 << 20

// Set sets the limit, unless the user decided about it with GOMEMLIMIT. With a fixed limit the collector would run all the
// time where what is in use comes near it, as it does for trees of several hundred thousand files: an eighth more than is in
// use is always allowed.
func Set() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(Base)
	afterEachCollection(func() { debug.SetMemoryLimit(limit(live())) })
}

// limit is what the heap may grow to when so many bytes of it are in use.
func limit(live uint64) int64 { return max(Base, int64(live+live/8)+overhead) }

// live is the size of what the last collection found in use.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// sentinel is garbage that each collection finds.
type sentinel struct{ do func() }

func afterEachCollection(do func()) { arm(&sentinel{do}) }

func arm(s *sentinel) {
	runtime.SetFinalizer(s, func(s *sentinel) {
		s.do()
		arm(s)
	})
}
