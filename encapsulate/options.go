package encapsulate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
)

// Options sets everything about an image except its content. The zero value gives an image with one gzip layer for
// this machine's platform.
type Options struct {
	// Labels are added to the image's labels. They replace labels of the same name that come from the commit.
	Labels map[string]string
	// RemoveLabels are labels that the image does not take over from Config, or from the metadata of the commit. With
	// ClearLabels it takes over none. The labels that make it the image of a commit are not among them.
	RemoveLabels []string
	ClearLabels  bool
	// CopyMetaKeys are the keys of strings in the commit's metadata that become labels. A missing key is an error.
	CopyMetaKeys []string
	// CopyMetaOptKeys is like CopyMetaKeys, but the keys may be missing.
	CopyMetaOptKeys []string
	// Cmd is the image's default command. If it is empty, the command comes from the commit's metadata or from Config.
	Cmd []string
	// Config is the container configuration to start from: a JSON object like "config" in the configuration of an OCI
	// image. Fields that this package does not set are kept.
	Config []byte
	// Annotations are added to the manifest's annotations.
	Annotations map[string]string
	// Author is the image's author. If it is empty, the image names none.
	Author string
	// Fields are further fields of the image's configuration. Those that this package sets are ignored.
	Fields map[string]json.RawMessage
	// Created is the image's time. If it is nil, the commit's time is used.
	Created *time.Time
	// Platform is the image's platform. If it is nil, this machine's platform is used.
	Platform *ocispec.Platform
	// ConfigLabels returns labels that go into the configuration and not into the annotations, for which they are too
	// long. It is given the diff-ids of all layers. It may be nil.
	ConfigLabels func(diffIDs []digest.Digest) (map[string]string, error)
	// Prior is the image that hosts have now, or nil. A layer of it is taken over if it has the diff-id of the layer
	// that would be made.
	Prior *oci.Image
	// CheckHeld reports whether the blob of a layer of the prior image has the diff-id that the prior image claims. It
	// is called before a layer is taken over; if it returns false, the layer is made. If it is nil, the prior image is
	// believed.
	CheckHeld func(context.Context, Held) (bool, error)
	// Split says which file objects go into which layer. If it is nil, the image has one layer.
	Split *chunking.Split
	// ParentDirs adds to every layer the directories above its files.
	ParentDirs bool
	// Compression is the compression of the layers, and Level its level. Level 0 is the compression's default.
	Compression Compression
	Level       int
	// Name is the image's name in progress events, usually its future reference. It is not stored in the image.
	Name string
	// Progress receives events about the layers unless it is nil; see package progress. Calls do not overlap.
	Progress func(progress.Event)
}

// Compression is the format in which layers are compressed.
type Compression uint8

// The compressions.
const (
	Gzip Compression = iota
	Zstd
	Uncompressed
)

// FastLevel is the level at which gzip is fastest.
const FastLevel = 1

// ParseCompression reads "gzip", "zstd" or "none".
func ParseCompression(s string) (Compression, error) {
	switch s {
	case "gzip":
		return Gzip, nil
	case "zstd":
		return Zstd, nil
	case "none":
		return Uncompressed, nil
	}
	return 0, fmt.Errorf("unknown compression %q: use gzip, zstd or none", s)
}

// String is the inverse of [ParseCompression].
func (c Compression) String() string {
	switch c {
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	case Uncompressed:
		return "none"
	}
	return fmt.Sprintf("Compression(%d)", uint8(c))
}
