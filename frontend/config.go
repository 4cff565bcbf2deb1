package frontend

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	commonexptypes "github.com/moby/buildkit/exporter/exptypes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

// newRequest says what the chunk step is to do for one platform. The metadata are those of the Containerfile's result.
//
// base is the image whose layers stay, or nil.
func newRequest(o request.Options, p ocispec.Platform, metadata map[string][]byte, suffix string, base *known) (chunk.Request, error) {
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
		// The commit has a time.
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

// creation is the time of SOURCE_DATE_EPOCH, else that of the base image's newest layer: nothing that has a clock in it.
func creation(metadata map[string][]byte, suffix string) (time.Time, error) {
	newest := time.Unix(0, 0).UTC()
	if v, ok := metadata[commonexptypes.ExporterEpochKey+suffix]; ok {
		seconds, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return newest, fmt.Errorf("SOURCE_DATE_EPOCH=%s: give a number of seconds", v)
		}
		return time.Unix(seconds, 0).UTC(), nil
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

// expand puts the platform into the name of a ref.
func expand(ref string, p ocispec.Platform) string {
	return strings.NewReplacer("${TARGETOS}", p.OS, "${TARGETARCH}", p.Architecture, "${TARGETVARIANT}", p.Variant).Replace(ref)
}
