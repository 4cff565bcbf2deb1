//go:build interop

package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// bootedSteps is the environment variable with the steps that the test's program takes as a program of a booted host:
// words of the form deploy:COMMIT or status.
const bootedSteps = "DEPLOY_TEST_STEPS"

// runBooted takes the steps and prints a line of JSON for each.
func runBooted(steps []string) int {
	ctx, enc := context.Background(), json.NewEncoder(os.Stdout)
	for _, step := range steps {
		verb, arg, _ := strings.Cut(step, ":")
		var out any
		var err error
		if verb == "status" {
			out, err = ReadStatus(ctx, sysroot.Host{}, arg)
		} else {
			out, err = deployBooted(ctx, verb, arg)
		}
		if err != nil {
			out = map[string]string{"error": err.Error()}
		}
		if err := enc.Encode(out); err != nil {
			return 1
		}
	}
	return 0
}

// deployBooted deploys with all defaults, and with ReplaceStaged if the verb is replace.
func deployBooted(ctx context.Context, verb, commit string) (any, error) {
	c, err := object.ParseChecksum(commit)
	if err != nil {
		return nil, err
	}
	ref, err := imgref.ParseOstreeImageReference(unverified)
	if err != nil {
		return nil, err
	}
	p, err := NewPlan(ctx, Options{Commit: c, Origin: ref, ReplaceStaged: verb == "replace"})
	if err != nil {
		return nil, err
	}
	_, err = p.Run(ctx)
	return p, err
}

// inside runs a command as if a deployment of the host was booted.
func (h *realHost) inside(t *testing.T, deployment, run string, env []string, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := repotest.Booted{Sysroot: h.path, Deployment: deployment, Run: run, Binds: []string{self + ":tmp/self"}}
	cmd := b.Command(args...)
	cmd.Env = append(cmd.Env, env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v: %s%s", args, err, out, stderr.String())
	}
	return string(out)
}

func TestInterop_ABootedHostStagesAndFinalizes(t *testing.T) {
	t.Parallel()
	h, run := newRealHost(t), t.TempDir()
	opts := h.options(t, h.commit(t, "one", nil))
	opts.KernelArgs = []string{"root=UUID=1", "quiet"}
	booted := h.deploy(t, opts).Deployment
	second, third := h.commit(t, "two", nil), h.commit(t, "three", nil)
	steps := fmt.Sprintf("deploy:%s status deploy:%s replace:%[2]s status:/sysroot replace:%[2]s", second, third)
	out := h.inside(t, booted.Dir, run, []string{bootedSteps + "=" + steps}, "/tmp/self")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 6 {
		t.Fatalf("got %q", out)
	}
	for i, want := range map[int][]string{
		0: {
			`"staged":true`, `"--sysroot=/","--os=default","--origin-file=ORIGIN","--stage"`,
			`"kernel_args":["root=UUID=1","quiet"]`,
		},
		2: {`"error":"` + unverified + " (" + second.String() + ".0 of stateroot default) is staged for the next boot"},
		3: {`"staged":true`, `"drop":[{"stateroot":"default","name":"` + second.String() + `.0","state":"staged"`},
		5: {`"staged":true`},
	} {
		for _, s := range want {
			if !strings.Contains(lines[i], s) {
				t.Errorf("step %d: got %s, want %s", i, lines[i], s)
			}
		}
	}
	for i, want := range map[int]string{1: second.String(), 4: third.String()} {
		var st Status
		if err := json.Unmarshal([]byte(lines[i]), &st); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range st.Deployments {
			got = append(got, d.State+" "+d.Commit)
			if !slices.Equal(d.KernelArgs, opts.KernelArgs) || d.Image != unverified {
				t.Errorf("got %+v", d)
			}
		}
		if want := []string{"staged " + want, "booted " + booted.Commit.String()}; !slices.Equal(got, want) {
			t.Errorf("step %d: got %q, want %q", i, got, want)
		}
	}
	// What is on disk changes when the host shuts down. Until then ostree and we show the same.
	if got := h.inside(t, booted.Dir, run, nil, "ostree", "admin", "status"); !strings.Contains(got, "(staged)") ||
		!strings.Contains(got, third.String()) || strings.Contains(got, second.String()) {
		t.Errorf("ostree shows %s", got)
	}
	if got := h.names(t); !slices.Equal(got, []string{booted.Name()}) {
		t.Errorf("got %q before the end", got)
	}
	h.inside(t, booted.Dir, run, nil, "ostree", "admin", "finalize-staged")
	if got := h.names(t); len(got) != 2 || !strings.HasPrefix(got[0], third.String()) || got[1] != booted.Name() {
		t.Errorf("got %q after the end", got)
	}
	st, err := ReadStatus(t.Context(), opts.Host, h.path)
	if err != nil {
		t.Fatal(err)
	}
	if d := st.Deployments[0]; d.Commit != third.String() || d.Version != "3" || d.Image != unverified ||
		!slices.Equal(d.KernelArgs, opts.KernelArgs) {
		t.Errorf("got %+v", d)
	}
}
