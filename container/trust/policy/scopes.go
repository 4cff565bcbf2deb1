package policy

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"go.podman.io/image/v5/directory"
	"go.podman.io/image/v5/docker"
	dockerarchive "go.podman.io/image/v5/docker/archive"
	"go.podman.io/image/v5/docker/reference"
	ociarchive "go.podman.io/image/v5/oci/archive"
	"go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

// Scopes returns the scopes that cover an image, the most specific first. They are those of the image's transport:
//
//	docker              host/path:tag or host/path@digest, host/path and each parent of the path, host with its port,
//	                    and *.domain for each parent of the host
//	oci, oci-archive    the path without symlinks, and each parent directory
//	dir                 the same
//	docker-archive      none
//	containers-storage  [driver@directory]name, and its parents; the name must begin with the store
//
// The scope "", which covers all images of a transport, is not among them. A name with a tag and a digest is one with
// the digest only, as everywhere in this program.
func Scopes(ref imgref.ImageReference) ([]string, error) {
	if ref.Transport == imgref.ContainersStorage {
		return storageScopes(ref.Name)
	}
	parsed, err := parse(ref)
	if err != nil {
		return nil, err
	}
	var scopes []string
	if id := parsed.PolicyConfigurationIdentity(); id != "" {
		scopes = append(scopes, id)
	}
	for _, s := range parsed.PolicyConfigurationNamespaces() {
		if len(scopes) == 0 || scopes[len(scopes)-1] != s {
			scopes = append(scopes, s)
		}
	}
	return scopes, nil
}

// transportName returns the name that a policy has for a transport.
func transportName(ref imgref.ImageReference) string {
	if ref.Transport == imgref.Registry {
		return "docker"
	}
	return ref.Transport.String()
}

// parse returns the library's form of a reference.
func parse(ref imgref.ImageReference) (types.ImageReference, error) {
	var parsed types.ImageReference
	var err error
	switch ref.Transport {
	case imgref.Registry:
		parsed, err = parseDocker(ref.Name)
	case imgref.OCIDir:
		parsed, err = layout.ParseReference(ref.Name)
	case imgref.OCIArchive:
		parsed, err = ociarchive.ParseReference(ref.Name)
	case imgref.DockerArchive:
		parsed, err = dockerarchive.ParseReference(ref.Name)
	case imgref.Dir:
		parsed, err = directory.NewReference(ref.Name)
	default:
		err = errors.New("policies for images of this transport are not supported")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return parsed, nil
}

func parseDocker(name string) (types.ImageReference, error) {
	if err := access.CheckName(name); err != nil {
		return nil, err
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, err
	}
	if digested, ok := named.(reference.Canonical); ok {
		if named, err = reference.WithDigest(reference.TrimNamed(named), digested.Digest()); err != nil {
			return nil, err
		}
	}
	return docker.NewReference(reference.TagNameOnly(named))
}

// errStore is returned for images in a store that the reference does not name.
var errStore = errors.New("scopes of containers-storage begin with the store, which the reference does not name: " +
	"write containers-storage:[overlay@/var/lib/containers/storage]NAME")

// storageScopes returns the scopes of an image in containers-storage, as the library forms them. The store itself is
// not opened.
func storageScopes(name string) ([]string, error) {
	spec, found := strings.CutPrefix(name, "[")
	spec, name, closed := strings.Cut(spec, "]")
	driver, root, both := strings.Cut(spec, "@")
	// What may follow the directory is not a part of scopes: +RUNROOT and :OPTIONS.
	root, _, _ = strings.Cut(root, ":")
	root, _, _ = strings.Cut(root, "+")
	if !found || !closed || !both || driver == "" || !filepath.IsAbs(root) {
		return nil, errStore
	}
	root = filepath.Clean(root)
	store := "[" + driver + "@" + root + "]"
	scopes, err := namesInStore(name)
	if err != nil {
		return nil, fmt.Errorf("containers-storage:%s%s: %w", store, name, err)
	}
	for i, s := range scopes {
		scopes[i] = store + s
	}
	return append(scopes, store, "["+root+"]"), nil
}

// namesInStore returns the names that cover a name in a store: an id, or [host/]path[:tag][@digest][@id].
func namesInStore(name string) ([]string, error) {
	base, last, _ := cutLast(name, "@")
	switch {
	case isImageID(name):
		return []string{"@" + name}, nil
	case base == "" && isImageID(last):
		return []string{"@" + last}, nil
	case isImageID(last):
		name = base
	default:
		last = ""
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, err
	}
	named = reference.TagNameOnly(named)
	scopes := []string{named.String()}
	if last != "" {
		scopes = []string{named.String() + "@" + last, named.String()}
	}
	if tagged, ok := named.(reference.NamedTagged); ok {
		if withTag := named.Name() + ":" + tagged.Tag(); withTag != named.String() {
			scopes = append(scopes, withTag)
		}
	}
	for path := named.Name(); path != ""; path, _, _ = cutLast(path, "/") {
		scopes = append(scopes, path)
	}
	return scopes, nil
}

// cutLast is [strings.Cut] at the last separator. Without one, before is empty and after is s.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

// isImageID reports whether s is the whole id of an image in a store.
func isImageID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
