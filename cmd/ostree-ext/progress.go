package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// display shows progress. Its event method is called by one goroutine at a time. stop ends the display, and must be
// called before anything else is written to standard error.
type display interface {
	event(progress.Event)
	stop()
}

// newProgress returns the display: none if quiet, bars on a terminal, and otherwise a line per layer. On a terminal of
// unknown size, such as a serial line, bars would not be visible.
func (a *app) newProgress() display {
	switch {
	case a.quiet:
		return silence{}
	case hasRoom(a.err):
		return newBars(a.err)
	}
	return newLines(a.err)
}

// hasRoom reports whether w is a terminal of known size.
func hasRoom(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(w) {
		return false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil && size.Row > 0 && size.Col > 0
}

type silence struct{}

func (silence) event(progress.Event) {}
func (silence) stop()                {}

// lines writes a line when a layer is done. If an upload fails at the end, the layer is made again, and so is the line.
type lines struct {
	w     io.Writer
	total int
	done  map[int]bool
}

func newLines(w io.Writer) *lines { return &lines{w: w, done: map[int]bool{}} }

func (l *lines) event(e progress.Event) {
	switch e.Kind {
	case progress.Planned:
		l.total = e.Layer
		if e.Total > 0 {
			fmt.Fprintf(l.w, "layers: %d (%s)\n", e.Layer, sizes.Format(e.Total))
		} else {
			fmt.Fprintf(l.w, "layers: %d\n", e.Layer)
		}
	case progress.Finished:
		l.done[e.Layer] = true
		fmt.Fprintf(l.w, "[%d/%d] %s (%s)\n", len(l.done), l.total, printable.Line(e.Name), sizes.Format(e.Done))
	case progress.Present:
		l.done[e.Layer] = true
		fmt.Fprintf(l.w, "[%d/%d] %s: unchanged\n", len(l.done), l.total, printable.Line(e.Name))
	}
}

func (l *lines) stop() {}

// bars shows a bar for each unfinished layer, and a line with the number of finished ones, the bytes of all and the
// time left.
type bars struct {
	p      *mpb.Progress
	sum    *mpb.Bar
	total  *total
	layers map[int]*mpb.Bar
	done   map[int]bool
}

func newBars(w io.Writer) *bars {
	p := mpb.New(mpb.WithOutput(w), mpb.WithWidth(24), mpb.WithRefreshRate(150*time.Millisecond))
	return &bars{p: p, layers: map[int]*mpb.Bar{}, done: map[int]bool{}}
}

func (b *bars) event(e progress.Event) {
	bar := b.layers[e.Layer]
	if b.total != nil {
		b.total.event(e)
	}
	switch e.Kind {
	case progress.Planned:
		b.sum = b.add(int64(e.Layer), mpb.BarPriority(1<<20),
			mpb.PrependDecorators(decor.Name("layers", decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.CountersNoUnit("%d / %d"), b.totalOf(e)))
	case progress.Started:
		if bar != nil {
			bar.Abort(true) // a layer whose upload failed is made again
		}
		b.layers[e.Layer] = b.layer(e)
	case progress.Advanced:
		if bar != nil {
			if e.Total > 0 {
				bar.SetTotal(max(e.Total, e.Done), false)
			}
			bar.SetCurrent(e.Done)
		}
	case progress.Finished:
		if bar != nil {
			bar.SetTotal(e.Done, true)
			delete(b.layers, e.Layer)
		}
		b.count(e.Layer)
	case progress.Present:
		b.count(e.Layer)
	}
}

// totalOf returns the decorator with the bytes of all layers.
func (b *bars) totalOf(planned progress.Event) decor.Decorator {
	t := newTotal(planned, time.Now())
	b.total = t
	return decor.Any(func(decor.Statistics) string { return t.text(time.Now()) })
}

// add adds a bar. It returns nil if the terminal is gone.
func (b *bars) add(total int64, opts ...mpb.BarOption) *mpb.Bar {
	bar, err := b.p.Add(total, mpb.BarStyle().Build(), opts...)
	if err != nil {
		return nil
	}
	return bar
}

func (b *bars) count(layer int) {
	b.done[layer] = true
	if b.sum != nil {
		b.sum.SetCurrent(int64(len(b.done)))
	}
}

func (b *bars) layer(e progress.Event) *mpb.Bar {
	name := []rune(printable.Line(e.Name))
	if len(name) > 32 {
		name = append(name[:31], '…')
	}
	counters := decor.Any(func(s decor.Statistics) string {
		if e.Total > 0 {
			return sizes.Format(s.Current) + " / " + sizes.Format(s.Total)
		}
		return sizes.Format(s.Current)
	})
	// Set the total later: a bar that is created with one ends when it is reached, and SetTotal has no effect on it.
	bar := b.add(0, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(string(name), decor.WCSyncSpaceR)), mpb.AppendDecorators(counters))
	if bar != nil {
		bar.SetTotal(e.Total, false)
	}
	return bar
}

// stop removes the bars of unfinished layers and waits until nothing more is written to the terminal.
func (b *bars) stop() {
	for _, bar := range b.layers {
		if bar != nil {
			bar.Abort(true)
		}
	}
	if b.sum != nil && !b.sum.Completed() {
		b.sum.Abort(false)
	}
	b.p.Wait()
}
