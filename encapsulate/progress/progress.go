// Package progress defines the events that report progress on the layers of an image. Libraries pass them to a
// function of the caller; only commands print them.
//
// [Planned] comes first, once. Then each layer has either one [Present], or one [Started], any number of [Advanced]
// and one [Finished], in this order. Events of different layers may be interleaved. A layer that fails has no
// [Finished]. A layer whose upload failed is made again: it gets a second [Started], which resets its progress.
//
// Calls of the function do not overlap, so it needs no lock, but they may come from different goroutines. The work
// waits for the function, which must return soon and must not call back into the work. It is not called after the
// work has returned. One function may serve work on several images at the same time: [Event.Image] tells them apart.
// [Serialize] prevents overlapping calls for one image, not for different images.
package progress

import (
	"io"
	"sync"
)

// Kind is the kind of an event.
type Kind uint8

// The kinds of events, in the order in which they occur.
const (
	// Planned comes once, before any layer. Layer is the number of layers, Total their size in bytes, or 0 if it is not
	// known yet.
	Planned Kind = iota + 1
	// Started comes once for a layer, and again if the layer is made again because its upload failed.
	Started
	// Advanced comes repeatedly. Done of Total bytes of the layer are done.
	Advanced
	// Finished comes when a layer is done, without an error.
	Finished
	// Present comes once for a layer that need not be made, instead of the three kinds above. Total is its size.
	Present
)

// Event reports progress on an image or one of its layers.
type Event struct {
	Kind Kind
	// Image is the name of the image: the reference it was opened by, or the name in the options of the function that
	// makes it. It is empty if the image was not named.
	Image string
	// Layer is the position of the layer in the manifest.
	Layer int
	// Name is a name of the layer for people: its description, or its digest if it has none.
	Name string
	// Done and Total are in bytes: of the blob for a layer that is read, of the tar stream for a layer that is made.
	// Total is 0 if it is not known. For a layer that is made it is an estimate until the layer is finished.
	Done, Total int64
	// Objects is how many objects of the layer are in the repository. It is 0 if the layer is not imported.
	Objects int
}

// Serialize returns a function that calls f with one event at a time. It may be called by several goroutines. If f is
// nil, the function does nothing.
func Serialize(f func(Event)) func(Event) {
	if f == nil {
		return func(Event) {}
	}
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		f(e)
	}
}

// step is the number of bytes between two events of a layer.
const step = 256 << 10

// Reader returns a reader of r that reports what is read as [Advanced] events. The image, the layer, its name and its
// size come from e.
func Reader(r io.Reader, e Event, emit func(Event)) io.Reader {
	e.Kind, e.Done = Advanced, 0
	return &reader{r: r, event: e, emit: emit}
}

type reader struct {
	r        io.Reader
	event    Event
	reported int64
	emit     func(Event)
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.event.Done += int64(n)
	if r.event.Done-r.reported >= step || err != nil && r.event.Done != r.reported {
		r.reported = r.event.Done
		r.emit(r.event)
	}
	return n, err
}
