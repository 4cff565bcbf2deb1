package main

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
)

// TestTheBarsEndWhateverBecameOfTheLayers runs in a bubble, in which waiting for a bar that never ends is a deadlock.
func TestTheBarsEndWhateverBecameOfTheLayers(t *testing.T) {
	planned := progress.Event{Kind: progress.Planned, Layer: 2}
	event := func(kind progress.Kind, done, total int64) progress.Event {
		return progress.Event{Kind: kind, Layer: 1, Name: "a layer", Done: done, Total: total}
	}
	for name, events := range map[string][]progress.Event{
		"nothing was planned":     {},
		"no layer began":          {planned},
		"no layer is in the plan": {{Kind: progress.Planned}},
		"done": {planned, event(progress.Started, 0, 8), event(progress.Advanced, 8, 8),
			event(progress.Finished, 8, 8)},
		"done before the total": {planned, event(progress.Started, 0, 8), event(progress.Advanced, 3, 8),
			event(progress.Finished, 3, 3)},
		"done after the total": {planned, event(progress.Started, 0, 8), event(progress.Advanced, 9, 8),
			event(progress.Finished, 10, 10)},
		"done without a total": {planned, event(progress.Started, 0, 0), event(progress.Advanced, 3, 0),
			event(progress.Finished, 8, 8)},
		"empty":   {planned, event(progress.Started, 0, 0), event(progress.Finished, 0, 0)},
		"cut off": {planned, event(progress.Started, 0, 8), event(progress.Advanced, 3, 8)},
		"made again": {planned, event(progress.Started, 0, 8), event(progress.Started, 0, 8),
			event(progress.Finished, 8, 8)},
		"made again and cut off": {planned, event(progress.Started, 0, 0), event(progress.Started, 0, 0)},
		"done, made again and cut off": {planned, event(progress.Started, 0, 0), event(progress.Finished, 8, 8),
			event(progress.Started, 0, 0)},
		"present": {planned, event(progress.Present, 0, 8)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBars(io.Discard)
				for _, e := range events {
					b.event(e)
				}
				b.stop()
				done := slices.ContainsFunc(events, func(e progress.Event) bool { return e.Kind >= progress.Finished })
				if b.done[1] != done {
					t.Errorf("the layer counts as done: %v", b.done[1])
				}
			})
		})
	}
}

func TestBarsOutliveTheirTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBars(io.Discard)
		b.p.Shutdown() // as when drawing failed
		for kind := progress.Planned; kind <= progress.Present; kind++ {
			b.event(progress.Event{Kind: kind, Layer: 1, Name: "a layer", Total: 8})
		}
		b.event(progress.Event{Kind: progress.Started, Layer: 2})
		b.stop()
	})
}

func TestALayerThatIsMadeAgainCountsOnce(t *testing.T) {
	var out bytes.Buffer
	l := newLines(&out)
	for _, e := range []progress.Event{
		{Kind: progress.Planned, Layer: 2},
		{Kind: progress.Finished, Layer: 0, Name: "a", Done: 1},
		{Kind: progress.Finished, Layer: 0, Name: "a", Done: 1},
		{Kind: progress.Present, Layer: 1, Name: "b"},
	} {
		l.event(e)
	}
	l.stop()
	if want := "layers: 2\n[1/2] a (1 byte)\n[1/2] a (1 byte)\n[2/2] b: unchanged\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
