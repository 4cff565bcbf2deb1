package update

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// Image is one of two images to compare.
type Image struct {
	// Ref says where the image is, and how it is verified. That decides which stored layers can stand for its own.
	Ref imgref.OstreeImageReference
	// Image has manifest and configuration, and the commit if the image is stored.
	*store.Image
}

// stored reports whether the tree of the image is in the repository.
func (i *Image) stored() bool { return !i.Commit.IsZero() }

// Difference is what an update brings. docs/formats.md specifies its JSON.
type Difference struct {
	From Side `json:"from"`
	To   Side `json:"to"`
	// Changed is whether the images differ.
	Changed bool `json:"changed"`
	// Fetch are the layers that the repository does not have, and Shared those that both images have.
	Fetch  Amount `json:"fetch"`
	Shared Amount `json:"shared"`
	// Store is the size of the files in the layers to fetch, uncompressed, or nil if it is not known. Those that the
	// repository has already need no room.
	Store *int64 `json:"store_bytes,omitempty"`
	// Packages are the packages that differ, or nil if those of one image are not known.
	Packages *PackageChanges `json:"packages,omitempty"`
	// Components are the components that differ. It is set if Packages is not.
	Components []report.ComponentDifference `json:"components,omitempty"`
	// Users and Groups are the system users and groups that only the new image has, or nil unless both are stored.
	Users  []Account `json:"users_added,omitempty"`
	Groups []Account `json:"groups_added,omitempty"`
	// Warnings say what could not be read.
	Warnings []string `json:"warnings,omitempty"`
}

// Side is one of the two images.
type Side struct {
	Image   string        `json:"image"`
	Digest  digest.Digest `json:"digest"`
	Version string        `json:"version,omitempty"`
	Created time.Time     `json:"created,omitzero"`
	// Commit is the merge commit if the image is stored.
	Commit string `json:"commit,omitempty"`
	// Kernel is the version of the kernel, or "" if it is not known.
	Kernel string `json:"kernel,omitempty"`
	// Packages is one of the constants, or "" if the packages are not known or were not compared.
	Packages Source `json:"packages,omitempty"`
	// Signatures are those that were verified, now or when the image was pulled.
	Signatures []oci.Signature `json:"signatures,omitempty"`
	Amount
}

// Amount is a number of layers, and their compressed size. A layer that an image has twice counts once.
type Amount struct {
	Layers int   `json:"layers"`
	Bytes  int64 `json:"bytes"`
}

func (a *Amount) add(size int64) {
	a.Layers++
	a.Bytes += size
}

// Compare says what the image to brings to a host that has the image from.
func Compare(ctx context.Context, r *repo.Repo, from, to *Image) (*Difference, error) {
	d := &Difference{Changed: from.ManifestDigest != to.ManifestDigest}
	layers, warnings, err := store.Layers(ctx, r, to.Ref, to.Image.Image)
	if err != nil {
		return nil, fmt.Errorf("comparing with %s: %w", to.Ref.Image, err)
	}
	for _, w := range warnings {
		d.warn(w)
	}
	had := map[digest.Digest]bool{}
	for _, l := range from.Layers {
		if !had[l.Descriptor.Digest] {
			d.From.add(l.Descriptor.Size)
		}
		had[l.Descriptor.Digest] = true
	}
	missing := map[digest.Digest]bool{}
	for _, l := range layers {
		size := l.Descriptor.Size
		d.To.add(size)
		if had[l.Descriptor.Digest] {
			d.Shared.add(size)
		}
		if l.Commit.IsZero() {
			d.Fetch.add(size)
			missing[l.Descriptor.Digest] = true
		}
	}
	d.Store = contentSize(to.Image.Image, missing)
	if err := errors.Join(d.From.describe(ctx, r, from), d.To.describe(ctx, r, to)); err != nil {
		return nil, err
	}
	if err := d.comparePackages(ctx, r, from, to); err != nil {
		return nil, err
	}
	if d.Packages == nil {
		d.Components = report.Diff(from.Image.Image, to.Image.Image).Components
	}
	if from.stored() && to.stored() {
		err = d.compareAccounts(ctx, r, from, to)
	}
	return d, err
}

func (d *Difference) warn(err error) { d.Warnings = append(d.Warnings, printable.Line(err.Error())) }

// describe sets what is known of one image alone.
func (s *Side) describe(ctx context.Context, r *repo.Repo, img *Image) (err error) {
	s.Image, s.Digest, s.Version = img.Ref.Image.String(), img.ManifestDigest, store.Version(img.Image.Image)
	s.Created = img.Config.Created.UTC()
	if img.stored() {
		s.Commit = img.Commit.String()
	}
	if img.Signatures != nil {
		s.Signatures = img.Signatures()
	} else if s.Signatures, err = store.Signatures(ctx, r, img.Image); err != nil {
		return err
	}
	s.Kernel, err = kernel(ctx, r, img)
	return err
}

// labelKernel is the label with the version of the kernel. Upstream defines it.
const labelKernel = "ostree.linux"

// kernel returns the version of the kernel in the tree, or else that of the label.
func kernel(ctx context.Context, r *repo.Repo, img *Image) (string, error) {
	label := img.Config.Labels[labelKernel]
	if !img.stored() {
		return label, nil
	}
	c, err := repo.LoadCommit(ctx, r, img.Commit)
	if err != nil {
		return "", err
	}
	found, err := repo.FindKernel(ctx, r, c.Tree)
	if errors.Is(err, repo.ErrNoKernel) || errors.Is(err, repo.ErrSeveralKernel) {
		return "", nil
	}
	return found, err
}

// contentSize returns the size of the files in layers of an image, or nil if it is not known.
func contentSize(img *oci.Image, layers map[digest.Digest]bool) *int64 {
	var total int64
	if len(layers) == 0 {
		return &total
	}
	known := store.ContentSizes(img)
	for layer := range layers {
		size, ok := known[layer]
		if !ok || size > math.MaxInt64-total {
			return nil
		}
		total += size
	}
	return &total
}
