package plan

import "github.com/ostree-ext/ostree-ext-go/encapsulate/advice"

// Advice says what makes the updates of the image larger than they need be. It judges the listing of the tree and reads
// no files. Compressed sizes are estimated as those of components were. A commit in one layer has no listing, and so no
// advice.
func (p *Plan) Advice() *advice.Report {
	if p.Tree == nil {
		return &advice.Report{}
	}
	opts := advice.Options{Set: p.Set, Skip: p.inBase}
	if p.Arrangement != nil {
		known := p.Arrangement.Record.Components
		opts.Density = func(id string) int { return known[id].Density }
	}
	return advice.Of(p.Tree, opts)
}
