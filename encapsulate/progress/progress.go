// Package progress defines the events by which long work on the layers of an image tells what it does. Libraries give
// them to a function of the caller; only the commands print.
//
// [Planned] comes first and once. Then each layer has either one [Present], or [Started], any number of [Advanced] and
// [Finished], in this order; the events of several layers mix. A layer that fails has no [Finished]. A layer whose upload
// failed is made again, and has a second [Started], which takes back what was told of it before.
//
// The function is called by one goroutine at a time, so it needs no lock of its own, but not always by the same one. The
// work waits for it: it must return soon, and must not call back into the work. It is not called any more when the work
// has returned. One function may be given to work on several images side by side: [Event.Image] tells them apart, and
// [Serialize] keeps the calls of one image apart from each other, not from those of another image.
package progress

import (
	"io"
	"sync"
)

// Kind is the kind of an event.
type Kind uint8

// The kinds of event, in the order in which they occur.
const (
	// Planned is sent once, before any layer. Layer is the number of layers, and Total their size in bytes or 0 if it is
	// not known yet.
	Planned Kind = iota + 1
	// Started is sent once for a layer, and again if the layer is made again because its upload failed.
	Started
	// Advanced is sent repeatedly: Done of Total bytes of the layer are processed.
	Advanced
	// Finished is sent for a layer that was completed without error.
	Finished
	// Present is sent once, instead of the three above, for a layer that need not be made. Total is its size.
	Present
)

// Event reports one step of an operation.
type Event struct {
	Kind Kind
	// Image is the name of the image: the reference that it was opened by, or what its maker was told to call it. It is
	// empty where nobody named the image.
	Image string
	// Layer is the position of the layer in the manifest.
	Layer int
	// Name is the name of the layer to print: its description, or its digest if it has none.
	Name string
	// Done and Total count bytes: those of the blob for a layer that is read, and those of the tar stream for one that is
	// made. Total is 0 if it is not known. While a layer is being made, it is an estimate.
	Done, Total int64
}

// Serialize returns a function that calls f with one event at a time, whichever goroutines call it. A nil f gives a
// function that does nothing.
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

// Reader reports the bytes that are read through it as [Advanced] events. The event gives the image, the layer, its name
// and its size.
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
