package plan_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
)

// TestAConfigurationAloneKeepsThePlan checks that without the prior image's layers all layers are made again, and
// unchanged layers are the same as before.
func TestAConfigurationAloneKeepsThePlan(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		opts := plan.Options{MaxLayers: 20}
		p, err := planOf(t, system(t), plain, opts)
		if err != nil {
			t.Fatal(err)
		}
		first := finish(t, p)

		after := system(t, 7)
		opts.Prior = asPrior(t, first.manifest, first.config, first.blobs, nil)
		if p, err = planOf(t, after, plain, opts); err != nil {
			t.Fatal(err)
		}
		want := finish(t, p)

		if opts.Prior, err = oci.FromDocument(first.config); err != nil {
			t.Fatal(err)
		}
		if p, err = planOf(t, after, plain, opts); err != nil {
			t.Fatal(err)
		}
		got := finish(t, p)
		if diff := cmp.Diff(string(want.config), string(got.config)); diff != "" {
			t.Errorf("plain %t: configuration (-with the layers +without): %s", plain, diff)
		}
		if got.reused != 0 || want.reused < 15 {
			t.Errorf("plain %t: %d layers taken over from nowhere, %d from the image", plain, got.reused, want.reused)
		}
	}
}

// TestAManifestAloneHasNoPlanToContinue checks that there is a warning, and that the plan is the one of a first
// image.
func TestAManifestAloneHasNoPlanToContinue(t *testing.T) {
	t.Parallel()
	root := system(t)
	p, err := planOf(t, root, true, plan.Options{MaxLayers: 20})
	if err != nil {
		t.Fatal(err)
	}
	first := finish(t, p)
	manifest, err := json.Marshal(first.manifest)
	if err != nil {
		t.Fatal(err)
	}
	prior, err := oci.FromDocument(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = planOf(t, root, true, plan.Options{MaxLayers: 20, Prior: prior}); err != nil {
		t.Fatal(err)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "name the image itself") {
		t.Errorf("warnings %q", p.Warnings)
	}
	if got := finish(t, p); string(got.config) != string(first.config) {
		t.Error("the image differs from a first one")
	}
}

func TestDocumentsThatAreNoImage(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"", "{", "{}", "[]", `{"layers": []}`, `{"layers": 3}`, `{"rootfs": {}}`,
		`{"manifests": [{}]}`} {
		if _, err := oci.FromDocument([]byte(doc)); !errors.Is(err, oci.ErrNoImage) {
			t.Errorf("%q: %v", doc, err)
		}
	}
}
