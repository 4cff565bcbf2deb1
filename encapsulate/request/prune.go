package request

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// SetPrune sets the paths that are left out of a root filesystem. Each is absolute. One that ends in a slash names the
// content of a directory, which itself stays. A path may hold commas, unlike in [Options.Set].
func (o *Options) SetPrune(paths []string) error {
	o.Prune = nil
	for _, p := range paths {
		if err := checkPruned(p); err != nil {
			return &Error{Options: []string{"prune"}, Value: &p, Why: err.Error()}
		}
		o.Prune = append(o.Prune, p)
	}
	return nil
}

func checkPruned(p string) error {
	switch {
	case !path.IsAbs(p):
		return errors.New("give an absolute path")
	case path.Clean(p) == "/":
		return errors.New("give an absolute path below the root directory: an image of nothing is not possible")
	}
	return nil
}

// Pruned returns a root filesystem without what the option prune leaves out. A warning says if there is nothing at a
// path.
func (o *Options) Pruned(tree rootfs.Tree) (rest rootfs.Tree, warnings []string) {
	if len(o.Prune) == 0 {
		return tree, nil
	}
	x := rootfs.NewIndex(tree)
	all := map[string]bool{}     // paths that go
	content := map[string]bool{} // directories whose content goes
	for _, p := range o.Prune {
		clean := path.Clean(p)
		i, ok := x.Find(clean)
		switch {
		case !ok:
			warnings = append(warnings, fmt.Sprintf("there is no %s to leave out", p))
		case strings.HasSuffix(p, "/") && x.Entry(i).IsDir():
			content[clean] = true
		case !strings.HasSuffix(p, "/"):
			all[clean] = true
		}
	}
	return rootfs.Without(tree, func(e rootfs.Entry) bool { return content[e.Dir] || all[e.Path()] }), warnings
}
