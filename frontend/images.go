package frontend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// remoteImage is an image that the builder can fetch.
type remoteImage struct {
	digest  digest.Digest // of the manifest or index
	config  []byte
	diffIDs []string
	image   llb.State
	// blob returns a file with the content of a blob, whose name is the digest.
	blob func(digest.Digest, ...llb.ImageBlobOption) llb.State
}

// findKeptBase finds the image whose layers are kept, if the options ask for one.
func (t *target) findKeptBase(ctx context.Context, ref client.Reference) (err error) {
	name, keep := t.options.KeepsBase()
	if !keep {
		return nil
	}
	if !t.merges() {
		return errors.New("keep-base needs a builder that can merge layers, " +
			"which Docker's own without the containerd image store cannot")
	}
	if name != "" {
		t.base, err = t.resolve(ctx, name)
	} else {
		t.base, err = t.baseOfLastStage(ctx, ref)
	}
	if err == nil {
		err = t.admitState(ctx, t.base.image)
	}
	if err != nil {
		return fmt.Errorf("keep-base: %w", err)
	}
	return nil
}

// context returns the value that the client gave for a named context.
func (b *job) context(name string) (string, bool) {
	v, ok := b.opts.Opts["context:"+name]
	return v, ok
}

// resolve looks up an image in a registry.
func (t *target) resolve(ctx context.Context, name string) (*remoteImage, error) {
	named, err := reference.ParseNormalizedNamed(strings.TrimPrefix(name, "docker://"))
	if err != nil {
		return nil, fmt.Errorf("%w: %s is not the name of an image: %w", request.ErrOption, name, err)
	}
	named = reference.TagNameOnly(named)
	found, pin, config, err := t.images.ResolveImageConfig(ctx, named.String(), sourceresolver.Opt{
		LogName:  t.label + "load metadata for " + named.String(),
		ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &t.platform, ResolveMode: llb.ResolveModeForcePull.String()},
	})
	if err != nil {
		return nil, err
	}
	// A source policy of BuildKit may have replaced the name.
	if named, err = reference.ParseNormalizedNamed(found); err != nil {
		return nil, fmt.Errorf("the builder resolves %s to %s: %w", name, found, err)
	}
	pinned, err := reference.WithDigest(named, pin)
	if err != nil {
		return nil, err
	}
	return newRemoteImage(remoteImage{
		digest: pin, config: config,
		image: llb.Image(pinned.String(), llb.Platform(t.platform), llb.WithCustomName(t.label+pinned.String())),
		blob: func(d digest.Digest, opts ...llb.ImageBlobOption) llb.State {
			return llb.ImageBlob(named.Name()+"@"+d.String(), opts...)
		},
	})
}

// nameInLayout is shown to the user only. The digest identifies the image.
const nameInLayout = "docker.io/library/prior"

// resolveContext looks up an image that was given as a named context.
func (t *target) resolveContext(ctx context.Context, spec string) (*remoteImage, error) {
	kind, name, _ := strings.Cut(spec, "://")
	switch kind {
	case "docker-image":
		return t.resolve(ctx, name)
	case "oci-layout":
	default:
		return nil, fmt.Errorf("the context prior must be docker-image://IMAGE or oci-layout://DIRECTORY, not %s", spec)
	}
	store, pin, ok := strings.Cut(name, "@")
	if !ok {
		return nil, fmt.Errorf("%s has no digest", spec)
	}
	store, _, _ = strings.Cut(store, ":")
	shown := nameInLayout + "@" + pin
	_, _, config, err := t.images.ResolveImageConfig(ctx, shown, sourceresolver.Opt{
		LogName: t.label + "load metadata of the prior image",
		OCILayoutOpt: &sourceresolver.ResolveOCILayoutOpt{
			Platform: &t.platform,
			Store:    sourceresolver.ResolveImageConfigOptStore{SessionID: t.opts.SessionID, StoreID: store},
		},
	})
	if err != nil {
		return nil, err
	}
	return newRemoteImage(remoteImage{
		digest: digest.Digest(pin), config: config,
		image: llb.OCILayout(shown, llb.OCIStore(t.opts.SessionID, store), llb.Platform(t.platform)),
		blob: func(d digest.Digest, opts ...llb.ImageBlobOption) llb.State {
			return llb.OCILayoutBlob(nameInLayout+"@"+d.String(),
				append(opts, llb.ImageBlobOCIStore(t.opts.SessionID, store))...)
		},
	})
}

func newRemoteImage(k remoteImage) (*remoteImage, error) {
	var image ocispec.Image
	if err := json.Unmarshal(k.config, &image); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(image.RootFS.DiffIDs) == 0 {
		return nil, errors.New("the image has no layers")
	}
	for _, d := range image.RootFS.DiffIDs {
		k.diffIDs = append(k.diffIDs, d.String())
	}
	return &k, nil
}

// baseOfLastStage finds the image that the last stage starts from in the definition of its result.
func (t *target) baseOfLastStage(ctx context.Context, ref client.Reference) (*remoteImage, error) {
	st, err := ref.ToState()
	if err != nil {
		return nil, err
	}
	def, err := st.Marshal(ctx, llb.Platform(platforms.Normalize(t.platform)))
	if err != nil {
		return nil, err
	}
	source, err := findBase(def.ToPB())
	if err != nil {
		return nil, err
	}
	name, ok := strings.CutPrefix(source.Identifier, "docker-image://")
	if !ok {
		return nil, fmt.Errorf("the last stage begins with %s, not with an image of a registry: name one with "+
			"keep-base=IMAGE", source.Identifier)
	}
	return t.resolve(ctx, name)
}

// findBase walks from the last step back to the source that the root filesystem starts from.
func findBase(def *pb.Definition) (*pb.SourceOp, error) {
	ops, last, err := parseDefinition(def)
	if err != nil {
		return nil, err
	}
	errNone := errors.New("the last stage does not begin with an image: keep-base has nothing to keep")
	at := last
	for range len(ops) {
		op := ops[at.Digest]
		if op == nil {
			return nil, errNone
		}
		if source := op.GetSource(); source != nil {
			return source, nil
		}
		input := rootInput(op, int(at.Index))
		if input < 0 || input >= len(op.Inputs) {
			return nil, errNone
		}
		at = op.Inputs[input]
	}
	return nil, errNone
}

// parseDefinition returns the steps by digest, and the input that is the result.
func parseDefinition(def *pb.Definition) (map[string]*pb.Op, *pb.Input, error) {
	ops := map[string]*pb.Op{}
	var last *pb.Op
	for _, data := range def.Def {
		op := &pb.Op{}
		if err := op.UnmarshalVT(data); err != nil {
			return nil, nil, fmt.Errorf("a step of the build: %w", err)
		}
		ops[digest.FromBytes(data).String()] = op
		last = op
	}
	if last == nil || len(last.Inputs) == 0 {
		return nil, nil, errors.New("the build has no steps")
	}
	return ops, last.Inputs[0], nil
}

// isKeyed reports whether the cache key of a state follows from its definition. It does not if the state is what a
// client sent: that gets a new key each time, until the builder has looked at the content.
func isKeyed(ctx context.Context, st llb.State, p ocispec.Platform) (bool, error) {
	def, err := st.Marshal(ctx, llb.Platform(p))
	if err != nil {
		return false, err
	}
	ops, last, err := parseDefinition(def.ToPB())
	if err != nil {
		return false, err
	}
	op := ops[last.Digest]
	return op != nil && !strings.HasPrefix(op.GetSource().GetIdentifier(), "local://"), nil
}

// rootInput returns the input that a step's output starts from, or -1.
func rootInput(op *pb.Op, output int) int {
	switch {
	case op.GetExec() != nil:
		for _, m := range op.GetExec().Mounts {
			if m.Dest == "/" {
				return int(m.Input)
			}
		}
	case op.GetFile() != nil:
		actions := op.GetFile().Actions
		for i := len(actions) - 1; i >= 0; i-- {
			if int(actions[i].Output) != output && output >= 0 {
				continue
			}
			// Numbers from len(op.Inputs) on refer to earlier actions.
			n := int(actions[i].Input)
			for n >= len(op.Inputs) && n-len(op.Inputs) < len(actions) {
				n = int(actions[n-len(op.Inputs)].Input)
			}
			return n
		}
	case op.GetMerge() != nil && len(op.GetMerge().Inputs) > 0:
		return int(op.GetMerge().Inputs[0].Input)
	}
	return -1
}
