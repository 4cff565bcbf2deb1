package source

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"go.podman.io/image/v5/docker/archive"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/compression"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// maxArchiveImages limits how many images of an archive are compared with each other.
const maxArchiveImages = 64

// openDockerArchive opens an image in a Docker archive. Each of its names selects an image. No name is needed if the
// archive has one image, under whatever names.
func openDockerArchive(ctx context.Context, name string) (_ backend, err error) {
	ref, err := archive.ParseReference(name)
	if err != nil {
		return nil, err
	}
	file, tag, _ := strings.Cut(name, ":")
	if err := checkArchiveFile(file); err != nil {
		return nil, err
	}
	if err := checkArchiveList(ctx, file); err != nil {
		return nil, fmt.Errorf("archive %s: %w", file, err)
	}
	r, err := archive.NewReader(&types.SystemContext{}, file)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	images, err := r.List()
	if err != nil {
		return nil, err
	}
	if tag != "" && tag[0] != '@' {
		return openNamed(ctx, r, images, ref)
	}
	if tag != "" {
		var n int
		if _, err := fmt.Sscanf(tag, "@%d", &n); err != nil || n >= len(images) {
			return nil, fmt.Errorf("%w: the archive has %d images, and %s counts from @0", ErrNoImage, len(images), tag)
		}
		images = images[n : n+1]
	}
	return openOnly(ctx, r, images)
}

// The file of an archive that lists its images, and the keys in it.
const archiveListFile = "manifest.json"

var archiveListKeys = jsonkeys.Schema{
	"[]": {"Config", "RepoTags", "Layers", "Parent", "LayerSources"}, "[].LayerSources": {"*"},
}

// checkArchiveList returns an error if two readers could take two images for the one of an archive: the list of images
// is there twice, has a key twice or in another case, or gives one name to two, or a configuration is there twice. The
// library does not look.
func checkArchiveList(ctx context.Context, name string) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	plain, compressed, err := compression.AutoDecompress(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	var content io.Reader = plain
	if !compressed {
		// So that the content of files is not read.
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		content = f
	}
	var list archiveList
	for r := tar.NewReader(content); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if err == io.EOF {
			return list.check()
		}
		if err != nil {
			return nil //nolint:nilerr // the library says what is wrong with the archive
		}
		if err := list.add(h, r); err != nil {
			return err
		}
	}
}

// maxArchiveFiles limits how many files of an archive are looked at. Those of an image are few.
const maxArchiveFiles = 100_000

// archiveList is what the list of images in an archive needs to be checked.
type archiveList struct {
	data  []byte         // nil until it was read
	times map[string]int // how often the archive has each file
}

// add looks at a file of the archive.
func (a *archiveList) add(h *tar.Header, r io.Reader) error {
	name := path.Clean(h.Name)
	if h.Typeflag != tar.TypeDir {
		if a.times == nil {
			a.times = map[string]int{}
		}
		if a.times[name]++; len(a.times) > maxArchiveFiles {
			return fmt.Errorf("%w: it has more than %d files", ErrInvalidManifest, maxArchiveFiles)
		}
	}
	if name != archiveListFile {
		return nil
	}
	if a.data != nil {
		return fmt.Errorf("%w: it has two files %s", ErrInvalidManifest, archiveListFile)
	}
	if h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%w: %s is not a regular file", ErrInvalidManifest, archiveListFile)
	}
	data, err := io.ReadAll(io.LimitReader(r, oci.MaxManifestSize+1))
	if err == nil && len(data) > oci.MaxManifestSize {
		err = fmt.Errorf("it has more than %s", sizes.Format(oci.MaxManifestSize))
	}
	if err == nil {
		err = jsonkeys.Check(data, archiveListKeys)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", archiveListFile, ErrInvalidManifest, err)
	}
	a.data = data
	return nil
}

// check returns an error if the archive has the configuration of an image twice, or two images of one name. It does not
// look at layers, which have diff-ids.
func (a *archiveList) check() error {
	type item struct {
		Config           string
		RepoTags, Layers []string
	}
	var list []item
	if err := json.Unmarshal(a.data, &list); err != nil {
		return nil //nolint:nilerr // the library says what is wrong with the list
	}
	named := map[string]item{}
	for _, i := range list {
		if a.times[path.Clean(i.Config)] > 1 {
			return fmt.Errorf("%w: it has two files %.200q", ErrInvalidManifest, i.Config)
		}
		for _, tag := range i.RepoTags {
			full, err := reference.ParseNormalizedNamed(tag)
			if err != nil {
				continue // the library names it
			}
			other, twice := named[full.String()]
			if twice && (other.Config != i.Config || !slices.Equal(other.Layers, i.Layers)) {
				return fmt.Errorf("%s: %w: two images have the name %.200q", archiveListFile, ErrInvalidManifest, tag)
			}
			named[full.String()] = i
		}
	}
	return nil
}

// openNamed opens the image with a name.
func openNamed(
	ctx context.Context, r *archive.Reader, images [][]types.ImageReference, want types.ImageReference,
) (backend, error) {
	for _, names := range images {
		for _, n := range names {
			if d := n.DockerReference(); d != nil && d.String() == want.DockerReference().String() {
				return openInArchive(ctx, r, n)
			}
		}
	}
	return nil, fmt.Errorf("%w: the archive has %s, not %q", ErrNoImage, listNames(archiveNames(images)),
		want.DockerReference())
}

// openOnly opens the only image of an archive. An image that the archive lists several times counts once.
func openOnly(ctx context.Context, r *archive.Reader, images [][]types.ImageReference) (backend, error) {
	if len(images) == 0 {
		return nil, fmt.Errorf("%w: the archive is empty", ErrNoImage)
	}
	first, err := openInArchive(ctx, r, images[0][0])
	if err != nil || len(images) == 1 {
		return first, err
	}
	same, err := sameImages(ctx, first, r, images[1:])
	if err == nil && !same {
		err = fmt.Errorf("%w: the archive has %d images: name one of %s", ErrAmbiguous, len(images),
			listNames(archiveNames(images)))
	}
	if err != nil {
		return nil, errors.Join(err, first.src.Close())
	}
	return first, nil
}

func sameImages(
	ctx context.Context, first *library, r *archive.Reader, others [][]types.ImageReference,
) (bool, error) {
	if len(others) >= maxArchiveImages {
		return false, nil
	}
	want, _, err := first.manifest(ctx, nil)
	if err != nil {
		return false, err
	}
	for _, names := range others {
		other, err := openInArchive(ctx, r, names[0])
		if err != nil {
			return false, err
		}
		got, _, err := other.manifest(ctx, nil)
		if err := errors.Join(err, other.src.Close()); err != nil {
			return false, err
		}
		if !bytes.Equal(got, want) {
			return false, nil
		}
	}
	return true, nil
}

func openInArchive(ctx context.Context, r *archive.Reader, ref types.ImageReference) (*library, error) {
	src, err := ref.NewImageSource(ctx, &types.SystemContext{})
	if err != nil {
		return nil, err
	}
	return &library{src: src, archive: r}, nil
}

func archiveNames(images [][]types.ImageReference) (names []string) {
	for n, refs := range images {
		for _, r := range refs {
			if d := r.DockerReference(); d != nil {
				names = append(names, d.String())
			} else {
				names = append(names, fmt.Sprintf("@%d", n))
			}
		}
	}
	return names
}

// listNames returns the names of images as they are shown to people.
func listNames(names []string) string {
	const most = 10
	if len(names) == 0 {
		return "nothing"
	}
	text := make([]string, 0, most+1)
	for i, n := range names {
		if i == most {
			text = append(text, fmt.Sprintf("%d more", len(names)-most))
			break
		}
		text = append(text, fmt.Sprintf("%.200q", n))
	}
	return strings.Join(text, ", ")
}
