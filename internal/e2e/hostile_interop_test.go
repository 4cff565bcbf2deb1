//go:build interop

package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// layout is an OCI directory that a test changes: real output of the program, made hostile.
type layout struct {
	t                       *testing.T
	dir                     string
	index, manifest, config map[string]any
}

func openLayout(t *testing.T, dir string) *layout {
	l := &layout{t: t, dir: dir}
	l.index = l.read(filepath.Join(dir, "index.json"))
	l.manifest = l.read(l.blob(l.index["manifests"].([]any)[0].(map[string]any)["digest"].(string)))
	l.config = l.read(l.blob(l.manifest["config"].(map[string]any)["digest"].(string)))
	return l
}

func (l *layout) blob(digest string) string {
	return filepath.Join(l.dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func (l *layout) read(path string) (m map[string]any) {
	l.t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return m
}

// put stores a blob under its digest and gives the descriptor that names it.
func (l *layout) put(descriptor map[string]any, data []byte) {
	l.t.Helper()
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	writeFile(l.t, l.blob(digest), string(data))
	descriptor["digest"], descriptor["size"] = digest, len(data)
}

// seal writes configuration, manifest and index so that every digest above the layers is right again.
func (l *layout) seal() {
	l.t.Helper()
	marshal := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			l.t.Fatal(err)
		}
		return data
	}
	l.put(l.manifest["config"].(map[string]any), marshal(l.config))
	l.put(l.index["manifests"].([]any)[0].(map[string]any), marshal(l.manifest))
	writeFile(l.t, filepath.Join(l.dir, "index.json"), string(marshal(l.index)))
}

func (l *layout) layer() map[string]any { return l.manifest["layers"].([]any)[0].(map[string]any) }
func (l *layout) labels() map[string]any {
	return l.config["config"].(map[string]any)["Labels"].(map[string]any)
}
func (l *layout) diffIDs() []any { return l.config["rootfs"].(map[string]any)["diff_ids"].([]any) }

// layerTar returns the layer's tar stream; setTar replaces it, with every digest made right.
func (l *layout) layerTar() []byte {
	l.t.Helper()
	data, err := os.ReadFile(l.blob(l.layer()["digest"].(string)))
	if err != nil {
		l.t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err == nil {
		data, err = io.ReadAll(z)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return data
}

func (l *layout) setTar(data []byte) {
	l.t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, _ = z.Write(data)
	_ = z.Close()
	l.put(l.layer(), buf.Bytes())
	sum := sha256.Sum256(data)
	id := "sha256:" + hex.EncodeToString(sum[:])
	l.diffIDs()[0], l.labels()["ostree.final-diffid"] = id, id
}

// flip changes one bit in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	writeFile(t, path, string(data))
}

// TestInterop_AHostileImageIsRefusedAndLeavesNothing damages a real image in one way each. Whatever the way: exit
// status 1, an error that names what is wrong, a repository that fsck passes, and no ref.
func TestInterop_AHostileImageIsRefusedAndLeavesNothing(t *testing.T) {
	source := newRepo(t, "archive")
	tree := filepath.Join(t.TempDir(), "tree")
	sh(t, `mkdir -p "$1/usr/bin" "$1/usr/etc" && echo hello > "$1/usr/bin/hello" && head -c 400000 /dev/urandom > "$1/usr/bin/random" && ln -s hello "$1/usr/bin/hi"`, tree)
	must(t, program, "repo", "commit", "--repo="+source, "--branch=b", tree)
	pristine := filepath.Join(t.TempDir(), "image")
	must(t, program, "container", "encapsulate", "--repo="+source, "b", "oci:"+pristine)

	cases := []struct {
		name   string
		damage func(t *testing.T, l *layout)
		says   string
	}{
		{"a bit of the manifest", func(t *testing.T, l *layout) {
			flip(t, l.blob(l.index["manifests"].([]any)[0].(map[string]any)["digest"].(string)))
		}, "manifest"},
		{"a bit of the configuration", func(t *testing.T, l *layout) {
			flip(t, l.blob(l.manifest["config"].(map[string]any)["digest"].(string)))
		}, "config"},
		{"a bit of the layer", func(t *testing.T, l *layout) { flip(t, l.blob(l.layer()["digest"].(string))) }, "layer"},
		{"a layer cut short", func(t *testing.T, l *layout) {
			path := l.blob(l.layer()["digest"].(string))
			st, err := os.Stat(path)
			if err == nil {
				err = os.Truncate(path, st.Size()/2)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "layer"},
		{"a layer larger than it says", func(t *testing.T, l *layout) {
			l.layer()["size"] = int64(l.layer()["size"].(float64)) - 1
			l.seal()
		}, "layer"},
		{"a layer that is absent", func(t *testing.T, l *layout) {
			if err := os.Remove(l.blob(l.layer()["digest"].(string))); err != nil {
				t.Fatal(err)
			}
		}, "layer"},
		{"a wrong diff-id", func(t *testing.T, l *layout) {
			id := "sha256:" + strings.Repeat("7", 64)
			l.diffIDs()[0], l.labels()["ostree.final-diffid"] = id, id
			l.seal()
		}, "diff"},
		{"no label", func(t *testing.T, l *layout) { delete(l.labels(), "ostree.final-diffid"); l.seal() }, "ostree.final-diffid"},
		{"a label that names no layer", func(t *testing.T, l *layout) {
			l.labels()["ostree.final-diffid"] = "sha256:" + strings.Repeat("8", 64)
			l.seal()
		}, "ostree.final-diffid"},
		{"a layer type nobody knows", func(t *testing.T, l *layout) {
			l.layer()["mediaType"] = "application/vnd.example.layer"
			l.seal()
		}, "application/vnd.example.layer"},
		{"a layer that is not compressed as it says", func(t *testing.T, l *layout) {
			l.layer()["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
			l.seal()
		}, "layer"},
		{"a tar stream cut short", func(t *testing.T, l *layout) {
			tar := l.layerTar()
			l.setTar(tar[:len(tar)-len(tar)%512-150*512])
			l.seal()
		}, ""},
		{"an object that is absent", func(t *testing.T, l *layout) {
			l.setTar(dropEntry(t, l.layerTar(), ".file"))
			l.seal()
		}, ""},
		{"a dirtree that is absent", func(t *testing.T, l *layout) {
			l.setTar(dropEntry(t, l.layerTar(), ".dirtree"))
			l.seal()
		}, ""},
		{"an object with other content", func(t *testing.T, l *layout) {
			tar := l.layerTar()
			i := bytes.Index(tar, []byte("hello\n\x00"))
			tar[i] = 'j'
			l.setTar(tar)
			l.seal()
		}, "orrupt"},
		{"a bomb", func(t *testing.T, l *layout) {
			// 1 GiB of zeros after the end of the archive costs a megabyte to send.
			l.setTar(append(l.layerTar(), make([]byte, 1<<30)...))
			l.seal()
		}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "image")
			must(t, "cp", "-r", pristine, dir)
			c.damage(t, openLayout(t, dir))
			host := newRepo(t, "bare-user")
			before := sh(t, `cd "$1" && find . -type f | sort`, host)
			_, stderr, err := try(t, program, "container", "unencapsulate", "--quiet", "--repo="+host, "--write-ref=b", "ostree-unverified-image:oci:"+dir)
			exit, _ := errors.AsType[*exec.ExitError](err)
			if exit == nil || exit.ExitCode() != 1 {
				t.Fatalf("the exit status is to be 1: %v\n%s", err, stderr)
			}
			if !strings.HasPrefix(stderr, "error: ") || strings.Count(stderr, "\n") > 0 || !strings.Contains(stderr, c.says) {
				t.Errorf("one line with %q is expected, got: %s", c.says, stderr)
			}
			t.Logf("%s", stderr)
			fsck(t, host)
			if after := sh(t, `cd "$1" && find . -type f ! -name .lock | sort`, host); after != before {
				t.Errorf("the failed import left files behind:\n%s", after)
			}
		})
	}
}

// dropEntry takes the first entry whose name ends in suffix, with its data and the record that holds a long name, out of
// a tar stream.
func dropEntry(t *testing.T, tar []byte, suffix string) []byte {
	t.Helper()
	start := 0 // of the entry with its records
	name := ""
	for i := 0; i+512 <= len(tar); {
		size := 0
		for _, c := range bytes.Trim(tar[i+124:i+136], " \x00") {
			size = size*8 + int(c-'0')
		}
		next := i + 512 + (size+511)/512*512
		if tar[i+156] == 'L' {
			name = string(bytes.TrimRight(tar[i+512:i+512+size], "\x00"))
			i = next
			continue
		}
		if tar[i+156] == 'x' {
			i = next
			continue
		}
		if name == "" {
			short, _, _ := bytes.Cut(tar[i:i+100], []byte{0})
			name = string(short)
		}
		if strings.HasSuffix(name, suffix) {
			return append(bytes.Clone(tar[:start]), tar[next:]...)
		}
		start, i, name = next, next, ""
	}
	t.Fatalf("no entry ends in %q", suffix)
	return nil
}
