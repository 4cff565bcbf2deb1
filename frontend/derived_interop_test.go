//go:build interop

package frontend_test

import (
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"

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
	if !strings.Contains(log, "kept from the prior image") || strings.Contains(log, " 0 kept from the prior image") {
		t.Errorf("no layer is kept:\n%s", log)
	}
	work := t.TempDir()
	must(t, "skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://"+env.host+"/ontop/next",
		"oci:"+work+"/oci:x")
	must(t, "umoci", "unpack", "--image", work+"/oci:x", work+"/bundle")
	must(t, "diff", "-r", "--no-dereference", "--exclude=pipe", "--exclude=dev", tree(t, next),
		filepath.Join(work, "bundle/rootfs"))
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
