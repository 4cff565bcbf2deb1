//go:build boot

// Package boot boots a real system in QEMU that the program made, installed and updates: a Debian with kernel, systemd
// and ostree-boot. It needs root and the programs that tools/setup-debian installs. `make boot-test` runs it.
package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

// program is the built ostree-ext. It is also in the images.
var program string

func TestMain(m *testing.M) {
	os.Exit(testhome.Tests{M: testhome.Func(func() int { return build(m) })}.Run())
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ostree-ext-boot-program")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "ostree-ext")
	cmd := exec.Command("go", "build", "-tags=containers_image_openpgp", "-trimpath", "-o", program,
		"github.com/ostree-ext/ostree-ext-go/cmd/ostree-ext")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// must runs a command and returns its standard output, trimmed. If the command fails, the test ends with its output.
func must(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	// Otherwise the trees of deployments could not be deleted: libostree makes them immutable.
	cmd.Env = append(os.Environ(), "OSTREE_SYSROOT_DEBUG=mutable-deployments")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	if d := time.Since(began); d > time.Second {
		t.Logf("%s %s: %.1f s", filepath.Base(name), args[0], d.Seconds())
	}
	return strings.TrimSpace(out.String())
}

// sh runs a shell script; its arguments are $1, $2, ….
func sh(t testing.TB, script string, args ...string) string {
	t.Helper()
	return must(t, "bash", append([]string{"-euo", "pipefail", "-c", script, "bash"}, args...)...)
}

// parse decodes JSON.
func parse(t testing.TB, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, limit time.Duration, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for !condition() {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s did not happen within %s", what, limit)
		}
	}
}
