package flatten

import (
	"cmp"
	"errors"
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

// objects counts the file objects in the repository, and those of them that have no other link outside of it. The
// content of the latter is lost if the repository is removed.
func objects(tree *overlay.Tree[content]) (all, unlinked int, err error) {
	inside := map[*overlay.File[content]]bool{}
	err = tree.Walk(func(dir, name string, f *overlay.File[content]) error {
		within := strings.HasPrefix(dir+"/", repositoryDir+"/"+repositoryName+"/")
		if within && strings.HasSuffix(name, ".file") && f.Mode&object.ModeTypeMask == object.ModeRegular {
			inside[f] = true
		}
		if dir == "/" && name != repositoryDir[1:] && name != "" {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil || len(inside) == 0 {
		return 0, 0, err
	}
	all = len(inside)
	err = tree.Walk(func(dir, name string, f *overlay.File[content]) error {
		if isRepository(dir, name) {
			return fs.SkipDir
		}
		delete(inside, f)
		return nil
	})
	return all, len(inside), err
}

// list returns the entries of a tree and the positions of their contents. It leaves out the object repository if the
// image holds a commit, whose files may have been removed by layers on top. It also does so for other images, such as
// squashed ones, if no content is lost. A commit without any file outside of its repository is an error.
func list(tree *overlay.Tree[content], ofCommit bool) (*rootfs.List, []place, error) {
	all, unlinked, err := objects(tree)
	if err != nil {
		return nil, nil, err
	}
	if ofCommit && all > 0 && unlinked == all {
		return nil, nil, errors.New("no file of its commit has a path in the image (--format=ostree reads the commit)")
	}
	leaveOut := ofCommit || unlinked == 0
	b := rootfs.NewBuilder(0)
	var files []*overlay.File[content]
	err = tree.Walk(func(dir, name string, f *overlay.File[content]) error {
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
