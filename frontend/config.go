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

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/build"
	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

// request says what the chunk step is to do for one platform. The metadata are those of the Containerfile's result.
//
// base is the image whose layers stay, or nil.
func request(o chunk.Options, p ocispec.Platform, metadata map[string][]byte, suffix string, base *known) (chunk.Request, error) {
	req := chunk.Request{Options: o, Platform: p}
	var kept []string
	if base != nil {
		req.Base, kept = base.config, base.diffIDs
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(metadata[exptypes.ExporterImageConfigKey+suffix], &fields); err != nil {
		return req, fmt.Errorf("the Containerfile's image configuration: %w", err)
	}
	config, isCommit, err := withoutStale(fields["config"], kept)
	if err != nil {
		return req, err
	}
	req.Config = config
	if author := fields["author"]; len(author) > 0 {
		if err := json.Unmarshal(author, &req.Author); err != nil {
			return req, fmt.Errorf("the Containerfile's author: %w", err)
		}
	}
	if o.Ref != "" {
		// The commit has a time.
		req.Options.Ref = expand(o.Ref, p)
		return req, nil
	}
	if o.Format == "" {
		// What is made on top of a commit's image is a commit again, unless the layers with that commit stay.
		req.Options.Format = chunk.FormatPlain
		if isCommit && base == nil {
			req.Options.Format = chunk.FormatOSTree
		}
	}
	created, err := creation(metadata, suffix)
	req.Created = &created
	return req, err
}

// withoutStale removes labels of the base image that are wrong of another one, of which layers of the given diff-ids stay, and
// tells whether it holds a commit.
func withoutStale(config json.RawMessage, kept []string) (clean json.RawMessage, isCommit bool, err error) {
	if len(config) == 0 {
		return json.RawMessage("{}"), false, nil
	}
	fields, labels := map[string]json.RawMessage{}, map[string]string{}
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, false, fmt.Errorf("the Containerfile's configuration: %w", err)
	}
	if raw, ok := fields["Labels"]; ok {
		if err := json.Unmarshal(raw, &labels); err != nil {
			return nil, false, fmt.Errorf("the Containerfile's labels: %w", err)
		}
	}
	isCommit = labels[encapsulate.LabelCommit] != ""
	build.RemoveStaleLabels(labels, kept)
	delete(fields, "Labels")
	if len(labels) > 0 {
		if fields["Labels"], err = json.Marshal(labels); err != nil {
			return nil, false, err
		}
	}
	clean, err = json.Marshal(fields)
	return clean, isCommit, err
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
