package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

const (
	dirVersionFile = "version"
	dirVersion     = "Directory Transport Version: 1.1\n"
	dirManifest    = "manifest.json"
)

// imageFiles matches the names of files that writers make: blobs, members of an index, signatures, and files that were
// not finished.
var imageFiles = regexp.MustCompile(`^((sha[0-9]+-)?[0-9a-f]{64,128}(\.manifest\.json|\.signature-[0-9]+)?|` +
	`signature-[0-9]+|dir-put-blob[0-9]+)$`)

// WriteDir writes the layout of the transport "dir:", in which blobs lie beside the manifest. It makes the directory if
// necessary, and at the end removes the files of an older image, and no others. Other writers to the directory wait
// until then.
func WriteDir(ctx context.Context, img v1.Image, dir string) (d digest.Digest, err error) {
	if _, err := imageDirEntries(dir); err != nil {
		return "", err
	}
	if err := mkdir(dir); err != nil {
		return "", err
	}
	unlock, err := output.Lock(ctx, dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	output.Sweep(dir)
	old, err := imageDirEntries(dir)
	if err != nil {
		return "", err
	}
	if err := output.WriteFile(ctx, filepath.Join(dir, dirVersionFile), []byte(dirVersion)); err != nil {
		return "", err
	}
	manifest, err := blobDir{dir}.putImage(ctx, img)
	if err != nil {
		return "", err
	}
	if err := output.WriteFile(ctx, filepath.Join(dir, dirManifest), manifest); err != nil {
		return "", err
	}
	keep, err := dirMembers(img)
	if err != nil {
		return "", err
	}
	for _, name := range old {
		if keep[name] || !imageFiles.MatchString(name) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return digest.FromBytes(manifest), nil
}

// imageDirEntries lists the directory. It returns an error if the directory holds something else than an image.
func imageDirEntries(dir string) ([]string, error) {
	names, err := names(dir)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	version, err := os.ReadFile(filepath.Join(dir, dirVersionFile))
	if err != nil || !bytes.HasPrefix(version, []byte("Directory Transport Version: ")) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotAnImageDir)
	}
	return names, nil
}

// dirMembers returns the names of the files of an image.
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
