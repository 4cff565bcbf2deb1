//go:build interop

package frontend_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bytesBeyond returns the compressed size and the number of the layers that only the second image has.
func bytesBeyond(old, new *pulled) (n int, size int64) {
	had := old.layers()
	for i, l := range new.layers() {
		if !slices.Contains(had, l) {
			n++
			size += new.manifest.Layers[i].Size
		}
	}
	return n, size
}

func TestInterop_WithAPriorImageUnchangedLayersStay(t *testing.T) {
	options := "max-layers=20 prior=" + env.host + "/prior"
	file := func(extra string) string {
		return syntax(options) + "FROM " + env.host + "/debian\nCOPY Containerfile /etc/motd\nRUN " + extra + "\n"
	}
	out := env.daemon.build(t, request{file: file("true"), name: "prior", args: []string{"--progress=rawjson"}})
	warning := "there is no prior image " + env.host + "/prior yet: layers are planned afresh"
	if !strings.Contains(out, base64.StdEncoding.EncodeToString([]byte(warning))) {
		t.Errorf("the first build says nothing of the missing prior image:\n%s", out)
	}
	first := pull(t, "prior")
	// With another compression one can see which layers are made anew.
	out = env.daemon.build(t, request{file: file("echo >>/usr/lib/os-release"), name: "prior",
		opts: []string{"build-arg:OSTREE_EXT_COMPRESSION=zstd"}})
	second := pull(t, "prior")
	kept, changed := 0, 0
	for i, l := range second.layers() {
		switch {
		case slices.Contains(first.layers(), l):
			kept++
		case strings.HasSuffix(string(second.manifest.Layers[i].MediaType), "zstd"):
			changed++
		default:
			t.Errorf("layer %d (%s) is neither of the prior image nor new", i, second.config.History[i].CreatedBy)
		}
	}
	t.Logf("%d layers kept, %d made", kept, changed)
	if kept < 15 || changed == 0 {
		t.Errorf("%d layers kept, %d made:\n%s", kept, changed, out)
	}
	if !strings.Contains(out, fmt.Sprintf(": %d new, %d kept; ", changed, kept)) ||
		!strings.Contains(out, "; continued from "+env.host+"/prior ("+first.digest+")") {
		t.Errorf("the log does not sum up what was kept:\n%s", out)
	}
}

// warnings returns the warnings in a build's progress. The plain format only shows those that precede the end of their
// step.
func warnings(t *testing.T, progress string) string {
	t.Helper()
	var all strings.Builder
	for _, m := range regexp.MustCompile(`"short":"([A-Za-z0-9+/=]+)"`).FindAllStringSubmatch(progress, -1) {
		text, err := base64.StdEncoding.DecodeString(m[1])
		if err != nil {
			t.Fatal(err)
		}
		all.Write(append(text, '\n'))
	}
	return all.String()
}

// fetching is the name of the steps that fetch layers of the prior image.
const fetching = "fetching layers of the prior image"

func TestInterop_ABuilderThatHasNothingOfThePriorImageContinuesIt(t *testing.T) {
	d := newDaemon(t, daemonOptions{})
	build := func(name, compression string, edit func(*request)) string {
		r := request{
			file: syntax("max-layers=10 prior="+env.host+"/freshprior") + "FROM " + env.host + "/debian\n",
			name: name, opts: []string{"build-arg:OSTREE_EXT_COMPRESSION=" + compression},
		}
		if edit != nil {
			edit(&r)
		}
		return d.build(t, r)
	}
	build("freshprior", "gzip", nil)
	first := pull(t, "freshprior")
	change := func(r *request) { r.file += "RUN echo >>/usr/lib/os-release\n" }
	prune := func() { must(t, env.buildctl, "--addr", d.addr, "prune", "--all") }

	prune()
	out := build("freshprior/pushed", "gzip", change)
	pushed := pull(t, "freshprior/pushed")
	if n, _ := bytesBeyond(first, pushed); n == 0 || n > 4 {
		t.Errorf("%d of %d layers are new", n, len(pushed.layers()))
	}
	if !strings.Contains(out, fetching) {
		t.Errorf("layers were not fetched:\n%s", out)
	}
	if again := build("freshprior/pushed", "gzip", change); strings.Contains(again, fetching) {
		t.Errorf("layers that the builder has were fetched:\n%s", again)
	}

	prune()
	dir := filepath.Join(t.TempDir(), "oci")
	build("", "gzip", func(r *request) {
		change(r)
		r.output = "type=oci,tar=false,dest=" + dir
	})
	if diff := cmp.Diff(pushed.layers(), readLayout(t, dir).layers()); diff != "" {
		t.Errorf("layers differ (-pushed +exported):\n%s", diff)
	}

	// That another compressor wrote them does not matter.
	prune()
	build("freshprior/other", "zstd", change)
	other := pull(t, "freshprior/other")
	if diff := cmp.Diff(pushed.config.RootFS.DiffIDs, other.config.RootFS.DiffIDs); diff != "" {
		t.Errorf("layers differ (-gzip +zstd):\n%s", diff)
	}
	for i, l := range other.layers() {
		made := strings.HasSuffix(string(other.manifest.Layers[i].MediaType), "zstd")
		if made == slices.Contains(first.layers(), l) {
			t.Errorf("layer %d is of type %s", i, other.manifest.Layers[i].MediaType)
		}
	}
}

func TestInterop_ALayerThatTheRegistryLostIsMadeAgain(t *testing.T) {
	random := make([]byte, 10000)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	r := smallRequest("prior="+env.host+"/lostlayer", "lostlayer")
	r.files["a"] = string(random)
	d := newDaemon(t, daemonOptions{})
	d.build(t, r)
	first := pull(t, "lostlayer")
	must(t, env.buildctl, "--addr", d.addr, "prune", "--all")
	for _, l := range first.manifest.Layers {
		if err := os.Remove(filepath.Join(env.dir, "blobs/sha256", l.Digest.Hex)); err != nil {
			t.Fatal(err)
		}
	}
	r.files["b"] = "changed"
	r.name, r.args = "lostlayer/again", []string{"--progress=rawjson"}
	out := d.build(t, r)
	warning := "layers of the prior image cannot be fetched and are made again: "
	if said := warnings(t, out); !strings.Contains(said, warning) || !strings.Contains(said, "404 Not Found") {
		t.Errorf("nothing says why layers are made: %s\n%s", said, out)
	}
	again := pull(t, r.name)
	must(t, env.cli, "container", "verify", "--insecure-skip-tls-verification", "docker://"+env.host+"/"+r.name)
	if n, _ := bytesBeyond(first, again); n != 1 || len(again.layers()) != len(first.layers()) {
		t.Errorf("%d of %d layers are new, of %d", n, len(again.layers()), len(first.layers()))
	}
}

func TestInterop_KeepBaseKeepsTheLayersOfFROM(t *testing.T) {
	const name = "keepbase"
	r := request{
		file: syntax("keep-base") + "FROM " + env.host + "/debian AS base\nFROM base\nRUN rm /usr/bin/apt && echo new " +
			">/etc/new\nCOPY Containerfile /srv/\n",
		name: name, opts: []string{"build-arg:SOURCE_DATE_EPOCH=" + epoch},
	}
	env.daemon.build(t, r)
	base, got := pull(t, "debian"), pull(t, name)
	if got, want := got.layers()[0], base.layers()[0]; got != want {
		t.Fatalf("the first layer is %s, want that of the base, %s", got, want)
	}
	if _, size := bytesBeyond(base, got); size > 2<<20 {
		t.Errorf("a small change is %d bytes of layers", size)
	}
	want := byCLI(t, name+"/cli", "--keep-base=docker://"+env.host+"/debian", "--rootfs="+tree(t, r))
	if diff := cmp.Diff(want.layers(), got.layers()); diff != "" {
		t.Errorf("layers differ from those of the command line (-want +got):\n%s", diff)
	}
	if !strings.Contains(must(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+env.host+"/"+name), "sha256") {
		t.Error("skopeo does not read the image")
	}
}

func TestInterop_KeepBaseContinuesAPriorImageToo(t *testing.T) {
	const name = "keepbase/prior"
	base := pull(t, "debian")
	r := request{
		file: syntax("keep-base prior="+env.host+"/"+name) + "FROM " + env.host + "/debian\nCOPY a /usr/share/one/\nCOPY " +
			"b /etc/b\n", name: name,
		files: map[string]string{"a": strings.Repeat("a", 100000), "b": "b"},
		opts:  []string{"build-arg:SOURCE_DATE_EPOCH=" + epoch},
	}
	env.daemon.build(t, r)
	first := pull(t, name)
	r.files["b"] = "changed"
	// The layers of the base and of the prior image are not there.
	r.name += "/next"
	newDaemon(t, daemonOptions{}).build(t, r)
	second := pull(t, r.name)
	if second.layers()[0] != base.layers()[0] {
		t.Errorf("the first layer is %s, not that of the base", second.layers()[0])
	}
	if n, _ := bytesBeyond(first, second); n != 1 || len(second.layers()) < 3 {
		t.Errorf("%d of %d layers are new", n, len(second.layers()))
	}
	want := byCLI(t, name+"/cli", "--keep-base=docker://"+env.host+"/debian", "--prior=docker://"+env.host+"/"+name,
		"--rootfs="+tree(t, r))
	if diff := cmp.Diff(want.layers(), second.layers()); diff != "" {
		t.Errorf("layers differ from those of the command line (-want +got):\n%s", diff)
	}
}
