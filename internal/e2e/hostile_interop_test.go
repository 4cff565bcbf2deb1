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
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// layout is an OCI directory that a test changes: real output of the program, then made hostile.
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

// put stores a blob under its digest and sets the descriptor to it.
func (l *layout) put(descriptor map[string]any, data []byte) {
	l.t.Helper()
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	writeFile(l.t, l.blob(digest), string(data))
	descriptor["digest"], descriptor["size"] = digest, len(data)
}

// seal writes configuration, manifest and index, so that every digest except those of layers is right again.
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
	l.writeIndex()
}

func (l *layout) writeIndex() {
	l.t.Helper()
	data, err := json.Marshal(l.index)
	if err != nil {
		l.t.Fatal(err)
	}
	writeFile(l.t, filepath.Join(l.dir, "index.json"), string(data))
}

// setZstd replaces the blob of the layer.
func (l *layout) setZstd(blob []byte) {
	l.t.Helper()
	l.put(l.layer(), blob)
	l.layer()["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
}

func (l *layout) layer() map[string]any { return l.manifest["layers"].([]any)[0].(map[string]any) }
func (l *layout) labels() map[string]any {
	return l.config["config"].(map[string]any)["Labels"].(map[string]any)
}
func (l *layout) diffIDs() []any { return l.config["rootfs"].(map[string]any)["diff_ids"].([]any) }

// layerTar returns the layer's tar stream. setTar replaces it and corrects every digest.
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
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	_, _ = z.Write(data)
	_ = z.Close()
	l.put(l.layer(), buf.Bytes())
	sum := sha256.Sum256(data)
	id := "sha256:" + hex.EncodeToString(sum[:])
	l.diffIDs()[0], l.labels()["ostree.final-diffid"] = id, id
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// flip changes one bit in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	data := readFile(t, path)
	data[len(data)/2] ^= 1
	writeFile(t, path, string(data))
}

// hostileSource is a repository with a small commit at the ref b.
func hostileSource(t *testing.T) string {
	t.Helper()
	source := newRepo(t, "archive")
	tree := filepath.Join(t.TempDir(), "tree")
	sh(t,
		`mkdir -p "$1/usr/bin" "$1/usr/etc" && echo hello > "$1/usr/bin/hello" &&
			head -c 400000 /dev/urandom > "$1/usr/bin/random" && ln -s hello "$1/usr/bin/hi"`, tree)
	must(t, program, "repo", "commit", "--repo="+source, "--branch=b", tree)
	return source
}

// hostileImage is a way to damage an image, with the expected message.
type hostileImage struct {
	name   string
	damage func(t *testing.T, l *layout)
	says   string
}

// TestInterop_AHostileImageIsRefusedAndLeavesNothing damages a real image in one way each. It expects exit status 1, an
// error that names what is wrong, a repository that passes fsck, and no ref.
func TestInterop_AHostileImageIsRefusedAndLeavesNothing(t *testing.T) {
	source := hostileSource(t)
	pristine := filepath.Join(t.TempDir(), "image")
	must(t, program, "container", "encapsulate", "--repo="+source, "b", "oci:"+pristine)

	cases := []hostileImage{
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
		{"no label", func(t *testing.T, l *layout) { delete(l.labels(), "ostree.final-diffid"); l.seal() },
			"ostree.final-diffid"},
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
		{"a layer that is not a gzip stream", func(t *testing.T, l *layout) {
			l.put(l.layer(), l.layerTar())
			l.seal()
		}, "invalid gzip stream"},
		{"a bomb behind the archive", func(t *testing.T, l *layout) {
			// Zeros after the end of the archive compress to a thousandth of their size.
			l.setTar(append(l.layerTar(), make([]byte, zeros)...))
			l.seal()
		}, "more than 1.0\u00a0MB follow the end of the archive"},
		{"a zstd stream with a window of 2 GiB", func(t *testing.T, l *layout) {
			l.setZstd([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x03, 0xff, 0xff, 0x00})
			l.seal()
		}, "invalid zstd stream"},
		{"a zstd stream that claims a terabyte", func(t *testing.T, l *layout) {
			l.setZstd([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 0x03, 0xff, 0xff, 0x00})
			l.seal()
		}, "invalid zstd stream"},
		{"an object that is a bomb, in a zstd stream", func(t *testing.T, l *layout) {
			tar := bomb.damage(t, l.layerTar())
			l.setTar(tar)
			z, err := zstd.NewWriter(nil, zstd.WithWindowSize(128<<20))
			if err != nil {
				t.Fatal(err)
			}
			l.setZstd(z.EncodeAll(tar, nil))
			l.seal()
		}, "orrupted file object"},
		{"a layer of a petabyte", func(t *testing.T, l *layout) { l.layer()["size"] = 1 << 50; l.seal() }, "ends after"},
		{"a layer of a negative size", func(t *testing.T, l *layout) { l.layer()["size"] = -1; l.seal() }, "size"},
		{"a layer named by a path", func(t *testing.T, l *layout) {
			l.layer()["digest"] = "sha256:../../../../etc/passwd"
			l.seal()
		}, "digest"},
		{"a layer with another algorithm", func(t *testing.T, l *layout) {
			l.layer()["digest"] = "md5:" + strings.Repeat("0", 32)
			l.seal()
		}, "md5"},
		{"the layer twice", func(t *testing.T, l *layout) {
			l.manifest["layers"] = append(l.manifest["layers"].([]any), l.layer())
			l.config["rootfs"].(map[string]any)["diff_ids"] = append(l.diffIDs(), l.diffIDs()[0])
			l.seal()
		}, "Multiple entries for sha256:"},
		{"a layer more than diff-ids", func(t *testing.T, l *layout) {
			more := map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar"}
			l.put(more, []byte("another"))
			l.manifest["layers"] = append(l.manifest["layers"].([]any), more)
			l.seal()
		}, "Image has 1 non-ostree layers"},
		{"a manifest of 9 MiB", func(t *testing.T, l *layout) {
			l.manifest["annotations"].(map[string]any)["note"] = strings.Repeat("x", 9<<20)
			l.seal()
		}, "more than 4.2\u00a0MB"},
		{"a configuration of 17 MiB", func(t *testing.T, l *layout) {
			l.labels()["note"] = strings.Repeat("x", 17<<20)
			l.seal()
		}, "more than 16.8\u00a0MB"},
		{"a manifest that is not JSON", func(t *testing.T, l *layout) {
			l.put(l.index["manifests"].([]any)[0].(map[string]any), []byte("{"))
			l.writeIndex()
		}, "manifest"},
		{"a manifest of another kind", func(t *testing.T, l *layout) {
			l.manifest["mediaType"] = "application/vnd.example"
			l.seal()
		}, "application/vnd.example"},
	}
	for _, c := range hostileStreams {
		cases = append(cases, hostileImage{c.name,
			func(t *testing.T, l *layout) { l.setTar(c.damage(t, l.layerTar())); l.seal() }, c.says})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "image")
			must(t, "cp", "-r", pristine, dir)
			c.damage(t, openLayout(t, dir))
			refuses(t, "bare-user", c.says, func(host string) []string {
				return []string{"container", "unencapsulate", "--quiet", "--repo=" + host, "--write-ref=b",
					"ostree-unverified-image:oci:" + dir}
			})
		})
	}
}

// maxMemory is the memory limit for every input, in KiB. It is more than [maxRSS], since a zstd stream may ask for 128
// MiB.
const maxMemory = 256 << 10

// refuses runs a command that imports into an empty repository. The command must fail with status 1 and one line that
// says why, within the memory limit, and leave a repository that passes fsck and has no refs and files.
func refuses(t *testing.T, mode, says string, args func(host string) []string) {
	t.Helper()
	host := newRepo(t, mode)
	list := `cd "$1" && find . -type f ! -name .lock | sort`
	before := sh(t, list, host)
	report := filepath.Join(t.TempDir(), "memory")
	_, said, err := try(t, "/usr/bin/time", append([]string{"-q", "-f", "%M", "-o", report, program}, args(host)...)...)
	exit, _ := errors.AsType[*exec.ExitError](err)
	if exit == nil || exit.ExitCode() != 1 {
		t.Fatalf("the exit status is to be 1: %v\n%s", err, said)
	}
	if !strings.HasPrefix(said, "error: ") || strings.Count(said, "\n") > 0 || !strings.Contains(said, says) {
		t.Errorf("one line with %q is expected, got: %s", says, said)
	}
	used, err := strconv.Atoi(strings.TrimSpace(string(readFile(t, report))))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB: %s", used>>10, said)
	if used > maxMemory {
		t.Errorf("%d KiB of memory were used, at most %d are right", used, maxMemory)
	}
	fsck(t, host)
	if refs := must(t, "ostree", "refs", "--repo="+host); refs != "" {
		t.Errorf("there are refs: %s", refs)
	}
	if after := sh(t, list, host); after != before {
		t.Errorf("the failed import left files behind:\n%s", after)
	}
}
