package plan_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
)

// labelsOf makes the image of a plan and returns its labels.
func labelsOf(t *testing.T, p *plan.Plan) map[string]string {
	t.Helper()
	var config v1.ConfigFile
	if err := json.Unmarshal(finish(t, p).config, &config); err != nil {
		t.Fatal(err)
	}
	return config.Config.Labels
}

// staleConfig is the configuration of an image with other packages and another kernel.
const staleConfig = `{"Labels":{"ostree-ext.packages":"{\"deb\":{\"old\":\"0\"}}","ostree-ext.boot-bytes":"7",` +
	`"kept":"yes"}}`

func TestAPlannedImageListsItsPackages(t *testing.T) {
	t.Parallel()
	root := system(t, 3)
	for _, plain := range []bool{true, false} {
		opts := plan.Options{MaxLayers: 20}
		opts.Image.Config = []byte(staleConfig)
		p, err := planOf(t, root, plain, opts)
		if err != nil {
			t.Fatal(err)
		}
		labels := labelsOf(t, p)
		list, err := chunking.ParsePackages(labels[chunking.LabelPackages])
		if err != nil {
			t.Fatal(err)
		}
		if deb := list["deb"]; len(list) != 1 || len(deb) != packages || deb["pkg02"] != "1-1" || deb["pkg03"] != "2-1" {
			t.Errorf("plain %t: the packages are %v", plain, list)
		}
		if labels["kept"] != "yes" {
			t.Errorf("plain %t: other labels of the configuration: %v", plain, labels)
		}
	}
}

func TestImagesWithoutAPlanOrPackagesListNone(t *testing.T) {
	t.Parallel()
	none := t.TempDir()
	if err := os.WriteFile(filepath.Join(none, "file"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		root  string
		plain bool
		opts  plan.Options
	}{
		"packed as upstream does": {system(t), false, plan.Options{Packing: plan.PackUpstream}},
		"one layer":               {system(t), true, plan.Options{SingleLayer: true}},
		"a commit in one layer":   {system(t), false, plan.Options{SingleLayer: true}},
		"no packages":             {none, true, plan.Options{MaxLayers: 20}},
	} {
		c.opts.Image.Config = []byte(staleConfig)
		p, err := planOf(t, c.root, c.plain, c.opts)
		if err != nil {
			t.Fatal(err)
		}
		labels := labelsOf(t, p)
		if label, ok := labels[chunking.LabelPackages]; ok || labels["kept"] != "yes" {
			t.Errorf("%s: packages %q, labels %v", name, label, labels)
		}
	}
}

func TestTooManyPackagesAreNotListed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var db strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&db, "P:package-with-a-long-name-%05d\nV:1.2.3-r%d\nF:bin\nR:b%d\n\n", i, i, i)
	}
	name := filepath.Join(root, "lib/apk/db/installed")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(db.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := planOf(t, root, true, plan.Options{MaxLayers: 20})
	if err != nil {
		t.Fatal(err)
	}
	if w := strings.Join(p.Warnings, "\n"); !strings.Contains(w, chunking.ErrPackagesTooLong.Error()) {
		t.Errorf("warnings %q", w)
	}
	labels := labelsOf(t, p)
	if _, ok := labels[chunking.LabelPackages]; ok || labels[chunking.LabelRecord] == "" {
		t.Errorf("labels %v", labels)
	}
}

func TestAPlannedImageOfABootableCommitSaysWhatBootNeeds(t *testing.T) {
	t.Parallel()
	bootable := func() string {
		root := system(t)
		for name, content := range map[string]string{"vmlinuz": "a kernel", "initramfs.img": "initramfs", "dtb/board": "dt"} {
			name = filepath.Join(root, "usr/lib/modules/6.1", name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return root
	}
	for name, c := range map[string]struct {
		root  string
		plain bool
		opts  plan.Options
		want  string
	}{
		"a commit":                {bootable(), false, plan.Options{MaxLayers: 20}, "19"},
		"a tree":                  {bootable(), true, plan.Options{MaxLayers: 20}, ""},
		"no kernel":               {system(t), false, plan.Options{MaxLayers: 20}, ""},
		"packed as upstream does": {bootable(), false, plan.Options{Packing: plan.PackUpstream}, ""},
		"one layer":               {bootable(), false, plan.Options{SingleLayer: true}, ""},
	} {
		c.opts.Image.Config = []byte(staleConfig)
		p, err := planOf(t, c.root, c.plain, c.opts)
		if err != nil {
			t.Fatal(err)
		}
		labels := labelsOf(t, p)
		if got := labels[oci.LabelBootBytes]; got != c.want || labels["kept"] != "yes" {
			t.Errorf("%s: got %q, want %q; labels %v", name, got, c.want, labels)
		}
	}
}

func TestAListOfPackagesIsStaleInAnotherImage(t *testing.T) {
	t.Parallel()
	config, err := plan.WithoutStaleLabels(json.RawMessage(staleConfig), nil)
	if err != nil || string(config) != `{"Labels":{"kept":"yes"}}` {
		t.Errorf("the configuration is %s, %v", config, err)
	}
}

func TestWhatIsNotKeptOfAManifestIsNamed(t *testing.T) {
	t.Parallel()
	m := &ocispec.Manifest{
		ArtifactType: "application/x", Subject: &ocispec.Descriptor{},
		Config:      ocispec.Descriptor{Annotations: map[string]string{"b": "1", "a": "2"}},
		Annotations: map[string]string{"kept": "yes"},
		Layers:      []ocispec.Descriptor{{Annotations: map[string]string{"of": "a layer"}}},
	}
	want := []string{"artifactType", "subject", "config.annotations.a", "config.annotations.b"}
	if diff := cmp.Diff(want, plan.DroppedOfManifest(m)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if dropped := plan.DroppedOfManifest(&ocispec.Manifest{Annotations: m.Annotations, Layers: m.Layers}); dropped != nil {
		t.Errorf("of an ordinary image: %v", dropped)
	}
}

func TestFieldsOfAConfigurationThatAreNotAboutLayersStay(t *testing.T) {
	t.Parallel()
	const old = `{"architecture":"s390x","os":"plan9","author":"a","created":"2000-01-01T00:00:00Z","config":{},` +
		`"rootfs":{"type":"layers","diff_ids":[]},"history":[],` +
		`"docker_version":"20.10.7","comment":"c","org.example":{"b":[1,true],"a":null},"empty":null,` +
		`"id":"1","parent":"2","container":"3","container_config":{"Cmd":["x"]},"moby.buildkit.cache.v0":"e30=","share":0.5}`
	fields, dropped, err := plan.InheritedFields([]byte(old))
	if err != nil {
		t.Fatal(err)
	}
	// A number that has no exact form cannot be written, so it is named too.
	want := []string{"container", "container_config", "id", "moby.buildkit.cache.v0", "parent", "share"}
	if diff := cmp.Diff(want, dropped); diff != "" {
		t.Errorf("not kept (-want +got):\n%s", diff)
	}
	for _, plain := range []bool{true, false} {
		opts := plan.Options{MaxLayers: 20}
		opts.Image.Fields = fields
		opts.Image.Fields["os"] = json.RawMessage(`"never"`)
		p, err := planOf(t, system(t), plain, opts)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(finish(t, p).config, &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"docker_version": `"20.10.7"`, "comment": `"c"`, "org.example": `{"a":null,"b":[1,true]}`, "os": `"linux"`,
			"id": "", "empty": "",
		} {
			if string(got[name]) != want {
				t.Errorf("plain %v: %s is %s, want %s", plain, name, got[name], want)
			}
		}
	}
}
