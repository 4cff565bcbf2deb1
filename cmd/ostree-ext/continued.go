package main

import (
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
)

// continued is the part of a result that says how an image continues from a prior one, and what it costs to send.
type continued = report.Outcome

// continuedFrom returns the outcome of a build whose image has been written.
func (a *app) continuedFrom(prior *oci.Image, img *encapsulate.Image) (continued, error) {
	return report.OutcomeOfImage(img, prior)
}

// printContinued prints the sentence with which a build ends.
func (a *app) printContinued(c continued) {
	if !a.quiet {
		fmt.Fprintln(a.err, c)
	}
}
