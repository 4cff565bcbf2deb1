package flatten

import (
	"cmp"
	"fmt"
	"io/fs"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
)

// newTree returns an empty tree, which can take up as much memory as the budget has.
func newTree(b *budget) (*overlay.Tree[content], error) { return overlay.New[content](nil, b.entry) }

// Where images of commits keep the objects; their files are links to those.
const repositoryDir, repositoryName = "/sysroot", "ostree"

// list returns the entries of a tree, and where their contents are. The repository of a commit's image is left out.
func list(tree *overlay.Tree[content]) (*rootfs.List, []place, error) {
	b := rootfs.NewBuilder(0)
	var files []*overlay.File[content]
	err := tree.Walk(func(dir, name string, f *overlay.File[content]) error {
		if dir == repositoryDir && name == repositoryName {
			return fs.SkipDir
		}
		if f.Content.number == 0 {
			f.Content.number = len(files) + 1
		}
		files = append(files, f)
		e := rootfs.Entry{Dir: dir, Name: name, FileHeader: &f.FileHeader, Size: f.Size, Device: f.Device}
		if err := b.Add(e); err != nil {
			return fmt.Errorf("%s: %w", e.Path(), err)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	list, order := b.List(func(a, b int) int { return cmp.Compare(files[a].Content.number, files[b].Content.number) })
	places := make([]place, len(order))
	for i, o := range order {
		places[i] = files[o].Content.place
	}
	return list, places, nil
}
