package dest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// writeOCIArchive writes an archive of an OCI image layout with this one image.
func writeOCIArchive(ctx context.Context, img v1.Image, name, tag string) (d digest.Digest, err error) {
	stage, err := newStage(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	layout := filepath.Join(stage.dir, "layout")
	if d, err = writeOCIDir(ctx, img, layout, tag); err != nil {
		return "", err
	}
	blobs, err := os.ReadDir(filepath.Join(layout, "blobs", "sha256"))
	if err != nil {
		return "", err
	}
	members := []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile}
	for _, b := range blobs { // sorted by name
		members = append(members, "blobs/sha256/"+b.Name())
	}
	err = stage.replace(func(w *tarWriter) error {
		for _, dir := range []string{"blobs/", "blobs/sha256/"} {
			if err := w.dir(dir); err != nil {
				return err
			}
		}
		for _, m := range members {
			if err := w.copyFile(ctx, m, filepath.Join(layout, m)); err != nil {
				return err
			}
		}
		return nil
	})
	return d, err
}

// stage is a directory beside a file that is to be replaced.
type stage struct{ dir, target string }

func newStage(target string) (*stage, error) {
	if st, err := os.Stat(target); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file, as an archive has to be", target)
	}
	dir, err := os.MkdirTemp(filepath.Dir(target), "."+filepath.Base(target)+"-")
	if err != nil {
		return nil, err
	}
	return &stage{dir: dir, target: target}, nil
}

func (s *stage) close() error { return os.RemoveAll(s.dir) }

// replace makes the archive and puts it in the target's place.
func (s *stage) replace(fill func(*tarWriter) error) error {
	f, err := os.Create(filepath.Join(s.dir, "archive"))
	if err != nil {
		return err
	}
	w := &tarWriter{tar.NewWriter(f)}
	err = fill(w)
	if err == nil {
		err = errors.Join(w.tar.Close(), f.Chmod(0o644))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.target)
}

// tarWriter writes entries that belong to root and have no times.
type tarWriter struct{ tar *tar.Writer }

func (w *tarWriter) dir(name string) error {
	return w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755})
}

func (w *tarWriter) file(ctx context.Context, name string, size int64, r io.Reader) error {
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}); err != nil {
		return err
	}
	n, err := io.Copy(w.tar, contextReader{ctx, r})
	if err == nil && n != size {
		err = fmt.Errorf("%s: %w", name, io.ErrUnexpectedEOF)
	}
	return err
}

func (w *tarWriter) bytes(ctx context.Context, name string, data []byte) error {
	return w.file(ctx, name, int64(len(data)), bytes.NewReader(data))
}

func (w *tarWriter) copyFile(ctx context.Context, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return w.file(ctx, name, st.Size(), f)
}
