// Package inodecheck finds images that an old version of libostree stored wrongly, because it cut the numbers of inodes
// to 32 bits when it recognised files by them. It is upstream's provisional repair.
package inodecheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
)

// Inodes says which inodes of objects could be taken for each other. Its JSON form is upstream's.
type Inodes struct {
	// Collisions are numbers of more than 32 bits whose low 32 bits are the number of another object, sorted.
	Collisions []uint64 `json:"collisions"`
	// Small and Large count the objects whose numbers have at most 32 bits, and those with larger ones.
	Small uint64 `json:"inode32"`
	Large uint64 `json:"inode64"`
	// Pairs has the objects of the collisions.
	Pairs []Collision `json:"-"`
	// byID has the inode of each object, by its checksum.
	byID map[string]uint64
}

// Collision is a pair of objects, named by their checksums, with the numbers of their inodes.
type Collision struct {
	Large, Small     string
	Inode, Truncated uint64
}

// Analyze reads the numbers of all inodes below the directory objects of a repository. Of several files of one
// checksum, such as a commit and its detached metadata, the last name counts.
func Analyze(ctx context.Context, repo string) (*Inodes, error) {
	root, err := os.OpenRoot(repo)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	n := &Inodes{Collisions: []uint64{}, byID: map[string]uint64{}}
	dirs, err := fs.ReadDir(root.FS(), "objects")
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !dir.IsDir() || len(dir.Name()) != 2 {
			continue
		}
		if err := n.read(root, dir.Name()); err != nil {
			return nil, err
		}
	}
	n.collide()
	return n, nil
}

// read adds the inodes in a directory of objects.
func (n *Inodes) read(root *os.Root, prefix string) error {
	dir := path.Join("objects", prefix)
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if t := e.Type(); !t.IsRegular() && t != fs.ModeSymlink {
			continue
		}
		stem, _, ok := strings.Cut(e.Name(), ".")
		if !ok {
			return fmt.Errorf("Invalid object %.100q", e.Name()) //nolint:staticcheck // upstream's text
		}
		info, err := root.Lstat(path.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: the number of the inode is not known", e.Name())
		}
		n.byID[prefix+stem] = st.Ino
	}
	return nil
}

// collide finds the collisions.
func (n *Inodes) collide() {
	small := map[uint64]string{}
	for id, ino := range n.byID {
		if ino <= math.MaxUint32 {
			n.Small++
			if old, ok := small[ino]; !ok || id < old {
				small[ino] = id
			}
		} else {
			n.Large++
		}
	}
	for id, ino := range n.byID {
		if other, ok := small[ino&math.MaxUint32]; ok && ino > math.MaxUint32 {
			n.Collisions = append(n.Collisions, ino)
			n.Pairs = append(n.Pairs, Collision{Large: id, Small: other, Inode: ino, Truncated: ino & math.MaxUint32})
		}
	}
	slices.Sort(n.Collisions)
	n.Collisions = slices.Compact(n.Collisions)
	slices.SortFunc(n.Pairs, func(a, b Collision) int { return strings.Compare(a.Large, b.Large) })
}

// JSON returns the canonical form.
func (n *Inodes) JSON() ([]byte, error) { return encode(n) }

// encode returns canonical JSON. Numbers of more than 2^53 have no canonical form, and are written with all digits.
func encode(v any) ([]byte, error) {
	data, err := canonjson.Marshal(v)
	if errors.Is(err, canonjson.ErrUnsupported) {
		return json.Marshal(v) // the fields are sorted
	}
	return data, err
}

// affected reports whether one of two objects has an inode that could be taken for another.
func (n *Inodes) affected(ids ...string) bool {
	for _, id := range ids {
		if ino, ok := n.byID[id]; ok {
			if _, found := slices.BinarySearch(n.Collisions, ino); found {
				return true
			}
		}
	}
	return false
}
