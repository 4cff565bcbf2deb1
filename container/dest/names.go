package dest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

// ErrName is wrapped by errors about more names for an image that it cannot have.
var ErrName = errors.New("the image cannot also have the name")

// tagPattern matches the tags of registries.
var tagPattern = regexp.MustCompile(`^\w[\w.-]{0,127}$`)

// Names returns the names that an image gets where ref is, without those that are there twice. The first is that of the
// reference, which may be empty. The error wraps [ErrName] if an image that is written to ref cannot have one of the
// other names too. See [Options].
func Names(ref imgref.ImageReference, more []string) ([]string, error) {
	_, first := ref.PathAndTag()
	if ref.Transport == imgref.Registry || ref.Transport == imgref.ContainersStorage || ref.Transport == imgref.Dir {
		first = ref.Name
	}
	names := []string{first}
	for _, n := range more {
		full, err := otherName(ref, n)
		if err != nil {
			return nil, fmt.Errorf("%w %q: %w", ErrName, n, err)
		}
		if !slices.Contains(names, full) {
			names = append(names, full)
		}
	}
	return names, nil
}

// otherName returns what one more name is in the place of ref.
func otherName(ref imgref.ImageReference, n string) (string, error) {
	switch ref.Transport {
	case imgref.Registry:
		return otherTag(ref.Name, n)
	case imgref.DockerArchive:
		tags, err := repoTags([]string{n})
		if err != nil || len(tags) == 0 {
			return "", errors.Join(errors.New("it is not the name of an image"), err)
		}
		return n, nil
	case imgref.OCIDir, imgref.OCIArchive, imgref.ContainersStorage:
		if n == "" {
			return "", errors.New("it is empty")
		}
		return n, nil
	}
	return "", fmt.Errorf("images in %s have one name", ref.Transport)
}

// otherTag returns the name of an image with another tag. The tag may follow the name of the same repository. The image
// may have a digest.
func otherTag(image, n string) (string, error) {
	image, _, _ = strings.Cut(image, "@")
	tag, err := name.NewTag(image)
	if err != nil {
		return "", err
	}
	if !tagPattern.MatchString(n) {
		other, err := name.NewTag(strings.TrimPrefix(n, "docker://"), name.StrictValidation)
		if err != nil {
			return "", errors.New("it is neither a tag nor a name with a tag")
		}
		if other.Repository != tag.Repository {
			return "", fmt.Errorf("it is not in the repository %s: copy the image there when it is written", tag.Repository)
		}
		n = other.TagStr()
	}
	return tag.Repository.Tag(n).Name(), nil
}
