package repo

import (
	"errors"
	"fmt"
)

// Mode says how a repository stores file objects. Metadata objects are stored alike in all modes. The ids of objects do
// not depend on the mode, but [ModeBareUserOnly] holds canonical files only.
type Mode uint8

// The modes of repositories.
const (
	// ModeBare stores files as they are checked out, with their owners and xattrs. Writing other users' files requires
	// root.
	ModeBare Mode = iota + 1
	// ModeBareUser stores content as plain files and the rest in the xattr user.ostreemeta, so that any user can
	// write every file.
	ModeBareUser
	// ModeBareUserOnly stores only files that belong to root and have no xattrs, with the permission bits 0775 at most.
	ModeBareUserOnly
	// ModeArchive stores files compressed, with their metadata in front.
	ModeArchive
	// ModeBareSplitXattrs is ModeBare with xattrs in objects of their own. Such repositories can only be read.
	ModeBareSplitXattrs
)

var modeNames = [...]string{
	ModeBare: "bare", ModeBareUser: "bare-user", ModeBareUserOnly: "bare-user-only",
	ModeArchive: "archive-z2", ModeBareSplitXattrs: "bare-split-xattrs",
}

// ErrUnknownMode is wrapped by errors about a repository mode that does not exist.
var ErrUnknownMode = errors.New("unknown repository mode")

// ParseMode parses the name of a mode, as in the key core.mode. "archive" and "archive-z2" are the same mode.
func ParseMode(s string) (Mode, error) {
	if s == "archive" {
		return ModeArchive, nil
	}
	for m, name := range modeNames {
		if name != "" && name == s {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("%w %.80q: want bare, bare-user, bare-user-only or archive", ErrUnknownMode, s)
}

// String returns the name of the mode as libostree writes it to the key core.mode.
func (m Mode) String() string {
	if m.valid() {
		return modeNames[m]
	}
	return fmt.Sprintf("mode-%d", uint8(m))
}

func (m Mode) valid() bool { return m >= ModeBare && m <= ModeBareSplitXattrs }

// writable reports whether this package writes repositories of the mode.
func (m Mode) writable() bool { return m.valid() && m != ModeBareSplitXattrs }

// fileSuffix is the file name extension of file objects, with the dot.
func (m Mode) fileSuffix() string {
	if m == ModeArchive {
		return ".filez"
	}
	return ".file"
}
