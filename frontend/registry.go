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
	// made is what the last chunk step left: what the registry may ask for is of it, or of the prior image.
	made atomic.Pointer[made]

	mu      sync.Mutex
	missing error // why a layer of the prior image cannot be had
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
	mounts := []client.Mount{readonly(dirLayout, layout), readonly(dirResult, t.made.ref)}
	args := []string{
		"serve", "--layout=" + dirLayout, "--result=" + dirResult, "--repository=" + r.repository,
		"--platform=" + platforms.FormatAll(t.platform), fmt.Sprintf("--whole=%t", r.whole),
	}
	if kept {
		mounts = append(mounts, client.Mount{Dest: dirScratch, MountType: pb.MountType_BIND})
		args = append(args, "--lent="+dirScratch)
	}
	// The network of the builder itself has to be allowed; that which containers have by default often is the same.
	for _, network := range []pb.NetMode{pb.NetMode_HOST, pb.NetMode_UNSET} {
		var p *process
		if p, err = t.start(ctx, mounts, network, args); err == nil {
			r.address = p.address
			end := t.lend(ctx, r, p)
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

// merges reports whether the builder can put layers of several images together.
func (b *job) merges() bool {
	return b.opts.LLBCaps.Supports(pb.CapMergeOp) == nil
}

// process is a container of the builder with our program, which listens.
type process struct {
	address string
	lines   *bufio.Reader // what it says
	stop    func()

	told    sync.Mutex
	answers io.WriteCloser
}

// start starts our program in a network and waits for its address.
func (b *job) start(ctx context.Context, mounts []client.Mount, network pb.NetMode, args []string) (*process, error) {
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
		// Also when the build was cancelled.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = ctr.Release(ctx)
	}
	out, stdout := io.Pipe()
	stdin, answers := io.Pipe()
	proc, err := ctr.Start(ctx, client.StartRequest{Args: append([]string{b.program}, args...), Cwd: "/", Stdin: stdin, Stdout: stdout})
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

// line reads a line, which is short: the buffer bounds it.
func (p *process) line() (string, error) {
	line, err := p.lines.ReadSlice('\n')
	return strings.TrimSpace(string(line)), err
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
