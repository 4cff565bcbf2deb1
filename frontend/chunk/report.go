package chunk

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/cleanup"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Limits on the log. A builder shows each line of it, also to those who look for something else.
const (
	// firstReport is when the log first says how many layers are done. Each further line comes after twice the time.
	firstReport = 5 * time.Second
	// slow is how long a layer takes that is named, and maxSlow how many are.
	slow    = 10 * time.Second
	maxSlow = 10
	// maxDropped is how many paths are named that a commit does not keep.
	maxDropped = 10
)

// reporter writes messages to the log of the build, and collects the warnings.
type reporter struct {
	mu       sync.Mutex
	w        io.Writer
	now      func() time.Time
	warnings []string

	began        time.Time
	next         time.Duration // when the log says how much is done
	started      map[int]time.Time
	done         map[int]int64 // bytes of tar streams
	layers, slow int
}

func newReporter(w io.Writer, now func() time.Time) *reporter {
	return &reporter{w: w, now: now, began: now(), next: firstReport, started: map[int]time.Time{}, done: map[int]int64{}}
}

// event reports now and then how much is done, and names the layers that take long.
func (t *reporter) event(e progress.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	switch e.Kind {
	case progress.Planned:
		t.layers = e.Layer
	case progress.Started:
		t.started[e.Layer] = now
	case progress.Finished:
		t.done[e.Layer] = e.Done
		if took := now.Sub(t.started[e.Layer]); took >= slow && t.slow < maxSlow {
			t.slow++
			t.line("layer %d of %d, %s, took %s: %s", e.Layer+1, t.layers, sizes.Format(e.Done), took.Round(time.Second), e.Name)
		}
	case progress.Present:
		t.done[e.Layer] = 0
	}
	if elapsed := now.Sub(t.began); elapsed >= t.next && len(t.done) < t.layers {
		t.next = 2 * elapsed
		var size int64
		for _, n := range t.done {
			size += n
		}
		t.line("%d of %d layers, %s, after %s", len(t.done), t.layers, sizes.Format(size), elapsed.Round(time.Second))
	}
}

// line writes a line. Errors are ignored: a broken log does not make the step fail.
func (t *reporter) line(format string, args ...any) {
	_, _ = fmt.Fprintln(t.w, printable.Line(fmt.Sprintf(format, args...)))
}

// edits reports what was changed in the tree before it was committed.
func (t *reporter) edits(list []cleanup.Edit) {
	for _, e := range list {
		t.line("prepared: %s: %s", e.Name, e.Text)
	}
}

// dropped warns about what a commit does not keep. The log says it, too, since not all clients show warnings.
func (t *reporter) dropped(list []rootfs.Dropped) {
	warn := func(text string) {
		t.line("%s", text)
		t.warnings = append(t.warnings, text)
	}
	for i, d := range rootfs.LossesFirst(list) {
		if i == maxDropped {
			text := "not kept: %d more (`ostree-ext container build --format=ostree --json` of the root filesystem lists them)"
			warn(fmt.Sprintf(text, len(list)-i))
			return
		}
		warn(fmt.Sprintf("not kept: %s: %s", d.Path, d.Reason))
	}
}

// outcome reports what was made, in the log and in the result.
func (t *reporter) outcome(r *Result, prior *oci.Image) {
	layers := make([]report.BuiltLayer, len(r.Layers))
	for i, l := range r.Layers {
		layers[i] = report.BuiltLayer{
			Digest: l.Descriptor.Digest, Size: l.Descriptor.Size, DiffID: l.DiffID, OfBase: l.Origin == FromBase,
		}
	}
	r.Outcome = report.OutcomeOf(layers, prior)
	t.line("%s", r.Outcome)
}
