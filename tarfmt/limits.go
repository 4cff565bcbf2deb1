package tarfmt

import (
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// The kernel's limits on extended attributes, in bytes: a name, a value, and all names of one file, each with a NUL. An
// object may have more than them, and then no host can check it out.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
	maxXattrNames = 64 << 10
)

// checkXattrs returns an error for extended attributes that no file can have.
func checkXattrs(xattrs object.Xattrs) error {
	names := 0
	for _, x := range xattrs {
		if n := len(x.Name); n > maxXattrName {
			return fmt.Errorf("%w: the name of an extended attribute has %d bytes, and %d are allowed: %.80q", ErrTooLarge, n,
				maxXattrName, x.Name)
		}
		if n := len(x.Value); n > maxXattrValue {
			return fmt.Errorf("%w: its extended attribute %q has %d bytes, and %d are allowed", ErrTooLarge, x.Name, n,
				maxXattrValue)
		}
		names += len(x.Name) + 1
	}
	if names > maxXattrNames {
		return fmt.Errorf("%w: the names of its extended attributes have %d bytes, and %d are allowed", ErrTooLarge, names,
			maxXattrNames)
	}
	return nil
}
