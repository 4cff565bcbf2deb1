package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// preparedPull is a pull of three layers, of which the first is stored.
func preparedPull() *store.Prepared {
	p := &store.Prepared{
		Ref:   imgref.Unverified(imgref.ImageReference{Transport: imgref.Registry, Name: "registry.example/os"}),
		Image: &oci.Image{Top: oci.Document{Digest: digest.FromString("manifest")}},
	}
	for i, kind := range []oci.Kind{oci.Commit, oci.Chunk, oci.Derived} {
		l := &oci.Layer{Index: i, Kind: kind, Descriptor: ocispec.Descriptor{
			Digest: digest.FromString(kind.String()), Size: int64(1000 * (i + 1)),
		}}
		l.History = &ocispec.History{CreatedBy: "layer " + kind.String()}
		p.Layers = append(p.Layers, store.Layer{Layer: l})
	}
	p.Layers[0].Commit = object.Checksum{1}
	return p
}

func TestRecordsAreThoseOfBootc(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	r := newRecords(&out, func() time.Time { return now })
	r.pull(preparedPull())
	at := func(wait time.Duration, e progress.Event) {
		now = now.Add(wait)
		r.event(e)
	}
	at(time.Second, progress.Event{Kind: progress.Started, Layer: 1})
	at(time.Second, progress.Event{Kind: progress.Advanced, Layer: 1, Done: 500})
	at(time.Millisecond, progress.Event{Kind: progress.Advanced, Layer: 2, Done: 600}) // too soon for a record
	at(time.Second, progress.Event{Kind: progress.Advanced, Layer: 2, Done: 700})
	at(time.Millisecond, progress.Event{Kind: progress.Finished, Layer: 1})
	at(time.Millisecond, progress.Event{Kind: progress.Finished, Layer: 2})
	r.importing(1)
	var got []string
	for line := range strings.Lines(out.String()) {
		var v struct {
			Type, Task                          string
			Bytes, BytesTotal, BytesCached      int64
			Steps, StepsTotal, StepsCached      int
			Subtasks                            []struct{ Subtask, ID, Description string }
			ID, Description, Version, Completed any
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		summary, _ := json.Marshal([]any{
			v.Type, v.Task, v.Bytes, v.BytesTotal, v.BytesCached, v.Steps, v.StepsTotal, v.StepsCached,
		})
		got = append(got, string(summary))
	}
	want := []string{
		`["Start","",0,0,0,0,0,0]`,
		`["ProgressBytes","pulling",0,5000,1000,0,2,1]`,
		`["ProgressBytes","pulling",500,5000,1000,0,2,1]`,
		`["ProgressBytes","pulling",1200,5000,1000,0,2,1]`,
		`["ProgressBytes","pulling",5000,5000,1000,2,2,1]`,
		`["ProgressSteps","importing",0,0,0,0,1,0]`,
		`["ProgressSteps","importing",0,0,0,1,1,0]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for _, part := range []string{
		`"id":"` + digest.FromString("manifest").String() + `"`, `"subtask":"ostree_chunk"`, `"subtask":"ostree_derived"`,
		`"id":"` + digest.FromString("chunk").Encoded()[:21] + `"`, `"description":"layer chunk (2.0` + "\u00a0" + `kB)"`,
		`"completed":true`,
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no record has %s", part)
		}
	}
}

func TestStagingHasTheStepsOfBootcThatAreDone(t *testing.T) {
	var out bytes.Buffer
	r := newRecords(&out, time.Now)
	for done := range 3 {
		r.staging("sha256:1", done)
	}
	const begin = `{"type":"ProgressSteps","task":"staging","description":"Deploying Image","id":"sha256:1",` +
		`"stepsCached":0,"steps":%d,"stepsTotal":2,"subtasks":[` +
		`{"subtask":"merging","description":"Merging Image","id":"fetching","completed":%t}`
	const second = `,{"subtask":"deploying","description":"Deploying Image","id":"deploying","completed":%t}`
	want := `{"type":"Start","version":"0.1.0"}` + "\n" + fmt.Sprintf(begin, 0, false) + "]}\n" +
		fmt.Sprintf(begin+second, 1, true, false) + "]}\n" +
		fmt.Sprintf(begin+second, 2, true, true) + "]}\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	(*records)(nil).staging("sha256:1", 0)
}

// brokenPipe fails at the second write.
type brokenPipe struct{ writes int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.writes++; b.writes > 1 {
		return 0, errors.New("broken pipe")
	}
	return len(p), nil
}

func TestAWriteErrorEndsRecords(t *testing.T) {
	w := &brokenPipe{}
	r := newRecords(w, time.Now)
	r.pull(preparedPull())
	r.event(progress.Event{Kind: progress.Finished, Layer: 1})
	r.importing(1)
	if w.writes != 2 {
		t.Errorf("%d writes, want none after the one that failed", w.writes)
	}
}
