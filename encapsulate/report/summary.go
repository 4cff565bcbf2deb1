package report

import (
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Summary is an image in a few words.
type Summary struct {
	// Image is the reference by which it was opened.
	Image  string        `json:"image"`
	Digest digest.Digest `json:"digest,omitempty"`
	// Version is that of the image's labels, if there is one.
	Version string    `json:"version,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// Layers is the number of distinct layers, and Bytes their compressed size.
	Layers int    `json:"layers"`
	Bytes  uint64 `json:"bytes"`
	// commit says that the image holds a commit.
	commit bool
}

// Labels with the version of an image.
const (
	labelVersion    = "org.opencontainers.image.version"
	labelOldVersion = "version"
)

func summarise(image *oci.Image) *Summary {
	s := &Summary{Image: image.Name, Digest: image.Top.Digest, Version: image.Config.Labels[labelVersion]}
	if s.Version == "" {
		s.Version = image.Config.Labels[labelOldVersion]
	}
	if image.Config.Created.Unix() > 0 {
		s.Created = image.Config.Created.UTC()
	}
	s.commit = image.Config.Labels[oci.LabelCommit] != ""
	seen := map[digest.Digest]bool{}
	for _, l := range image.Layers {
		if d := l.Descriptor.Digest; !seen[d] {
			seen[d] = true
			s.Layers++
			s.Bytes += uint64(l.Descriptor.Size)
		}
	}
	return s
}

// short returns a few words that name the image for people.
func (s *Summary) short() string {
	if s.Version != "" {
		return s.Version
	}
	return s.Image
}
