package frontend

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"

	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

// ErrUnreachable says that the builder cannot reach what runs on its own loopback.
var ErrUnreachable = errors.New("the builder cannot fetch the layers, as its containers have a network of their own: " +
	"add --allow network.host to the build, or use output=layout (docs/frontend.md, \"Isolated builders\")")

const (
	// startTimeout bounds how long the registry may take to say its address.
	startTimeout = time.Minute
	// stopTimeout bounds how long a container may take to end.
	stopTimeout = 20 * time.Second
)

// registry is a container of the builder in which package serve runs.
type registry struct {
	address    string
	repository string
	// whole says that there is one image of all layers instead of one for each.
	whole bool
	close func()
}

// serve starts the registry with the layers that the chunk step made.
func (t *target) serve(ctx context.Context) (*registry, error) {
	name := make([]byte, 16)
	if _, err := rand.Read(name); err != nil {
		return nil, err
	}
	r := &registry{repository: hex.EncodeToString(name), whole: !t.merges(), close: func() {}}
	kept := len(t.made.result.From(chunk.FromPrior)) > 0
	if !kept && len(t.made.result.From(chunk.Made)) == 0 {
		return r, nil
	}
	layout, err := t.solve(ctx, t.made.layout)
	if err != nil {
		return nil, err
	}
	mounts := []client.Mount{
		readonly("/", t.selfRef), readonly(dirLayout, layout), readonly(dirResult, t.made.ref),
	}
	args := []string{
		t.program, "serve", "--layout=" + dirLayout, "--result=" + dirResult, "--repository=" + r.repository,
		"--platform=" + platforms.FormatAll(t.platform), fmt.Sprintf("--whole=%t", r.whole),
	}
	if kept {
		more, moreArgs, err := t.remake(ctx)
		if err != nil {
			return nil, err
		}
		mounts, args = append(mounts, more...), append(args, moreArgs...)
	}
	// The network of the builder itself has to be allowed; that which containers have by default often is the same.
	err = t.start(ctx, r, mounts, pb.NetMode_HOST, args)
	if err != nil && ctx.Err() == nil {
		err = t.start(ctx, r, mounts, pb.NetMode_UNSET, args)
	}
	return r, err
}

func readonly(dest string, ref client.Reference) client.Mount {
	return client.Mount{Dest: dest, Ref: ref, MountType: pb.MountType_BIND, Readonly: true}
}

// remake is what the registry needs to make layers of the prior image again, for a builder that no longer has them.
func (t *target) remake(ctx context.Context) (mounts []client.Mount, args []string, err error) {
	request := t.request
	request.PriorLayers = nil
	data, err := json.Marshal(request)
	if err != nil {
		return nil, nil, err
	}
	from := map[string]llb.State{dirIn: t.made.in, dirRequest: t.requests(data)}
	args = []string{"--in=" + dirIn, "--request=" + path.Join(dirRequest, chunk.RequestFile), "--scratch=" + dirScratch}
	if t.base != nil {
		from[dirBase] = t.base.image
		args = append(args, "--base="+dirBase)
	}
	mounts = []client.Mount{{Dest: dirScratch, MountType: pb.MountType_BIND}}
	for dest, st := range from {
		ref, err := t.solve(ctx, st)
		if err != nil {
			return nil, nil, err
		}
		mounts = append(mounts, readonly(dest, ref))
	}
	return mounts, args, nil
}

// merges reports whether the builder can put layers of several images together.
func (b *job) merges() bool {
	return b.opts.LLBCaps.Supports(pb.CapMergeOp) == nil
}

// start starts the registry in a network and waits for its address.
func (t *target) start(ctx context.Context, r *registry, mounts []client.Mount, network pb.NetMode, args []string) error {
	native := platforms.Normalize(t.native)
	ctr, err := t.client.NewContainer(ctx, client.NewContainerRequest{
		NetMode: network,
		Platform: &pb.Platform{
			OS: native.OS, Architecture: native.Architecture, Variant: native.Variant,
		},
		Mounts: mounts,
	})
	if err != nil {
		return err
	}
	release := func() {
		// Also when the build was cancelled.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = ctr.Release(ctx)
	}
	out, in := io.Pipe()
	proc, err := ctr.Start(ctx, client.StartRequest{Args: args, Cwd: "/", Stdout: in})
	if err != nil {
		release()
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := proc.Wait()
		_ = in.CloseWithError(errors.Join(errors.New("the registry of layers ended"), err))
		ended <- err
	}()
	stop := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = proc.Signal(ctx, syscall.SIGKILL)
		release()
		<-ended
	}
	if r.address, err = readAddress(ctx, out); err != nil {
		_ = out.CloseWithError(err)
		stop()
		return err
	}
	r.close = stop
	return nil
}

// readAddress reads the line that package serve writes.
func readAddress(ctx context.Context, out *io.PipeReader) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = out.CloseWithError(context.Cause(ctx)) })
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(out, 100)).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("starting the registry of layers: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// explain makes an error of fetching say what the user can do.
func (r *registry) explain(err error) error {
	if text := err.Error(); r.address != "" && strings.Contains(text, r.address) && strings.Contains(text, "connect") && strings.Contains(text, "refused") {
		// What is wrapped around an error of the builder does not reach the user.
		return fmt.Errorf("%w (%v)", ErrUnreachable, firstLine(text))
	}
	return err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
