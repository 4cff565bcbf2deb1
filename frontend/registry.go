package frontend

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"

	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

// ErrUnreachable is returned if the builder cannot reach a container on its own loopback interface.
var ErrUnreachable = errors.New("the builder cannot fetch the layers, as its containers have a network of their own: " +
	"add --allow network.host to the build, or use output=layout (docs/frontend.md, \"Isolated builders\")")

const (
	// startTimeout is how long to wait for the address of the registry.
	startTimeout = time.Minute
	// stopTimeout is how long to wait for a container to end.
	stopTimeout = 20 * time.Second
)

// registry is a container of the builder that runs package serve.
type registry struct {
	address    string
	repository string
	// whole is set if there is one image of all layers instead of one for each.
	whole bool
	close func()
	// output is the output of the last chunk step. The registry may ask for layers of it, or of the prior image.
	output atomic.Pointer[chunkOutput]

	mu      sync.Mutex
	missing error // why a layer of the prior image could not be fetched
}

// serve starts a registry with the layers that the chunk step made.
func (t *target) serve(ctx context.Context) (*registry, error) {
	name := make([]byte, 16)
	if _, err := rand.Read(name); err != nil {
		return nil, err
	}
	r := &registry{repository: hex.EncodeToString(name), whole: !t.merges(), close: func() {}}
	kept := len(t.output.result.From(chunk.FromPrior)) > 0
	if !kept && len(t.output.result.From(chunk.Made)) == 0 {
		return r, nil
	}
	layout, err := t.solve(ctx, t.output.layout)
	if err != nil {
		return nil, err
	}
	mounts := []client.Mount{readonly(dirLayout, layout), readonly(dirResult, t.output.ref)}
	args := []string{
		"serve", "--layout=" + dirLayout, "--result=" + dirResult,
		"--platform=" + platforms.FormatAll(t.platform), fmt.Sprintf("--whole=%t", r.whole),
	}
	if kept {
		mounts = append(mounts, client.Mount{Dest: dirScratch, MountType: pb.MountType_BIND})
		args = append(args, "--lent="+dirScratch)
	}
	// Using the builder's own network needs a permission. The default network of containers is often the same.
	for _, network := range []pb.NetMode{pb.NetMode_HOST, pb.NetMode_UNSET} {
		var p *process
		if p, err = t.start(ctx, mounts, network, args, r.repository); err == nil {
			r.address = p.address
			end := t.answerRequests(ctx, r, p)
			r.close = func() {
				p.stop()
				end()
			}
			return r, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return r, err
}

func readonly(dest string, ref client.Reference) client.Mount {
	return client.Mount{Dest: dest, Ref: ref, MountType: pb.MountType_BIND, Readonly: true}
}

// merges reports whether the builder can combine the layers of several images.
func (b *job) merges() bool {
	return b.opts.LLBCaps.Supports(pb.CapMergeOp) == nil
}

// process is a container of the builder that runs our program as a registry.
type process struct {
	address string
	lines   *bufio.Reader // its standard output
	stop    func()

	writing sync.Mutex
	answers io.WriteCloser
}

// RepositoryVariable names the environment variable with the secret name of the image that our program serves. Every
// user of the builder's machine can read the command line of a process, but not its environment.
const RepositoryVariable = "OSTREE_EXT_REPOSITORY"

// start runs our program in a network and waits for its address.
func (b *job) start(
	ctx context.Context, mounts []client.Mount, network pb.NetMode, args []string, repository string,
) (*process, error) {
	native := platforms.Normalize(b.native)
	ctr, err := b.client.NewContainer(ctx, client.NewContainerRequest{
		NetMode: network,
		Platform: &pb.Platform{
			OS: native.OS, Architecture: native.Architecture, Variant: native.Variant,
		},
		Mounts: append([]client.Mount{readonly("/", b.selfRef)}, mounts...),
	})
	if err != nil {
		return nil, err
	}
	release := func() {
		// Release it even if the build was cancelled.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = ctr.Release(ctx)
	}
	out, stdout := io.Pipe()
	stdin, answers := io.Pipe()
	proc, err := ctr.Start(ctx, client.StartRequest{
		Args: append([]string{b.program}, args...), Cwd: "/", Stdin: stdin, Stdout: stdout,
		Env: []string{RepositoryVariable + "=" + repository},
	})
	if err != nil {
		release()
		return nil, err
	}
	ended := make(chan struct{})
	p := &process{lines: bufio.NewReader(out), answers: answers}
	go func() {
		err := proc.Wait()
		gone := errors.Join(errors.New("the registry of layers ended"), err)
		_, _ = stdout.CloseWithError(gone), stdin.CloseWithError(gone)
		close(ended)
	}()
	p.stop = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_, _ = out.Close(), answers.Close()
		_ = proc.Signal(ctx, syscall.SIGKILL)
		release()
		<-ended
	}
	timed, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	defer context.AfterFunc(timed, func() { _ = out.CloseWithError(context.Cause(timed)) })()
	if p.address, err = p.line(); err != nil {
		p.stop()
		return nil, fmt.Errorf("starting the registry of layers: %w", err)
	}
	return p, nil
}

// line reads a line. It must fit into the buffer.
func (p *process) line() (string, error) {
	line, err := p.lines.ReadSlice('\n')
	return strings.TrimSpace(string(line)), err
}

// explain replaces a connection error by one that says what the user can do.
func (r *registry) explain(err error) error {
	text := err.Error()
	refused := strings.Contains(text, "connect") && strings.Contains(text, "refused")
	if refused && r.address != "" && strings.Contains(text, r.address) {
		// What is wrapped around an error of the builder does not reach the user.
		return fmt.Errorf("%w (%v)", ErrUnreachable, firstLine(text))
	}
	return err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
