package request_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// FuzzOptions sets options as the first line of a stranger's Containerfile can.
func FuzzOptions(f *testing.F) {
	for _, name := range request.Names() {
		f.Add(name + "=true")
		f.Add(name + "=3")
	}
	f.Add("format=ostree max-layers=40 compression=zstd compression-level=19 update-interval=2w var=drop selinux=off")
	f.Add("ref=exampleos/x86_64/stable repo=/ostree/repo copymeta=version,ostree.linux contentmeta=meta.json")
	f.Add("keep-base prior=none output=layout")
	f.Fuzz(func(t *testing.T, line string) {
		var o request.Options
		for _, word := range strings.Fields(line) {
			name, value, _ := strings.Cut(word, "=")
			if err := o.Set(name, value); err != nil && !errors.Is(err, request.ErrOption) {
				t.Errorf("%s: error %v does not wrap ErrOption", word, err)
			}
		}
		if err := o.Check(request.Frontend, request.Tree); err != nil && !errors.Is(err, request.ErrOption) {
			t.Errorf("error %v does not wrap ErrOption", err)
		}
	})
}
