package plan

import (
	"context"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice"
)

// Advice says what makes the updates of the image larger than they need be. It judges the listing of the tree, and
// estimates compressed sizes from the beginnings of the files that it names, if layers are compressed. A commit in one
// layer has no listing, and so no advice.
func (p *Plan) Advice(ctx context.Context) (*advice.Report, error) {
	if p.Tree == nil {
		return &advice.Report{}, nil
	}
	r := advice.Of(p.Tree, advice.Options{Set: p.Set, Skip: p.inBase})
	if p.opts.Image.Compression == encapsulate.Uncompressed {
		return r, nil
	}
	return r, r.Estimate(ctx, p.Tree)
}
