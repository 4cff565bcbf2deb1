package report_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
)

func built(name string, size int64) report.BuiltLayer {
	return report.BuiltLayer{Digest: digest.FromString("blob " + name), DiffID: digest.FromString(name), Size: size}
}

func ofBase(l report.BuiltLayer, sized bool) report.BuiltLayer {
	if l.OfBase = true; !sized {
		l.Digest, l.Size = "", 0
	}
	return l
}

// priorOf returns an image of layers, of which only the diff-ids are known unless it has a manifest.
func priorOf(manifest bool, layers ...report.BuiltLayer) *oci.Image {
	p := &oci.Image{Name: "oci:prior"}
	if manifest {
		p.Top.Digest = digest.FromString("manifest")
	}
	for _, l := range layers {
		layer := oci.Layer{DiffID: l.DiffID}
		if manifest {
			layer.Descriptor = ocispec.Descriptor{Digest: l.Digest, Size: l.Size}
		}
		p.Layers = append(p.Layers, layer)
	}
	return p
}

func TestABuildEndsWithASentenceOnWhatItCosts(t *testing.T) {
	t.Parallel()
	a, b, c := built("a", 1_000_000), built("b", 20_000), built("c", 300)
	other := b // the same content, compressed otherwise
	other.Digest = digest.FromString("other blob")
	plain := report.BuiltLayer{DiffID: a.DiffID}
	from := "; continued from oci:prior (" + digest.FromString("manifest").String() + ")"
	for name, tt := range map[string]struct {
		layers []report.BuiltLayer
		prior  *oci.Image
		want   string
	}{
		"planned afresh": {[]report.BuiltLayer{a, b, c}, nil,
			"3 layers: 3 new, 0 kept; 1.0 MB to upload; planned afresh: a host downloads all layers, 1.0 MB"},
		"a single layer": {[]report.BuiltLayer{b}, nil,
			"1 layer: 1 new, 0 kept; 20.0 kB to upload; planned afresh: a host downloads all layers, 20.0 kB"},
		"continued": {[]report.BuiltLayer{a, b, c}, priorOf(true, a, c),
			"3 layers: 1 new, 2 kept; 20.0 kB to upload; a host that has the prior image downloads 20.0 kB" + from},
		"nothing changed": {[]report.BuiltLayer{a, b}, priorOf(true, a, b),
			"2 layers: 0 new, 2 kept; 0 bytes to upload; a host that has the prior image downloads 0 bytes" + from},
		"compressed otherwise": {[]report.BuiltLayer{a, other}, priorOf(true, a, b),
			"2 layers: 1 new, 1 kept; 20.0 kB to upload; a host that has the prior image downloads 20.0 kB" + from},
		"only the configuration of the prior image": {[]report.BuiltLayer{a, b}, priorOf(false, a),
			"2 layers: 1 new, 1 kept; 20.0 kB to upload; a host that has the prior image downloads 20.0 kB; " +
				"continued from oci:prior"},
		"a base that hosts do not have": {[]report.BuiltLayer{ofBase(a, true), b}, priorOf(true, c),
			"2 layers: 1 new, 1 kept; 20.0 kB to upload; a host that has the prior image downloads 1.0 MB" + from},
		"a base that hosts have": {[]report.BuiltLayer{ofBase(a, true), b}, priorOf(true, a),
			"2 layers: 1 new, 1 kept; 20.0 kB to upload; a host that has the prior image downloads 20.0 kB" + from},
		"a base of unknown size": {[]report.BuiltLayer{ofBase(a, false), b}, nil,
			"2 layers: 1 new, 1 kept; 20.0 kB to upload; planned afresh: a host downloads all layers"},
		"a base of unknown size that hosts have": {[]report.BuiltLayer{ofBase(a, false), b}, priorOf(true, a),
			"2 layers: 1 new, 1 kept; 20.0 kB to upload; a host that has the prior image downloads 20.0 kB" + from},
		"the same blob twice": {[]report.BuiltLayer{b, b}, nil,
			"2 layers: 2 new, 0 kept; 20.0 kB to upload; planned afresh: a host downloads all layers, 20.0 kB"},
		"nothing compressed": {[]report.BuiltLayer{plain}, nil,
			"1 layer: 1 new, 0 kept; planned afresh: a host downloads all layers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := report.OutcomeOf(tt.layers, tt.prior).String()
			if got = strings.ReplaceAll(got, "\u00a0", " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestTheSentenceIsOneLineWhateverThePriorImageIsCalled(t *testing.T) {
	t.Parallel()
	prior := priorOf(true)
	prior.Name = "oci:a\nb\x1b[2J"
	if got := report.OutcomeOf(nil, prior).String(); strings.ContainsAny(got, "\n\x1b") {
		t.Errorf("the sentence is %q", got)
	}
}
