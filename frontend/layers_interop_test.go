//go:build interop

package frontend_test

import (
	"encoding/base64"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bytesBeyond is the compressed size of the layers that only the second image has, and their number.
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
	// Another compression shows what is made anew.
	out = env.daemon.build(t, request{file: file("echo >>/usr/lib/os-release"), name: "prior", opts: []string{"build-arg:OSTREE_EXT_COMPRESSION=zstd"}})
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
	if !strings.Contains(out, "kept from the prior image") {
		t.Errorf("the log does not sum up what was kept:\n%s", out)
	}
}

// warnings are those in a build's progress, which the plain form shows only if they come before the end of their step.
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
	build("freshprior/pushed", "gzip", change)
	pushed := pull(t, "freshprior/pushed")
	if n, _ := bytesBeyond(first, pushed); n == 0 || n > 4 {
		t.Errorf("%d of %d layers are new", n, len(pushed.layers()))
	}

	prune()
	dir := filepath.Join(t.TempDir(), "oci")
	out := build("", "gzip", func(r *request) {
		change(r)
		r.output = "type=oci,tar=false,dest=" + dir
	})
	if strings.Contains(out, "cannot be had") {
		t.Errorf("layers were made twice:\n%s", out)
	}
	if diff := cmp.Diff(pushed.layers(), readLayout(t, dir).layers()); diff != "" {
		t.Errorf("layers differ (-pushed +exported):\n%s", diff)
	}

	// What another compressor wrote cannot be made again as it was.
	prune()
	out = build("freshprior/other", "zstd", func(r *request) {
		change(r)
		r.args = []string{"--progress=rawjson"}
	})
	if !strings.Contains(warnings(t, out), "cannot be had") {
		t.Errorf("nothing says why layers are made:\n%s", out)
	}
	other := pull(t, "freshprior/other")
	if diff := cmp.Diff(pushed.config.RootFS.DiffIDs, other.config.RootFS.DiffIDs); diff != "" {
		t.Errorf("layers differ (-gzip +zstd):\n%s", diff)
	}
	for _, l := range other.manifest.Layers {
		if !strings.HasSuffix(string(l.MediaType), "zstd") {
			t.Errorf("a layer has the type %s", l.MediaType)
		}
	}
}

func TestInterop_KeepBaseKeepsTheLayersOfFROM(t *testing.T) {
	const name = "keepbase"
	r := request{
		file: syntax("keep-base") + "FROM " + env.host + "/debian AS base\nFROM base\nRUN rm /usr/bin/apt && echo new >/etc/new\nCOPY Containerfile /srv/\n",
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
