package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

// Prefixes of refs.
const (
	layerPrefix = "ostree/container/blob"
	imagePrefix = "ostree/container/image"
	basePrefix  = "ostree/container/baseimage"
)

// protecting are the prefixes of refs to merge commits besides those of images: deployments, and images that other
// tools hold. Their layers stay.
var protecting = []string{"ostree/0", "ostree/1", "rpmostree/base", basePrefix}

// errInvalidName says that a ref is not the escaped form of a name.
var errInvalidName = errors.New("not an escaped name")

// escape makes any text a part of a ref's name, in upstream's way: letters, digits and "-" stand for themselves, as
// does "/" between a letter or digit and something else; "_" is "__", and anything else is its code point in
// hexadecimal digits between underscores.
func escape(s string) (string, error) {
	if s == "" || !utf8.ValidString(s) || strings.Contains(s, "\x00") {
		return "", fmt.Errorf("no ref can be named %q", s)
	}
	var b strings.Builder
	after := false // a letter or digit
	for i, c := range s {
		switch alnum := isAlnum(c); {
		case alnum, c == '-', c == '/' && after && i < len(s)-1:
			b.WriteRune(c)
			after = alnum
			continue
		case c == '_':
			b.WriteString("__")
		default:
			fmt.Fprintf(&b, "_%02X_", c)
		}
		after = false
	}
	return b.String(), nil
}

func isAlnum(c rune) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// unescape is the inverse of escape.
func unescape(s string) (string, error) {
	var b strings.Builder
	for rest := s; rest != ""; {
		c := rest[0]
		rest = rest[1:]
		switch {
		case isAlnum(rune(c)), c == '-', c == '/':
			b.WriteByte(c)
		case c == '_' && strings.HasPrefix(rest, "_"):
			b.WriteByte('_')
			rest = rest[1:]
		case c == '_':
			digits, after, ok := strings.Cut(rest, "_")
			n, err := strconv.ParseUint(digits, 16, 21)
			if !ok || err != nil || !utf8.ValidRune(rune(n)) {
				return "", fmt.Errorf("%w: %.200q", errInvalidName, s)
			}
			b.WriteRune(rune(n))
			rest = after
		default:
			return "", fmt.Errorf("%w: %.200q", errInvalidName, s)
		}
	}
	return b.String(), nil
}

// layerRef returns the ref of a layer.
func layerRef(d digest.Digest) (string, error) {
	name, err := escape(d.String())
	return layerPrefix + "/" + name, err
}

// imageRef returns the ref of an image.
func imageRef(ref imgref.ImageReference) (string, error) {
	name, err := escape(ref.String())
	return imagePrefix + "/" + name, err
}

// parseImageRef returns the image that a ref belongs to.
func parseImageRef(ref string) (imgref.ImageReference, error) {
	name, err := unescape(strings.TrimPrefix(ref, imagePrefix+"/"))
	if err != nil {
		return imgref.ImageReference{}, fmt.Errorf("ref %s: %w", ref, err)
	}
	image, err := imgref.ParseImageReference(name)
	if err != nil {
		return image, fmt.Errorf("ref %s: %w", ref, err)
	}
	return image, nil
}

// parseLayerRef returns the digest of the layer that a ref belongs to.
func parseLayerRef(ref string) (digest.Digest, error) {
	name, err := unescape(strings.TrimPrefix(ref, layerPrefix+"/"))
	if err != nil {
		return "", fmt.Errorf("ref %s: %w", ref, err)
	}
	return digest.Digest(name), nil
}
