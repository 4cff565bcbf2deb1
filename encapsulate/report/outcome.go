package report

import (
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Outcome says what a build made, and what it costs to send. [Outcome.String] is the sentence with which every build
// ends. The `--json` of these commands has the same facts.
type Outcome struct {
	// Prior is the prior image, with its digest if it has one; empty if the layers were planned afresh.
	Prior string `json:"prior,omitempty"`
	// Layers is the number of layers. Reused is how many of them are in the prior image or in the base, New how many are
	// not.
	Layers int `json:"layers"`
	Reused int `json:"reused"`
	New    int `json:"new"`
	// Upload is the size of the new layers in compressed bytes. It is nil if no layer was compressed.
	Upload *int64 `json:"upload,omitempty"`
	// Download is what a host that has the prior image downloads, and all layers if the layers were planned afresh. It is
	// in compressed bytes, and nil if it is not known.
	Download *int64 `json:"download,omitempty"`
}

// BuiltLayer is a layer of an image that was made.
type BuiltLayer struct {
	// Digest and Size are those of the compressed blob. Digest is empty if there is none, or if it is not known.
	Digest digest.Digest
	Size   int64
	DiffID digest.Digest
	// OfBase says that the layer is one of the base image.
	OfBase bool
}

// OutcomeOf returns the outcome of a build. The prior image is nil if the layers were planned afresh.
func OutcomeOf(layers []BuiltLayer, prior *oci.Image) Outcome {
	o := Outcome{Layers: len(layers)}
	has := func(BuiltLayer) bool { return false }
	if prior != nil {
		if o.Prior = prior.Name; prior.Top.Digest != "" {
			o.Prior += " (" + prior.Top.Digest.String() + ")"
		}
		has = held(prior)
	}
	var upload, download int64
	sized, sizedNew := true, true
	seen := map[digest.Digest]bool{}
	for _, l := range layers {
		kept := has(l)
		if kept || l.OfBase {
			o.Reused++
		} else {
			o.New++
		}
		if kept || l.Digest != "" && seen[l.Digest] {
			continue
		}
		seen[l.Digest] = true
		download += l.Size
		sized = sized && l.Digest != ""
		if !l.OfBase {
			upload += l.Size
			sizedNew = sizedNew && l.Digest != ""
		}
	}
	if sizedNew {
		o.Upload = &upload
	}
	if sized {
		o.Download = &download
	}
	return o
}

// held returns a function that reports whether a host that has an image has a layer. Hosts know layers by the digests
// of their blobs. Where one is not known, the diff-id must do.
func held(image *oci.Image) func(BuiltLayer) bool {
	blobs, diffIDs := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, l := range image.Layers {
		blobs[l.Descriptor.Digest] = true
		if l.DiffID != "" {
			diffIDs[l.DiffID] = true
		}
	}
	return func(l BuiltLayer) bool {
		if l.Digest == "" || blobs[""] {
			return diffIDs[l.DiffID]
		}
		return blobs[l.Digest]
	}
}

// OutcomeOfImage returns the outcome of a build whose image has been written.
func OutcomeOfImage(img *encapsulate.Image, prior *oci.Image) (Outcome, error) {
	layers, err := img.Layers()
	if err != nil {
		return Outcome{}, err
	}
	built := make([]BuiltLayer, len(layers))
	for i, l := range layers {
		b := &built[i]
		h := img.Held(i)
		b.OfBase = h != nil && h.Image != prior
		diffID, err := l.DiffID()
		if err != nil {
			return Outcome{}, err
		}
		b.DiffID = digest.Digest(diffID.String())
		blob, err := l.Digest()
		if errors.Is(err, stream.ErrNotComputed) {
			continue // a Docker archive has no compressed layers
		}
		if err != nil {
			return Outcome{}, err
		}
		b.Digest = digest.Digest(blob.String())
		if b.Size, err = l.Size(); err != nil {
			return Outcome{}, err
		}
	}
	return OutcomeOf(built, prior), nil
}

// String returns the sentence for people.
func (o Outcome) String() string {
	text := fmt.Sprintf("%s: %d new, %d kept", sizes.Count(o.Layers, "layer"), o.New, o.Reused)
	if o.Upload != nil {
		text += fmt.Sprintf("; %s to upload", sizes.Format(*o.Upload))
	}
	switch {
	case o.Prior == "" && o.Download != nil:
		text += fmt.Sprintf("; planned afresh: a host downloads all layers, %s", sizes.Format(*o.Download))
	case o.Prior == "":
		text += "; planned afresh: a host downloads all layers"
	case o.Download != nil:
		text += fmt.Sprintf("; a host that has the prior image downloads %s", sizes.Format(*o.Download))
	}
	if o.Prior != "" {
		text += "; continued from " + o.Prior
	}
	return printable.Line(text)
}
