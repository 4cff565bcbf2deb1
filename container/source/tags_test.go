package source_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
)

// tagServer is a registry that lists tags, some of them on a page.
type tagServer struct {
	tags    []string
	perPage int
	// endless says that each page has a link to another.
	endless bool
}

func (s tagServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !strings.HasSuffix(req.URL.Path, "/tags/list") {
		return
	}
	n, err := strconv.Atoi(req.FormValue("n"))
	if err != nil {
		http.Error(w, "n", http.StatusBadRequest)
		return
	}
	from := slices.Index(s.tags, req.FormValue("last")) + 1
	to := min(from+min(n, s.perPage), len(s.tags))
	if s.endless || to < len(s.tags) {
		w.Header().Set("Link", fmt.Sprintf(`<%s?last=x>; rel="next"`, req.URL.Path))
	}
	if s.endless {
		from, to = 0, 1
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"name": "os", "tags": s.tags[from:to]})
}

func TestTagsAreReadPageByPage(t *testing.T) {
	var tags []string
	for i := range 25 {
		tags = append(tags, fmt.Sprintf("t%02d", i))
	}
	for _, c := range []struct {
		name   string
		server http.Handler
		want   []string
		fails  string
	}{
		{"several pages", tagServer{tags: tags, perPage: 10}, tags, ""},
		{"one page", tagServer{tags: tags, perPage: 100}, tags, ""},
		{"no tags", tagServer{perPage: 100}, nil, ""},
		{"without end", tagServer{tags: tags, perPage: 10, endless: true}, nil, "more than 200 pages"},
		{"no list", http.NotFoundHandler(), nil, "404"},
		{"no JSON", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }), nil,
			"invalid character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.server)
			defer server.Close()
			ref := imgref.ImageReference{Transport: imgref.Registry,
				Name: strings.TrimPrefix(server.URL, "http://") + "/exampleos/os:latest"}
			got, err := source.Tags(t.Context(), ref, access.Options{InsecureSkipTLSVerify: true})
			if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Fatalf("got %v, want %q", err, c.fails)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	got, err := source.Tags(t.Context(), imgref.ImageReference{Transport: imgref.OCIDir, Name: "dir"}, access.Options{})
	if err != nil || got != nil {
		t.Errorf("a layout: got %q, %v", got, err)
	}
}
