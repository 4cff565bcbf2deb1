//go:build interop

package frontend_test

import (
	"encoding/base64"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/chunking"
)

// TestInterop_APriorImageWithALayerOnTopLosesNoFile builds on top of our image with BuildKit alone. The image inherits
// our plan. The next image that we build from it has the files of its own Containerfile, and keeps layers.
func TestInterop_APriorImageWithALayerOnTopLosesNoFile(t *testing.T) {
	dir := installed(t)
	first := request{file: syntax("prior=none") + attributes(), dir: dir, name: "ontop/first"}
	env.daemon.build(t, first)
	env.daemon.build(t, request{
		file: "FROM " + env.host + "/ontop/first\nRUN rm /srv/hello.txt && echo more >/opt-more\n", name: "ontop/derived",
		plain: true,
	})
	next := request{
		file: syntax("prior="+env.host+"/ontop/derived") + attributes() + "RUN echo changed >/srv/changed\n",
		dir:  dir, name: "ontop/next",
	}
	log := env.daemon.build(t, next)
	if !strings.Contains(log, " kept; ") || strings.Contains(log, " 0 kept; ") {
		t.Errorf("no layer is kept:\n%s", log)
	}
	work := t.TempDir()
	must(t, "skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://"+env.host+"/ontop/next",
		"oci:"+work+"/oci:x")
	must(t, "umoci", "unpack", "--image", work+"/oci:x", work+"/bundle")
	must(t, "diff", "-r", "--no-dereference", "--exclude=pipe", "--exclude=dev", tree(t, next),
		filepath.Join(work, "bundle/rootfs"))
}

// TestInterop_APriorImageInAnIndexOfIndexes names an index, whose second index has the image.
func TestInterop_APriorImageInAnIndexOfIndexes(t *testing.T) {
	dir := installed(t)
	env.daemon.build(t, request{file: syntax("prior=none") + attributes(), dir: dir, name: "nested/first"})
	ref, err := name.NewTag(env.host+"/nested/first", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	// BuildKit looks only into the index whose entry names the platform.
	inner := func(arch string, img v1.Image) mutate.IndexAddendum {
		d := v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}
		return mutate.IndexAddendum{Descriptor: d, Add: mutate.AppendManifests(
			mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: img, Descriptor: d})}
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		inner("s390x", empty.Image), inner(runtime.GOARCH, img))
	if err := remote.WriteIndex(ref.Context().Tag("index"), index); err != nil {
		t.Fatal(err)
	}
	log := env.daemon.build(t, request{
		file: syntax("prior="+env.host+"/nested/first:index") + attributes() + "RUN echo changed >/srv/changed\n",
		dir:  dir, name: "nested/next",
	})
	if !strings.Contains(log, " kept; ") || strings.Contains(log, " 0 kept; ") {
		t.Errorf("no layer is kept:\n%s", log)
	}
}

// TestInterop_AnOrdinaryPriorImageIsAFirstBuild: whoever switches to us names the image that exists. It has no plan to
// continue, which is a warning.
func TestInterop_AnOrdinaryPriorImageIsAFirstBuild(t *testing.T) {
	base := env.host + "/debian"
	out := env.daemon.build(t, request{file: syntax("prior="+base) + "FROM " + base + "\n", name: "switching",
		args: []string{"--progress=rawjson"}})
	warning := "the prior image " + base + " was not made by ostree-ext, as it has no label " + chunking.LabelRecord +
		": layers are planned afresh"
	if !strings.Contains(out, base64.StdEncoding.EncodeToString([]byte(warning))) {
		t.Errorf("the build does not say why layers are planned afresh:\n%s", out)
	}
}
