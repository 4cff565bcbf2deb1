package frontend

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
)

// admitting returns a client that admits images of quay.io by the key of a registry.
func admitting(t *testing.T, r *fakeRegistry) *admission {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(r.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	key := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	policy, err := keyed.ParsePolicy(fmt.Appendf(nil, `{"default":[{"type":"reject"}],"transports":{"docker":{
		"quay.io":[{"type":"sigstoreSigned","keyData":%q}]}}}`, key))
	if err != nil {
		t.Fatal(err)
	}
	j := &job{client: r, native: amd64, dc: &dockerui.Client{}}
	a := newAdmission(j)
	a.trust = &trust{shown: "the policy", policy: policy, dir: &trustDir{base: "/"}}
	return a
}

// resolve resolves the name of an image for a platform.
func (a *admission) resolve(t *testing.T, name string, p ocispec.Platform) (string, error) {
	t.Helper()
	ref, d, config, err := a.ResolveImageConfig(t.Context(), name, sourceresolver.Opt{
		ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &p},
	})
	if err != nil && !errors.Is(err, errRefused) {
		t.Errorf("%s: error %v does not wrap errRefused", name, err)
	}
	if err == nil && (!strings.HasSuffix(ref, "@"+d.String()) || len(config) == 0) {
		t.Errorf("%s is resolved to %s, which does not end with %s; %d bytes of configuration", name, ref, d, len(config))
	}
	return ref, err
}

func TestAnImageIsJudgedAndPinnedWhenItIsResolved(t *testing.T) {
	t.Parallel()
	r := newFakeRegistry(t)
	signed, unsigned := r.manifest(t, amd64, "signed"), r.manifest(t, amd64, "unsigned")
	r.tag("quay.io/os:1", signed)
	r.tag("quay.io/os:2", unsigned)
	r.tag("docker.io/library/os:1", signed)
	r.sign(t, "quay.io/os", signed, "quay.io/os:1")
	a := admitting(t, r)
	if ref, err := a.resolve(t, "quay.io/os:1", amd64); err != nil || ref != "quay.io/os:1@"+signed.Digest.String() {
		t.Errorf("%s, %v", ref, err)
	}
	for name, want := range map[string]string{
		"quay.io/os:2":                            "it has no signature: there is no tag sha256-",
		"docker.io/library/os:1":                  `scope "default" refuses every image`,
		"quay.io/os:2@" + string(unsigned.Digest): "it has no signature",
	} {
		if ref, err := a.resolve(t, name, amd64); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s, %v, want an error that says %q", name, ref, err, want)
		}
	}
	// The tag moves.
	r.tag("quay.io/os:1", unsigned)
	if ref, err := a.resolve(t, "quay.io/os:1", amd64); err == nil {
		t.Errorf("after the tag moved, %s", ref)
	}
	// Who asks for a digest gets what was signed for any tag of the repository.
	pinned, err := a.resolve(t, "quay.io/os:7@"+string(signed.Digest), amd64)
	if err != nil {
		t.Error(err)
	}
	for _, p := range []ocispec.Platform{amd64, arm64} { // BuildKit may choose another platform than it asked for
		st := llb.Image(pinned, llb.Platform(p))
		if _, err := a.Solve(t.Context(), client.SolveRequest{Definition: definition(t, st)}); err != nil {
			t.Error(err)
		}
	}
	a.trust = nil
	if ref, err := a.resolve(t, "quay.io/os@"+string(signed.Digest), amd64); err == nil {
		t.Errorf("without a policy, %s", ref)
	}
	// Nor is the policy taken from an image.
	unjudged := definition(t, llb.Image("quay.io/x@"+string(signed.Digest)))
	_, err = a.Solve(t.Context(), client.SolveRequest{Definition: unjudged})
	if !errors.Is(err, errRefused) {
		t.Errorf("without a policy, an image is built: %v", err)
	}
}

func TestAnIndexCountsForItsMembersAndAMemberForItself(t *testing.T) {
	t.Parallel()
	r := newFakeRegistry(t)
	x, y := r.manifest(t, amd64, "x"), r.manifest(t, arm64, "y")
	z := r.manifest(t, arm64, "z") // listed, but not chosen
	index := func(extra map[string]string) ocispec.Descriptor {
		d := r.put(t, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{x, y, z},
			Annotations: extra})
		d.MediaType = ocispec.MediaTypeImageIndex
		return d
	}
	whole, part, other, none := index(nil), index(map[string]string{"n": "2"}), index(map[string]string{"n": "3"}),
		index(map[string]string{"n": "4"})
	for tag, d := range map[string]ocispec.Descriptor{"whole": whole, "part": part, "other": other, "none": none} {
		r.tag("quay.io/"+tag+":1", d)
	}
	r.sign(t, "quay.io/whole", whole, "quay.io/whole:1")
	r.sign(t, "quay.io/part", x, "quay.io/part:1")
	r.sign(t, "quay.io/other", z, "quay.io/other:1")
	a := admitting(t, r)
	for _, tt := range []struct {
		repository string
		platform   ocispec.Platform
		want       bool
	}{
		{"whole", amd64, true}, {"whole", arm64, true}, {"part", amd64, true}, {"part", arm64, false},
		{"other", amd64, false}, {"other", arm64, false}, {"none", amd64, false},
	} {
		_, err := a.resolve(t, "quay.io/"+tt.repository+":1", tt.platform)
		if (err == nil) != tt.want {
			t.Errorf("%s for %s: %v", tt.repository, tt.platform.Architecture, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "the index: it has no signature") ||
			!strings.Contains(err.Error(), "its manifest sha256:")) {
			t.Errorf("%s: %v does not say what was looked at", tt.repository, err)
		}
	}
}

func TestSignaturesThatCannotBeReadAreAnError(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		change func(*testing.T, *fakeRegistry, ocispec.Descriptor)
		want   string
	}{
		"the registry fails": {func(_ *testing.T, r *fakeRegistry, _ ocispec.Descriptor) {
			r.fail = func(id string) error {
				if strings.HasSuffix(id, ".sig") {
					return errors.New("status 500\nstack")
				}
				return nil
			}
		}, "its signatures cannot be read: status 500 ("},
		"an index instead": {func(t *testing.T, r *fakeRegistry, d ocispec.Descriptor) {
			r.attach(t, "quay.io/os", d, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex})
		}, "not a manifest with signatures"},
		"a huge manifest": {func(t *testing.T, r *fakeRegistry, d ocispec.Descriptor) {
			r.attach(t, "quay.io/os", d, map[string]string{"x": strings.Repeat("x", keyed.MaxManifestSize)})
		}, "has more than 4.2\u00a0MB"},
		"a payload that is not there": {func(_ *testing.T, r *fakeRegistry, _ ocispec.Descriptor) {
			for d, data := range r.blobs {
				if strings.HasPrefix(string(data), `{"critical"`) {
					delete(r.blobs, d)
				}
			}
		}, "of a signature could not be read"},
		"other content than its digest": {func(_ *testing.T, r *fakeRegistry, _ ocispec.Descriptor) {
			for d, data := range r.blobs {
				if strings.HasPrefix(string(data), `{"critical"`) {
					r.blobs[d] = append([]byte(" "), data...)
				}
			}
		}, "of a signature could not be read"},
		"a source policy that removes them": {func(_ *testing.T, r *fakeRegistry, _ ocispec.Descriptor) {
			r.policy = func(op *pb.SourceOp) string {
				if strings.HasSuffix(op.Identifier, ".sig") {
					return "https://example.com/"
				}
				return op.Identifier
			}
		}, "a source policy turns its signatures into https://example.com/"},
		"a tag that names no image": {func(t *testing.T, r *fakeRegistry, d ocispec.Descriptor) {
			delete(r.tags, "quay.io/os:sha256-"+d.Digest.Encoded()+".sig")
		}, "there is no tag"},
	} {
		r := newFakeRegistry(t)
		d := r.manifest(t, amd64, "signed")
		r.tag("quay.io/os:1", d)
		r.sign(t, "quay.io/os", d, "quay.io/os:1")
		tt.change(t, r, d)
		_, err := admitting(t, r).resolve(t, "quay.io/os:1", amd64)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error that says %q", what, err, tt.want)
		}
	}
}

func TestASourcePolicyIsAppliedBeforeAnImageIsJudged(t *testing.T) {
	t.Parallel()
	r := newFakeRegistry(t)
	signed, unsigned := r.manifest(t, amd64, "signed"), r.manifest(t, amd64, "unsigned")
	r.tag("quay.io/good:1", signed)
	r.tag("quay.io/bad:1", unsigned)
	r.sign(t, "quay.io/good", signed, "quay.io/good:1")
	for to, want := range map[string]string{
		"docker-image://quay.io/good:1":                             "",
		"docker-image://quay.io/good@" + string(signed.Digest):      "",
		"docker-image://quay.io/bad:1":                              "image quay.io/bad:1@sha256:",
		"docker-image://docker.io/library/good:1":                   "not found",
		"oci-layout://good@" + string(signed.Digest):                "layout of the client",
		"docker-image+blob://quay.io/good@" + string(signed.Digest): "non-image",
		"docker-image://quay.io/good:1@" + string(unsigned.Digest):  "it has no signature",
	} {
		r.policy = func(op *pb.SourceOp) string {
			if op.Identifier == "docker-image://quay.io/asked:1" {
				return to
			}
			return op.Identifier
		}
		a := admitting(t, r)
		ref, _, _, err := a.ResolveImageConfig(t.Context(), "quay.io/asked:1", sourceresolver.Opt{
			ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &amd64},
		})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("turned into %s: %s, %v, want %q", to, ref, err, want)
		}
		if err == nil && !strings.HasPrefix(ref, "quay.io/good") {
			t.Errorf("turned into %s, it is called %s", to, ref)
		}
	}
}

// definition returns the definition of a state.
func definition(t *testing.T, st llb.State) *pb.Definition {
	t.Helper()
	def, err := st.Marshal(t.Context(), llb.Platform(amd64))
	if err != nil {
		t.Fatal(err)
	}
	return def.ToPB()
}

func TestOnlyDefinitionsOfJudgedImagesAreBuilt(t *testing.T) {
	t.Parallel()
	r := newFakeRegistry(t)
	signed, unsigned := r.manifest(t, amd64, "signed"), r.manifest(t, amd64, "unsigned")
	r.tag("quay.io/os:1", signed)
	r.tag("quay.io/bad:1", unsigned)
	r.sign(t, "quay.io/os", signed, "quay.io/os:1")
	at := func(name string, d ocispec.Descriptor) llb.State { return llb.Image(name + "@" + string(d.Digest)) }
	both := llb.Merge([]llb.State{at("quay.io/os:1", signed), at("quay.io/bad:1", unsigned)})
	layout := llb.OCILayout("x.io/a@" + string(signed.Digest))
	blob := llb.ImageBlob("quay.io/os@" + string(signed.Digest))
	use := func(st llb.State) llb.State { return llb.Scratch().File(llb.Copy(st, "/a", "/a")) }
	for what, tt := range map[string]struct {
		def  *pb.Definition
		want string
	}{
		"a judged image":          {definition(t, use(at("quay.io/os:1", signed))), ""},
		"an image of no tag":      {definition(t, use(at("quay.io/os", signed))), ""},
		"an image without digest": {definition(t, use(llb.Image("quay.io/os:1"))), "quay.io/os:1 without a digest"},
		"an unsigned image":       {definition(t, use(at("quay.io/bad:1", unsigned))), "it has no signature"},
		"for another tag":         {definition(t, use(at("quay.io/os:2", signed))), "does not accept for quay.io/os:2"},
		"beside a judged image":   {definition(t, both), "it has no signature"},
		"files of the client":     {definition(t, use(llb.Local("context"))), ""},
		"a file of a server":      {definition(t, use(llb.HTTP("https://example.com/x"))), ""},
		"a repository":            {definition(t, use(llb.Git("https://example.com/x.git", "main"))), ""},
		"a layout of the client":  {definition(t, use(layout)), "layout of the client"},
		"a blob":                  {definition(t, use(blob)), "sources like docker-image+blob:"},
		"a definition in a step":  {buildOp(t), "builds a definition of its own"},
		"nothing":                 {definition(t, llb.Scratch()), ""},
	} {
		a := admitting(t, r)
		_, err := a.Solve(t.Context(), client.SolveRequest{Definition: tt.def})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
		if got := slices.Contains(r.solved, tt.def); got != (err == nil) || err != nil && !errors.Is(err, errRefused) {
			t.Errorf("%s: %v, and the builder got the definition: %t", what, err, got)
		}
	}
	_, err := admitting(t, r).Solve(t.Context(), client.SolveRequest{Frontend: "gateway.v0"})
	if !errors.Is(err, errRefused) {
		t.Errorf("another frontend: %v", err)
	}
}

// buildOp returns a definition with a step that builds another.
func buildOp(t *testing.T) *pb.Definition {
	t.Helper()
	op := &pb.Op{Op: &pb.Op_Build{Build: &pb.BuildOp{}}}
	data, err := op.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return &pb.Definition{Def: [][]byte{data}}
}

// When a definition is built, BuildKit applies source policies again, to the names with digests.
func TestAJudgedImageThatASourcePolicyThenReplacesIsJudgedAgain(t *testing.T) {
	t.Parallel()
	r := newFakeRegistry(t)
	signed, also := r.manifest(t, amd64, "signed"), r.manifest(t, amd64, "also")
	unsigned := r.manifest(t, amd64, "unsigned")
	r.tag("quay.io/os:1", signed)
	r.tag("quay.io/bad:1", unsigned)
	r.sign(t, "quay.io/os", signed, "quay.io/os:1")
	r.sign(t, "quay.io/also", also, "quay.io/also:1")
	for to, want := range map[string]string{
		"docker-image://quay.io/also:1@" + string(also.Digest):    "",
		"docker-image://quay.io/bad:1@" + string(unsigned.Digest): "it has no signature",
		"docker-image://quay.io/os:1":                             "quay.io/os:1 without a digest",
		"docker-image://quay.io/os:1@" + string(unsigned.Digest):  "it has no signature",
		"oci-layout://x@" + string(signed.Digest):                 "layout of the client",
		"https://example.com/x":                                   "",
		"docker-image+blob://quay.io/os@" + string(signed.Digest): "no signatures for sources like",
	} {
		r.policy = nil
		a := admitting(t, r)
		pinned, err := a.resolve(t, "quay.io/os:1", amd64)
		if err != nil {
			t.Fatal(err)
		}
		r.policy = func(op *pb.SourceOp) string {
			// A rule may be about attributes that only the definition has.
			if op.Identifier == schemeImage+pinned && op.Attrs[pb.AttrImageResolveMode] == pb.AttrImageResolveModeForcePull {
				return to
			}
			return op.Identifier
		}
		_, err = a.Solve(t.Context(), client.SolveRequest{Definition: definition(t,
			llb.Image(pinned, llb.ResolveModeForcePull))})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("turned into %s: %v, want %q", to, err, want)
		}
	}
}
