package repo

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// userOnlyPerm are the permission bits that files and directories of mode bare-user-only may have.
const userOnlyPerm = 0o775

// cleanHeader converts the xattrs of a header to the form in which they are hashed.
func (t *Txn) cleanHeader(h *object.FileHeader) *object.FileHeader {
	clean := *h
	if t.repo.Config().DisableXattrs {
		clean.Xattrs = nil
	} else if h.Xattrs.Validate() != nil || hasEmptyXattr(h.Xattrs) {
		clean.Xattrs = object.NewXattrs(h.Xattrs)
	}
	return &clean
}

func hasEmptyXattr(list object.Xattrs) bool {
	return slices.ContainsFunc(list, func(x object.Xattr) bool { return len(x.Value) == 0 })
}

// checkHeader refuses a header that is not that of a file object, or that the mode cannot store.
func (t *Txn) checkHeader(j *contentJob) error {
	err := (&object.FileInfo{FileHeader: *j.header, Size: j.size}).Validate()
	if err == nil {
		err = t.storable(j.header)
	}
	if err != nil && j.prescribed {
		return fmt.Errorf("object %s: %w", fileName(j.want), err)
	}
	return err
}

// storable refuses headers that would read back differently, and so fail every later check.
func (t *Txn) storable(h *object.FileHeader) error {
	switch t.repo.mode {
	case ModeBare:
		if hasEmptyXattr(h.Xattrs) {
			return errors.New("mode bare cannot store an xattr with an empty value")
		}
		if len(h.Xattrs) > 0 && t.repo.Config().DisableXattrs {
			return errors.New("the file has xattrs, which the key core.disable-xattrs forbids")
		}
	case ModeBareUserOnly:
		return canonical(h.UID, h.GID, h.Mode, h.Xattrs)
	}
	return nil
}

// canonical refuses headers that mode bare-user-only cannot store.
func canonical(uid, gid, mode uint32, xattrs object.Xattrs) error {
	perm := uint32(userOnlyPerm)
	if mode&object.ModeTypeMask == object.ModeSymlink {
		perm = 0o777
	}
	if bad := mode &^ (object.ModeTypeMask | perm); bad != 0 {
		return fmt.Errorf("invalid mode %#o with bits %#o: mode bare-user-only takes no others than %#o", mode, bad, perm)
	}
	if uid != 0 || gid != 0 {
		return fmt.Errorf("owner %d:%d: mode bare-user-only takes only 0:0", uid, gid)
	}
	if len(xattrs) > 0 {
		return fmt.Errorf("xattr %s: mode bare-user-only takes none", xattrs[0].Name)
	}
	return nil
}

func canonicalDirMeta(n object.Name, data []byte) error {
	m, err := object.ParseDirMeta(data)
	if err == nil {
		err = canonical(m.UID, m.GID, m.Mode, m.Xattrs)
	}
	if err != nil {
		return fmt.Errorf("object %s: %w", n, err)
	}
	return nil
}
