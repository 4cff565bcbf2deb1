//go:build interop

package frontend_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// stopped checks that a builder runs nothing of a build any more.
func stopped(t *testing.T, d *daemon) {
	t.Helper()
	eventually(t, "processes of a build run on", func() bool { return len(running(t, "")) == 0 })
	var used string
	eventually(t, "a record stays in use", func() bool {
		used = ""
		for line := bufio.NewScanner(strings.NewReader(must(t, env.buildctl, "--addr", d.addr, "du"))); line.Scan(); {
			if fields := strings.Fields(line.Text()); len(fields) == 4 && fields[1] == "false" {
				used += line.Text() + "\n"
			}
		}
		return used == ""
	})
	if used != "" {
		t.Errorf("in use are: %s", used)
	}
}

func TestInterop_NothingRunsOnAfterABuildOrItsCancellation(t *testing.T) {
	d := env.daemon
	r := request{
		file: syntax("prior=none max-layers=30 compression-level=9") + "FROM " + env.host + "/debian\nRUN date >/etc/now\n",
		name: "cancelled",
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	onceChunking(t, func(int) { cancel() })
	if out, err := d.try(ctx, t, r); err == nil {
		t.Errorf("the build was not cancelled:\n%s", out)
	}
	stopped(t, d)
	d.build(t, r)
	stopped(t, d)
}

// holding is a proxy for the tests' registry that holds back an image's layers until it is released.
type holding struct {
	host  string
	asked chan struct{} // closed when a blob is held back
	once  sync.Once
	let   chan struct{}
}

func newHolding(t *testing.T, image *pulled) *holding {
	t.Helper()
	target, err := url.Parse(env.registry.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := &holding{asked: make(chan struct{}), let: make(chan struct{})}
	proxy := httputil.NewSingleHostReverseProxy(target)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held := slices.ContainsFunc(image.manifest.Layers,
			func(l v1.Descriptor) bool { return strings.HasSuffix(r.URL.Path, l.Digest.String()) })
		if held && h.holds(r.Context()) {
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	h.host = strings.TrimPrefix(s.URL, "http://")
	return h
}

// holds blocks, and reports whether the client has gone away.
func (h *holding) holds(ctx context.Context) bool {
	select {
	case <-h.let:
		return false
	default:
	}
	h.once.Do(func() { close(h.asked) })
	select {
	case <-h.let:
		return false
	case <-ctx.Done():
		return true
	}
}

func TestInterop_NothingRunsOnAfterACancellationWhileLayersAreFetched(t *testing.T) {
	env.daemon.build(t, smallRequest("prior=none", "held"))
	prior := pull(t, "held")
	h := newHolding(t, prior)
	d := newDaemon(t, daemonOptions{})
	r := smallRequest("prior="+h.host+"/held", "held/next")
	r.files["b"] = "changed"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-h.asked
		cancel()
	}()
	if out, err := d.try(ctx, t, r); err == nil {
		t.Errorf("the build was not cancelled:\n%s", out)
	}
	stopped(t, d)
	close(h.let)
	d.build(t, r)
	if n, _ := bytesBeyond(prior, pull(t, r.name)); n != 1 {
		t.Errorf("the next build gave %d new layers", n)
	}
	stopped(t, d)
}
