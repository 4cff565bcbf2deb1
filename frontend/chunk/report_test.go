package chunk

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// layersTaking returns what is logged about layers, each of which takes some time.
func layersTaking(n int, each func(i int) time.Duration) []string {
	var log bytes.Buffer
	now := time.Unix(0, 0)
	t := newReporter(&log, func() time.Time { return now })
	t.event(progress.Event{Kind: progress.Planned, Layer: n})
	for i := range n {
		e := progress.Event{Kind: progress.Started, Layer: i, Name: fmt.Sprintf("deb/package-%d", i)}
		t.event(e)
		now = now.Add(each(i))
		e.Kind, e.Done, e.Total = progress.Finished, 1_000_000, 1_000_000
		t.event(e)
	}
	return strings.Split(strings.TrimSuffix(strings.ReplaceAll(log.String(), "\u00a0", " "), "\n"), "\n")
}

func TestTheLogDoesNotNameLayersThatAreMadeQuickly(t *testing.T) {
	t.Parallel()
	got := layersTaking(499, func(int) time.Duration { return 10 * time.Millisecond })
	if diff := cmp.Diff([]string{""}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheLogSaysNowAndThenHowMuchIsDoneAndNamesSlowLayers(t *testing.T) {
	t.Parallel()
	got := layersTaking(10, func(i int) time.Duration { return time.Duration(4+2*i) * time.Second })
	want := []string{
		"2 of 10 layers, 2.0 MB, after 10s",
		"layer 4 of 10, 1.0 MB, took 10s: deb/package-3",
		"4 of 10 layers, 4.0 MB, after 28s",
		"layer 5 of 10, 1.0 MB, took 12s: deb/package-4",
		"layer 6 of 10, 1.0 MB, took 14s: deb/package-5",
		"layer 7 of 10, 1.0 MB, took 16s: deb/package-6",
		"7 of 10 layers, 7.0 MB, after 1m10s",
		"layer 8 of 10, 1.0 MB, took 18s: deb/package-7",
		"layer 9 of 10, 1.0 MB, took 20s: deb/package-8",
		"layer 10 of 10, 1.0 MB, took 22s: deb/package-9",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheLogOfHoursHasFewLines(t *testing.T) {
	t.Parallel()
	if got := layersTaking(499, func(int) time.Duration { return time.Minute }); len(got) > 25 {
		t.Errorf("%d lines:\n%s", len(got), strings.Join(got, "\n"))
	}
}

func TestOfManyPathsThatACommitDoesNotKeepSomeAreNamed(t *testing.T) {
	t.Parallel()
	r := newReporter(&bytes.Buffer{}, time.Now)
	r.dropped(make([]rootfs.Dropped, 1000))
	if n := len(r.warnings); n != maxDropped+1 || !strings.HasPrefix(r.warnings[n-1], "not kept: 990 more") {
		t.Errorf("%d warnings, the last one %q", n, r.warnings[n-1])
	}
}
