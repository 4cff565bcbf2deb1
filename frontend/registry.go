package frontend

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"

	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

// ErrUnreachable is returned if the builder cannot reach a container on its own loopback interface.
var ErrUnreachable = errors.New("the builder cannot fetch the layers, as its containers have a network of their own: " +
	"add --allow network.host to the build, or use output=layout (docs/frontend.md, \"Isolated builders\")")

// registry is a container of the builder that runs package serve.
type registry struct {
	process    *process // nil if there are no layers to fetch
	repository string
	images     chunk.Subset // how layers become images
	// whole is set if there is one image of all layers instead of one for each.
	whole bool
	close func()
	// output is the output of the last chunk step. The registry may ask for layers of it, or of the prior image.
	output atomic.Pointer[chunkOutput]

	mu      sync.Mutex
	missing error // why a layer of the prior image could not be fetched
}

// repositoryVariable names the environment variable with the secret name of the image that our program serves. Every
// user of the builder's machine can read the command line of a process, but not its environment.
const repositoryVariable = "OSTREE_EXT_REPOSITORY"

// serve starts a registry with the layers that the chunk step made. Its images differ from all others by the salt.
// Without one, they are those of other builds with the same layers.
func (t *target) serve(ctx context.Context, salt string) (*registry, error) {
	name := make([]byte, nameSize)
	if _, err := rand.Read(name); err != nil {
		return nil, err
	}
	r := &registry{
		repository: hex.EncodeToString(name), whole: !t.merges(), close: func() {},
		images: chunk.Subset{Platform: t.platform, Salt: salt},
	}
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
		"serve", "--repository-env=" + repositoryVariable, "--layout=" + dirLayout, "--result=" + dirResult,
		"--platform=" + platforms.FormatAll(t.platform), fmt.Sprintf("--whole=%t", r.whole), "--salt=" + salt,
	}
	if kept {
		mounts = append(mounts, client.Mount{Dest: dirScratch, MountType: pb.MountType_BIND})
		args = append(args, "--lent="+dirScratch)
	}
	// Using the builder's own network needs a permission. The default network of containers is often the same.
	for _, network := range []pb.NetMode{pb.NetMode_HOST, pb.NetMode_UNSET} {
		var p *process
		if p, err = t.start(ctx, &task{
			name: "the registry of layers, a process that this build runs on the builder,", until: "the builder had all layers",
			root: t.selfRef, program: t.program, mounts: mounts, network: network, args: args,
			env: []string{repositoryVariable + "=" + r.repository},
		}); err == nil {
			r.process = p
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

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
