package frontend

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
)

var (
	amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ocispec.Platform{OS: "linux", Architecture: "arm64"}
)

// fakeRegistry is a builder with images that it can fetch.
type fakeRegistry struct {
	client.Client
	key *ecdsa.PrivateKey
	// tags has the digest of each name with its tag, blobs the content of all digests, also of manifests.
	tags  map[string]digest.Digest
	blobs map[digest.Digest][]byte
	// policy turns a source into another, or is nil.
	policy func(op *pb.SourceOp) string
	// fail returns the error for an identifier, or is nil.
	fail func(identifier string) error

	mu     sync.Mutex
	solved []*pb.Definition // those that were not of blobs
}

func newFakeRegistry(t *testing.T) *fakeRegistry {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeRegistry{key: key, tags: map[string]digest.Digest{}, blobs: map[digest.Digest][]byte{}}
}

// put stores a document or blob.
func (r *fakeRegistry) put(t *testing.T, v any) ocispec.Descriptor {
	t.Helper()
	data, ok := v.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	d := digest.FromBytes(data)
	r.blobs[d] = data
	return ocispec.Descriptor{Digest: d, Size: int64(len(data))}
}

// manifest stores the manifest of an image that differs by a text.
func (r *fakeRegistry) manifest(t *testing.T, p ocispec.Platform, text string) ocispec.Descriptor {
	t.Helper()
	config := r.put(t, ocispec.Image{Platform: p, Author: text,
		RootFS: ocispec.RootFS{DiffIDs: []digest.Digest{digest.FromString(text)}}})
	m := r.put(t, ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config})
	m.MediaType, m.Platform = ocispec.MediaTypeImageManifest, &p
	return m
}

// tag gives a document a name.
func (r *fakeRegistry) tag(name string, d ocispec.Descriptor) { r.tags[name] = d.Digest }

// sign attaches a signature to a document in a repository.
func (r *fakeRegistry) sign(t *testing.T, repository string, d ocispec.Descriptor, signedAs string) {
	t.Helper()
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},`+
		`"type":"cosign container image signature"},"optional":null}`, signedAs, d.Digest)
	sum := sha256.Sum256(payload)
	signature, err := r.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	layer := r.put(t, payload)
	layer.MediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	layer.Annotations = map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(signature),
	}
	r.attach(t, repository, d, ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest,
		Config: r.put(t, ocispec.Image{}), Layers: []ocispec.Descriptor{layer}})
}

// attach stores something where the signatures of a document are.
func (r *fakeRegistry) attach(t *testing.T, repository string, d ocispec.Descriptor, v any) {
	t.Helper()
	tag, err := keyed.Tag(d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	r.tag(repository+":"+tag, r.put(t, v))
}

// ResolveSourceMetadata implements [client.Client].
func (r *fakeRegistry) ResolveSourceMetadata(
	_ context.Context, op *pb.SourceOp, opt sourceresolver.Opt,
) (*sourceresolver.MetaResponse, error) {
	resp := &sourceresolver.MetaResponse{Op: &pb.SourceOp{Identifier: op.Identifier}}
	if r.policy != nil {
		resp.Op.Identifier = r.policy(op)
	}
	if r.fail != nil {
		if err := r.fail(resp.Op.Identifier); err != nil {
			return nil, err
		}
	}
	id, ok := strings.CutPrefix(resp.Op.Identifier, schemeImage)
	if !ok {
		if strings.HasPrefix(resp.Op.Identifier, schemeLayout) {
			resp.Image = &sourceresolver.ResolveImageResponse{}
		}
		return resp, nil
	}
	resp.Image = &sourceresolver.ResolveImageResponse{}
	if opt.ImageOpt.NoConfig {
		return resp, nil
	}
	name, err := reference.ParseNormalizedNamed(id)
	if err != nil {
		return nil, err
	}
	d := r.tags[id]
	if c, ok := name.(reference.Canonical); ok {
		d = c.Digest()
	}
	if r.blobs[d] == nil {
		return nil, fmt.Errorf("%s: not found", id)
	}
	resp.Image.Digest = d
	var doc struct {
		ocispec.Manifest
		Manifests []ocispec.Descriptor
	}
	if err := json.Unmarshal(r.blobs[d], &doc); err != nil {
		return nil, err
	}
	if len(doc.Manifests) > 0 {
		member := members(ocispec.Index{Manifests: doc.Manifests}, *opt.ImageOpt.Platform)[0]
		if err := json.Unmarshal(r.blobs[member], &doc.Manifest); err != nil {
			return nil, err
		}
	}
	resp.Image.Config = r.blobs[doc.Config.Digest]
	return resp, nil
}

// Solve implements [client.Client].
func (r *fakeRegistry) Solve(_ context.Context, req client.SolveRequest) (*client.Result, error) {
	res := client.NewResult()
	for _, data := range req.Definition.GetDef() {
		op := &pb.Op{}
		if err := op.UnmarshalVT(data); err != nil {
			return nil, err
		}
		if blob, ok := strings.CutPrefix(op.GetSource().GetIdentifier(), "docker-image+blob://"); ok {
			_, d, _ := strings.Cut(blob, "@")
			content := r.blobs[digest.Digest(d)]
			if content == nil {
				return nil, fmt.Errorf("%s: not found", blob)
			}
			res.SetRef(fakeFile{content: content})
			return res, nil
		}
	}
	r.mu.Lock()
	r.solved = append(r.solved, req.Definition)
	r.mu.Unlock()
	res.SetRef(fakeFile{})
	return res, nil
}

type fakeFile struct {
	client.Reference
	content []byte
}

func (f fakeFile) ReadFile(_ context.Context, req client.ReadRequest) ([]byte, error) {
	return f.content[:min(len(f.content), req.Range.Length)], nil
}
