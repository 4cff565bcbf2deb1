package dest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// ErrNoTool says that no program that knows containers-storage is installed.
var ErrNoTool = errors.New("containers-storage: needs skopeo or podman, and neither is installed: install one of them")

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
		_, err = run(ctx, skopeo, "copy", "-q", "oci:"+file, "containers-storage:"+ref)
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
	id, err := run(ctx, podman, "pull", "-q", "oci-archive:"+file)
	if err != nil {
		return "", err
	}
	_, err = run(ctx, podman, "tag", id, ref)
	return d, err
}

// run runs a tool and returns what it printed; its complaints become the error.
func run(ctx context.Context, tool string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s := strings.TrimSpace(stderr.String())
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(tool), args[0], err, s[strings.LastIndexByte(s, '\n')+1:])
	}
	return strings.TrimSpace(stdout.String()), nil
}
