package progress_test

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
)

func TestReaderReportsEveryByteInTheEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 300 << 10, 1 << 20} {
		var last progress.Event
		e := progress.Event{Image: "i", Layer: 3, Name: "n", Total: int64(size)}
		r := progress.Reader(bytes.NewReader(make([]byte, size)), e, func(e progress.Event) { last = e })
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		want := progress.Event{Kind: progress.Advanced, Image: "i", Layer: 3, Name: "n",
			Done: int64(size), Total: int64(size)}
		if size == 0 {
			want = progress.Event{}
		}
		if diff := cmp.Diff(want, last); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", size, diff)
		}
	}
}

func TestSerializeAdmitsOneCallAtATime(t *testing.T) {
	t.Parallel()
	n := 0 // the race detector watches it
	emit := progress.Serialize(func(progress.Event) { n++ })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				emit(progress.Event{})
			}
		})
	}
	wg.Wait()
	if n != 800 {
		t.Errorf("got %d calls, want 800", n)
	}
	progress.Serialize(nil)(progress.Event{})
}
