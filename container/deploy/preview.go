package deploy

import (
	"context"
	"errors"

	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// Fetch is what is fetched for an image that is not stored. All numbers are bytes, except Layers.
type Fetch struct {
	// Layers is the number of layers, and Bytes their compressed size.
	Layers int   `json:"layers"`
	Bytes  int64 `json:"bytes"`
	// Needed is the room that they take in the repository at most, as far as the image says so, and Free what the
	// repository may still take.
	Needed int64 `json:"needed"`
	Free   int64 `json:"free"`
	// Kernel is whether the room in /boot is known. It is not if the image does not tell the size of its kernel, or if the
	// host may have that kernel.
	Kernel bool `json:"kernel_known"`
}

// Preview says what a deployment of an image that is not stored would do, as far as that is known. It returns the
// errors of which it is sure that a deployment would return them before the image is fetched. It changes nothing.
func Preview(ctx context.Context, opts Options, image *store.Prepared) (_ *Plan, err error) {
	t, err := openTarget(&opts)
	if err != nil {
		return nil, err
	}
	defer t.sysroot.Close()
	r, err := repo.Open(t.sysroot.RepoPath())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := t.check(r, &opts); err != nil {
		return nil, err
	}
	p, err := t.plan(opts)
	if err != nil {
		return nil, err
	}
	layers, bytes := image.Missing()
	p.Fetch = &Fetch{Layers: len(layers), Bytes: bytes, Needed: image.Room()}
	if err := r.Room(p.Fetch.Needed); err != nil {
		return nil, err
	}
	if p.Fetch.Free, err = r.Free(); err != nil {
		return nil, err
	}
	p.Kernel = image.Image.Config.Labels[labelKernel]
	b, err := t.sysroot.Boot()
	if err != nil {
		return nil, err
	}
	room, sure, err := t.estimateIn(ctx, r, b, image.Image)
	if err != nil {
		return nil, err
	}
	if sure {
		if err := room.Check(); err != nil {
			return nil, err
		}
	}
	p.Boot, p.Fetch.Kernel = *room, sure
	p.describe(t)
	return p, nil
}
