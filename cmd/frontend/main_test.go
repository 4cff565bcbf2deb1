package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/testproc"
)

// TestMain lets the test binary stand in for the program.
func TestMain(m *testing.M) {
	if os.Getenv("OSTREE_EXT_TEST_FRONTEND") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// writeLayout writes what the step that splits leaves: a layout with one layer, and the result.
func writeLayout(t *testing.T) (layout, result string) {
	t.Helper()
	layer := []byte("x")
	sum := fmt.Sprintf("%x", sha256.Sum256(layer))
	top := t.TempDir()
	layout, result = filepath.Join(top, "layout"), filepath.Join(top, "result")
	blobs := filepath.Join(layout, "blobs", "sha256")
	for _, dir := range []string{blobs, result} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf(`{"config": {}, "layers": [{"name": "a", "diff_id": "sha256:%[1]s", "origin": "made", "descriptor":
		{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:%[1]s", "size": 1}}]}`, sum)
	for name, data := range map[string][]byte{
		filepath.Join(blobs, sum): layer, filepath.Join(result, "result.json"): []byte(text),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return layout, result
}

// A daemon that is killed closes the standard input of its containers, and does nothing else.
func TestTheRegistryEndsWithItsStandardInput(t *testing.T) {
	t.Parallel()
	layout, result := writeLayout(t)
	for _, flag := range []string{"--repository-env=NAME", "--repository=name"} {
		cmd := exec.Command(os.Args[0], "serve", "--layout="+layout, "--result="+result, "--platform=linux/amd64", flag)
		cmd.Env = append(os.Environ(), "OSTREE_EXT_TEST_FRONTEND=1", "NAME=name")
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := testproc.Start(cmd); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Errorf("%s: it wrote %q: %v", flag, line, err)
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // the status does not matter: there is nobody to see it
		}()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Errorf("%s: it runs a minute after its standard input ended", flag)
		}
	}
}

func TestTheRegistryNeedsAName(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--repository-env=OSTREE_EXT_TEST_NO_SUCH_VARIABLE"}} {
		err := runServe(t.Context(), append([]string{"--platform=linux/amd64"}, args...))
		if err == nil || !strings.Contains(err.Error(), "--repository-env") {
			t.Errorf("%v: got %v", args, err)
		}
	}
}
