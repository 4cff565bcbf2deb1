package main

import (
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
)

func TestTheTotalSaysHowLongTheRestTakes(t *testing.T) {
	start := time.Unix(0, 0)
	sum := newTotal(progress.Event{Kind: progress.Planned, Layer: 2, Total: 4000}, start)
	event := func(kind progress.Kind, layer int, done int64) {
		sum.event(progress.Event{Kind: kind, Layer: layer, Done: done})
	}
	check := func(after time.Duration, want string) {
		t.Helper()
		if got := sum.text(start.Add(after)); got != want {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
	}
	check(time.Minute, "  0 bytes / 4.0\u00a0kB")
	event(progress.Started, 0, 0)
	event(progress.Advanced, 0, 500)
	event(progress.Started, 1, 0)
	event(progress.Advanced, 1, 500)
	check(10*time.Second, "  1.0\u00a0kB / 4.0\u00a0kB  30s left")
	event(progress.Started, 1, 500) // again
	check(10*time.Second, "  500 bytes / 4.0\u00a0kB  1m10s left")
	event(progress.Finished, 0, 2000)
	event(progress.Finished, 1, 2000)
	check(time.Hour, "  4.0\u00a0kB / 4.0\u00a0kB")
	if got := newTotal(progress.Event{Kind: progress.Planned, Layer: 2}, start).text(start.Add(time.Hour)); got != "" {
		t.Errorf("without a total: %q", got)
	}
}

func TestTheTotalCountsObjectsWhereTheyAreKnown(t *testing.T) {
	start := time.Unix(0, 0)
	sum := newTotal(progress.Event{Kind: progress.Planned, Layer: 2, Total: 4000}, start)
	for _, e := range []progress.Event{
		{Kind: progress.Started, Layer: 0}, {Kind: progress.Advanced, Layer: 0, Done: 500, Objects: 7},
		{Kind: progress.Started, Layer: 1}, {Kind: progress.Finished, Layer: 1, Done: 500, Objects: 20},
		{Kind: progress.Advanced, Layer: 0, Done: 1000, Objects: 12},
	} {
		sum.event(e)
	}
	if got, want := sum.text(start), "  1.5\u00a0kB / 4.0\u00a0kB, 32 objects"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	sum.event(progress.Event{Kind: progress.Started, Layer: 0}) // again
	if got, want := sum.text(start), "  500 bytes / 4.0\u00a0kB, 20 objects"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
