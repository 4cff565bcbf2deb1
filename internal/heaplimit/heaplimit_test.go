package heaplimit

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestTheLimitFollowsWhatIsInUse(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int64
	}{
		{0, Base},
		{30 << 20, Base},
		{80 << 20, 98 << 20},
		{320 << 20, 368 << 20},
	} {
		if got := limit(tt.live); got != tt.want {
			t.Errorf("%d MiB in use: the limit is %d MiB, want %d", tt.live>>20, got>>20, tt.want>>20)
		}
	}
}

func TestACollectionSetsTheLimit(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	Set()
	if got := debug.SetMemoryLimit(-1); got != Base {
		t.Fatalf("the limit is %d", got)
	}
	reaches := func(ok func(int64) bool) {
		t.Helper()
		// The finalizer runs in a goroutine of the runtime after a collection.
		for deadline := time.Now().Add(20 * time.Second); !ok(debug.SetMemoryLimit(-1)); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the limit stays at %d MiB", debug.SetMemoryLimit(-1)>>20)
			}
			runtime.GC()
		}
	}
	large := make([]byte, 200<<20)
	reaches(func(n int64) bool { return n >= 200<<20*9/8 })
	runtime.KeepAlive(large)
	reaches(func(n int64) bool { return n == Base })
}

func TestTheUsersLimitStands(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "1GiB")
	before := debug.SetMemoryLimit(1 << 30)
	defer debug.SetMemoryLimit(before)
	Set()
	if got := debug.SetMemoryLimit(-1); got != 1<<30 {
		t.Errorf("the limit is %d", got)
	}
}
