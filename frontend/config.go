package frontend

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	commonexptypes "github.com/moby/buildkit/exporter/exptypes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// newRequest returns the request of the chunk step for one platform. metadata is that of the Containerfile's result.
//
// base is the image whose layers are kept, or nil.
func newRequest(
	o request.Options, p ocispec.Platform, metadata map[string][]byte, suffix string, base *remoteImage,
) (chunk.Request, error) {
	req := chunk.Request{Options: o, Platform: p}
	var kept []string
	if base != nil {
		req.Base, kept = base.config, base.diffIDs
	}
	var view oci.Config
	if err := view.Parse(metadata[exptypes.ExporterImageConfigKey+suffix]); err != nil {
		return req, fmt.Errorf("the Containerfile's %w", err)
	}
	isCommit := view.Labels[oci.LabelCommit] != ""
	var err error
	if req.Config, err = plan.WithoutStaleLabels(view.Container, kept); err != nil {
		return req, fmt.Errorf("the Containerfile's image configuration: %w", err)
	}
	req.Author = view.Author
	if o.Ref != "" {
		// The image gets the time of the commit.
		req.Options.Ref = expand(o.Ref, p)
		return req, nil
	}
	in := request.Tree
	if isCommit {
		in = request.ImageOfCommit
	}
	if err := req.Options.Resolve(request.Frontend, in); err != nil {
		return req, err
	}
	created, err := creation(metadata, suffix)
	req.Created = &created
	return req, err
}

// creation returns the time of SOURCE_DATE_EPOCH or else of the base image's newest layer. The current time is never
// used.
func creation(metadata map[string][]byte, suffix string) (time.Time, error) {
	newest := time.Unix(0, 0).UTC()
	if v, ok := metadata[commonexptypes.ExporterEpochKey+suffix]; ok {
		return repo.SourceDateEpoch(string(v))
	}
	var base ocispec.Image
	if data, ok := metadata[exptypes.ExporterImageBaseConfigKey+suffix]; ok {
		if err := json.Unmarshal(data, &base); err != nil {
			return newest, fmt.Errorf("configuration of the base image: %w", err)
		}
	}
	for _, h := range base.History {
		if h.Created != nil && h.Created.After(newest) {
			newest = h.Created.UTC().Truncate(time.Second)
		}
	}
	return newest, nil
}

// expand replaces the variables of the platform in the name of a ref.
func expand(ref string, p ocispec.Platform) string {
	platform := strings.NewReplacer(
		"${TARGETOS}", p.OS, "${TARGETARCH}", p.Architecture, "${TARGETVARIANT}", p.Variant,
	)
	return platform.Replace(ref)
}
