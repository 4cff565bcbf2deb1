package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
)

// ErrNoImage is wrapped by errors about references whose registry, directory or archive does not have the image. It is
// not wrapped if it is unknown whether the image exists.
var ErrNoImage = errors.New("no such image")

// ErrAmbiguous is wrapped by errors about references without a tag to a directory or archive with several images.
var ErrAmbiguous = errors.New("which image")

func openOCIDir(ref imgref.ImageReference, p *ocispec.Platform) (backend, error) {
	dir, tag := ref.PathAndTag()
	f, err := openDirFiles(dir)
	if err != nil {
		return nil, err
	}
	return &layout{files: f, tag: tag, platform: p}, nil
}

func openOCIArchive(ctx context.Context, ref imgref.ImageReference, p *ocispec.Platform) (backend, error) {
	name, tag := ref.PathAndTag()
	f, err := openTarFiles(ctx, name)
	if err != nil {
		return nil, err
	}
	return &layout{files: f, tag: tag, platform: p}, nil
}

// layout reads an OCI image layout.
type layout struct {
	files files
	tag   string
	// platform is chosen from images with the same name; nil means this machine's.
	platform *ocispec.Platform
	// source is the digest of the original manifest, if the layout is a copy of an image with another one.
	source digest.Digest
	// cleanup is called when the layout is closed.
	cleanup func() error
}

func (l *layout) original() digest.Digest { return l.source }
func (l *layout) parallel() bool          { return true }

func (l *layout) close() error {
	err := l.files.close()
	if l.cleanup != nil {
		err = errors.Join(err, l.cleanup())
	}
	return err
}

func (l *layout) manifest(_ context.Context, instance *digest.Digest) ([]byte, string, error) {
	if instance != nil {
		data, err := readSmall(l.files, blobPath(*instance), oci.MaxManifestSize)
		return data, "", err
	}
	d, err := l.find()
	if err != nil {
		return nil, "", err
	}
	if err := checkDescriptor(d); err != nil {
		return nil, "", err
	}
	data, err := readSmall(l.files, blobPath(d.Digest), oci.MaxManifestSize)
	if err != nil {
		return nil, "", err
	}
	if int64(len(data)) != d.Size {
		return nil, "", &oci.BlobError{Digest: d.Digest, Size: d.Size, Read: int64(len(data))}
	}
	return data, d.MediaType, checkManifestBytes(data, d.Digest)
}

// find returns the image's descriptor in the index.
func (l *layout) find() (ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	data, err := readSmall(l.files, ocispec.ImageIndexFile, oci.MaxManifestSize)
	if errors.Is(err, fs.ErrNotExist) {
		return none, fmt.Errorf("this is not an OCI image layout: %w", err)
	}
	if err != nil {
		return none, err
	}
	if err := l.checkMark(); err != nil {
		return none, err
	}
	var index ocispec.Index
	if err := errors.Join(oci.CheckManifest(data), jsonplace.Unmarshal(data, &index)); err != nil {
		return none, fmt.Errorf("%s: %w: %w", ocispec.ImageIndexFile, ErrInvalidManifest, err)
	}
	if index.SchemaVersion != 2 {
		return none, fmt.Errorf("%s: %w: schema version %d", ocispec.ImageIndexFile, ErrInvalidManifest, index.SchemaVersion)
	}
	return l.choose(index.Manifests)
}

// maxMark is the size limit in bytes of the file that says which version a layout has.
const maxMark = 1 << 20

// checkMark checks the file that says which version the layout has. Some layouts do not have it.
func (l *layout) checkMark() error {
	data, err := readSmall(l.files, ocispec.ImageLayoutFile, maxMark)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = jsonkeys.Check(data, jsonkeys.Schema{"": {"imageLayoutVersion"}})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", ocispec.ImageLayoutFile, err)
	}
	return nil
}

// choose returns the entry of the image: the one with the name or, if there is no name, the only one. If several images
// have the same name, or none, it is the one for the platform.
func (l *layout) choose(entries []ocispec.Descriptor) (ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	var names []string
	var found []ocispec.Descriptor
	platforms := true
	for _, d := range entries {
		own := entryNames(d)
		names = append(names, own...)
		if l.tag != "" && !slices.Contains(own, l.tag) || l.tag == "" && len(entries) > 1 && !isImage(d) {
			continue
		}
		if !slices.ContainsFunc(found, func(f ocispec.Descriptor) bool { return f.Digest == d.Digest }) {
			found = append(found, d)
			platforms = platforms && d.Platform != nil
		}
	}
	switch {
	case len(found) == 0 && l.tag != "":
		return none, fmt.Errorf("%w: the layout has %s, not %q", ErrNoImage, listNames(names), l.tag)
	case len(found) == 0:
		return none, fmt.Errorf("%w: the layout is empty", ErrNoImage)
	case len(found) == 1:
		return found[0], nil
	case platforms && (l.tag != "" || len(names) == 0):
		c := newChooser(l.platform, nil)
		d, ok := c.best(found)
		if !ok {
			return none, fmt.Errorf("%w %s/%s", ErrNoPlatform, c.platform.OS, c.platform.Architecture)
		}
		return found[slices.IndexFunc(found, func(f ocispec.Descriptor) bool { return f.Digest == d })], nil
	case l.tag != "":
		return none, fmt.Errorf("%w: the layout has %d images of the name %.200q: remove all but one of them", ErrAmbiguous,
			len(found), l.tag)
	}
	return none, fmt.Errorf("%w: the layout has %d images: name one of %s", ErrAmbiguous, len(found), listNames(names))
}

// entryNames returns the names of an image in a layout: the tag, and the full name that containerd and BuildKit add.
func entryNames(d ocispec.Descriptor) (names []string) {
	for _, key := range []string{ocispec.AnnotationRefName, "io.containerd.image.name"} {
		if n := d.Annotations[key]; n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

func blobPath(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

func (l *layout) blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	r, _, err := l.files.open(blobPath(d.Digest))
	return r, err
}

// openDir opens the layout of "dir:", in which blobs lie beside the manifest.
func openDir(name string) (backend, error) {
	f, err := openDirFiles(name)
	if err != nil {
		return nil, err
	}
	return &flatDir{files: f}, nil
}

type flatDir struct {
	files   files
	cleanup func() error
	source  digest.Digest
}

func (f *flatDir) original() digest.Digest { return f.source }
func (f *flatDir) parallel() bool          { return true }

func (f *flatDir) close() error {
	err := f.files.close()
	if f.cleanup != nil {
		err = errors.Join(err, f.cleanup())
	}
	return err
}

func (f *flatDir) manifest(_ context.Context, instance *digest.Digest) ([]byte, string, error) {
	name := "manifest.json"
	if instance != nil {
		name = instance.Encoded() + ".manifest.json"
	}
	data, err := readSmall(f.files, name, oci.MaxManifestSize)
	return data, "", err
}

func (f *flatDir) blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	r, _, err := f.files.open(d.Digest.Encoded())
	return r, err
}
