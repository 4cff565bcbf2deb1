package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/container/flatten"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// CheckOptions are the options of [Check]. The zero value is what most callers need.
type CheckOptions struct {
	// TempDir is where the objects of a commit are stored during the check; empty means the system's temporary directory.
	TempDir string
	// Progress receives one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// Findings is the result of [Check].
type Findings struct {
	// Image is the reference that the image was opened by.
	Image string `json:"image"`
	// Digest is the digest of the manifest for this platform.
	Digest digest.Digest `json:"digest"`
	// Layers is the number of layers. Derived is how many of them are on top of the layers that hold a commit.
	Layers  int `json:"layers"`
	Derived int `json:"derived,omitempty"`
	// Commit is the commit in the image, if it has one.
	Commit string `json:"commit,omitempty"`
	// Problems are messages for people. There are none if the image is good.
	Problems []string `json:"problems"`
}

// Check reads all of an image. It reports whether layers, labels and diff-ids agree and whether everything can be
// imported: an image of a commit must yield that commit, complete, and the layers of other images must unpack. The
// commit goes into a temporary repository. Signatures are not checked.
//
// An error means that the image could not be read. Problems with the image itself are in the result.
func Check(ctx context.Context, img *oci.Image, opts CheckOptions) (*Findings, error) {
	w := &checker{img: img, emit: progress.Serialize(opts.Progress), scanner: flatten.NewScanner()}
	w.Image, w.Digest, w.Layers, w.Problems = img.Name, img.Top.Digest, len(img.Layers), []string{}
	if err := img.CheckLayers(); err != nil {
		w.problem("%v", err)
		return &w.Findings, nil
	}
	commitLayers := w.labels()
	if commitLayers > 0 {
		w.Derived = len(img.Layers) - commitLayers
		for i, l := range img.Layers {
			if l.Foreign != "" {
				w.problem("layer %d of %d has the media type %s, which hosts that use ostree do not read", i+1, w.Layers, l.Foreign)
			}
		}
	}
	if err := w.run(ctx, commitLayers, opts.TempDir); err != nil {
		return nil, fmt.Errorf("verifying %s: %w", img.Name, err)
	}
	return &w.Findings, nil
}

// annotationStargz is the annotation of a layer in the eStargz format.
const annotationStargz = "containerd.io/snapshot/stargz/toc.digest"

// checker checks one image.
type checker struct {
	Findings
	img     *oci.Image
	emit    func(progress.Event)
	scanner *flatten.Scanner

	mu  sync.Mutex
	bad map[int]error // by layer index
}

func (w *checker) problem(format string, args ...any) {
	w.Problems = append(w.Problems, fmt.Sprintf(format, args...))
}

// labels checks the labels as far as possible without reading layers, and returns how many layers hold the commit.
func (w *checker) labels() (commitLayers int) {
	labels := w.img.Config.Labels
	if plan, ok := labels[chunking.LabelRecord]; ok {
		if _, err := chunking.ParseRecord(plan); err != nil {
			w.problem("label %s: %v: the next build cannot continue from this image", chunking.LabelRecord, err)
		}
	}
	l, err := w.img.CommitLayers()
	if err == nil {
		return 1 + len(l.Chunks)
	}
	why, _ := errors.AsType[*oci.CommitError](err)
	switch {
	case why == nil || !why.Labelled:
		if _, ok := labels[oci.LabelCommit]; ok {
			w.problem("label %s is there, but not %s: no host can import the commit", oci.LabelCommit, oci.LabelDiffID)
		}
	case why.Replaced:
		w.problem("label %s names %.80q, which is the diff-id of no layer: the layers were converted or replaced after "+
			"the image "+
			"was made, and no host can import the commit: export the image anew, without force-compression=true,"+
			"compression=estargz", oci.LabelDiffID, labels[oci.LabelDiffID])
	default:
		w.problem("label %s: %v", oci.LabelDiffID, err)
	}
	return 0
}

// run reads all layers. The first commitLayers of them hold a commit.
func (w *checker) run(ctx context.Context, commitLayers int, temp string) (err error) {
	var txn *repo.Txn
	if commitLayers > 0 {
		r, err := newScratch(ctx, temp)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		if txn, err = r.Begin(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, txn.Abort()) }()
	}
	var commit object.Checksum
	scanned := make([]*flatten.Layer, len(w.img.Layers))
	use := func(i int) func(io.Reader) error {
		switch {
		case i >= commitLayers:
			return func(r io.Reader) (err error) {
				scanned[i], err = w.scanner.Scan(ctx, r)
				return err
			}
		case i == 0:
			return func(r io.Reader) (err error) {
				commit, err = tarfmt.ImportCommit(ctx, txn, r, tarfmt.ImportOptions{})
				return err
			}
		default:
			return func(r io.Reader) error {
				_, err := tarfmt.ImportObjectSet(ctx, txn, r)
				return err
			}
		}
	}
	if err := w.read(ctx, use); err != nil {
		return err
	}
	for i, l := range w.img.Layers {
		name := fmt.Sprintf("layer %d of %d (%s)", i+1, len(w.img.Layers), l.Descriptor.Digest)
		if _, ok := l.Descriptor.Annotations[annotationStargz]; ok {
			w.problem("%s is in eStargz format: the image was converted after it was made", name)
		}
		if err := w.bad[i]; err != nil {
			w.problem("%s: %v", name, err)
			continue
		}
		if scanned[i] == nil {
			continue
		}
		if p := scanned[i].Special(); p != "" && commitLayers > 0 {
			w.problem("%s has %.200q, a device or FIFO, which no commit can hold", name, p)
		}
	}
	if len(w.bad) > 0 {
		return nil
	}
	if commitLayers == 0 {
		if err := w.scanner.Stack(ctx, scanned); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			w.problem("%v", err)
		}
		return nil
	}
	w.Commit = commit.String()
	if err := w.img.CheckCommit(w.Commit); err != nil {
		w.problem("%v", err)
	}
	if err := txn.VerifyComplete(ctx, commit); err != nil {
		w.problem("commit %s: %v", commit, err)
	}
	return nil
}

// read reads all layers, as many at a time as there are processors if the source allows. An error about one layer is
// recorded in w.bad, and the other layers are still read.
func (w *checker) read(ctx context.Context, use func(int) func(io.Reader) error) error {
	planned := progress.Event{Kind: progress.Planned, Image: w.img.Name, Layer: len(w.img.Layers)}
	for _, l := range w.img.Layers {
		planned.Total += l.Descriptor.Size
	}
	w.emit(planned)
	w.bad = map[int]error{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelism(w.img))
	for i := range w.img.Layers {
		l := &w.img.Layers[i]
		g.Go(func() error {
			err := w.img.ReadLayer(ctx, l, oci.ReadOptions{Strict: true, Progress: w.emit}, use(i))
			if err == nil {
				return nil
			}
			if ctx.Err() != nil || oci.Local(err) {
				return fmt.Errorf("layer %s: %w", l.Descriptor.Digest, err)
			}
			w.mu.Lock()
			w.bad[i] = err
			w.mu.Unlock()
			return nil
		})
	}
	return g.Wait()
}
