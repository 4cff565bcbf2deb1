package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// progressFlags are the options for progress that programs read.
type progressFlags struct {
	format string
	fd     int
}

// recordsVersion is the version of bootc's records of progress that are written.
const recordsVersion = "0.1.0"

// recordsEvery is the shortest time between two records, except the first and the last of a task.
const recordsEvery = 200 * time.Millisecond

// openRecords returns the records of progress, or nil if they are not asked for.
func (a *app) openRecords(f progressFlags) (*records, error) {
	switch f.format {
	case "auto", "json":
	default:
		return nil, usagef("invalid value '%s' for '--progress': it is auto or json", f.format)
	}
	switch {
	case f.fd == 0 && f.format == "json":
		return newRecords(a.err, time.Now), nil
	case f.fd == 0:
		return nil, nil
	case f.fd < 3:
		return nil, usagef("invalid value '%d' for '--progress-fd': 0 to 2 are the standard streams", f.fd)
	}
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFD, 0); err != nil {
		return nil, usagef("invalid value '%d' for '--progress-fd': it is not an open file descriptor", f.fd)
	}
	return newRecords(os.NewFile(uintptr(f.fd), fmt.Sprintf("file descriptor %d", f.fd)), time.Now), nil
}

// These are bootc's records.
type (
	startRecord struct {
		Type    string `json:"type"`
		Version string `json:"version"`
	}
	bytesRecord struct {
		Type        string       `json:"type"`
		Task        string       `json:"task"`
		Description string       `json:"description"`
		ID          string       `json:"id"`
		BytesCached int64        `json:"bytesCached"`
		Bytes       int64        `json:"bytes"`
		BytesTotal  int64        `json:"bytesTotal"`
		StepsCached int          `json:"stepsCached"`
		Steps       int          `json:"steps"`
		StepsTotal  int          `json:"stepsTotal"`
		Subtasks    []bytesTasks `json:"subtasks"`
	}
	bytesTasks struct {
		Subtask     string `json:"subtask"`
		Description string `json:"description"`
		ID          string `json:"id"`
		BytesCached int64  `json:"bytesCached"`
		Bytes       int64  `json:"bytes"`
		BytesTotal  int64  `json:"bytesTotal"`
	}
	stepsRecord struct {
		Type        string       `json:"type"`
		Task        string       `json:"task"`
		Description string       `json:"description"`
		ID          string       `json:"id"`
		StepsCached int          `json:"stepsCached"`
		Steps       int          `json:"steps"`
		StepsTotal  int          `json:"stepsTotal"`
		Subtasks    []stepsTasks `json:"subtasks"`
	}
	stepsTasks struct {
		Subtask     string `json:"subtask"`
		Description string `json:"description"`
		ID          string `json:"id"`
		Completed   bool   `json:"completed"`
	}
)

// records writes bootc's records of a pull and of what follows it. It is a display. A nil one writes nothing. A write
// error ends reporting.
type records struct {
	w    io.Writer
	next time.Time
	now  func() time.Time

	pulling bytesRecord
	index   map[int]int // position of each layer's subtask
	started bool
}

// newRecords returns records that begin with the first task: before it, the program may start itself again.
func newRecords(w io.Writer, now func() time.Time) *records { return &records{w: w, now: now} }

// pull reports that a pull begins.
func (r *records) pull(p *store.Prepared) {
	r.index = map[int]int{}
	missing, size := p.Missing()
	r.pulling = bytesRecord{
		Type: "ProgressBytes", Task: "pulling", Description: "Pulling image: " + p.Ref.Image.String(),
		ID: p.Image.Top.Digest.String(), BytesTotal: size, StepsTotal: len(missing),
		StepsCached: len(p.Layers) - len(missing), Subtasks: []bytesTasks{},
	}
	for _, l := range p.Layers {
		if !l.Commit.IsZero() {
			r.pulling.BytesCached += l.Descriptor.Size
			continue
		}
		kind := "ostree_chunk"
		if l.Kind == oci.Derived || l.Kind == oci.Plain {
			kind = "ostree_derived"
		}
		r.index[l.Index] = len(r.pulling.Subtasks)
		hex := l.Descriptor.Digest.Encoded()
		r.pulling.Subtasks = append(r.pulling.Subtasks, bytesTasks{
			Subtask: kind, ID: hex[:min(21, len(hex))], BytesTotal: l.Descriptor.Size,
			Description: fmt.Sprintf("%s (%s)", l.Title(), sizes.Format(l.Descriptor.Size)),
		})
	}
	r.write(r.pulling)
}

func (r *records) event(e progress.Event) {
	i, ok := r.index[e.Layer]
	if !ok {
		return
	}
	task := &r.pulling.Subtasks[i]
	switch e.Kind {
	case progress.Advanced:
		task.Bytes = min(e.Done, task.BytesTotal)
	case progress.Finished:
		task.Bytes = task.BytesTotal
		r.pulling.Steps++
		delete(r.index, e.Layer) // it may be read again
	default:
		return
	}
	r.pulling.Bytes = 0
	for _, t := range r.pulling.Subtasks {
		r.pulling.Bytes += t.Bytes
	}
	last := r.pulling.Steps == r.pulling.StepsTotal
	if now := r.now(); last || !now.Before(r.next) {
		r.next = now.Add(recordsEvery)
		r.write(r.pulling)
	}
	if last && e.Kind == progress.Finished {
		r.importing(0)
	}
}

// importing reports the merging of the layers: before it with 0 steps done, after it with 1.
func (r *records) importing(done int) {
	r.steps("importing", "Importing image", r.pulling.ID, done,
		stepsTasks{Subtask: "importing", Description: "Merging layers", ID: "importing"})
}

// staging reports the deployment of an image, whether it is staged or not. After these two steps, bootc pulls other
// images and removes old ones.
func (r *records) staging(image digest.Digest, done int) {
	if r == nil {
		return
	}
	r.steps("staging", "Deploying Image", image.String(), done,
		stepsTasks{Subtask: "merging", Description: "Merging Image", ID: "fetching"},
		stepsTasks{Subtask: "deploying", Description: "Deploying Image", ID: "deploying"})
}

// steps reports a task of which some steps are done. Those after the one that is being done are not listed yet.
func (r *records) steps(task, description, id string, done int, all ...stepsTasks) {
	list := all[:min(done+1, len(all))]
	for i := range min(done, len(list)) {
		list[i].Completed = true
	}
	r.write(stepsRecord{
		Type: "ProgressSteps", Task: task, Description: description, ID: id, Steps: done, StepsTotal: len(all),
		Subtasks: list,
	})
}

func (r *records) stop() {}

// write writes a record. Bytes that cannot be written end reporting, not the pull.
func (r *records) write(record any) {
	if r.w == nil {
		return
	}
	if !r.started {
		r.started = true
		r.write(startRecord{"Start", recordsVersion})
		r.write(record)
		return
	}
	line, err := json.Marshal(record)
	if err == nil {
		_, err = r.w.Write(append(line, '\n'))
	}
	if err != nil {
		r.w = nil
	}
}
