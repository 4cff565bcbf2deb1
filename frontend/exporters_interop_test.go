//go:build interop

package frontend_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// small is a Containerfile without a base, for a commit of several files.
const small = "FROM scratch\nARG NOTE=none\nCOPY . /usr/share/files/\nCOPY Containerfile /etc/motd\n"

func smallRequest(options, name string) request {
	return request{
		file: syntax(options) + small, name: name, files: map[string]string{"a": strings.Repeat("a", 100000), "b": "b"},
		opts: []string{"build-arg:SOURCE_DATE_EPOCH=" + epoch},
	}
}

// readLayout reads the only image of an OCI layout.
func readLayout(t *testing.T, dir string) *pulled {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, img)
}

func diffIDs(p *pulled) []v1.Hash { return p.config.RootFS.DiffIDs }

func TestInterop_ExportersKeepTheLayers(t *testing.T) {
	for _, format := range []string{"plain", "ostree"} {
		want := smallRequest("format="+format, "exporters/"+format)
		env.daemon.build(t, want)
		pushed := pull(t, want.name)
		for _, tt := range []struct {
			name, output string
			blobs        bool // stay
		}{
			{"oci", "type=oci,tar=false", true},
			{"zstd for new layers only", "type=oci,tar=false,compression=zstd", true},
			{"zstd forced", "type=oci,tar=false,compression=zstd,force-compression=true", false},
			{"gzip forced", "type=oci,tar=false,compression=gzip,force-compression=true", true},
			{"uncompressed", "type=oci,tar=false,compression=uncompressed,force-compression=true", false},
			{"times rewritten", "type=oci,tar=false,rewrite-timestamp=true", true},
			{"docker's media types", "type=oci,tar=false,oci-mediatypes=false", true},
		} {
			t.Run(format+" "+tt.name, func(t *testing.T) {
				r := smallRequest("format="+format, "")
				dir := filepath.Join(t.TempDir(), "oci")
				r.output = tt.output + ",dest=" + dir
				env.daemon.build(t, r)
				got := readLayout(t, dir)
				if diff := cmp.Diff(diffIDs(pushed), diffIDs(got)); diff != "" {
					t.Errorf("diff-ids (-pushed +got):\n%s", diff)
				}
				if diff := cmp.Diff(pushed.config.Config.Labels, got.config.Config.Labels); diff != "" {
					t.Errorf("labels (-pushed +got):\n%s", diff)
				}
				if diff := cmp.Diff(pushed.layers(), got.layers()); tt.blobs && diff != "" {
					t.Errorf("layers (-pushed +got):\n%s", diff)
				}
			})
		}
	}
}

func TestInterop_EstargzChangesTheDiffIDsAndVerificationFindsIt(t *testing.T) {
	r := smallRequest("format=ostree", "exporters/estargz")
	env.daemon.build(t, r)
	want := pull(t, r.name)
	dir := filepath.Join(t.TempDir(), "oci")
	r.output = "type=oci,tar=false,compression=estargz,force-compression=true,dest=" + dir
	env.daemon.build(t, r)
	if cmp.Equal(diffIDs(want), diffIDs(readLayout(t, dir))) {
		t.Error("the conversion to estargz keeps the diff-ids: the documentation says that it breaks images")
	}
	out, err := exec.CommandContext(t.Context(), env.cli, "container", "verify", "--quiet", "oci:"+dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "label ostree.final-diffid names") ||
		!strings.Contains(string(out), "eStargz") {
		t.Errorf("verification of the converted image: %v\n%s", err, out)
	}
	verify := []string{"container", "verify", "--quiet", "--insecure-skip-tls-verification"}
	must(t, env.cli, append(verify, "docker://"+env.host+"/"+r.name)...)
	// An ordinary image has no label that becomes wrong. Its layers are not ours any more.
	r = smallRequest("format=plain", "exporters/estargz-plain")
	env.daemon.build(t, r)
	must(t, env.cli, append(verify, "docker://"+env.host+"/"+r.name)...)
	plain := filepath.Join(t.TempDir(), "oci")
	r.output = "type=oci,tar=false,compression=estargz,force-compression=true,dest=" + plain
	env.daemon.build(t, r)
	out, err = exec.CommandContext(t.Context(), env.cli, "container", "verify", "--quiet", "oci:"+plain).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "eStargz") {
		t.Errorf("verification of the converted ordinary image: %v\n%s", err, out)
	}
}

func TestInterop_DockerArchiveAndLocalDirectoryHaveTheContent(t *testing.T) {
	r := smallRequest("", "exporters/archive")
	env.daemon.build(t, r)
	want := pull(t, r.name)
	dir := t.TempDir()
	r.output = "type=docker,dest=" + filepath.Join(dir, "image.tar")
	env.daemon.build(t, r)
	img, err := tarball.ImageFromPath(filepath.Join(dir, "image.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(diffIDs(want), diffIDs(read(t, img))); diff != "" {
		t.Errorf("type=docker: diff-ids (-pushed +got):\n%s", diff)
	}
	r.output = "type=local,dest=" + filepath.Join(dir, "local")
	env.daemon.build(t, r)
	if data, err := os.ReadFile(filepath.Join(dir, "local/usr/share/files/b")); err != nil || string(data) != "b" {
		t.Errorf("type=local: %q, %v", data, err)
	}
	r.output = "type=tar,dest=" + filepath.Join(dir, "files.tar")
	env.daemon.build(t, r)
	if got := must(t, "tar", "-xOf", filepath.Join(dir, "files.tar"), "usr/share/files/b"); got != "b" {
		t.Errorf("type=tar: %q", got)
	}
}

func TestInterop_ALayoutBecomesAnImageByASecondBuildWithoutUs(t *testing.T) {
	r := smallRequest("prior=none", "exporters/direct")
	env.daemon.build(t, r)
	want := pull(t, r.name)
	dir := filepath.Join(t.TempDir(), "layout")
	r.opts = append(r.opts, "output=layout")
	r.output = "type=local,dest=" + dir
	env.daemon.build(t, r)
	x := newBuildx(t, map[string]*daemon{"linux/amd64": env.daemon})
	second := t.TempDir()
	writeFile(t, filepath.Join(second, "Containerfile"), "FROM chunks\n")
	out, err := x.run(t.Context(), second, "build", "--progress=plain", "--push", "-f", "Containerfile", "-t",
		env.host+"/exporters/second",
		"--build-context=chunks=oci-layout://"+dir, ".")
	if err != nil {
		t.Fatalf("buildx build: %v\n%s", err, out)
	}
	got := pull(t, "exporters/second")
	if diff := cmp.Diff(want.layers(), got.layers()); diff != "" {
		t.Errorf("layers (-direct +second):\n%s", diff)
	}
	if diff := cmp.Diff(want.config.Config.Labels, got.config.Config.Labels); diff != "" {
		t.Errorf("labels (-direct +second):\n%s", diff)
	}
}

func TestInterop_TheLayoutCanBeTheResult(t *testing.T) {
	r := smallRequest("", "exporters/layout")
	env.daemon.build(t, r)
	want := pull(t, r.name)
	dir := filepath.Join(t.TempDir(), "layout")
	// A layout has all layers, even if there is a prior image.
	r.opts = append(r.opts, "output=layout", "prior="+env.host+"/"+r.name)
	r.output = "type=local,dest=" + dir
	env.daemon.build(t, r)
	if diff := cmp.Diff(want.layers(), readLayout(t, dir).layers()); diff != "" {
		t.Errorf("layers (-pushed +layout):\n%s", diff)
	}
	must(t, "skopeo", "copy", "--quiet", "--dest-tls-verify=false", "oci:"+dir,
		"docker://"+env.host+"/exporters/fromlayout")
}

func TestInterop_AnnotationsAndProvenanceLeaveTheImageAlone(t *testing.T) {
	r := smallRequest("", "attested")
	env.daemon.build(t, r)
	want := pull(t, r.name)
	r.opts = append(r.opts, "attest:provenance=mode=max")
	r.output = "type=oci,tar=false,dest=" + filepath.Join(t.TempDir(), "oci") + ",annotation.example.note=yes"
	env.daemon.build(t, r)
	dir := strings.TrimPrefix(strings.Split(r.output, ",")[2], "dest=")
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := index.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	list, err := inner.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := inner.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, img)
	if diff := cmp.Diff(want.layers(), got.layers()); diff != "" {
		t.Errorf("layers (-without +with):\n%s", diff)
	}
	if got.manifest.Annotations["example.note"] != "yes" {
		t.Errorf("annotations are %v", got.manifest.Annotations)
	}
	if len(list.Manifests) != 2 {
		t.Fatalf("there is no attestation: %s", jsonOf(t, list))
	}
	provenance, err := inner.Image(list.Manifests[1].Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := provenance.Layers()
	if err != nil {
		t.Fatal(err)
	}
	text := blob(t, layers[0])

	for _, want := range []string{`"dest":"/usr/share/files/"`, `"/ostree-ext-frontend","chunk"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the provenance does not name %q", want)
		}
	}
}
