package policyjson

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// Docker is the name of the transport for images of registries.
const Docker = "docker"

// ErrSpelling is wrapped by the error for a rule that would be passed over because it names a registry in another way
// than the image does. See [*SpellingError].
var ErrSpelling = errors.New("names of images are compared as they are written")

// SpellingError is the error for a rule that is about an image, but does not count for it, because one of the two
// spells the name in another way: with capital letters, the port 443, a dot at the end, a shorter name at Docker Hub,
// or letters outside of ASCII. The container tools take the next rule then, which may ask for less.
type SpellingError struct {
	// Image is the scope of the image, and Rule is that of the rule.
	Image, Rule string
}

// Error implements error.
func (e *SpellingError) Error() string {
	return fmt.Sprintf("%v: the rule for %q would be passed over for an image in %q: write both as %q", ErrSpelling,
		e.Rule, e.Image, plain(e.Image))
}

// Unwrap returns [ErrSpelling].
func (e *SpellingError) Unwrap() error { return ErrSpelling }

// Rule returns the requirements for an image that is in some scopes of a transport, the most specific first: those of
// the first scope that the policy has, else those of the transport, for which the scope is "", else the default, for
// which named is false. The error is for images of registries, and wraps [ErrSpelling]; see [Lookup].
func (p *Policy) Rule(transport string, scopes []string) (scope string, list []Requirement, named bool, err error) {
	lists := p.Transports[transport]
	if transport == Docker {
		if err = p.otherDocker(); err == nil {
			scope, named, err = Lookup(lists, scopes)
		}
	} else if i := slices.IndexFunc(scopes, func(s string) bool { _, ok := lists[s]; return ok }); i >= 0 {
		scope, named = scopes[i], true
	}
	switch {
	case err != nil:
		return "", nil, false, err
	case named:
		return scope, lists[scope], true, nil
	}
	if list, named = lists[""]; named {
		return "", list, true, nil
	}
	return "", p.Default, false, nil
}

// otherDocker reports rules that are meant for images of registries, and would all be passed over.
func (p *Policy) otherDocker() error {
	for _, t := range slices.Sorted(maps.Keys(p.Transports)) {
		if t != Docker && strings.EqualFold(strings.TrimSuffix(t, "://"), Docker) {
			return fmt.Errorf("%w: the policy has rules for the transport %q, which would all be passed over: write %q",
				ErrSpelling, t, Docker)
		}
	}
	return nil
}

// Lookup returns which of the scopes of an image of a registry, the most specific first, is the first that has a rule.
// Scopes are compared as they are written, as the container tools do. If that passes over a rule for the same scope in
// another spelling, the error is a [*SpellingError], since the rule that counts instead may ask for less.
func Lookup[R any](rules map[string]R, scopes []string) (scope string, found bool, err error) {
	i := slices.IndexFunc(scopes, func(s string) bool { _, ok := rules[s]; return ok })
	same := map[string][]string{}
	for _, s := range slices.Sorted(maps.Keys(rules)) {
		same[plain(s)] = append(same[plain(s)], s)
	}
	for n, s := range scopes {
		var others []string
		for _, form := range forms(s) {
			others = append(others, same[form]...)
		}
		if len(others) == 0 {
			continue
		}
		if n == i && slices.Contains(others, s) {
			break
		}
		return "", false, &SpellingError{Image: s, Rule: others[0]}
	}
	if i < 0 {
		return "", false, nil
	}
	return scopes[i], true, nil
}

// hub is the name of Docker Hub in scopes, and hubs are others that lead to it.
const hub = "docker.io"

var hubs = []string{"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}

// forms returns what [plain] makes of rules that can only be meant for the scope of an image.
func forms(scope string) []string {
	form := plain(scope)
	if name, ok := strings.CutPrefix(form, hub+"/library/"); ok && !strings.Contains(name, "/") {
		return []string{form, hub + "/" + name}
	}
	return []string{form}
}

// plain returns the spelling of a scope that images usually have.
func plain(scope string) string {
	for _, prefix := range []string{Docker + "://", "https://"} {
		scope = strings.TrimPrefix(scope, prefix)
	}
	scope = strings.TrimSuffix(strings.TrimSuffix(scope, "*"), "/")
	host, path, deep := strings.Cut(scope, "/")
	if !isHost(host) {
		host, path, deep = hub, scope, true
	}
	host = plainHost(host)
	if !deep {
		return host
	}
	// Tags and digests tell cases apart.
	name, tag := path, ""
	if i := strings.IndexAny(path, ":@"); i >= 0 {
		name, tag = path[:i], path[i:]
	}
	return host + "/" + strings.ToLower(name) + tag
}

// isHost reports whether the part before the first slash of a name is that of a registry. Others are of Docker Hub.
func isHost(s string) bool {
	return strings.ContainsAny(s, ".:") || s == "localhost" || s != strings.ToLower(s)
}

// plainHost returns the usual spelling of a registry: in lower case and ASCII, without the port of HTTPS.
func plainHost(host string) string {
	wildcard := strings.HasPrefix(host, "*.")
	host = strings.TrimPrefix(host, "*.")
	name, port, _ := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") { // an address of IPv6
		at := strings.LastIndexByte(host, ']') + 1
		name, port = host[:at], strings.TrimPrefix(host[at:], ":")
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if ascii, err := idna.Lookup.ToASCII(name); err == nil {
		name = ascii
	}
	if slices.Contains(hubs, name) {
		name = hub
	}
	if port != "" && port != "443" {
		name += ":" + port
	}
	if wildcard {
		name = "*." + name
	}
	return name
}
