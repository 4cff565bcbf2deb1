package frontend_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	asked "github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/frontend"
)

func TestOptionsComeFromTheSyntaxLineTheClientAndBuildArguments(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		all  map[string]string
		want asked.Options
	}{
		{"none", map[string]string{"cmdline": "img", "source": "img", "filename": "Containerfile"}, asked.Options{}},
		{
			"those of BuildKit's own frontend",
			map[string]string{"no-cache": "", "platform": "linux/arm64", "requestid": "", "shm-size": "1", "add-hosts": "",
				"target": "a", "hostname": "h", "ulimit": ""},
			asked.Options{},
		},
		{"no syntax line", map[string]string{}, asked.Options{}},
		{"syntax line", map[string]string{"cmdline": "img format=ostree  max-layers=40"},
			asked.Options{Format: "ostree", MaxLayers: 40}},
		{"as flags", map[string]string{"cmdline": "img --format=ostree --max-layers=40"},
			asked.Options{Format: "ostree", MaxLayers: 40}},
		{"a flag without value", map[string]string{"cmdline": "img strict"}, asked.Options{Strict: true}},
		{"build argument", map[string]string{"build-arg:OSTREE_EXT_MAX_LAYERS": "40"}, asked.Options{MaxLayers: 40}},
		{"option of the client", map[string]string{"max-layers": "40", "platform": "linux/amd64"},
			asked.Options{MaxLayers: 40}},
		{"option of the client with prefix", map[string]string{"ostree-ext:max-layers": "40"}, asked.Options{MaxLayers: 40}},
		{"other build arguments", map[string]string{"build-arg:FORMAT": "x", "label:format": "y", "target": "z"},
			asked.Options{}},
		{"an empty build argument is none", map[string]string{"cmdline": "img prior=a", "build-arg:OSTREE_EXT_PRIOR": ""},
			asked.Options{Prior: "a"}},
		{
			"build arguments win, then the client",
			map[string]string{"cmdline": "img max-layers=10 strict packing=cost", "max-layers": "20", "strict": "false",
				"build-arg:OSTREE_EXT_MAX_LAYERS": "30"},
			asked.Options{MaxLayers: 30, Packing: "cost"},
		},
		{"lists", map[string]string{"cmdline": "img ref=x copymeta=a,b"},
			asked.Options{Ref: "x", CopyMeta: []string{"a", "b"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := frontend.ParseOptions(tt.all)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOptionsThatMakeNoSenseAreErrorsThatSayWhatDoes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		all  map[string]string
		want []string
	}{
		{"name on the syntax line", map[string]string{"cmdline": "img max-layer=3"},
			[]string{"syntax line", `"max-layer"`, "max-layers", "keep-base"}},
		{"name of a build argument", map[string]string{"build-arg:OSTREE_EXT_LAYERS": "3"},
			[]string{"OSTREE_EXT_LAYERS", "max-layers"}},
		{"name of a prefixed option", map[string]string{"ostree-ext:layers": "3"}, []string{`"layers"`, "max-layers"}},
		{"a letter too few in an option of the client", map[string]string{"max-layer": "3"},
			[]string{`"max-layer"`, "max-layers"}},
		{"a letter too many", map[string]string{"keep-basse": "true"}, []string{`"keep-basse"`, "keep-base"}},
		{"another letter", map[string]string{"formal": "ostree"}, []string{`"formal"`, "format"}},
		{"value", map[string]string{"cmdline": "img format=oci"}, []string{"format=oci", "plain or ostree"}},
		{"number", map[string]string{"build-arg:OSTREE_EXT_MAX_LAYERS": "1"}, []string{"max-layers=1", "from 2 to"}},
		{"compression", map[string]string{"compression": "xz"}, []string{"compression=xz", "gzip, zstd or none"}},
		{"interval", map[string]string{"cmdline": "img update-interval=soon"}, []string{"weekly"}},
		{"rebalance", map[string]string{"cmdline": "img rebalance=x"}, []string{"never, auto or always"}},
		{"ref without value", map[string]string{"cmdline": "img ref="}, []string{"a ref or checksum"}},
		{"ref and plain", map[string]string{"cmdline": "img ref=x format=plain"}, []string{"format=plain"}},
		{"repo without ref", map[string]string{"cmdline": "img repo=x"}, []string{"give ref"}},
		{"keep-base of a commit", map[string]string{"cmdline": "img keep-base format=ostree"},
			[]string{"keep-base is for format=plain"}},
		{"level of nothing", map[string]string{"cmdline": "img compression=none compression-level=3"}, []string{"no level"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := frontend.ParseOptions(tt.all)
			if !errors.Is(err, asked.ErrOption) {
				t.Fatalf("error %v does not wrap ErrOption", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}
