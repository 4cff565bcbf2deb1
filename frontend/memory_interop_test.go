//go:build interop

package frontend_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	asked "github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

// maxMemory is how much memory in bytes the chunk step may use, however large the tree is.
const maxMemory = 150 << 20

func TestInterop_TheChunkStepNeedsLittleMemory(t *testing.T) {
	root := tree(t, request{file: "FROM " + env.host + "/debian\n", name: "memory"})
	// The file is larger than the limit, and does not compress.
	must(t, "dd", "if=/dev/urandom", "of="+filepath.Join(root, "large"), "bs=1M", "count=400", "status=none")
	t.Run("on this machine", func(t *testing.T) { chunkInLittleMemory(t, root) })
	t.Run("with many processors", func(t *testing.T) {
		t.Setenv("GOMAXPROCS", "64")
		chunkInLittleMemory(t, root)
	})
}

// chunkInLittleMemory runs the chunk step on a tree in both formats.
func chunkInLittleMemory(t *testing.T, root string) {
	t.Helper()
	for _, format := range []string{asked.Plain, asked.OSTree} {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			created := time.Unix(0, 0).UTC()
			req := chunk.Request{
				Created: &created, Options: asked.Options{Format: format}, Config: []byte("{}"),
				Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
			}
			data, err := json.Marshal(req)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, "request.json"), string(data))
			for _, d := range []string{"layout", "result"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			// Use time(1). The kernel's maximum for our child would include the memory of this process.
			report := filepath.Join(dir, "memory")
			must(t, "/usr/bin/time", "-f", "%M", "-o", report, env.frontend, "chunk", "--in="+root,
				"--request="+filepath.Join(dir, "request.json"),
				"--layout="+filepath.Join(dir, "layout"), "--result="+filepath.Join(dir, "result"))
			data, err = os.ReadFile(filepath.Join(dir, "result", chunk.ResultFile))
			if err != nil {
				t.Fatal(err)
			}
			result, err := chunk.ParseResult(data)
			if err != nil || result.Error != "" || len(result.Layers) < 10 {
				t.Fatalf("result %.500s, %v", data, err)
			}
			data, err = os.ReadFile(report)
			if err != nil {
				t.Fatal(err)
			}
			used, err := strconv.Atoi(strings.TrimSpace(string(data)))
			if err != nil {
				t.Fatal(err)
			}
			used <<= 10
			t.Logf("%d MiB", used>>20)
			if used > maxMemory {
				t.Errorf("the chunk step needed %d MiB, more than %d", used>>20, maxMemory>>20)
			}
		})
	}
}
