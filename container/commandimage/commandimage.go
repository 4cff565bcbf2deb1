// Package commandimage describes the image of the command, for package programs to make. Equal programs give equal
// images.
//
// The image takes the place of chunkah's: a Containerfile runs "chunkah build" in it, in the shell form, with the root
// filesystem at /chunkah. It also is an image for jobs that run ostree-ext.
package commandimage

import (
	"bytes"
	"encoding/pem"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
)

// Paths in the image. Command and Chunkah are two names of one file.
const (
	Command = "/usr/bin/ostree-ext"
	Chunkah = "/usr/bin/chunkah"
	Shell   = "/bin/sh"
	Roots   = "/etc/ssl/certs/ca-certificates.crt"
	// RootFS is where chunkah looks for the root filesystem unless it is told otherwise.
	RootFS = "/chunkah"
)

// Platform has the static programs of one platform: cmd/ostree-ext and cmd/ostree-ext/sh.
type Platform struct {
	ocispec.Platform
	Command, Shell []byte
}

// Options describe the image. Created is its time, Labels go into its configuration, and Annotations into the index
// and into each manifest.
type Options struct {
	Created             time.Time
	Labels, Annotations map[string]string
}

// Of describes the image of one platform.
func Of(p Platform, opts Options) programs.Image {
	return programs.Image{
		Platform: p.Platform,
		Layers: []programs.Layer{
			{Name: "a shell, and certificates of authorities", Files: []programs.File{
				{Path: Shell, Mode: 0o755, Content: p.Shell},
				{Path: Roots, Mode: 0o644, Content: roots()},
				{Path: "/etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\n")},
				{Path: "/etc/group", Mode: 0o644, Content: []byte("root:x:0:\n")},
				{Path: "/root", Mode: 0o700, Dir: true},
				{Path: "/srv", Mode: 0o755, Dir: true},
				{Path: "/tmp", Mode: 0o1777, Dir: true},
				{Path: "/var/tmp", Mode: 0o1777, Dir: true},
			}},
			{Name: "ostree-ext", Files: []programs.File{
				{Path: Command, Mode: 0o755, Content: p.Command},
				{Path: Chunkah, SameAs: Command},
			}},
		},
		Config: ocispec.ImageConfig{
			Entrypoint: []string{Chunkah},
			Env: []string{
				"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CHUNKAH_ROOTFS=" + RootFS,
			},
			WorkingDir: "/srv",
			Labels:     opts.Labels,
		},
		Annotations: opts.Annotations, Created: opts.Created,
	}
}

// roots returns the certificate authorities of Mozilla's root program, as the Go project publishes them. It leaves out
// those that are trusted only for certificates from before some date, since a file of certificates cannot say so.
func roots() []byte {
	var buf bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			buf.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return buf.Bytes()
}
