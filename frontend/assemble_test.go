package frontend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

// fakeBuilder is a builder whose fetches fail.
type fakeBuilder struct {
	client.Client

	// fail returns the error of fetching from a registry, the n-th one, or nil if that works.
	fail func(n int, address, repository string) error
	// exit, if not nil, is how each registry ends after it has begun to listen. It writes the message before.
	exit    error
	message string

	mu       sync.Mutex
	started  int
	running  int
	attempts map[string]int // for each image, the registry from which it was fetched last
}

var fetchedImage = regexp.MustCompile(`docker-image://(127\.0\.0\.1:\d+)/([0-9a-f]{32})@(sha256:[0-9a-f]{64})`)

func (b *fakeBuilder) Solve(_ context.Context, req client.SolveRequest) (*client.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, op := range req.Definition.Def {
		m := fetchedImage.FindSubmatch(op)
		if m == nil {
			continue
		}
		if last, ok := b.attempts[string(m[3])]; ok && last != b.started {
			return nil, errors.New("the image has the name of an earlier one, so the builder gives the earlier result")
		}
		b.attempts[string(m[3])] = b.started
		if err := b.fail(b.started, string(m[1]), string(m[2])); err != nil {
			return nil, err
		}
	}
	res := client.NewResult()
	res.SetRef(struct{ client.Reference }{})
	return res, nil
}

func (b *fakeBuilder) NewContainer(context.Context, client.NewContainerRequest) (client.Container, error) {
	return container{builder: b}, nil
}

type container struct {
	client.Container
	builder *fakeBuilder
}

func (c container) Release(context.Context) error { return nil }

func (c container) Start(_ context.Context, req client.StartRequest) (client.ContainerProcess, error) {
	b := c.builder
	b.mu.Lock()
	defer b.mu.Unlock()
	b.started++
	b.running++
	p := listener{builder: b, ended: make(chan error, 2)}
	line := fmt.Sprintf("127.0.0.1:%d\n", 40000+b.started)
	go func() {
		_, _ = io.WriteString(req.Stdout, line)
		if b.exit != nil {
			_, _ = io.WriteString(req.Stderr, b.message)
			p.ended <- b.exit
		}
	}()
	return p, nil
}

type listener struct {
	client.ContainerProcess
	builder *fakeBuilder
	ended   chan error
}

func (p listener) Wait() error { return <-p.ended }

func (p listener) Signal(context.Context, syscall.Signal) error {
	p.builder.mu.Lock()
	defer p.builder.mu.Unlock()
	p.builder.running--
	p.ended <- errors.New("stopped")
	return nil
}

// newTarget returns an image of one layer that a builder is about to fetch.
func newTarget(b *fakeBuilder) *target {
	b.attempts = map[string]int{}
	p := ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	sum := digest.FromString("layer")
	result := &chunk.Result{Config: json.RawMessage("{}"), Layers: []chunk.Layer{{
		Name: "all", DiffID: sum, Origin: chunk.Made,
		Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: sum, Size: 5},
	}}}
	j := &job{client: b, native: p, self: llb.Scratch(), program: "/frontend", dc: &dockerui.Client{}}
	j.opts.LLBCaps = pb.Caps.CapSet(pb.Caps.All())
	return &target{job: j, platform: p, output: chunkOutput{layout: llb.Scratch(), result: result}}
}

const (
	other    = "0123456789abcdef0123456789abcdef"
	otherURL = "http://127.0.0.1:5001/v2/" + other
)

// elsewhere are errors of builders about the registry of another build.
var elsewhere = map[string]string{
	"refused": `failed to copy: httpReadSeeker: failed open: failed to do request: Get "` + otherURL +
		`/blobs/sha256:1": dial tcp 127.0.0.1:5001: connect: connection refused`,
	"refused, without a URL": "dial tcp 127.0.0.1:5001: connect: connection refused",
	"refused, with a name":   "127.0.0.1:5001/" + other + "@sha256:1: failed to do request: connection refused",
	"EOF":                    `failed to do request: Head "` + otherURL + `/manifests/sha256:1": EOF`,
	"EOF, without a URL":     "failed to copy: unexpected EOF",
	"reset": "failed to compute cache key: failed to copy: read tcp 127.0.0.1:5002->127.0.0.1:5001: read: connection " +
		"reset by peer",
	"not found":         "127.0.0.1:5001/" + other + "@sha256:1: not found",
	"a layer not found": "content at " + otherURL + "/blobs/sha256:1 not found: not found",
	"a layer not found, without a URL": "failed to copy: httpReadSeeker: failed open: could not fetch content " +
		"descriptor sha256:1 (application/vnd.oci.image.layer.v1.tar+gzip) from remote: not found",
	"status":              "unexpected status from GET request to " + otherURL + "/blobs/x: 418 teapot",
	"not a registry":      `Get "` + otherURL + `/blobs/x": malformed HTTP response "SSH-2.0"`,
	"another program":     `Get "https://127.0.0.1:5001/v2/` + other + `/x": tls: first record does not look like TLS`,
	"cancelled":           "failed to copy: context canceled",
	"on its second line":  "failed to load cache key\n127.0.0.1:5001/" + other + "@sha256:1: not found",
	"of a closed session": `Get "` + otherURL + `/blobs/x": no active session for x`,
}

func TestLayersAreFetchedAgainIfTheRegistryOfAnotherBuildFails(t *testing.T) {
	t.Parallel()
	for name, text := range elsewhere {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, failures := range []int{1, maxAttempts - 1, maxAttempts} {
				synctest.Test(t, func(t *testing.T) {
					b := &fakeBuilder{fail: func(n int, _, _ string) error {
						if n <= failures {
							return errors.New(text)
						}
						return nil
					}}
					target := newTarget(b)
					ref, err := target.assemble(t.Context())
					for _, r := range target.registries {
						r.close()
					}
					if b.running != 0 {
						t.Errorf("%d registries run on", b.running)
					}
					if failures < maxAttempts && (err != nil || ref == nil || b.started != failures+1) {
						t.Errorf("after %d failures: %d attempts, %v", failures, b.started, err)
					}
					if failures == maxAttempts && (!errors.Is(err, errElsewhere) || b.started != maxAttempts ||
						!strings.Contains(err.Error(), firstLine(text))) {
						t.Errorf("after %d failures: %d attempts, %v", failures, b.started, err)
					}
				})
			}
		})
	}
}

func TestOtherErrorsInFetchingLayersAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	url := func(address, repository string) string {
		return "http://" + address + "/v2/" + repository + "/blobs/sha256:1"
	}
	refused := func(address, repository string) string {
		return "Get \"" + url(address, repository) + "\": dial tcp " + address + ": connect: connection refused"
	}
	killed := &gateway.ExitError{ExitCode: 137, Err: errors.New("exit code: 137")}
	for name, tt := range map[string]struct {
		fail    func(address, repository string) string
		exit    error
		message string
		want    string
		is      error
	}{
		"the builder has another network": {refused, nil, "", "--allow network.host", ErrUnreachable},
		"our registry was killed":         {refused, killed, "", "was killed by signal 9", errEnded},
		"our registry was killed, in the middle of a layer": {
			func(string, string) string { return "failed to copy: unexpected EOF" }, killed, "", "was killed by signal 9",
			errEnded,
		},
		"our registry was killed, and another program has its address": {
			func(a, r string) string { return "unexpected status from GET request to " + url(a, r) + ": 418 teapot" }, killed,
			"", "was killed by signal 9", errEnded,
		},
		"our registry panicked": {
			refused, &gateway.ExitError{ExitCode: 2}, "panic: \x1b[1mout of\ncheese\n",
			`ended with exit code 2 before the builder had all layers, saying: panic: \x1b[1mout of cheese: build again`,
			errEnded,
		},
		"our registry got a signal": {refused, &gateway.ExitError{ExitCode: 128 + 15}, "", "signal 15 (terminated)",
			errEnded},
		"our registry never ran": {refused, &gateway.ExitError{ExitCode: gateway.UnknownExitStatus,
			Err: errors.New("runc: no such file")}, "", "ended (runc: no such file)", errEnded},
		"our registry does not have the layer": {
			func(a, r string) string { return url(a, r) + ": not found" }, nil, "", "not found", nil,
		},
		"a registry of the user": {
			func(string, string) string { return refused("127.0.0.1:5000", "debian") }, nil, "", "127.0.0.1:5000/v2/debian", nil,
		},
		"the disk is full": {func(string, string) string { return "write: no space left on device" }, nil, "",
			"no space left on device", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &fakeBuilder{exit: tt.exit, message: tt.message, fail: func(_ int, address, repository string) error {
					return errors.New(tt.fail(address, repository))
				}}
				target := newTarget(b)
				_, err := target.assemble(t.Context())
				for _, r := range target.registries {
					r.close()
				}
				if err == nil || !strings.Contains(err.Error(), tt.want) || b.started != 1 {
					t.Fatalf("%d attempts, error %v, want %q", b.started, err, tt.want)
				}
				if tt.is != nil && !errors.Is(err, tt.is) || (tt.is != nil) != isFinal(err) {
					t.Errorf("error %v is not %v", err, tt.is)
				}
				if errors.Is(err, errEnded) && strings.Contains(err.Error(), "network") {
					t.Errorf("the error blames the network: %v", err)
				}
			})
		})
	}
}

func TestACancelledBuildDoesNotFetchLayersAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := &fakeBuilder{fail: func(int, string, string) error {
			cancel()
			return errors.New(elsewhere["refused"])
		}}
		target := newTarget(b)
		if _, err := target.assemble(ctx); err == nil || b.started != 1 {
			t.Errorf("%d attempts, %v", b.started, err)
		}
		for _, r := range target.registries {
			r.close()
		}
	})
}

func TestTheEndOfWhatAProcessSaidIsKept(t *testing.T) {
	t.Parallel()
	var m tail
	for n := range 1000 {
		if _, err := fmt.Fprintf(&m, "line %d\n", n); err != nil {
			t.Fatal(err)
		}
	}
	if text := m.text(); !strings.HasSuffix(text, "line 998 line 999") || len(text) > maxTail {
		t.Errorf("%d bytes are kept: %s", len(text), text)
	}
}
