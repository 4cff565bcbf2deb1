package dest

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

func TestAnImageInARegistryCanHaveMoreTags(t *testing.T) {
	t.Parallel()
	digest := "@sha256:" + strings.Repeat("a", 64)
	for _, c := range []struct{ name, more, want string }{
		{"registry.example/os:1", "latest", "registry.example/os:latest"},
		{"registry.example/os:1", "registry.example/os:2", "registry.example/os:2"},
		{"registry.example/os:1" + digest, "latest", "registry.example/os:latest"},
		{"registry.example/os" + digest, "latest", "registry.example/os:latest"},
		{"registry.example:5000/os" + digest, "2", "registry.example:5000/os:2"},
		{"registry.example/os:1", "registry.example/other:2", ""},
		{"registry.example/os:1", "no tag", ""},
	} {
		got, err := Names(imgref.ImageReference{Transport: imgref.Registry, Name: c.name}, []string{c.more})
		if c.want == "" {
			if !errors.Is(err, ErrName) {
				t.Errorf("%s and %s: got %q and %v", c.name, c.more, got, err)
			}
			continue
		}
		if diff := cmp.Diff([]string{c.name, c.want}, got); diff != "" || err != nil {
			t.Errorf("%s and %s: %v\n%s", c.name, c.more, err, diff)
		}
	}
}
