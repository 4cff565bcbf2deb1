package source

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
)

const (
	good = `{"schemaVersion":2,"config":` +
		`{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:CC","size":7},"layers":[` +
		`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:DD","size":9}]}`
	goodDocker = `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":` +
		`{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:CC","size":7},"layers":[` +
		`{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"sha256:DD","size":9}]}`
)

func expand(s string) []byte {
	return []byte(strings.NewReplacer("CC", strings.Repeat("c", 64), "DD", strings.Repeat("d", 64)).Replace(s))
}

func parse(data []byte) (*ocispec.Manifest, error) {
	if err := checkManifestBytes(data, ""); err != nil {
		return nil, err
	}
	mediaType, err := ManifestType(data, "")
	if err != nil {
		return nil, err
	}
	return parseManifest(oci.Document{Raw: data, MediaType: mediaType})
}

func TestDockerManifestsAreReadAsOCI(t *testing.T) {
	t.Parallel()
	view := func(data []byte) *oci.Image {
		m, err := parse(expand(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		img, err := oci.New(oci.Document{}, *m, []byte("{}"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	want, got := view([]byte(good)), view([]byte(goodDocker))
	if diff := cmp.Diff(want.Manifest.Layers, got.Manifest.Layers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Manifest.Config, got.Manifest.Config); diff != "" {
		t.Error(diff)
	}
}

func TestHostileManifestsAreRefused(t *testing.T) {
	t.Parallel()
	change := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	layer := `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:DD","size":9}`
	for name, in := range map[string]string{
		"layers twice":       change(`"layers"`, `"layers":[],"layers"`),
		"Layers":             change(`"layers"`, `"Layers"`),
		"two configs":        change(`"config"`, `"Config":{},"config"`),
		"a digest twice":     change(`"digest":"sha256:DD"`, `"digest":"sha256:CC","digest":"sha256:DD"`),
		"nothing":            "",
		"not JSON":           "manifest",
		"an array":           "[]",
		"null":               "null",
		"no schema version":  change(`"schemaVersion":2,`, ""),
		"schema version 1":   change(`"schemaVersion":2`, `"schemaVersion":1`),
		"schema version 3":   change(`"schemaVersion":2`, `"schemaVersion":3`),
		"unknown media type": change(`"schemaVersion":2`, `"schemaVersion":2,"mediaType":"text/plain"`),
		"index and image":    change(`"schemaVersion":2`, `"schemaVersion":2,"manifests":[]`),
		"says it is an index": change(`"schemaVersion":2`,
			`"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"`),
		"negative size":        change(`"size":9`, `"size":-9`),
		"size beyond int64":    change(`"size":9`, `"size":99999999999999999999`),
		"fractional size":      change(`"size":9`, `"size":9.5`),
		"no digest":            change(`"digest":"sha256:DD",`, ""),
		"short digest":         change("sha256:DD", "sha256:dd"),
		"path in digest":       change("sha256:DD", "sha256:../../../etc/passwd"),
		"sha512":               change("sha256:DD", "sha512:DDDD"),
		"no config":            `{"schemaVersion":2,"layers":[]}`,
		"one layer, two sizes": change(layer, layer+","+strings.Replace(layer, "9", "8", 1)),
		"too many layers":      change(layer, layer+strings.Repeat(","+layer, oci.MaxLayers)),
		"too large": change(`"schemaVersion":2`,
			`"schemaVersion":2,"x":"`+strings.Repeat("x", oci.MaxManifestSize)+`"`),
	} {
		if m, err := parse(expand(in)); !errors.Is(err, ErrInvalidManifest) {
			t.Errorf("%s: got %v, %v", name, m, err)
		}
	}
	if _, err := parse(expand(good)); err != nil {
		t.Errorf("the one that all were made of: %v", err)
	}
}

func TestADigestInANameGoesBeforeATag(t *testing.T) {
	t.Parallel()
	d := "sha256:" + strings.Repeat("a", 64)
	for in, want := range map[string]string{
		"host:5000/a/b:tag@" + d: "host:5000/a/b@" + d,
		"host:5000/a/b@" + d:     "host:5000/a/b@" + d,
		"host/a:tag":             "host/a:tag",
	} {
		if got, _, err := splitDigest(in); err != nil || got != want {
			t.Errorf("%s: got %s, %v", in, got, err)
		}
	}
	if _, _, err := splitDigest("host/a@sha256:12"); err == nil {
		t.Error("a damaged digest is taken")
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(expand(good))
	f.Add(expand(goodDocker))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:00","size":1,` +
		`"platform":{"os":"linux","architecture":"amd64"}}]}`))
	for _, seed := range testfiles.Read(f, "testdata/*.json") {
		f.Add(seed.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		mediaType, err := ManifestType(data, "")
		if err != nil {
			return
		}
		if isIndex(mediaType) {
			c := newChooser(nil, func(context.Context, digest.Digest) (oci.Document, error) {
				return oci.Document{Raw: data, MediaType: mediaType}, nil
			})
			_, _ = c.choose(t.Context(), oci.Document{Raw: data, MediaType: mediaType}, 1)
			return
		}
		m, err := parseManifest(oci.Document{Raw: data, MediaType: mediaType})
		if err != nil {
			return
		}
		for _, d := range append(m.Layers, m.Config) {
			if d.Size < 0 || len(d.Digest.Encoded()) != 64 {
				t.Errorf("a descriptor that no one may use: %+v", d)
			}
		}
	})
}
