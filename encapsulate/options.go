package encapsulate

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
)

// Options says what an image is to be beside its commit. The zero value gives an image of one gzip layer for this
// machine's platform.
type Options struct {
	// Labels are added to the image's labels, over those that come from the commit.
	Labels map[string]string
	// CopyMetaKeys name strings in the commit's metadata that become labels; one that is missing is an error.
	CopyMetaKeys []string
	// CopyMetaOptKeys are like CopyMetaKeys, and may be missing.
	CopyMetaOptKeys []string
	// Cmd is the image's default command. If it is empty, that of the commit's metadata or of Config counts.
	Cmd []string
	// Config is the container configuration to start from, a JSON object as under "config" in an OCI image. What is
	// in it is kept.
	Config []byte
	// Annotations are added to the manifest's annotations.
	Annotations map[string]string
	// Created is the image's time, the commit's if it is nil.
	Created *time.Time
	// Platform is the image's platform, this machine's if it is nil.
	Platform *ocispec.Platform
	// ConfigLabels returns labels of the configuration only, too long to be repeated as annotations, given the diff-ids of all
	// layers. May be nil.
	ConfigLabels func(diffIDs []digest.Digest) (map[string]string, error)
	// Prior is the image that hosts have now, or nil. Its layers are taken over where they are what would be made.
	Prior *oci.Image
	// CheckHeld, unless nil, is asked before a layer of the prior image is taken over whether its blob is what its diff-id
	// says, which otherwise is the prior image's word. If not, the layer is made.
	CheckHeld func(context.Context, Held) (bool, error)
	// Split says which file objects go into which layer; nil puts all of them into one.
	Split *chunking.Split
	// ParentDirs writes the directories above its files into every layer.
	ParentDirs bool
	// Compression is that of the layers, and Level how hard it tries, 0 being its default.
	Compression Compression
	Level       int
	// Name is what events of progress call the image, mostly the reference that it is to have. It is not in the image.
	Name string
	// Progress, unless nil, is told of the layers; see package progress. It is called by one goroutine at a time.
	Progress func(progress.Event)
}

// Compression is how layers are compressed.
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
