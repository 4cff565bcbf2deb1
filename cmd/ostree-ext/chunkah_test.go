package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// chunkahCase is a line of chunkah's command line and what comes of it. The lines run in a directory with the trees and
// documents of [chunkahDir], and write to oci:out unless they say otherwise.
type chunkahCase struct {
	name string
	args string // separated by spaces
	env  map[string]string
	// status is the exit status, and says is part of what is said.
	status int
	says   string
	// want are values in the image, by name; see [chunkahImage.value].
	want map[string]string
}

const chunkahInspect = `[{"Config": {"Cmd": ["sh"], "Labels": {"a": "base", "b": "base", "ostree.commit": "1f"}},
 "Annotations": {"n": "base"}, "Architecture": "arm64", "Os": "linux", "Created": "2023-11-14T22:13:20Z",
 "RootFS": {"Layers": ["sha256:aa"]}}]`

var chunkahCases = []chunkahCase{
	{name: "the defaults", args: "--rootfs=root", want: map[string]string{
		"config": "{}", "arch": runtime.GOARCH, "mediatype": ocispec.MediaTypeImageLayer, "name": "", "annotations": "",
		"components": "apk/app sys/pkgdb sys/volatile unowned/usr/share"}},
	{name: "a value as its own word", args: "--rootfs root --max-layers 2 -t localhost/x:latest",
		want: map[string]string{
			"layers": "2", "name": "localhost/x:latest"}},
	{name: "the short options", args: "--rootfs=root -T1 -t=x", want: map[string]string{"name": "x"}},
	{name: "messages", args: "-vv --rootfs=root", says: "[1/"},
	{name: "one layer", args: "--rootfs=root --max-layers=1", want: map[string]string{"layers": "1"}},
	{name: "more layers than container storage has", args: "--rootfs=root --max-layers=1000",
		says: "container storage has no more than 499 layers"},
	{name: "no layers", args: "--rootfs=root --max-layers=0", status: 2, says: "invalid value '0' for '--max-layers'"},
	{name: "layers that are not a number", args: "--rootfs=root --max-layers=x", status: 2, says: "--max-layers"},
	{name: "compressed", args: "--rootfs=root --compressed", want: map[string]string{
		"mediatype": ocispec.MediaTypeImageLayerGzip}},
	{name: "a level without compression", args: "--rootfs=root --compression-level=9", want: map[string]string{
		"mediatype": ocispec.MediaTypeImageLayer}},
	{name: "the lowest level", args: "--rootfs=root --compressed --compression-level=0", want: map[string]string{
		"mediatype": ocispec.MediaTypeImageLayerGzip}},
	{name: "a level that does not exist", args: "--rootfs=root --compression-level=10", status: 2, says: "from 0 to 9"},
	{name: "an architecture", args: "--rootfs=root --arch=s390x", want: map[string]string{"arch": "s390x"}},
	{name: "an architecture as uname prints it", args: "--rootfs=root --arch x86_64",
		want: map[string]string{"arch": "amd64"}},
	{name: "another", args: "--rootfs=root --arch=aarch64", want: map[string]string{"arch": "arm64"}},
	{name: "chunkah's third", args: "--rootfs=root --arch=powerpc64", want: map[string]string{"arch": "ppc64le"}},

	{name: "a configuration", args: "--rootfs=root --config=config.json", want: map[string]string{
		"config": `{"Cmd":["sh"],"Labels":{"a":"base"}}`, "arch": runtime.GOARCH}},
	{name: "a whole configuration", args: "--rootfs=root --config=whole.json", want: map[string]string{
		"config": `{"Cmd":["sh"],"Labels":{"a":"base"}}`, "arch": "arm64", "created": "2023-11-14T22:13:20Z"}},
	{name: "what podman inspect prints", args: "--rootfs=root --config=inspect.json", want: map[string]string{
		"config": `{"Cmd":["sh"],"Labels":{"a":"base","b":"base"}}`, "arch": "arm64", "created": "2023-11-14T22:13:20Z",
		"annotations": "n=base"}},
	{name: "another architecture than inspected", args: "--rootfs=root --config=inspect.json --arch=amd64",
		want: map[string]string{"arch": "amd64"}},
	{name: "a configuration as text", args: `--rootfs=root --config-str {"Cmd":["x"]}`, want: map[string]string{
		"config": `{"Cmd":["x"]}`}},
	{name: "one object that was inspected", args: `--rootfs=root --config-str {"Config":{"Cmd":["x"]}}`,
		want: map[string]string{"config": `{"Cmd":["x"]}`}},
	{name: "both", args: `--rootfs=root --config-str={} --config=config.json`, status: 2, says: "choose one"},
	{name: "text that is none", args: "--rootfs=root --config-str={", status: 1, says: "--config-str: line 1, column 1"},
	{name: "a file that does not exist", args: "--rootfs=root --config=nosuch", status: 1, says: "open nosuch"},

	{name: "labels", args: "--rootfs=root --config=inspect.json --label b=new --label c=1 --label a-",
		want: map[string]string{"config": `{"Cmd":["sh"],"Labels":{"b":"new","c":"1"}}`}},
	{name: "no labels", args: "--rootfs=root --config=inspect.json --label=-", want: map[string]string{
		"config": `{"Cmd":["sh"]}`}},
	{name: "a label that is none", args: "--rootfs=root --label=x", status: 2,
		says: "give KEY=VALUE, KEY- to remove one"},
	{name: "annotations", args: "--rootfs=root --config=inspect.json --annotation m=1 --annotation m=2",
		want: map[string]string{"annotations": "m=2 n=base"}},
	{name: "without those that were inspected",
		args: "--rootfs=root --config=inspect.json --annotation - --annotation m=2",
		want: map[string]string{"annotations": "m=2"}},
	{name: "an annotation that is none", args: "--rootfs=root --annotation =x", status: 2, says: "--annotation"},

	{name: "a time", args: "--rootfs=root --source-date-epoch=1",
		want: map[string]string{"created": "1970-01-01T00:00:01Z"}},
	{name: "a time that has precedence", args: "--rootfs=root --config=inspect.json --source-date-epoch 1",
		want: map[string]string{"created": "1970-01-01T00:00:01Z"}},
	{name: "a time that is none", args: "--rootfs=root --source-date-epoch=now", status: 2, says: "SOURCE_DATE_EPOCH"},

	{name: "leaving out", args: "--rootfs=root --prune /usr/share/doc --prune /var/", want: map[string]string{
		"usr/share/doc": "no", "usr/share": "yes", "var": "yes", "var/log": "no", "usr/bin/app": "yes"}},
	{name: "leaving out everything", args: "--rootfs=root --prune=/", status: 2,
		says: "an image of nothing is not possible"},
	{name: "leaving out a relative path", args: "--rootfs=root --prune=usr", status: 2, says: "absolute path"},
	{name: "a pipe", args: "--rootfs=root", want: map[string]string{"run/pipe": "yes"}},
	{name: "without pipes", args: "--rootfs=root --skip-special-files", want: map[string]string{
		"run/pipe": "no", "usr/bin/app": "yes"}},
	{name: "a Debian tree", args: "--rootfs=debian", want: map[string]string{"components": "deb/app sys/pkgdb"}},
	{name: "a tree without packages", args: "--rootfs=other", want: map[string]string{"opt/x": "yes"}},
	{name: "a tree without anything", args: "--rootfs=empty", status: 1, says: "no files"},
	{name: "a tree that does not exist", args: "--rootfs=nosuch", status: 1, says: "nosuch"},
	{name: "an object store", args: "--rootfs=ostree", says: "give --prune /sysroot/"},
	{name: "without it", args: "--rootfs=ostree --prune /sysroot/", want: map[string]string{
		"sysroot": "yes", "sysroot/ostree": "no"}},

	{name: "an archive", args: "--rootfs=root --output=out.tar"},
	{name: "an archive with its transport", args: "--rootfs=root -o oci-archive:out.tar"},
	{name: "a directory that exists", args: "--rootfs=root --output=oci:root", status: 1, says: "root exists"},
	{name: "another transport", args: "--rootfs=root --output=docker://x", status: 2, says: "oci-archive:PATH or PATH"},
	{name: "no path", args: "--rootfs=root --output=oci:", status: 2, says: "the path is missing"},
	{name: "a directory to write to that does not exist", args: "--rootfs=root --output=oci:nosuch/out", status: 1,
		says: "nosuch"},

	{name: "no tree", args: "", status: 2, says: "missing --rootfs, or the environment variable CHUNKAH_ROOTFS"},
	{name: "an operand", args: "--rootfs=root x", status: 2, says: "x"},
	{name: "an option that does not exist", args: "--rootfs=root --max-layer=2", status: 2,
		says: "did you mean --max-layers"},
	{name: "an option twice", args: "--rootfs=root --arch=amd64 --arch=arm64", status: 2, says: "more than once"},

	{name: "the tree from the environment", env: map[string]string{"CHUNKAH_ROOTFS": "root"}, want: map[string]string{
		"usr/bin/app": "yes"}},
	{name: "an option has precedence", args: "--rootfs=other", env: map[string]string{"CHUNKAH_ROOTFS": "root"},
		want: map[string]string{"usr/bin/app": "no"}},
	{name: "threads from the environment", args: "--rootfs=root", env: map[string]string{"CHUNKAH_THREADS": "2"}},
	{name: "threads that are not a number", args: "--rootfs=root",
		env: map[string]string{"CHUNKAH_THREADS": "x"}, status: 2,
		says: "invalid value 'x' in CHUNKAH_THREADS"},
	{name: "a configuration from the environment", args: "--rootfs=root",
		env:  map[string]string{"CHUNKAH_CONFIG_STR": chunkahInspect},
		want: map[string]string{"arch": "arm64", "annotations": "n=base"}},
	{name: "a file has precedence", args: "--rootfs=root --config=config.json",
		env: map[string]string{"CHUNKAH_CONFIG_STR": chunkahInspect}, want: map[string]string{"arch": runtime.GOARCH}},
	{name: "a configuration that is empty", args: "--rootfs=root", env: map[string]string{"CHUNKAH_CONFIG_STR": ""},
		status: 2, says: "CHUNKAH_CONFIG_STR is empty"},
	{name: "a time from the environment", args: "--rootfs=root", env: map[string]string{"SOURCE_DATE_EPOCH": "2"},
		want: map[string]string{"created": "1970-01-01T00:00:02Z"}},
	{name: "an image to continue from", args: "--rootfs=root", env: map[string]string{"CHUNKAH_PRIOR": "oci:prior:x"},
		says: "continued from oci:prior:x"},
	{name: "one that does not exist yet", args: "--rootfs=root", env: map[string]string{"CHUNKAH_PRIOR": "oci:nosuch:x"},
		says: "there is no image oci:nosuch:x yet"},
	{name: "none", args: "--rootfs=root --prior=none", env: map[string]string{"CHUNKAH_PRIOR": "oci:prior:x"},
		says: "planned afresh"},
	{name: "one that is misspelt", args: "--rootfs=root --prior=quay.io/x", status: 2,
		says: "did you mean 'docker://quay.io/x'"},
	{name: "messages from the environment", args: "--rootfs=root", env: map[string]string{"RUST_LOG": "chunkah=debug"}},
}

// chunkahDir makes a directory with some trees and documents.
func chunkahDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"root/usr/bin/app": "app", "root/usr/share/doc/app": "doc", "root/var/log/x": "log", "root/run/x": "",
		"root/lib/apk/db/installed": "P:app\nV:1\nF:usr/bin\nR:app\n\n",
		"debian/usr/bin/app":        "app", "debian/var/lib/dpkg/info/app.list": "/usr/bin/app\n",
		"debian/var/lib/dpkg/status": "Package: app\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n",
		"other/opt/x":                "x", "ostree/sysroot/ostree/repo/config": "", "ostree/usr/bin/app": "app",
		"config.json": `{"Cmd": ["sh"], "Labels": {"a": "base"}}`,
		"whole.json": `{"config": {"Cmd": ["sh"], "Labels": {"a": "base"}}, "architecture": "arm64", "os": "linux",
			"created": "2023-11-14T22:13:20Z", "rootfs": {"type": "layers", "diff_ids": []}}`,
		"inspect.json": chunkahInspect,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "root/run/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestChunkahsCommandLine runs the program under the name chunkah.
func TestChunkahsCommandLine(t *testing.T) {
	dir := chunkahDir(t)
	t.Chdir(dir)
	processors := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(processors) })
	unset := []string{"SOURCE_DATE_EPOCH", "RUST_LOG"}
	for _, v := range chunkahVariables {
		unset = append(unset, v.name)
	}
	for _, name := range unset {
		t.Setenv(name, "") // so that it is restored
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	std := func(out *bytes.Buffer) streams { return streams{in: strings.NewReader(""), out: out, err: out} }
	var out bytes.Buffer
	if code := run(t.Context(), []string{"container", "build", "--rootfs=root", "oci:prior:x"}, std(&out)); code != 0 {
		t.Fatal(out.String())
	}
	for _, c := range chunkahCases {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			for _, name := range []string{"out", "out.tar"} {
				if err := os.RemoveAll(name); err != nil {
					t.Fatal(err)
				}
			}
			args := strings.Fields(c.args)
			given := strings.Contains(c.args, "-o ") || strings.Contains(c.args, "--output")
			if !given {
				args = append(args, "--output=oci:out")
			}
			var out bytes.Buffer
			code := runAs(t.Context(), "/usr/bin/chunkah", append([]string{"build"}, args...), std(&out))
			if code != c.status || !strings.Contains(out.String(), c.says) {
				t.Fatalf("status %d, want %d that says %q:\n%s", code, c.status, c.says, out.String())
			}
			switch {
			case c.status != 0:
				return
			case given:
				if _, err := os.Stat("out.tar"); err != nil {
					t.Error(err)
				}
				return
			}
			img := readChunkahImage(t, "out")
			for name, want := range c.want {
				if got := img.value(t, name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	}
}

// chunkahImage is an image that was written as a layout.
type chunkahImage struct {
	descriptor ocispec.Descriptor
	manifest   ocispec.Manifest
	config     ocispec.Image
	// container is the container configuration without the labels that this program adds.
	container map[string]any
	files     map[string]bool
}

func readChunkahImage(t *testing.T, dir string) *chunkahImage {
	t.Helper()
	read := func(name string, into any) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var index ocispec.Index
	read("index.json", &index)
	i := &chunkahImage{descriptor: index.Manifests[0], files: map[string]bool{}}
	read("blobs/sha256/"+i.descriptor.Digest.Encoded(), &i.manifest)
	config := "blobs/sha256/" + i.manifest.Config.Digest.Encoded()
	var raw struct{ Config map[string]any }
	read(config, &i.config)
	read(config, &raw)
	i.container = raw.Config
	if labels, ok := i.container["Labels"].(map[string]any); ok {
		maps.DeleteFunc(labels, func(name string, _ any) bool { return strings.HasPrefix(name, "ostree-ext.") })
		if len(labels) == 0 {
			delete(i.container, "Labels")
		}
	}
	for _, l := range i.manifest.Layers {
		f, err := os.Open(filepath.Join(dir, "blobs/sha256", l.Digest.Encoded()))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var r io.Reader = f
		if l.MediaType == ocispec.MediaTypeImageLayerGzip {
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		for in := tar.NewReader(r); ; {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			i.files[strings.Trim(h.Name, "/")] = true
		}
	}
	return i
}

// value returns a property of the image as text: one of those below, or whether there is a file of that name.
func (i *chunkahImage) value(t *testing.T, name string) string {
	t.Helper()
	switch name {
	case "config":
		data, err := json.Marshal(i.container)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	case "arch":
		return i.config.Architecture
	case "created":
		return i.config.Created.Format(time.RFC3339)
	case "layers":
		return strconv.Itoa(len(i.manifest.Layers))
	case "mediatype":
		return i.manifest.Layers[0].MediaType
	case "name":
		return i.descriptor.Annotations[ocispec.AnnotationRefName]
	case "annotations":
		var list []string
		for _, key := range slices.Sorted(maps.Keys(i.manifest.Annotations)) {
			list = append(list, key+"="+i.manifest.Annotations[key])
		}
		return strings.Join(list, " ")
	case "components":
		var list []string
		for _, l := range i.manifest.Layers[1:] {
			list = append(list, l.Annotations[annotationComponent])
		}
		slices.Sort(list)
		return strings.Join(list, "; ")
	}
	if i.files[name] {
		return "yes"
	}
	return "no"
}
