//go:build interop

package frontend_test

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func blob(t *testing.T, l v1.Layer) string {
	t.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// cached reports whether a step came from the cache.
func cached(out, step string) bool {
	m := regexp.MustCompile(`(?m)^#(\d+) .*` + regexp.QuoteMeta(step)).FindStringSubmatch(out)
	return m != nil && regexp.MustCompile(`(?m)^#`+m[1]+` CACHED`).MatchString(out)
}

const splitting = "splitting into layers"

func TestInterop_CachesAreUsedAndCanBeExported(t *testing.T) {
	r := smallRequest("", "cache")
	r.dir = t.TempDir()
	r.file = syntax("") + "FROM " + env.host + "/debian AS build\nRUN head -c 100000 /dev/urandom >/random\nFROM " +
		"scratch\nCOPY --from=build /random /etc/\n"
	cache := filepath.Join(t.TempDir(), "cache")
	d := newDaemon(t, daemonOptions{})
	r.args = []string{"--export-cache=type=local,mode=max,dest=" + cache}
	d.build(t, r)
	first := pull(t, r.name)
	r.args = nil
	if out := d.build(t, r); !cached(out, splitting) {
		t.Errorf("an unchanged build ran the chunk step again:\n%s", out)
	}
	r.opts = append(r.opts, "no-cache=")
	if out := d.build(t, r); cached(out, splitting) {
		t.Errorf("no-cache did not reach the chunk step:\n%s", out)
	}
	if again := pull(t, r.name); again.digest == first.digest {
		t.Error("no-cache did not reach the step with random numbers")
	}
	r.opts = r.opts[:len(r.opts)-1]
	must(t, env.buildctl, "--addr", d.addr, "prune", "--all")
	r.args = []string{"--import-cache=type=local,src=" + cache}
	out := d.build(t, r)
	if !cached(out, "RUN head") || !cached(out, splitting) {
		t.Errorf("an imported cache is not used:\n%s", out)
	}
	if again := pull(t, r.name); again.digest != first.digest {
		t.Errorf("with an imported cache the image is %s, want %s", again.digest, first.digest)
	}
}

func TestInterop_ABuildWithoutAnyCacheGivesTheSameManifest(t *testing.T) {
	r := request{
		file: syntax("max-layers=10 prior=none") + "FROM " + env.host + "/debian\nRUN mkdir /srv/new && echo new " +
			">/srv/new/file && touch /etc/new\n",
		name: "reproducible",
	}
	var digests []string
	for range 2 {
		d := newDaemon(t, daemonOptions{})
		d.build(t, r)
		digests = append(digests, pull(t, r.name).digest)
		d.stop()
	}
	if diff := cmp.Diff(digests[0], digests[1]); diff != "" {
		t.Errorf("two builds differ:\n%s", diff)
	}
}

// running lists our processes in containers of the builder that run a command, or all of them.
func running(t *testing.T, command string) []int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, name := range names {
		// The process may have ended.
		data, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(data), "/ostree-ext-frontend\x00"+command) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// onceChunking calls do when the chunk step of a build runs.
func onceChunking(t *testing.T, do func(pid int)) {
	t.Helper()
	go func() {
		deadline := time.Now().Add(patience(time.Minute))
		for ; time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if pids := running(t, "chunk\x00"); len(pids) > 0 {
				do(pids[0])
				return
			}
		}
	}()
}

func TestInterop_AChunkStepThatEndsHalfWayIsAnErrorAndTheNextBuildWorks(t *testing.T) {
	r := request{file: syntax("prior=none max-layers=30") + "FROM " + env.host + "/debian\nRUN echo half >/etc/way\n",
		name: "halfway"}
	onceChunking(t, func(pid int) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	out, err := env.daemon.try(t.Context(), t, r)
	if err == nil || !strings.Contains(out, "did not complete successfully: exit code: 137") {
		t.Errorf("%v\n%s", err, out)
	}
	env.daemon.build(t, r)
}
