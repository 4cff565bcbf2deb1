//go:build containers_image_openpgp

package trust_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// ask returns what a registry answers.
func ask(t *testing.T, reg *testreg.Registry, path string) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	reg.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/"+path, http.NoBody))
	data, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s: %d, %v", path, w.Code, err)
	}
	return data
}

// poison makes an image of the fixtures' layers whose configuration says nothing of a commit, so that they are ordinary
// layers.
func poison(t *testing.T, reg *testreg.Registry) imgref.ImageReference {
	t.Helper()
	const repository = "os/b1"
	var m ocispec.Manifest
	if err := json.Unmarshal(ask(t, reg, repository+"/manifests/latest"), &m); err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(ask(t, reg, repository+"/blobs/"+m.Config.Digest.String()), &config); err != nil {
		t.Fatal(err)
	}
	delete(config, "config")
	put := func(v any) ([]byte, digest.Digest) {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data, digest.FromBytes(data)
	}
	data, d := put(config)
	if err := reg.PutBlob(repository, d.String(), data); err != nil {
		t.Fatal(err)
	}
	m.Config.Digest, m.Config.Size = d, int64(len(data))
	data, _ = put(m)
	if err := reg.Put(repository, "poison", ocispec.MediaTypeImageManifest, data); err != nil {
		t.Fatal(err)
	}
	return imgref.ImageReference{Transport: imgref.Registry, Name: sigstorefixture.Name("b1") + ":poison"}
}
