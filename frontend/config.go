package frontend

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	commonexptypes "github.com/moby/buildkit/exporter/exptypes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// newRequest returns the request of the chunk step for one platform, and warnings for the user. metadata is that of the
// Containerfile's result.
//
// base is the image whose layers are kept, or nil.
func newRequest(
	o request.Options, p ocispec.Platform, metadata map[string][]byte, suffix string, base *remoteImage,
) (req chunk.Request, warnings []string, err error) {
	req = chunk.Request{Options: o, Platform: p}
	from, kept := metadata[exptypes.ExporterImageBaseConfigKey+suffix], []string(nil)
	if base != nil {
		req.Base, kept = base.config, base.diffIDs
		from = base.config
	}
	var view, below oci.Config
	if err := view.Parse(metadata[exptypes.ExporterImageConfigKey+suffix]); err != nil {
		return req, nil, fmt.Errorf("the Containerfile's %w", err)
	}
	if len(from) > 0 {
		if err := below.Parse(from); err != nil {
			return req, nil, fmt.Errorf("the base image's %w", err)
		}
	}
	config, replaced, err := plan.WithCommitLabels(view.Container, below.Labels)
	if err == nil {
		req.Config, err = plan.WithoutStaleLabels(config, kept)
	}
	if err != nil {
		return req, nil, fmt.Errorf("the Containerfile's image configuration: %w", err)
	}
	if len(replaced) > 0 {
		warnings = append(warnings, fmt.Sprintf("what the Containerfile says about labels that describe the commit in an "+
			"image is ignored: %s", strings.Join(replaced, ", ")))
	}
	req.Author = view.Author
	if o.Ref != "" {
		// The image gets the time of the commit.
		req.Options.Ref = expand(o.Ref, p)
		return req, warnings, nil
	}
	in := request.Tree
	if req.Commit = commitIn(&below); req.Commit != "" {
		in = request.ImageOfCommit
	}
	if err := req.Options.Resolve(request.Frontend, in); err != nil {
		return req, nil, err
	}
	if o.Format != "" || req.Options.Format == request.Plain {
		req.Commit = ""
	} else if req.Commit != "" {
		// The chunk step looks whether it is there.
		req.Options.Format = ""
	}
	created, err := creation(metadata, suffix)
	req.Created = &created
	return req, warnings, err
}

// commitIn returns the commit that an image holds according to its own configuration, or "". A label alone does not
// make an image of a commit: it may come from a Containerfile.
func commitIn(c *oci.Config) string {
	if last := digest.Digest(c.Labels[oci.LabelDiffID]); !slices.Contains(c.RootFS.DiffIDs, last) {
		return ""
	}
	return c.Labels[oci.LabelCommit]
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

// epochArg is the build argument with the time of the image.
const epochArg = "SOURCE_DATE_EPOCH"

// checkEpoch returns an error about a time that is out of range, or not a number. BuildKit's frontend also takes names
// of contexts and stages for it, which begin with a letter. It says of other values what nobody understands, or takes
// those that the command line refuses.
func checkEpoch(opts map[string]string) error {
	v := opts[keyBuildArg+epochArg]
	if _, named := opts["context:"+v]; named || v == "" || 'a' <= v[0]|0x20 && v[0]|0x20 <= 'z' {
		return nil
	}
	_, err := repo.SourceDateEpoch(v)
	return err
}

// explainEpoch makes an error of BuildKit's frontend about the time one that says what to do. A Containerfile may set
// it, too.
func explainEpoch(err error) error {
	if err != nil && strings.Contains(err.Error(), "year outside of range") {
		return fmt.Errorf("%s is not a number of seconds from 1970 to the year 9999: correct the ARG in the Containerfile "+
			"(%s)", epochArg, firstLine(err.Error()))
	}
	return err
}

// expand replaces the variables of the platform in the name of a ref.
func expand(ref string, p ocispec.Platform) string {
	platform := strings.NewReplacer(
		"${TARGETOS}", p.OS, "${TARGETARCH}", p.Architecture, "${TARGETVARIANT}", p.Variant,
	)
	return platform.Replace(ref)
}
