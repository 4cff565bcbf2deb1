package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
)

// ErrNoTool is returned if neither skopeo nor podman is installed.
var ErrNoTool = hosttool.ErrNoStorageTool

// openStorage lets skopeo or podman copy an image out of containers-storage. The storage is not read directly, because
// library and locks would have to match the host's configuration.
func openStorage(ctx context.Context, name string) (backend, error) {
	dir, err := os.MkdirTemp("", "ostree-ext-storage-")
	if err != nil {
		return nil, err
	}
	cleanup := func() error { return os.RemoveAll(dir) }
	b, err := copyFromStorage(ctx, name, filepath.Join(dir, "image"))
	if err != nil {
		if absentFromStorage(ctx, name) {
			err = fmt.Errorf("%w: %w", ErrNoImage, err)
		}
		return nil, errors.Join(err, cleanup())
	}
	b.cleanup = cleanup
	return b, nil
}

// absentFromStorage reports whether podman says that an image does not exist. Only podman has an exit status for that.
// It does not take names with a storage specifier in brackets.
func absentFromStorage(ctx context.Context, name string) bool {
	tool, err := exec.LookPath("podman")
	if err != nil || strings.HasPrefix(name, "[") {
		return false
	}
	_, err = hosttool.Run(ctx, tool, "image", "exists", name)
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && exit.ExitCode() == 1
}

func copyFromStorage(ctx context.Context, name, dir string) (*flatDir, error) {
	var original digest.Digest
	if tool, err := exec.LookPath("skopeo"); err == nil {
		if _, err := hosttool.Run(ctx, tool, "copy", "-q", "containers-storage:"+name, "dir:"+dir); err != nil {
			return nil, err
		}
		raw, err := hosttool.Run(ctx, tool, "inspect", "--raw", "containers-storage:"+name)
		if err != nil {
			return nil, err
		}
		if mediaType, err := ManifestType(raw, ""); err == nil && !isIndex(mediaType) {
			original = digest.FromBytes(raw)
		}
	} else if tool, err := exec.LookPath("podman"); err == nil {
		if _, err := hosttool.Run(ctx, tool, "save", "-q", "--format=docker-dir", "-o", dir, name); err != nil {
			return nil, err
		}
		out, err := hosttool.Run(ctx, tool, "image", "inspect", "--format={{.Digest}}", name)
		if err != nil {
			return nil, err
		}
		original = digest.Digest(bytes.TrimSpace(out))
		if err := checkDigest(original); err != nil {
			return nil, fmt.Errorf("podman image inspect: %w", err)
		}
	} else {
		return nil, ErrNoTool
	}
	f, err := openDirFiles(dir)
	if err != nil {
		return nil, err
	}
	return &flatDir{files: f, source: original}, nil
}
