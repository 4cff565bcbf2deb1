package setup

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"
)

// ErrScope is wrapped by errors about scopes and names of images.
var ErrScope = errors.New("this does not name images in a registry")

var (
	hostName     = regexp.MustCompile(`^(?:` + reference.DomainRegexp.String() + `)$`)
	wildcardName = regexp.MustCompile(`^\*(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$`)
	plainName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)
)

// ParseScope returns a scope of images as policy.json has it: HOST, *.DOMAIN, HOST/PATH, HOST/PATH:TAG or
// HOST/PATH@DIGEST. The name is a whole one; Docker Hub is docker.io. With a tag and a digest, the digest counts.
func ParseScope(s string) (string, error) {
	fail := func(why string) (string, error) { return "", fmt.Errorf("%w: %q: %s", ErrScope, s, why) }
	host, path, deep := strings.Cut(s, "/")
	switch {
	case strings.Contains(s, "://"):
		return fail("write it without a transport")
	case strings.HasPrefix(s, "*"):
		if !wildcardName.MatchString(s) {
			return fail("a pattern is *.DOMAIN, in lower case and without port and path")
		}
		return s, nil
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		if named, err := reference.ParseNormalizedNamed(s); err == nil {
			return fail(fmt.Sprintf("write the whole name: %s", named))
		}
		return fail("it begins with the name of a registry, as in ghcr.io/exampleos/os")
	case !hostName.MatchString(host):
		return fail("the name of the registry is not valid")
	case !deep:
		return canonicalHost(host), nil
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return fail(err.Error())
	}
	if canonicalHost(host) == hub && reference.IsNameOnly(named) && !strings.Contains(path, "/") {
		return hub + "/" + path, nil // a namespace; the library takes it for an image in library/
	}
	return withoutTagAtDigest(named), nil
}

// hub is the registry that names without one belong to.
const hub = "docker.io"

// canonicalHost returns the name of a registry as it is in names of images.
func canonicalHost(host string) string {
	if host == "index."+hub {
		return hub
	}
	return host
}

func withoutTagAtDigest(named reference.Named) string {
	if digested, ok := named.(reference.Canonical); ok {
		return named.Name() + "@" + digested.Digest().String()
	}
	return named.String()
}

// ScopeOf returns the scope of all images in the repository of an image. The name has no transport.
func ScopeOf(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrScope, image, err)
	}
	return named.Name(), nil
}

// ImageIn returns the name of an image in a scope, for use in a command. If the scope is a whole registry or domain,
// the part that the user knows is in capitals.
func ImageIn(scope string) string {
	switch {
	case strings.HasPrefix(scope, "*"):
		return "HOST" + scope[1:] + "/IMAGE"
	case !strings.Contains(scope, "/"):
		return scope + "/IMAGE"
	}
	return scope
}

// wider returns the scopes that also cover what a scope covers, the most specific first, as the container tools look
// them up.
func wider(scope string) []string {
	var all []string
	name := scope
	if slash := strings.Index(name, "/"); slash >= 0 {
		if end := strings.IndexAny(name[slash:], ":@"); end >= 0 {
			name = name[:slash+end]
			all = append(all, name)
		}
	}
	for {
		slash := strings.LastIndexByte(name, '/')
		if slash < 0 {
			break
		}
		name = name[:slash]
		all = append(all, name)
	}
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "*."), ":")
	if strings.HasPrefix(scope, "*.") {
		_, name, _ = strings.Cut(name, ".")
		if name != "" {
			all = append(all, "*."+name)
		}
	}
	for {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return all
		}
		name = rest
		all = append(all, "*."+name)
	}
}

// fileName returns the name, without extension, of the files about a scope.
func fileName(scope string) string {
	return strings.NewReplacer("*.", "any.", "/", "-", ":", "-", "@", "-").Replace(scope)
}
