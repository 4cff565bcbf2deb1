package container_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

func unverified(transport imgref.Transport, name string) imgref.OstreeImageReference {
	return imgref.OstreeImageReference{
		Signature: imgref.SignatureSource{Kind: imgref.ContainerPolicyAllowInsecure},
		Image:     imgref.ImageReference{Transport: transport, Name: name},
	}
}

func newRepo(t *testing.T, mode repo.Mode) *repo.Repo {
	t.Helper()
	r, err := repo.Init(filepath.Join(t.TempDir(), "repo"), mode)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetConfig("core", "fsync", "false"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func readTrimmed(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func TestUpstream_EveryImageGivesTheCommitItWasMadeOf(t *testing.T) {
	t.Parallel()
	dir := fixtures.Dir(t, "upstream")
	tags := strings.Fields("single1 single2 cli1 cli2 chunked1 chunked2 chunked2-noprior k4-1 k5-1 k8-1 k4-2 k5-2 k8-2 " +
		"parents1 exclusive1")
	modes := []repo.Mode{repo.ModeArchive, repo.ModeBareUser}
	if os.Geteuid() == 0 {
		modes = append(modes, repo.ModeBare) // which stores owners
	}
	for _, version := range []string{"current", "archived"} {
		for _, mode := range modes {
			t.Run(version+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				for _, tag := range tags {
					if version == "archived" && !hasTag(t, filepath.Join(dir, version, "images"), tag) {
						continue
					}
					r := newRepo(t, mode)
					finished := 0
					ref := unverified(imgref.OCIDir, filepath.Join(dir, version, "images")+":"+tag)
					res, err := container.Unencapsulate(t.Context(), r, ref, source.Options{}, container.ImportOptions{
						WriteRef: "a/b", Progress: func(e progress.Event) {
							if e.Image != ref.Image.String() {
								t.Errorf("%s: an event of the image %q", tag, e.Image)
							}
							if e.Kind == progress.Finished {
								finished++
							}
						},
					})
					if err != nil {
						t.Fatalf("%s: %v", tag, err)
					}
					n := "1"
					if strings.Contains(strings.TrimPrefix(tag, "k"), "2") {
						n = "2"
					}
					if want := readTrimmed(t, filepath.Join(dir, "rev"+n)); res.Commit.String() != want {
						t.Errorf("%s: got commit %s, want %s", tag, res.Commit, want)
					}
					if got, err := r.ResolveRef("a/b"); err != nil || got != res.Commit {
						t.Errorf("%s: the ref is %s, %v", tag, got, err)
					}
					if state, err := r.IsPartial(res.Commit); err != nil || state != repo.CommitComplete {
						t.Errorf("%s: the commit's state is %v, %v", tag, state, err)
					}
					if finished == 0 {
						t.Errorf("%s: no layer was reported as finished", tag)
					}
				}
			})
		}
	}
}

func hasTag(t *testing.T, dir, tag string) bool {
	t.Helper()
	return strings.Contains(readTrimmed(t, filepath.Join(dir, "index.json")), `"`+tag+`"`)
}

func TestReferencesThatAskForSignaturesAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"ostree-image-signed:oci:/nowhere", "ostree-remote-image:r:oci:/nowhere", "ostree-remote-registry:r:localhost/x",
		"ostree-image-signed:docker://localhost/x",
	} {
		ref, err := imgref.ParseOstreeImageReference(s)
		if err != nil {
			t.Fatal(err)
		}
		_, err = container.Unencapsulate(t.Context(), newRepo(t, repo.ModeArchive), ref, source.Options{},
			container.ImportOptions{})
		if !errors.Is(err, source.ErrVerificationUnsupported) || !strings.Contains(err.Error(), "use ostree-unverified-") {
			t.Errorf("%s: got %v", s, err)
		}
	}
}

func TestUpstream_ImagesWithLayersOnTopAreRefused(t *testing.T) {
	t.Parallel()
	dir := fixtures.Dir(t, "upstream", "derived")
	for tag, want := range map[string]string{
		"derived1": "Image has 2 non-ostree layers", "derived2": "Image has 3 non-ostree layers",
		"derived-single": "Image has 1 non-ostree layers", "derived-k4": "Image has 1 non-ostree layers",
		"plain": "No ostree.final-diffid label found, not an ostree encapsulated container",
	} {
		_, err := container.Unencapsulate(t.Context(), newRepo(t, repo.ModeArchive), unverified(imgref.OCIDir, dir+":"+tag),
			source.Options{}, container.ImportOptions{})
		if !errors.Is(err, oci.ErrNotEncapsulated) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", tag, err, want)
		}
	}
}
