package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// ExportOptions are the options of [Export]. The zero value is what most callers need.
type ExportOptions struct {
	// Dest has the options for writing the image.
	Dest dest.Options
	// Level is the level of gzip; 0 is the default.
	Level int
	// Progress receives one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// Export writes a stored image. The layers of a commit have the same bytes as those that upstream's current program
// makes, so that those of an image made by it or by this project keep their diff-ids. Derived layers have the same
// files as before. Everything else in manifest and configuration stays.
//
// The diff-ids of derived layers are recorded, so that pulling the exported image fetches no layer.
func Export(
	ctx context.Context, r *repo.Repo, ref, to imgref.ImageReference, opts ExportOptions,
) (digest.Digest, error) {
	stored, err := Query(ctx, r, ref)
	if err != nil {
		return "", err
	}
	e := &exporter{repo: r, stored: stored}
	specs, err := e.specs(ctx)
	if err != nil {
		return "", fmt.Errorf("exporting %s: %w", ref, err)
	}
	at := time.Unix(0, 0)
	layers, err := encapsulate.BuildPlain(ctx, specs, encapsulate.Options{
		Created: &at, Level: opts.Level, Name: to.String(), Progress: opts.Progress,
	})
	if err != nil {
		return "", err
	}
	img := &rebuilt{Image: layers, from: stored.Image, oneHistory: true}
	d, err := dest.Write(ctx, img, to, opts.Dest)
	if err != nil {
		return "", fmt.Errorf("exporting %s: %w", ref, err)
	}
	return d, e.record(ctx, img)
}

type exporter struct {
	repo    *repo.Repo
	stored  *Image
	commits []object.Checksum // of the layers, zero for those of a commit
}

// specs returns the layers to write.
func (e *exporter) specs(ctx context.Context) ([]encapsulate.LayerSpec, error) {
	specs := make([]encapsulate.LayerSpec, len(e.stored.Layers))
	e.commits = make([]object.Checksum, len(specs))
	of := func(l *oci.Layer) (object.Checksum, error) {
		c, ok, err := layerCommit(e.repo, l.Descriptor.Digest)
		if err == nil && !ok {
			err = fmt.Errorf("layer %s is not stored: pull the image again", l.Descriptor.Digest)
		}
		return c, err
	}
	layers, err := e.stored.CommitLayers()
	if err == nil {
		if err := e.commitLayers(ctx, layers, specs, of); err != nil {
			return nil, err
		}
	}
	for i := range e.stored.Layers {
		l := &e.stored.Layers[i]
		if l.Kind != oci.Derived && l.Kind != oci.Plain {
			continue
		}
		c, err := of(l)
		if err != nil {
			return nil, err
		}
		e.commits[i] = c
		specs[i] = encapsulate.LayerSpec{Name: l.Title(), Write: func(w io.Writer) error {
			return tarfmt.ExportTree(ctx, w, e.repo, c)
		}}
	}
	return specs, nil
}

// commitLayers describes the layers of the commit. What is in no chunk is in the first one.
func (e *exporter) commitLayers(
	ctx context.Context, layers *oci.CommitLayers, specs []encapsulate.LayerSpec,
	of func(*oci.Layer) (object.Checksum, error),
) error {
	base, err := of(layers.Commit)
	if err != nil {
		return err
	}
	rest, err := repo.CommitContent(ctx, e.repo, base)
	if err != nil {
		return err
	}
	for _, l := range layers.Chunks {
		c, err := of(l)
		if err != nil {
			return err
		}
		var chunk repo.Content
		if chunk, rest, err = e.take(ctx, rest, c); err != nil {
			return err
		}
		specs[l.Index] = encapsulate.LayerSpec{Name: l.Title(), Write: func(w io.Writer) error {
			return tarfmt.ExportChunk(ctx, w, e.repo, base, chunk, tarfmt.ExportOptions{})
		}}
	}
	specs[0] = encapsulate.LayerSpec{Name: layers.Commit.Title(), Write: func(w io.Writer) error {
		return tarfmt.ExportFinal(ctx, w, e.repo, base, rest, tarfmt.ExportOptions{})
	}}
	return nil
}

// take divides files into those whose objects a layer commit has, and the others.
func (e *exporter) take(
	ctx context.Context, files repo.Content, layer object.Checksum,
) (chunk, rest repo.Content, err error) {
	c, err := repo.LoadCommit(ctx, e.repo, layer)
	if err != nil {
		return nil, nil, err
	}
	d, err := repo.LoadDirTree(ctx, e.repo, c.Tree)
	if err != nil {
		return nil, nil, err
	}
	has := make(map[object.Checksum]bool, len(d.Files))
	for _, f := range d.Files {
		has[f.Checksum] = true
	}
	for _, f := range files {
		if has[f.Checksum] {
			chunk = append(chunk, f)
		} else {
			rest = append(rest, f)
		}
	}
	return chunk, rest, nil
}

// record records the diff-ids of derived layers.
func (e *exporter) record(ctx context.Context, img *rebuilt) error {
	ids, err := img.diffIDs()
	if err != nil {
		return err
	}
	txn, err := e.repo.Begin(ctx)
	if errors.Is(err, repo.ErrReadOnly) || errors.Is(err, repo.ErrReadOnlyMode) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, c := range e.commits {
		if c.IsZero() {
			continue
		}
		if err := recordDiffIDs(ctx, txn, c, ids[i].String()); err != nil {
			return errors.Join(err, txn.Abort())
		}
	}
	_, err = txn.Commit(ctx)
	return err
}
