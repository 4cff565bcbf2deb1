package testreg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Referrers says for which repositories a registry answers GET /v2/REPOSITORY/referrers/DIGEST, and how. With the zero
// value it does so for none. In those repositories, the answer to a manifest with a subject has OCI-Subject.
type Referrers struct {
	// In reports whether a repository has the API.
	In func(repository string) bool
	// Page is the number of descriptors in an answer, with a Link to the next; 0 means all.
	Page int
	// IgnoreFilter leaves the parameter artifactType out of account.
	IgnoreFilter bool
}

// ServeReferrers sets how requests for referrers are answered from now on.
func (r *Registry) ServeReferrers(how Referrers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.referrers = how
}

// Put stores a manifest under a tag or its digest, whatever it refers to.
func (r *Registry) Put(repository, reference, mediaType string, manifest []byte) error {
	return r.put(http.MethodPut, "/v2/"+repository+"/manifests/"+reference, mediaType, manifest)
}

// PutBlob stores a blob.
func (r *Registry) PutBlob(repository, digest string, blob []byte) error {
	return r.put(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+digest, "application/octet-stream", blob)
}

func (r *Registry) put(method, path, mediaType string, data []byte) error {
	req := httptest.NewRequest(method, path, strings.NewReader(string(data)))
	req.Header.Set("Content-Type", mediaType)
	if answer := r.ask(req); answer.Code != http.StatusCreated {
		return fmt.Errorf("%s: status %d: %s", path, answer.Code, answer.Body)
	}
	return nil
}

// isReferrers returns the repository and the digest of a request for referrers.
func isReferrers(req *http.Request) (repository, digest string, ok bool) {
	path, found := strings.CutPrefix(req.URL.Path, "/v2/")
	if !found || req.Method != http.MethodGet {
		return "", "", false
	}
	return strings.Cut(path, "/referrers/")
}

// isManifestPut reports whether a request stores a manifest.
func isManifestPut(req *http.Request) bool {
	return req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/")
}

// putManifest stores a manifest, and says whether it will be listed with its subject.
func (r *Registry) putManifest(w http.ResponseWriter, req *http.Request, how Referrers) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(data))
	var manifest v1.Manifest
	repository, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/"), "/manifests/")
	if json.Unmarshal(data, &manifest) == nil && manifest.Subject != nil && how.In(repository) {
		w.Header().Set("OCI-Subject", manifest.Subject.Digest.String())
	}
	r.inner.ServeHTTP(w, req)
}

func (r *Registry) sendReferrers(w http.ResponseWriter, req *http.Request, how Referrers) {
	repository, _, _ := isReferrers(req)
	if how.In == nil || !how.In(repository) {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	answer := r.ask(req)
	var index v1.IndexManifest
	if err := json.Unmarshal(answer.Body.Bytes(), &index); answer.Code != http.StatusOK || err != nil {
		send(w, answer, answer.Body.Bytes())
		return
	}
	slices.SortFunc(index.Manifests, func(a, b v1.Descriptor) int {
		return strings.Compare(a.Digest.String(), b.Digest.String())
	})
	wanted := req.URL.Query().Get("artifactType")
	if how.IgnoreFilter {
		wanted = ""
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool {
		return wanted != "" && r.artifactType(repository, d) != wanted
	})
	for i, d := range index.Manifests {
		index.Manifests[i].ArtifactType = r.artifactType(repository, d)
	}
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if first, _ := strconv.Atoi(req.URL.Query().Get("after")); how.Page > 0 {
		end := min(first+how.Page, len(index.Manifests))
		if end < len(index.Manifests) {
			query := url.Values{"after": {strconv.Itoa(end)}, "artifactType": {wanted}}
			next := url.URL{Path: req.URL.Path, RawQuery: query.Encode()}
			w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
		}
		index.Manifests = index.Manifests[min(first, end):end]
	}
	w.Header().Set("Content-Type", string(index.MediaType))
	_ = json.NewEncoder(w).Encode(index)
}

// artifactType returns the type of a manifest, as the image specification defines it.
func (r *Registry) artifactType(repository string, d v1.Descriptor) string {
	var manifest struct {
		ArtifactType string `json:"artifactType"`
	}
	answer := r.ask(httptest.NewRequest(http.MethodGet, "/v2/"+repository+"/manifests/"+d.Digest.String(), nil))
	if json.Unmarshal(answer.Body.Bytes(), &manifest) == nil && manifest.ArtifactType != "" {
		return manifest.ArtifactType
	}
	return d.ArtifactType // that of the configuration
}
