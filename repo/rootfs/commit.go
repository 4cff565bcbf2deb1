package rootfs

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// maxEntries bounds the paths of one tree. A few bytes of dirtrees can name more than fit in any memory; no real tree comes
// near.
const maxEntries = 10_000_000

// commitTree is the tree of a commit.
type commitTree struct {
	src     repo.Source
	entries []Entry
}

// Commit returns the tree of a commit. Names of one object are links of one file; nothing has a time.
func Commit(ctx context.Context, src repo.Source, commit repo.Checksum) (Tree, error) {
	data, err := src.Metadata(ctx, repo.ObjectName{Checksum: commit, Type: repo.TypeCommit})
	if err != nil {
		return nil, err
	}
	c, err := repo.ParseCommit(data)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	w := commitWalk{src: src, tree: &commitTree{src: src}, metas: map[repo.Checksum]repo.FileHeader{}, files: map[repo.Checksum]*repo.FileInfo{}}
	if err := w.dir(ctx, "/", c.Tree, c.Meta, 0); err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	entries := w.tree.entries
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	first := map[repo.Checksum]int{}
	for i := range entries {
		entries[i].Link = i
		if entries[i].IsDir() {
			continue
		}
		if j, ok := first[entries[i].Object]; ok {
			entries[i].Link = j
		} else {
			first[entries[i].Object] = i
		}
	}
	return w.tree, nil
}

// Entries implements [Tree].
func (t *commitTree) Entries() []Entry { return t.entries }

// Open implements [Tree].
func (t *commitTree) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	r, _, err := t.src.OpenFile(ctx, t.entries[index].Object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.entries[index].Path, err)
	}
	return r, nil
}

type commitWalk struct {
	src   repo.Source
	tree  *commitTree
	metas map[repo.Checksum]repo.FileHeader
	files map[repo.Checksum]*repo.FileInfo
}

func (w *commitWalk) dir(ctx context.Context, dir string, tree, meta repo.Checksum, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > repo.MaxTreeDepth {
		return fmt.Errorf("%s: more than %d directories deep", dir, repo.MaxTreeDepth)
	}
	header, err := w.dirMeta(ctx, meta)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	w.tree.entries = append(w.tree.entries, Entry{Path: dir, FileHeader: header})
	data, err := w.src.Metadata(ctx, repo.ObjectName{Checksum: tree, Type: repo.TypeDirTree})
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	list, err := repo.ParseDirTree(data)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if len(w.tree.entries)+len(list.Files)+len(list.Dirs) > maxEntries {
		return fmt.Errorf("more than %d files and directories", maxEntries)
	}
	for _, f := range list.Files {
		info, ok := w.files[f.Checksum]
		if !ok {
			if info, err = w.src.FileInfo(ctx, f.Checksum); err != nil {
				return fmt.Errorf("%s: %w", path.Join(dir, f.Name), err)
			}
			w.files[f.Checksum] = info
		}
		w.tree.entries = append(w.tree.entries, Entry{Path: path.Join(dir, f.Name), FileHeader: info.FileHeader, Size: info.Size, Object: f.Checksum})
	}
	for _, d := range list.Dirs {
		if err := w.dir(ctx, path.Join(dir, d.Name), d.Tree, d.Meta, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *commitWalk) dirMeta(ctx context.Context, c repo.Checksum) (repo.FileHeader, error) {
	if h, ok := w.metas[c]; ok {
		return h, nil
	}
	data, err := w.src.Metadata(ctx, repo.ObjectName{Checksum: c, Type: repo.TypeDirMeta})
	if err != nil {
		return repo.FileHeader{}, err
	}
	m, err := repo.ParseDirMeta(data)
	if err != nil {
		return repo.FileHeader{}, err
	}
	h := repo.FileHeader{UID: m.UID, GID: m.GID, Mode: m.Mode, Xattrs: m.Xattrs}
	w.metas[c] = h
	return h, nil
}
