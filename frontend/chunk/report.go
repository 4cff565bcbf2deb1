package chunk

import (
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/cleanup"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// reporter writes messages to the log of the build, and collects the warnings.
type reporter struct {
	mu       sync.Mutex
	w        io.Writer
	layers   int
	warnings []string
}

// event reports layers that are done.
func (t *reporter) event(e progress.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Kind {
	case progress.Planned:
		t.layers = e.Layer
	case progress.Finished:
		t.line("layer %*d/%d  %9s  %s", digits(t.layers), e.Layer+1, t.layers, sizes.Format(e.Total), e.Name)
	case progress.Present:
		t.line("layer %*d/%d  unchanged  %s", digits(t.layers), e.Layer+1, t.layers, e.Name)
	}
}

// line writes a line. Errors are ignored: a broken log does not make the step fail.
func (t *reporter) line(format string, args ...any) {
	_, _ = fmt.Fprintln(t.w, printable.Line(fmt.Sprintf(format, args...)))
}

func digits(n int) int { return len(fmt.Sprint(n)) }

// edits reports what was changed in the tree before it was committed.
func (t *reporter) edits(list []cleanup.Edit) {
	for _, e := range list {
		t.line("prepared: %s: %s", e.Name, e.Text)
	}
}

// dropped reports what a commit does not keep.
func (t *reporter) dropped(list []rootfs.Dropped) {
	const shown = 10
	for i, d := range list {
		t.line("not kept: %s: %s", d.Path, d.Reason)
		if i < shown {
			t.warnings = append(t.warnings, fmt.Sprintf("not kept: %s: %s", d.Path, d.Reason))
		}
	}
	if n := len(list) - shown; n > 0 {
		t.warnings = append(t.warnings, fmt.Sprintf("not kept: %d more, which the log of the chunk step lists", n))
	}
}

// summary reports what there is to upload, in the log and in the result.
func (t *reporter) summary(r *Result, prior *oci.Image) {
	inPrior := map[digest.Digest]bool{}
	if prior != nil {
		for _, l := range prior.Layers {
			inPrior[l.DiffID] = true
		}
	}
	var size int64
	fresh, kept, base := 0, 0, 0
	for _, l := range r.Layers {
		switch {
		case l.Origin == FromBase:
			base++
		case inPrior[l.DiffID]:
			kept++
		default:
			fresh++
			size += l.Descriptor.Size
		}
	}
	text := fmt.Sprintf("%d layers: %d new, %s compressed", len(r.Layers), fresh, sizes.Format(size))
	if prior != nil {
		text += fmt.Sprintf(", %d kept from the prior image", kept)
	}
	if base > 0 {
		text += fmt.Sprintf(", %d of the base image", base)
	}
	r.Summary = text
	t.line("%s", text)
}
