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

// ErrNoTool says that no program that knows containers-storage is installed.
var ErrNoTool = hosttool.ErrNoStorageTool

// writeStorage has the host's own tool load the image into containers-storage, from a copy.
func writeStorage(ctx context.Context, img v1.Image, ref string) (d digest.Digest, err error) {
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
		if d, err = layout.Write(ctx, img, file, ""); err != nil {
			return "", err
		}
		_, err = hosttool.Run(ctx, skopeo, "copy", "-q", "oci:"+file, "containers-storage:"+ref)
		return d, err
	}
	// An archive, as podman calls the image from a directory by the directory's path, if that can be a name, and else fails.
	to, err := output.Open(file)
	if err != nil {
		return "", err
	}
	if d, err = writeOCIArchive(ctx, img, to, ""); err != nil {
		return "", err
	}
	id, err := hosttool.Run(ctx, podman, "pull", "-q", "oci-archive:"+file)
	if err != nil {
		return "", err
	}
	_, err = hosttool.Run(ctx, podman, "tag", string(bytes.TrimSpace(id)), ref)
	return d, err
}
