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

	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// ErrNoStandardOutput is returned if an archive is to go to "-" and [Options] has no standard output.
var ErrNoStandardOutput = errors.New(`"-" is standard output, and there is none here: name a file`)

// openArchive returns the file or stream that an archive is written to.
func openArchive(name string, stdout io.Writer) (*output.File, error) {
	switch {
	case name != "-":
		return output.Open(name)
	case stdout == nil:
		return nil, ErrNoStandardOutput
	}
	return output.Standard(stdout), nil
}

// IsStream reports whether an image is written as a stream: an archive that goes to "-", which is standard output, or
// to a pipe, a device or an open file descriptor. A stream cannot be read back.
func IsStream(ref imgref.ImageReference) bool {
	if ref.Transport != imgref.OCIArchive && ref.Transport != imgref.DockerArchive {
		return false
	}
	name, _ := ref.PathAndTag()
	if name == "-" {
		return true
	}
	f, err := output.Open(name)
	return err == nil && f.Stream()
}

// writeOCIArchive writes an OCI archive with one image, which has the names.
func writeOCIArchive(ctx context.Context, img v1.Image, to *output.File, names []string) (d digest.Digest, err error) {
	output.Sweep(to.Dir())
	stage, err := output.TempDir(to.Dir())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stage.Remove()) }()
	dir := filepath.Join(stage.Name, "layout")
	if d, err = layout.Write(ctx, img, dir, names...); err != nil {
		return "", err
	}
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	if err != nil {
		return "", err
	}
	members := []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile}
	for _, b := range blobs { // sorted by name
		members = append(members, "blobs/sha256/"+b.Name())
	}
	return d, writeTar(ctx, to, func(w *tarWriter) error {
		for _, dir := range []string{"blobs/", "blobs/sha256/"} {
			if err := w.dir(dir); err != nil {
				return err
			}
		}
		for _, m := range members {
			if err := w.copyFile(ctx, m, filepath.Join(dir, m)); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeTar writes a tar archive whose entries fill writes.
func writeTar(ctx context.Context, to *output.File, fill func(*tarWriter) error) error {
	return to.Write(ctx, func(out io.Writer) error {
		w := &tarWriter{tar.NewWriter(out)}
		if err := fill(w); err != nil {
			return err
		}
		return w.tar.Close()
	})
}

// tarWriter writes entries with owner root and time zero.
type tarWriter struct{ tar *tar.Writer }

func (w *tarWriter) dir(name string) error {
	return w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755})
}

func (w *tarWriter) file(ctx context.Context, name string, size int64, r io.Reader) error {
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}); err != nil {
		return err
	}
	n, err := io.Copy(w.tar, ctxio.Reader(ctx, r))
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
