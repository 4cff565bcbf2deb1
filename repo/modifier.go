package repo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// TreeOptions say how a directory on disk becomes a tree. They are applied in the order of the fields. Functions get
// absolute paths in the tree, such as "/usr/bin/sh", and are called from several goroutines.
type TreeOptions struct {
	// OwnerUID and OwnerGID replace the owner of everything, if set.
	OwnerUID, OwnerGID *uint32
	// Overrides change the modes of some paths.
	Overrides *StatOverrides
	// ReadOnlyExecutables clears the write bits of regular files that have any execute bit.
	ReadOnlyExecutables bool
	// Skip names paths that are left out, with everything below them.
	Skip *SkipList
	// Filter, if not nil, may change the owner and mode of an entry, but not its type. It reports whether to keep it.
	Filter func(path string, h *object.FileHeader) (keep bool, err error)
	// CanonicalPermissions makes everything belong to root, with the permission bits 0755 at most and without xattrs. It
	// is implied for repositories of mode bare-user-only, which demand this.
	CanonicalPermissions bool
	// NoXattrs leaves xattrs out.
	NoXattrs bool
	// Label, if not nil, returns the SELinux label to store for a path instead of the one on disk, without a NUL; an empty
	// label stores none. mode includes the file type.
	Label func(path string, mode uint32) (string, error)
}

const selinuxXattr = "security.selinux"

// treeModifier applies TreeOptions.
type treeModifier struct {
	TreeOptions
	readXattrs bool
}

func (t *Txn) newModifier(opts TreeOptions) *treeModifier {
	m := &treeModifier{TreeOptions: opts}
	if t.repo.mode == ModeBareUserOnly {
		m.CanonicalPermissions = true
	}
	m.readXattrs = !m.CanonicalPermissions && !m.NoXattrs && !t.repo.Config().DisableXattrs
	return m
}

// stat applies the options that do not concern xattrs. It reports false for an entry that is left out.
func (m *treeModifier) stat(path string, h *object.FileHeader) (bool, error) {
	if m.OwnerUID != nil {
		h.UID = *m.OwnerUID
	}
	if m.OwnerGID != nil {
		h.GID = *m.OwnerGID
	}
	if m.Overrides != nil {
		h.Mode = m.Overrides.apply(path, h.Mode)
	}
	if m.ReadOnlyExecutables && h.Mode&object.ModeTypeMask == object.ModeRegular && h.Mode&0o111 != 0 {
		h.Mode &^= 0o222
	}
	if m.Skip != nil && m.Skip.has(path) {
		return false, nil
	}
	if m.Filter != nil {
		typ := h.Mode & object.ModeTypeMask
		keep, err := m.Filter(path, h)
		if err != nil || !keep {
			return false, err
		}
		h.Mode = typ | h.Mode&object.ModePermMask
	}
	if m.CanonicalPermissions {
		h.UID, h.GID = 0, 0
		if !h.IsSymlink() {
			h.Mode &= object.ModeTypeMask | 0o755
		}
	}
	return true, nil
}

// label replaces the SELinux label among the xattrs.
func (m *treeModifier) label(path string, h *object.FileHeader) error {
	if m.Label == nil || m.CanonicalPermissions {
		return nil
	}
	label, err := m.Label(path, h.Mode)
	if err != nil {
		return fmt.Errorf("SELinux label: %w", err)
	}
	list := make([]object.Xattr, 0, len(h.Xattrs)+1)
	for _, x := range h.Xattrs {
		if x.Name != selinuxXattr {
			list = append(list, x)
		}
	}
	if label != "" {
		list = append(list, object.Xattr{Name: selinuxXattr, Value: append([]byte(label), 0)})
	}
	h.Xattrs = object.NewXattrs(list)
	return nil
}

// pathSet is a set of paths that remembers which were found.
type pathSet[T any] struct {
	mu      sync.Mutex
	entries map[string]T
	unmet   map[string]bool
}

func (s *pathSet[T]) add(path string, v T) {
	if s.entries == nil {
		s.entries, s.unmet = map[string]T{}, map[string]bool{}
	}
	s.entries[path], s.unmet[path] = v, true
}

func (s *pathSet[T]) get(path string) (T, bool) {
	v, ok := s.entries[path]
	if ok {
		s.mu.Lock()
		delete(s.unmet, path)
		s.mu.Unlock()
	}
	return v, ok
}

func (s *pathSet[T]) unmatched() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.unmet))
}

// SkipList is a set of paths to leave out.
type SkipList struct{ set pathSet[struct{}] }

// ParseSkipList parses a list with one path per line.
func ParseSkipList(r io.Reader) (*SkipList, error) {
	s := &SkipList{}
	return s, eachLine(r, func(line string) error {
		s.set.add(path.Join("/", line), struct{}{})
		return nil
	})
}

func (s *SkipList) has(path string) bool {
	_, ok := s.set.get(path)
	return ok
}

// Unmatched returns the paths that were not found so far, sorted. `ostree commit` treats them as an error.
func (s *SkipList) Unmatched() []string { return s.set.unmatched() }

// StatOverrides are changes to the modes of paths.
type StatOverrides struct{ set pathSet[modeChange] }

type modeChange struct {
	bits    uint32
	replace bool
}

// ParseStatOverrides parses lines of the form "+BITS PATH", "BITS PATH" or "=BITS PATH". BITS is a decimal number. It
// is added to the mode, or with "=" replaces its permission bits.
func ParseStatOverrides(r io.Reader) (*StatOverrides, error) {
	s := &StatOverrides{}
	return s, eachLine(r, func(line string) error {
		bits, name, ok := strings.Cut(line, " ")
		if !ok {
			return fmt.Errorf("%.80q has no path: want MODE PATH", line)
		}
		change := modeChange{replace: strings.HasPrefix(bits, "=")}
		digits := strings.TrimPrefix(bits, "+")
		if change.replace {
			digits = bits[1:]
		}
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n > object.ModePermMask {
			return fmt.Errorf("%.80q is not a decimal number of permission bits", bits)
		}
		change.bits = uint32(n)
		s.set.add(path.Join("/", strings.TrimLeft(name, " ")), change)
		return nil
	})
}

func (s *StatOverrides) apply(path string, mode uint32) uint32 {
	change, ok := s.set.get(path)
	switch {
	case !ok:
		return mode
	case change.replace:
		return mode&object.ModeTypeMask | change.bits
	default:
		return mode | change.bits
	}
}

// Unmatched returns the paths that were not found so far, sorted. `ostree commit` treats them as an error.
func (s *StatOverrides) Unmatched() []string { return s.set.unmatched() }

// eachLine calls f with each line that is not empty.
func eachLine(r io.Reader, f func(line string) error) error {
	scan := bufio.NewScanner(r)
	for n := 1; scan.Scan(); n++ {
		if scan.Text() == "" {
			continue
		}
		if err := f(scan.Text()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return scan.Err()
}

// metaCache stores each distinct dirmeta once.
type metaCache struct {
	txn  *Txn
	seen map[string]object.Checksum
}

func (c *metaCache) store(ctx context.Context, h *object.FileHeader) (object.Checksum, error) {
	data, err := object.EncodeDirMeta(&object.DirMeta{UID: h.UID, GID: h.GID, Mode: h.Mode, Xattrs: h.Xattrs})
	if err != nil {
		return object.Checksum{}, err
	}
	if id, ok := c.seen[string(data)]; ok {
		return id, nil
	}
	id := object.HashMetadata(data)
	if err := c.txn.storeMetadata(ctx, object.Name{Checksum: id, Type: object.TypeDirMeta}, data); err != nil {
		return id, err
	}
	c.seen[string(data)] = id
	return id, nil
}
