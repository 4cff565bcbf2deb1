package container_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// writeExample writes the image of a commit from upstream's tests and returns the digest that Write returned.
func writeExample(t *testing.T, id string, to imgref.ImageReference, compression encapsulate.Compression) string {
	t.Helper()
	r := repotest.Init(t, repo.ModeArchive)
	img, err := encapsulate.Build(t.Context(), r, repotest.CommitExample(t, r, id),
		encapsulate.Options{Compression: compression})
	if err != nil {
		t.Fatal(err)
	}
	d, err := dest.Write(t.Context(), img, to, dest.Options{Registry: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// The digest that Write returns is that of the image which is fetched. An OCI archive is one file.
func TestUpstream_TheDigestIsThatOfTheFetchedImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, ref := range []imgref.ImageReference{
		{Transport: imgref.OCIDir, Name: filepath.Join(dir, "oci") + ":latest"},
		{Transport: imgref.OCIArchive, Name: filepath.Join(dir, "os.ociarchive")},
		{Transport: imgref.Registry, Name: testreg.New(t).Host + "/exampleos:latest"},
	} {
		want := writeExample(t, repotest.ExampleCommit, ref, encapsulate.Gzip)
		info, err := readInfo(t, unverified(ref.Transport, ref.Name), source.Options{Registry: plainHTTP})
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Digest.String(); got != want || info.Labels["ostree.commit"] != repotest.ExampleCommit {
			t.Errorf("%s: fetched %s of commit %s, written as %s", ref, got, info.Labels["ostree.commit"], want)
		}
		if ref.Transport != imgref.OCIArchive {
			continue
		}
		if st, err := os.Lstat(ref.Name); err != nil || !st.Mode().IsRegular() {
			t.Errorf("%s is not a regular file: %v, %v", ref.Name, st, err)
		}
	}
}

// The imported commit is the original one, bootable or not. Without bootable, neither label is there.
func TestUpstream_UnencapsulateGivesTheSameCommit(t *testing.T) {
	t.Parallel()
	for id, bootable := range map[string]string{repotest.ExampleCommit: "true", repotest.ExampleUnbootable: "",
		repotest.ExampleUpdate: "true"} {
		t.Run(id[:8], func(t *testing.T) {
			t.Parallel()
			ref := unverified(imgref.OCIDir, filepath.Join(t.TempDir(), "oci"))
			writeExample(t, id, ref.Image, encapsulate.Gzip)
			info, err := readInfo(t, ref, source.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, bootc := info.Labels["containers.bootc"]
			if info.Labels["ostree.bootable"] != bootable || bootc != (bootable != "") {
				t.Errorf("labels %v", info.Labels)
			}
			r := repotest.Init(t, repo.ModeBareUser)
			res, err := container.Unencapsulate(t.Context(), r, ref, source.Options{},
				container.ImportOptions{WriteRef: repotest.ExampleRef})
			if err != nil || res.Commit.String() != id {
				t.Fatalf("got %v, %v, want %s", res, err, id)
			}
			if got, err := r.ResolveRef(repotest.ExampleRef); err != nil || got.String() != id {
				t.Errorf("the ref is %s, %v", got, err)
			}
			if _, err := r.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}
