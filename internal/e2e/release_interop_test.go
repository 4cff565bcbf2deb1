//go:build interop

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What make builds is what people get. What go builds by itself says what it lacks.
func TestTheReleaseJudgesImagesByPolicies(t *testing.T) {
	top := filepath.Join("..", "..")
	made, plain := filepath.Join(t.TempDir(), "made"), filepath.Join(t.TempDir(), "plain")
	for _, args := range [][]string{
		{"make", "-s", "build", "BIN=" + made},
		{"go", "build", "-o", plain, "./cmd/ostree-ext"},
	} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	for binary, policies := range map[string]bool{made: true, plain: false} {
		var v struct{ Policies *bool }
		if err := json.Unmarshal([]byte(must(t, binary, "version", "--json")), &v); err != nil {
			t.Fatal(err)
		}
		if v.Policies == nil || *v.Policies != policies {
			t.Errorf("%s: policies are %v, want %v", filepath.Base(binary), v.Policies, policies)
		}
		line := must(t, binary, "version")
		if strings.Contains(line, "without the policies of container images") == policies {
			t.Errorf("%s: %s", filepath.Base(binary), line)
		}
	}
}
