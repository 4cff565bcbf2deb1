//go:build interop

package frontend_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sighting closes seen when a text has been written to it.
type sighting struct {
	text string
	seen chan struct{}

	mu      sync.Mutex
	written bytes.Buffer
	done    bool
}

func newSighting(text string) *sighting { return &sighting{text: text, seen: make(chan struct{})} }

func (s *sighting) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written.Write(p)
	if !s.done && strings.Contains(s.written.String(), s.text) {
		s.done = true
		close(s.seen)
	}
	return len(p), nil
}

// await fails the test if nothing is received.
func await[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience(2 * time.Minute)):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

type outcome struct {
	out string
	err error
}

// goTry builds in the background.
func (d *daemon) goTry(ctx context.Context, t *testing.T, r request) <-chan outcome {
	t.Helper()
	ended := make(chan outcome, 1)
	go func() {
		out, err := d.try(ctx, t, r)
		ended <- outcome{out, err}
	}()
	return ended
}

// Builds that have layers in common share what they fetch, from the registry of the first. Here it cannot have one of
// its layers until both wait for it. Then the first build ends.
func TestInterop_ABuildGoesOnIfAnotherThatHasItsLayersEnds(t *testing.T) {
	env.daemon.build(t, smallRequest("prior=none", "shared"))
	prior := pull(t, "shared")
	canceled := func(_ *testing.T, cancel func(), _ int) { cancel() }
	signal := func(s syscall.Signal) func(*testing.T, func(), int) {
		return func(t *testing.T, _ func(), registry int) {
			if err := syscall.Kill(registry, s); err != nil {
				t.Error(err)
			}
		}
	}
	const registry = "the registry of layers, a process that this build runs on the builder, "
	for name, tt := range map[string]struct {
		end  func(t *testing.T, cancel func(), registry int)
		same bool     // both builds have only equal layers
		want []string // in the error of the build that ends
	}{
		"it is cancelled":                  {canceled, false, nil},
		"it is cancelled, of equal builds": {canceled, true, nil},
		"its registry is killed":           {signal(syscall.SIGKILL), false, []string{registry + "was killed by signal 9"}},
		"its registry has a bug": {signal(syscall.SIGQUIT), false,
			[]string{registry + "ended with exit code 2", ", saying: ", "goroutine"}},
	} {
		t.Run(name, func(t *testing.T) {
			// On a busy machine the second build may take longer to get to where it waits.
			for _, pause := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second} {
				if endFirst(t, prior, tt.same, patience(pause), tt.end, tt.want...) {
					return
				}
			}
			t.Error("the other build did not depend on the first")
		})
	}
}

// endFirst runs two builds of which the first ends while both wait, and checks that the second works. It reports
// whether the second depended on the first.
func endFirst(
	t *testing.T, prior *pulled, same bool, pause time.Duration, end func(*testing.T, func(), int), want ...string,
) bool {
	t.Helper()
	d, h := newDaemon(t, daemonOptions{}), newHolding(t, prior)
	r := smallRequest("", "shared/first")
	r.opts = append(r.opts, "prior="+h.host+"/shared")
	r.files["b"] = "first"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := d.goTry(ctx, t, r)
	await(t, "the first build to ask for a layer of the prior image", h.asked)
	registry := slices.DeleteFunc(running(t, "serve\x00"), func(p int) bool { return !d.started(p) })
	if len(registry) != 1 {
		t.Fatalf("there are %d registries, want 1", len(registry))
	}
	waiting := newSighting("importing layers")
	r.name, r.log = "shared/second", waiting
	if !same {
		r.files = map[string]string{"a": r.files["a"], "b": "second"}
	}
	second := d.goTry(t.Context(), t, r)
	await(t, "the second build to import layers", waiting.seen)
	time.Sleep(pause)
	end(t, cancel, registry[0])
	if o := await(t, "the first build", first); o.err == nil {
		t.Errorf("the first build did not end:\n%s", o.out)
	} else {
		says(t, o.out, want...)
	}
	close(h.let)
	o := await(t, "the second build", second)
	if o.err != nil {
		t.Fatalf("the other build failed: %v\n%s", o.err, o.out)
	}
	r.name, r.log = "shared/alone", nil
	env.daemon.build(t, r)
	if diff := cmp.Diff(pull(t, "shared/alone").layers(), pull(t, "shared/second").layers()); diff != "" {
		t.Errorf("layers (-of a build alone +of this one):\n%s", diff)
	}
	stopped(t, d)
	return strings.Contains(o.out, "importing layers, attempt 2")
}

// started reports whether a process is a descendant of the daemon.
func (d *daemon) started(pid int) bool {
	for pid > 1 && pid != d.cmd.Process.Pid {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return false
		}
		_, rest, _ := strings.Cut(string(status), "\nPPid:")
		if _, err := fmt.Sscan(rest, &pid); err != nil {
			return false
		}
	}
	return pid == d.cmd.Process.Pid
}

// says checks what the last lines of a build's output say.
func says(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out[max(0, strings.LastIndex(out, "error: failed to solve")):], w) {
			t.Errorf("the error does not say %q:\n%s", w, out)
		}
	}
}

// Three builds wait for a layer. The second waits for the first and tries again when that is cancelled; the third waits
// for what the second tries, which is cancelled, too.
func TestInterop_ABuildGoesOnIfSeveralOthersEnd(t *testing.T) {
	env.daemon.build(t, smallRequest("prior=none", "several"))
	d, h := newDaemon(t, daemonOptions{}), newHolding(t, pull(t, "several"))
	start := func(content, until string) (cancel func(), _ *sighting, _ <-chan outcome) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		r := smallRequest("", "several/"+content)
		seen := newSighting(until)
		r.opts, r.files["b"], r.log = append(r.opts, "prior="+h.host+"/several"), content, seen
		return cancel, seen, d.goTry(ctx, t, r)
	}
	const step = "importing layers"
	cancelFirst, _, first := start("first", step)
	await(t, "the first build to ask for a layer of the prior image", h.asked)
	cancelSecond, seen, second := start("second", step+", attempt 2")
	time.Sleep(patience(5 * time.Second)) // until it waits for the first, too
	cancelFirst()
	await(t, "the second build to try again", seen.seen)
	_, seen, third := start("third", step)
	await(t, "the third build to import layers", seen.seen)
	time.Sleep(patience(time.Second))
	cancelSecond()
	for _, o := range []outcome{await(t, "the first build", first), await(t, "the second build", second)} {
		if o.err == nil {
			t.Errorf("a build was not cancelled:\n%s", o.out)
		}
	}
	close(h.let)
	if o := await(t, "the third build", third); o.err != nil || !strings.Contains(o.out, step+", attempt 2") {
		t.Errorf("the third build, which depended on the second: %v\n%s", o.err, o.out)
	}
	stopped(t, d)
}
