package dest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// ErrNoTool is returned if neither skopeo nor podman is installed.
var ErrNoTool = hosttool.ErrNoStorageTool

// writeStorage writes a copy of the image and lets skopeo or podman load it into containers-storage, under all names.
func writeStorage(ctx context.Context, img v1.Image, names []string) (d digest.Digest, err error) {
	skopeo, noSkopeo := exec.LookPath("skopeo")
	podman, noPodman := exec.LookPath("podman")
	if noSkopeo != nil && noPodman != nil {
		return "", ErrNoTool
	}
	dir, err := os.MkdirTemp("", "ostree-ext-storage-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "image")
	if noSkopeo == nil {
		if d, err = layout.Write(ctx, img, file); err != nil {
			return "", err
		}
		for _, n := range names { // layers that are there are not copied again
			if _, err := hosttool.Run(ctx, skopeo, "copy", "-q", "oci:"+file, "containers-storage:"+n); err != nil {
				return "", err
			}
		}
		return d, nil
	}
	// Use an archive: podman names an image from a directory after the directory's path, and fails if that is not a valid
	// name.
	to, err := output.Open(file)
	if err != nil {
		return "", err
	}
	if d, err = writeOCIArchive(ctx, img, to, nil); err != nil {
		return "", err
	}
	id, err := hosttool.Run(ctx, podman, "pull", "-q", "oci-archive:"+file)
	if err != nil {
		return "", err
	}
	_, err = hosttool.Run(ctx, podman, append([]string{"tag", string(bytes.TrimSpace(id))}, names...)...)
	return d, err
}
