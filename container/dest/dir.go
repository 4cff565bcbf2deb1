package dest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
)

const (
	dirVersionFile = "version"
	dirVersion     = "Directory Transport Version: 1.1\n"
	dirManifest    = "manifest.json"
)

// writeDir writes the layout of "dir:": blobs beside the manifest. What an older image left is removed at the end.
func writeDir(ctx context.Context, img v1.Image, dir string) (digest.Digest, error) {
	old, err := imageDirEntries(dir)
	if err != nil {
		return "", err
	}
	if err := mkdir(dir); err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(dir, dirVersionFile), []byte(dirVersion)); err != nil {
		return "", err
	}
	manifest, err := blobDir{dir}.putImage(ctx, img)
	if err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(dir, dirManifest), manifest); err != nil {
		return "", err
	}
	keep, err := dirMembers(img)
	if err != nil {
		return "", err
	}
	for _, name := range old {
		if keep[name] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return digest.FromBytes(manifest), nil
}

// imageDirEntries lists what is in the directory, and refuses one that holds something else than an image.
func imageDirEntries(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) == 0 {
		return nil, nil
	}
	version, err := os.ReadFile(filepath.Join(dir, dirVersionFile))
	if err != nil || len(version) < len("Directory Transport Version: ") || string(version[:len("Directory Transport Version: ")]) != "Directory Transport Version: " {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotAnImageDir)
	}
	return names, nil
}

// dirMembers names the files of an image.
func dirMembers(img v1.Image) (map[string]bool, error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	members := map[string]bool{dirVersionFile: true, dirManifest: true, m.Config.Digest.Hex: true}
	for _, l := range m.Layers {
		members[l.Digest.Hex] = true
	}
	return members, nil
}
