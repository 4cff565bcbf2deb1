// Package trusttest is for tests of signatures. It pulls images as a host does, and sees to it that nothing of an image
// that is refused is in the repository.
package trusttest

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.yaml.in/yaml/v3"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// NewRepo makes an empty repository.
func NewRepo(t testing.TB) *repo.Repo {
	t.Helper()
	r, err := repo.Init(filepath.Join(t.TempDir(), "repo"), repo.ModeBareUser)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// Content returns the objects, refs and marks of partial commits in a repository.
func Content(t testing.TB, r *repo.Repo) (found []string) {
	t.Helper()
	for _, dir := range []string{"objects", "refs", "state"} {
		err := filepath.WalkDir(filepath.Join(r.Path(), dir), func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				found = append(found, p)
			}
			return err
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return found
}

// Pull stores an image. If that fails, the test fails unless the repository is as it was before.
func Pull(
	t testing.TB, r *repo.Repo, ref imgref.OstreeImageReference, opts source.Options,
) (*store.Imported, error) {
	t.Helper()
	before := Content(t, r)
	res, err := pull(t, r, ref, opts)
	if after := Content(t, r); err != nil && !slices.Equal(before, after) {
		t.Errorf("%s is refused, and the repository has %q, before %q", ref, after, before)
	}
	return res, err
}

func pull(t testing.TB, r *repo.Repo, ref imgref.OstreeImageReference, opts source.Options) (*store.Imported, error) {
	t.Helper()
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: opts})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if p.Present {
		return &store.Imported{Image: p.Previous}, nil
	}
	return p.Import(t.Context(), store.ImportOptions{})
}

// Refused pulls an image into an empty repository, through a door with the given options. The test fails unless the
// image is refused with [trust.ErrRefused], the error says what is given, and the repository stays empty.
func Refused(t testing.TB, image imgref.ImageReference, opts trust.Options, says string) {
	t.Helper()
	r := NewRepo(t)
	ref := imgref.OstreeImageReference{
		Signature: imgref.SignatureSource{Kind: imgref.ContainerPolicy}, Image: image,
	}
	opts.Repo = r
	_, err := Pull(t, r, ref, source.Options{Registry: opts.Registry, Admission: trust.New(opts).Admit})
	if !errors.Is(err, trust.ErrRefused) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s with a repository: got %v, want it refused with %q", ref, err, says)
	}
	if left := Content(t, r); len(left) > 0 {
		t.Errorf("of the refused image there is:\n%s", strings.Join(left, "\n"))
	}
}

// File writes a file that only its owner can change, and returns its name.
func File(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Rules makes a directory with the rules of some scopes, for [trust.Options].
func Rules(t testing.TB, scopes map[string]*rules.Rule) string {
	t.Helper()
	data, err := yaml.Marshal(map[string]any{"docker": scopes})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// RejectAll is a policy.json that refuses every image, so that only rules of ours can admit one.
const RejectAll = `{"default":[{"type":"reject"}]}`

// An Image is an image of which there is nothing but the manifest, alone in a registry of its own.
type Image struct {
	Registry *testreg.Registry
	// Name is its reference.
	Name string
	// Options are those with which the registry is asked.
	Options access.Options
}

// NewImage stores a manifest in a new registry.
func NewImage(t testing.TB, manifest []byte) *Image {
	t.Helper()
	reg := testreg.New(t)
	reg.ServeReferrers(testreg.Referrers{In: func(string) bool { return true }})
	if err := reg.Put("os", "latest", ocispec.MediaTypeImageManifest, manifest); err != nil {
		t.Fatal(err)
	}
	return &Image{
		Registry: reg, Name: reg.Host + "/os:latest", Options: access.Options{InsecureSkipTLSVerify: true, Anonymous: true},
	}
}

// Attach stores a bundle as a referrer of a manifest, whatever is in the bundle.
func Attach(t testing.TB, reg *testreg.Registry, repository string, subject digest.Digest, data []byte) {
	t.Helper()
	config := ocispec.DescriptorEmptyJSON
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: bundle.MediaType, Config: config,
		Layers:  []ocispec.Descriptor{{MediaType: bundle.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}},
		Subject: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: subject, Size: 1},
	}
	m.SchemaVersion = 2
	raw, err := json.Marshal(m)
	for _, blob := range [][]byte{config.Data, data} {
		err = errors.Join(err, reg.PutBlob(repository, digest.FromBytes(blob).String(), blob))
	}
	if err = errors.Join(err, reg.Put(repository, digest.FromBytes(raw).String(), m.MediaType, raw)); err != nil {
		t.Fatal(err)
	}
}
