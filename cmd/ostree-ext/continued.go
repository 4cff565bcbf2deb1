package main

import (
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// continued describes how an image continues from a prior one.
type continued struct {
	// Prior is the prior image, with its digest if it has one; empty if the layers were planned afresh.
	Prior string `json:"prior,omitempty"`
	// Layers is the number of layers. Reused is how many of them are in the prior image or in the base.
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

// printContinued prints a line about the prior image.
func (a *app) printContinued(c continued) {
	if a.quiet {
		return
	}
	from := "planned afresh"
	if c.Prior != "" {
		from = "continued from " + c.Prior
	}
	fmt.Fprintf(a.err, "%s: %d layers, %d of them kept\n", printable.Line(from), c.Layers, c.Reused)
}
