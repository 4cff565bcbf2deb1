package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// total adds up the bytes and objects of all layers. Its event method is called by one goroutine at a time, text by
// any.
type total struct {
	began         time.Time
	layers        map[int]progress.Event // the last of each layer
	done, objects atomic.Int64
	all           int64 // bytes; 0 if it is not known
}

// newTotal returns the total of a plan.
func newTotal(planned progress.Event, now time.Time) *total {
	return &total{began: now, layers: map[int]progress.Event{}, all: planned.Total}
}

func (t *total) event(e progress.Event) {
	switch e.Kind {
	case progress.Started:
		e.Done, e.Objects = 0, 0 // a layer that is made again begins anew
	case progress.Advanced, progress.Finished:
	default:
		return
	}
	last := t.layers[e.Layer]
	t.done.Add(e.Done - last.Done)
	t.objects.Add(int64(e.Objects - last.Objects))
	t.layers[e.Layer] = e
}

// text says how much is done, and how long the rest will take if it goes on as it did.
func (t *total) text(now time.Time) string {
	done := t.done.Load()
	if t.all <= 0 {
		return ""
	}
	s := fmt.Sprintf("  %s / %s", sizes.Format(done), sizes.Format(t.all))
	if n := t.objects.Load(); n > 0 {
		s += fmt.Sprintf(", %d objects", n)
	}
	elapsed := now.Sub(t.began)
	if elapsed < time.Second || done <= 0 || done >= t.all {
		return s
	}
	left := time.Duration(float64(elapsed) * float64(t.all-done) / float64(done))
	return s + fmt.Sprintf("  %s left", left.Round(time.Second))
}
