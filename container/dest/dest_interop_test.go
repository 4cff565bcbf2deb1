//go:build interop

package dest_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// tarLayer returns a layer that programs can unpack.
func tarLayer(t *testing.T, names ...string) *lazyLayer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: n, Mode: 0o644, Size: int64(len(n))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l := newLazyLayer(0, 0)
	l.plain = b.Bytes()
	l.packed = gzipBytes(l.plain)
	return l
}

func realImage(t *testing.T) v1.Image {
	t.Helper()
	return newImage(t, tarLayer(t, "a", "b"), tarLayer(t, "c"))
}

func TestInterop_SkopeoReadsWhatIsWritten(t *testing.T) {
	for name, ref := range destinations(t) {
		t.Run(name, func(t *testing.T) {
			d, err := dest.Write(t.Context(), realImage(t), ref, dest.Options{Registry: plainHTTP})
			if err != nil {
				t.Fatal(err)
			}
			var seen struct {
				Digest string
				Labels map[string]string
				Layers []string
			}
			out := run(t, "skopeo", "inspect", "--tls-verify=false", "--no-tags", ref.String())
			if err := json.Unmarshal([]byte(out), &seen); err != nil {
				t.Fatal(err)
			}
			if seen.Digest != d.String() || seen.Labels["a"] != "b" || len(seen.Layers) != 2 {
				t.Errorf("skopeo sees %+v, written was %s", seen, d)
			}
			copied := filepath.Join(t.TempDir(), "copy")
			run(t, "skopeo", "copy", "-q", "--src-tls-verify=false", ref.String(), "oci:"+copied+":x")
			run(t, "umoci", "unpack", "--image", copied+":x", copied+".bundle")
			for _, n := range []string{"a", "b", "c"} {
				if got, err := os.ReadFile(filepath.Join(copied+".bundle", "rootfs", n)); err != nil || string(got) != n {
					t.Errorf("%s: got %q, %v", n, got, err)
				}
			}
		})
	}
}

func TestInterop_WhatSkopeoWritesIsRead(t *testing.T) {
	dir := t.TempDir()
	from := "oci:" + dir + "/from:x"
	img := realImage(t)
	write(t, img, from)
	want, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{
		"oci:" + dir + "/oci:y", "oci-archive:" + dir + "/oci.tar:y", "dir:" + dir + "/dir",
		"docker-archive:" + dir + "/docker.tar:localhost/a:b",
	} {
		run(t, "skopeo", "copy", "-q", from, to)
		checkReadable(t, to, want)
	}
	run(t, "skopeo", "copy", "-q", "--format=v2s2", from, "dir:"+dir+"/v2s2")
	checkReadable(t, "dir:"+dir+"/v2s2", nil)
}

// checkReadable reads the whole image, which checks every digest.
func checkReadable(t *testing.T, ref string, config []byte) *oci.Image {
	t.Helper()
	src, err := source.Open(t.Context(), imgref.Unverified(parse(t, ref)), source.Options{})
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	defer src.Close()
	if config != nil && !bytes.Equal(src.RawConfig, config) {
		t.Errorf("%s: the configuration is %s", ref, src.RawConfig)
	}
	for _, l := range src.Manifest.Layers {
		if l.MediaType != ocispec.MediaTypeImageLayer && l.MediaType != ocispec.MediaTypeImageLayerGzip {
			t.Errorf("%s: a layer is %s", ref, l.MediaType)
		}
		readBlob(t, src, l)
	}
	return src
}

func TestInterop_ContainersStorageThroughTheHostsTool(t *testing.T) {
	dir := t.TempDir()
	storage := "[vfs@" + dir + "/root+" + dir + "/run]localhost/a/b:c"
	img := realImage(t)
	d := write(t, img, "containers-storage:"+storage)
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if m := checkReadable(t, "containers-storage:"+storage, config); m.Top.Digest != d {
		t.Errorf("the digest is %s, written was %s", m.Top.Digest, d)
	}
}

func TestWithoutSkopeoAndPodmanTheMissingToolsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	ref := imgref.ImageReference{Transport: imgref.ContainersStorage, Name: "localhost/a"}
	if _, err := dest.Write(t.Context(), realImage(t), ref, dest.Options{}); !errors.Is(err, dest.ErrNoTool) {
		t.Errorf("writing: got %v", err)
	}
	_, err := source.Open(t.Context(), imgref.Unverified(ref), source.Options{})
	if err == nil || !strings.Contains(err.Error(), "skopeo or podman") {
		t.Errorf("reading: got %v", err)
	}
}

func TestInterop_EveryNameOfAnImageSelectsIt(t *testing.T) {
	dir := t.TempDir()
	storage := "containers-storage:[vfs@" + dir + "/root+" + dir + "/run]"
	for _, c := range []struct {
		to, prefix string
		names      []string
	}{
		{"oci:" + dir + "/oci:a", "oci:" + dir + "/oci:", []string{"b", "c:d"}},
		{"oci-archive:" + dir + "/oci.tar:a", "oci-archive:" + dir + "/oci.tar:", []string{"b", "c:d"}},
		{"docker-archive:" + dir + "/docker.tar:a", "docker-archive:" + dir + "/docker.tar:",
			[]string{"b:1", "registry.example/c:d"}},
		{storage + "localhost/a:1", storage, []string{"localhost/b:2"}},
	} {
		// The storage of this test needs its specifier in each name.
		more := c.names
		if strings.HasPrefix(c.to, "containers-storage:") {
			more = []string{strings.TrimPrefix(storage, "containers-storage:") + c.names[0]}
		}
		if _, err := dest.Write(t.Context(), realImage(t), parse(t, c.to), dest.Options{Names: more}); err != nil {
			t.Fatalf("%s: %v", c.to, err)
		}
		want := run(t, "skopeo", "inspect", "--format={{.Digest}}", c.to)
		for _, n := range c.names {
			if got := run(t, "skopeo", "inspect", "--format={{.Digest}}", c.prefix+n); got != want {
				t.Errorf("%s%s is %s, want %s", c.prefix, n, got, want)
			}
		}
	}
}

func TestInterop_EveryNameThatSkopeoWritesSelectsTheImage(t *testing.T) {
	dir := t.TempDir()
	from := "oci:" + dir + "/from:x"
	write(t, realImage(t), from)
	run(t, "skopeo", "copy", "-q", "--additional-tag=localhost/b:2", from,
		"docker-archive:"+dir+"/docker.tar:localhost/a:1")
	for _, name := range []string{"", ":localhost/a:1", ":localhost/b:2", ":@0"} {
		checkReadable(t, "docker-archive:"+dir+"/docker.tar"+name, nil)
	}
	for _, tag := range []string{"a", "b"} {
		run(t, "skopeo", "copy", "-q", from, "oci:"+dir+"/oci:"+tag)
	}
	for _, name := range []string{"", ":a", ":b"} {
		checkReadable(t, "oci:"+dir+"/oci"+name, nil)
	}
}
