package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/container/flatten"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/internal/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// VerifyOptions says how to verify an image. The zero value is what most callers need.
type VerifyOptions struct {
	Source source.Options
	// TempDir is where the objects of a commit go until it was verified; empty means the system's place.
	TempDir string
	// Progress is told what happens, one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// Verification is what came of verifying an image.
type Verification struct {
	// Image is the reference that was asked for.
	Image string `json:"image"`
	// Digest is that of the manifest for this platform.
	Digest digest.Digest `json:"digest"`
	// Layers is their number, Derived that of those on top of the ones that hold a commit.
	Layers  int `json:"layers"`
	Derived int `json:"derived,omitempty"`
	// Commit is the commit that was found, if the image holds one.
	Commit string `json:"commit,omitempty"`
	// Problems are for people; there are none if the image is good.
	Problems []string `json:"problems"`
}

// Verify checks that the layers, the labels and the diff-ids of an image agree, and that everything in it can be imported:
// an image of a commit gives that commit, complete; layers of ordinary files can be unpacked. The repository that the commit
// goes into is thrown away.
//
// An error says that the image could not be looked at. What is wrong with it is in the result.
func Verify(ctx context.Context, ref imgref.ImageReference, opts VerifyOptions) (v *Verification, err error) {
	src, err := source.Open(ctx, ref, opts.Source)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", ref, err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	m, err := src.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	w := &verifier{src: src, emit: progress.Serialize(opts.Progress), scanner: flatten.NewScanner()}
	w.Image, w.Digest, w.Layers, w.Problems = ref.String(), m.Digest, len(m.OCI.Layers), []string{}
	raw, err := src.Config(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	config, err := parseConfig(raw)
	if err != nil {
		w.problem("%v", err)
		return &w.Verification, nil
	}
	if n := len(config.RootFS.DiffIDs); n != len(m.OCI.Layers) {
		w.problem("the manifest has %d layers, the configuration diff-ids of %d", len(m.OCI.Layers), n)
		return &w.Verification, nil
	}
	commitLayers := w.labels(config, func() (*layout, error) { return layoutOf(&m.OCI, config) })
	w.layers = make([]layer, len(m.OCI.Layers))
	for i, d := range m.OCI.Layers {
		w.layers[i] = layer{descriptor: d, diffID: config.RootFS.DiffIDs[i], index: i, name: d.Digest.String(), foreign: i >= commitLayers}
		if i < len(config.History) && config.History[i].CreatedBy != "" {
			w.layers[i].name = config.History[i].CreatedBy
		}
	}
	if commitLayers > 0 {
		w.Derived = len(w.layers) - commitLayers
	}
	if err := w.run(ctx, commitLayers, config.Config.Labels[labelCommit], opts.TempDir); err != nil {
		return nil, fmt.Errorf("verifying %s: %w", ref, err)
	}
	return &w.Verification, nil
}

// annotationStargz is what a layer in eStargz's form has in the manifest.
const annotationStargz = "containerd.io/snapshot/stargz/toc.digest"

// verifier verifies one image.
type verifier struct {
	Verification
	src     source.Source
	emit    func(progress.Event)
	scanner *flatten.Scanner
	layers  []layer

	mu  sync.Mutex
	bad map[int]error // by index of the layer
}

func (w *verifier) problem(format string, args ...any) {
	w.Problems = append(w.Problems, fmt.Sprintf(format, args...))
}

// labels checks the labels as far as that goes without the layers, and returns how many layers hold the commit.
func (w *verifier) labels(c *imageConfig, layout func() (*layout, error)) (commitLayers int) {
	labels := c.Config.Labels
	if plan, ok := labels[chunking.LabelPlan]; ok {
		if _, err := chunking.ParseRecord(plan); err != nil {
			w.problem("label %s: %v: the next build cannot continue from this image", chunking.LabelPlan, err)
		}
	}
	final, ok := labels[labelDiffID]
	if !ok {
		if _, ok := labels[labelCommit]; ok {
			w.problem("label %s is there, but not %s: no host can import the commit", labelCommit, labelDiffID)
		}
		return 0
	}
	l, err := layout()
	switch {
	case err == nil:
		return 1 + len(l.chunks)
	case strings.HasPrefix(err.Error(), "Missing "):
		w.problem("label %s names %.80q, which is the diff-id of no layer: the layers were converted or replaced after the image was made, "+
			"and no host can import the commit: export the image anew, without force-compression=true,compression=estargz", labelDiffID, final)
	default:
		w.problem("label %s: %v", labelDiffID, err)
	}
	return 0
}

// run reads all layers, of which the first so many hold a commit.
func (w *verifier) run(ctx context.Context, commitLayers int, label, temp string) (err error) {
	var txn *repo.Txn
	if commitLayers > 0 {
		r, remove, err := scratchRepo(ctx, temp)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove()) }()
		if txn, err = r.Begin(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, txn.Abort()) }()
	}
	var commit object.Checksum
	scanned := make([]*flatten.Layer, len(w.layers))
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
	for i, l := range w.layers {
		name := fmt.Sprintf("layer %d of %d (%s)", i+1, len(w.layers), l.descriptor.Digest)
		if _, ok := l.descriptor.Annotations[annotationStargz]; ok {
			w.problem("%s is in eStargz's form: it was converted after the image was made, and is no longer the layer that was", name)
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
		if err := w.scanner.Stack(scanned); err != nil {
			w.problem("%v", err)
		}
		return nil
	}
	w.Commit = commit.String()
	if label != "" && label != w.Commit {
		w.problem("%v", &CommitMismatchError{Label: label, Actual: commit})
	}
	if err := txn.VerifyComplete(ctx, commit); err != nil {
		w.problem("commit %s: %v", commit, err)
	}
	return nil
}

// read reads all layers, as many at a time as there are processors if the source allows. What is wrong with one is kept; the
// others are read all the same.
func (w *verifier) read(ctx context.Context, use func(int) func(io.Reader) error) error {
	plan := progress.Event{Kind: progress.Planned, Layer: len(w.layers)}
	for _, l := range w.layers {
		plan.Total += l.descriptor.Size
	}
	w.emit(plan)
	w.bad = map[int]error{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(1)
	if w.src.ParallelBlobs() {
		g.SetLimit(runtime.GOMAXPROCS(0))
	}
	for i, l := range w.layers {
		g.Go(func() error {
			err := readLayer(ctx, w.src, l, w.emit, use(i))
			if err == nil {
				return nil
			}
			if ctx.Err() != nil || ours(err) {
				return fmt.Errorf("layer %s: %w", l.descriptor.Digest, err)
			}
			w.mu.Lock()
			w.bad[i] = err
			w.mu.Unlock()
			return nil
		})
	}
	return g.Wait()
}

// scratchRepo makes a repository that is thrown away: of mode bare-user, which costs the least, if the filesystem has
// extended attributes for users, and else of mode archive.
func scratchRepo(ctx context.Context, temp string) (r *repo.Repo, remove func() error, err error) {
	dir, err := os.MkdirTemp(temp, "ostree-ext-")
	if err != nil {
		return nil, nil, err
	}
	remove = func() error {
		var err error
		if r != nil {
			err = r.Close()
		}
		return errors.Join(err, os.RemoveAll(dir))
	}
	for _, mode := range []repo.Mode{repo.ModeBareUser, repo.ModeArchive} {
		if r, err = repo.Init(filepath.Join(dir, mode.String()), mode); err != nil {
			break
		}
		if err = tryFile(ctx, r); !errors.Is(err, syscall.ENOTSUP) || mode == repo.ModeArchive {
			break
		}
		if err = r.Close(); err != nil {
			break
		}
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("a repository to verify in (set TMPDIR to another place): %w", err), remove())
	}
	return r, remove, nil
}

// tryFile writes a file object, and takes it back.
func tryFile(ctx context.Context, r *repo.Repo) error {
	txn, err := r.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = txn.WriteFile(ctx, &object.FileHeader{Mode: object.ModeRegular | 0o644}, 0, nil)
	return errors.Join(err, txn.Abort())
}
