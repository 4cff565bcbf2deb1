package source

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

// Bounds on the list of a repository's tags.
const (
	maxTagPages = 200
	maxTagPage  = 10 << 20 // bytes
	tagsPerPage = 1000
)

// Tags returns the tags of the repository in which an image is, from the registry itself and from no mirror. It returns
// none for images that are not in a registry. A list of more than 200 pages is an error.
func Tags(ctx context.Context, ref imgref.ImageReference, opts access.Options) (tags []string, err error) {
	if ref.Transport != imgref.Registry {
		return nil, nil
	}
	name, _, err := splitDigest(ref.Name)
	if err != nil {
		return nil, err
	}
	endpoints, err := opts.Endpoints(name)
	if err != nil {
		return nil, err
	}
	r, err := endpoints[len(endpoints)-1].Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for range maxTagPages {
		query := url.Values{"n": {fmt.Sprint(tagsPerPage)}}
		if len(tags) > 0 {
			query.Set("last", tags[len(tags)-1])
		}
		page, more, err := tagPage(ctx, r, "tags/list?"+query.Encode())
		if err != nil {
			return nil, fmt.Errorf("listing the tags of %s: %w", name, err)
		}
		if tags = append(tags, page...); !more || len(page) == 0 {
			return tags, nil
		}
	}
	return nil, fmt.Errorf("listing the tags of %s: there are more than %d pages", name, maxTagPages)
}

// tagPage returns a page of the list, and whether there is another.
func tagPage(ctx context.Context, r *access.Reader, path string) (tags []string, more bool, err error) {
	res, err := r.Get(ctx, path, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, false, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxTagPage+1))
	if err != nil {
		return nil, false, err
	}
	if len(data) > maxTagPage {
		return nil, false, fmt.Errorf("a page has more than %d bytes", maxTagPage)
	}
	var page struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, false, err
	}
	return page.Tags, res.Header.Get("Link") != "", nil
}
