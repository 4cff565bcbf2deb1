package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

const (
	// A list of referrers has at most maxPages pages of maxPage bytes. No more than maxListed entries are kept of it, and
	// maxLists bytes are read for it.
	maxPages  = 100
	maxPage   = 10 << 20
	maxLists  = 64 << 20
	maxListed = 10_000
)

// FallbackTag returns the tag whose index lists the referrers of a manifest, on registries that have no other list of
// them. It is that of the distribution specification, for a SHA-256.
func FallbackTag(subject digest.Digest) string {
	return subject.Algorithm().String() + "-" + subject.Encoded()
}

// entry is what a list says about a referrer.
type entry struct {
	Digest       digest.Digest     `json:"digest"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations"`
}

// list is what a place lists as referrers. Nothing of it is checked.
type list struct {
	entries []entry
	seen    map[digest.Digest]bool
	size    int64 // bytes that were read
}

// add adds the entries of an index.
func (l *list) add(data []byte) error {
	if l.size += int64(len(data)); l.size > maxLists {
		return &LimitError{What: sizes.Format(maxLists) + " of lists"}
	}
	if err := oci.CheckManifest(data); err != nil {
		return fmt.Errorf("list of referrers: %w", err)
	}
	var index struct {
		MediaType string  `json:"mediaType"`
		Manifests []entry `json:"manifests"`
	}
	if err := jsonplace.Unmarshal(data, &index); err != nil {
		return fmt.Errorf("list of referrers: %w", err)
	}
	if index.MediaType != "" && index.MediaType != ocispec.MediaTypeImageIndex {
		return fmt.Errorf("list of referrers: it is of type %s", printable.Short(index.MediaType))
	}
	for _, d := range index.Manifests {
		if l.seen[d.Digest] {
			continue
		}
		if len(l.entries) == maxListed {
			return &LimitError{What: fmt.Sprintf("%d referrers", maxListed)}
		}
		if l.seen == nil {
			l.seen = map[digest.Digest]bool{}
		}
		l.seen[d.Digest] = true
		said := map[string]string{annotationPredicate: d.Annotations[annotationPredicate]}
		l.entries = append(l.entries, entry{d.Digest, d.ArtifactType, said})
	}
	return nil
}

// referrers asks for the referrers of the subject. It returns those that it found along with an error. A registry that
// does not know the question has none.
func (v *visit) referrers(ctx context.Context) ([]entry, error) {
	path := "referrers/" + v.s.subject.String()
	var l list
	asked := map[string]bool{}
	for query := ""; !asked[query]; {
		if len(asked) == maxPages {
			return l.entries, &LimitError{What: fmt.Sprintf("%d pages of referrers", maxPages)}
		}
		asked[query] = true
		page := path
		if query != "" {
			page += "?" + query
		}
		// No filter is asked for: registries apply it to types that they get wrong.
		a, err := v.s.pace.get(ctx, v.r, page, ocispec.MediaTypeImageIndex, maxPage)
		if len(asked) == 1 && (unsupported(status(err)) || err == nil && isPage(a.header)) {
			return nil, nil
		}
		if err == nil {
			err = l.add(a.data)
		}
		if err != nil {
			return l.entries, fmt.Errorf("asking for referrers: %w", err)
		}
		next, more, err := nextQuery(a.header, v.r.Host(), path)
		if err != nil {
			return l.entries, fmt.Errorf("asking for referrers: %w", err)
		}
		if !more {
			return l.entries, nil
		}
		query = next
	}
	return l.entries, errors.New("asking for referrers: the pages go in a circle")
}

// unsupported reports whether a status says that a registry does not know the question for referrers.
func unsupported(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusNotImplemented:
		return true
	}
	return false
}

// isPage reports whether an answer is a page for people, with which some servers answer everything.
func isPage(h http.Header) bool {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && t == "text/html"
}

// nextQuery returns the query of the next page of a list, from the header Link (RFC 8288). more is false if this is the
// last page. The link has to lead to the same list at the same host; its scheme does not count, since registries behind
// a proxy get it wrong.
func nextQuery(h http.Header, host, path string) (query string, more bool, err error) {
	target, found, err := nextLink(strings.Join(h.Values("Link"), ","))
	if err != nil || !found {
		return "", false, err
	}
	here := &url.URL{Scheme: "https", Host: host, Path: "/v2/" + path}
	next, err := here.Parse(target)
	if err != nil {
		return "", false, fmt.Errorf("the link to the next page: %w", err)
	}
	if !strings.EqualFold(next.Host, host) || !strings.HasSuffix(next.Path, "/"+path) {
		return "", false, fmt.Errorf("the link to the next page leads to %s", printable.Short(next.Host+next.Path))
	}
	return next.RawQuery, true, nil
}

// nextLink returns the link with the relation "next".
func nextLink(links string) (target string, found bool, err error) {
	for links = strings.TrimLeft(links, " \t,"); links != ""; links = strings.TrimLeft(links, " \t,") {
		inner, rest, closed := strings.Cut(strings.TrimPrefix(links, "<"), ">")
		if !closed || links[0] != '<' {
			return "", false, fmt.Errorf("the header Link is malformed: %s", printable.Short(links))
		}
		var parameters string
		parameters, links = cutParameters(rest)
		if hasNext(parameters) {
			return inner, true, nil
		}
	}
	return "", false, nil
}

// cutParameters divides text at the first comma that is not quoted.
func cutParameters(s string) (parameters, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// hasNext reports whether the parameters of a link have the relation "next".
func hasNext(parameters string) bool {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "rel") {
			continue
		}
		for _, rel := range strings.Fields(strings.Trim(strings.TrimSpace(value), `"`)) {
			if strings.EqualFold(rel, "next") {
				return true
			}
		}
	}
	return false
}

// tagged returns what the fallback tag lists. A tag that does not exist lists nothing.
func (v *visit) tagged(ctx context.Context) ([]entry, error) {
	tag := FallbackTag(v.s.subject)
	accept := ocispec.MediaTypeImageIndex + ", " + ocispec.MediaTypeImageManifest
	a, err := v.s.pace.get(ctx, v.r, "manifests/"+tag, accept, maxPage)
	if status(err) == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the tag %s: %w", tag, err)
	}
	var head struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(a.data, &head) == nil && head.MediaType == ocispec.MediaTypeImageManifest {
		v.s.skip(Skipped{From: v.place, Err: fmt.Errorf("the tag %s is an image, not a list of referrers", tag)})
		return nil, nil
	}
	var l list
	if err := l.add(a.data); err != nil {
		return l.entries, fmt.Errorf("tag %s: %w", tag, err)
	}
	return l.entries, nil
}
