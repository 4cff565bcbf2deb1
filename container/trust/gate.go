package trust

import (
	"context"
	"slices"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// ruleGate asks for signatures of the manifest or the index.
type ruleGate struct {
	judge *judge

	mu    sync.Mutex
	index *Finding // what was found at the index, if there is one
	good  []oci.Signature
}

// Top implements [source.Gate]. An index without a good signature is not refused yet: its member may have one.
func (g *ruleGate) Top(ctx context.Context, top oci.Document) error {
	f, err := g.judge.document(ctx, top)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.good = f.Good
	if f.On == onIndex {
		g.index = f
		return nil
	}
	if f.Reason != "" {
		return g.judge.refuse(f)
	}
	return nil
}

// Member implements [source.Gate]. The member was read by its digest from the index.
func (g *ruleGate) Member(ctx context.Context, member oci.Document) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.index != nil && g.index.Reason == "" {
		return nil
	}
	f, err := g.judge.document(ctx, member)
	if err != nil {
		return err
	}
	if f.Reason != "" {
		return g.judge.refuse(g.index, f)
	}
	g.good = f.Good
	return nil
}

// Commit implements [source.Gate]. The commit is covered by the manifest.
func (*ruleGate) Commit(context.Context, string, []byte, []byte) error { return nil }

// Signatures implements [source.Gate].
func (g *ruleGate) Signatures() []oci.Signature {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.good)
}

// Values of [oci.Signature.On] for documents.
const (
	onIndex    = "index"
	onManifest = "manifest"
)

func kindOf(doc oci.Document) string {
	switch doc.MediaType {
	case ocispec.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.list.v2+json":
		return onIndex
	}
	return onManifest
}
