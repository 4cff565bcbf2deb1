// Package progress defines the events with which long operations on layers report their progress. Libraries pass them
// to a callback; only the commands print.
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
	// Layer is the position of the layer in the manifest.
	Layer int
	// Name is the name of the layer to print: its description, or its digest if it has none.
	Name string
	// Done and Total count bytes: those of the blob for a layer that is read, and those of the tar stream for one that is
	// made. Total is 0 if it is not known. While a layer is being made, it is an estimate.
	Done, Total int64
}

// Serialize returns a function that passes events to f one at a time. It may be called concurrently. If f is nil, it
// does nothing.
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

// Reader returns a reader that reports the bytes read from r. event has the layer, its name and its size.
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
