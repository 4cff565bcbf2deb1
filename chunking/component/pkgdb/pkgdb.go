// Package pkgdb defines the content of a database of installed packages, in one form for all package managers. The
// packages alpm, apk, chisel, dpkg, portage and rpm read the databases.
package pkgdb

import (
	"errors"
	"time"
)

// Package is one installed package.
type Package struct {
	// Name is the name of the binary package, and Source that of its source package, without version. In Gentoo both have
	// the category before them: CATEGORY/NAME.
	Name, Source string
	// Version is the version as the package manager prints it.
	Version string
	// Arch is the package manager's own name of the architecture.
	Arch string
	// Built is the build date, or the install date if that is not known. It is zero if neither is known.
	Built time.Time
	// Changes are the dates of changelog entries, in any order. A day may have several.
	Changes []time.Time
	// Files are the files with absolute paths as in the database. Symlinks in the paths are not resolved, and the list may
	// include directories.
	Files Files
}

// ErrBroken is wrapped by errors about a database that violates its format.
var ErrBroken = errors.New("broken package database")

// ErrTooLarge is wrapped by errors about a database with more bytes or entries than a reader accepts.
var ErrTooLarge = errors.New("package database too large")
