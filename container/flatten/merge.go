package flatten

import (
	"cmp"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
)

// newTree returns an empty tree, whose memory counts against the budget.
func newTree(b *budget) (*overlay.Tree[content], error) { return overlay.New[content](nil, b.entry) }

// The path of the object repository in images of commits. The files of such an image are hard links to its objects.
const repositoryDir, repositoryName = "/sysroot", "ostree"

func isRepository(dir, name string) bool { return dir == repositoryDir && name == repositoryName }

// isRedundant reports whether every file object in the repository has another link outside of it, so that removing the
// repository loses no content.
func isRedundant(tree *overlay.Tree[content]) (bool, error) {
	objects := map[*overlay.File[content]]bool{}
	err := tree.Walk(func(dir, name string, f *overlay.File[content]) error {
		inside := strings.HasPrefix(dir+"/", repositoryDir+"/"+repositoryName+"/")
		if inside && strings.HasSuffix(name, ".file") && f.Mode&object.ModeTypeMask == object.ModeRegular {
			objects[f] = true
		}
		if dir == "/" && name != repositoryDir[1:] && name != "" {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil || len(objects) == 0 {
		return true, err
	}
	err = tree.Walk(func(dir, name string, f *overlay.File[content]) error {
		if isRepository(dir, name) {
			return fs.SkipDir
		}
		delete(objects, f)
		return nil
	})
	return len(objects) == 0, err
}

// list returns the entries of a tree and the positions of their contents. It leaves out the object repository if the
// image holds a commit. It also does so for other images, such as squashed ones, if no content is lost.
func list(tree *overlay.Tree[content], ofCommit bool) (*rootfs.List, []place, error) {
	leaveOut := ofCommit
	if !leaveOut {
		var err error
		if leaveOut, err = isRedundant(tree); err != nil {
			return nil, nil, err
		}
	}
	b := rootfs.NewBuilder(0)
	var files []*overlay.File[content]
	err := tree.Walk(func(dir, name string, f *overlay.File[content]) error {
		if leaveOut && isRepository(dir, name) {
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
