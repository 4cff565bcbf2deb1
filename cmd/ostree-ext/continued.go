package main

import (
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// continued says what an image was continued from.
type continued struct {
	// Prior is the image, with its digest where it has one; empty if the layers were planned afresh.
	Prior string `json:"prior,omitempty"`
	// Layers counts all, Reused those that were there already, in the prior image or in the base.
	Layers int `json:"layers"`
	Reused int `json:"reused"`
}

func (a *app) continuedFrom(prior *oci.Image, img *encapsulate.Image) (c continued, err error) {
	if prior != nil {
		if c.Prior = prior.Name; prior.Top.Digest != "" {
			c.Prior += " (" + prior.Top.Digest.String() + ")"
		}
	}
	layers, err := img.Layers()
	if err != nil {
		return c, err
	}
	c.Layers = len(layers)
	for i := range layers {
		if img.Held(i) != nil {
			c.Reused++
		}
	}
	return c, nil
}

// tellContinued says in a line what the image was continued from.
func (a *app) tellContinued(c continued) {
	if a.quiet {
		return
	}
	from := "planned afresh"
	if c.Prior != "" {
		from = "continued from " + c.Prior
	}
	fmt.Fprintf(a.err, "%s: %d layers, %d of them kept\n", from, c.Layers, c.Reused)
}
