// Package pkgdb says what a database of installed packages holds, in one form for all package managers. The readers are
// the packages below it.
package pkgdb

import (
	"errors"
	"time"
)

// Package is one installed package.
type Package struct {
	// Name is that of the binary package, Source that of the source package it was built from, without version.
	Name, Source string
	// Version is as the package manager prints it.
	Version string
	// Arch is the package manager's own name of the architecture.
	Arch string
	// Built is the build date, or the install date where no other is known; zero if neither is.
	Built time.Time
	// Changes are the dates of changelog entries, in any order, possibly several a day.
	Changes []time.Time
	// Files are absolute paths as the database has them: symlinks in their directories are not resolved, directories may
	// be among them.
	Files Files
}

// ErrBroken is wrapped by errors about a database that breaks the rules of its format.
var ErrBroken = errors.New("broken package database")

// ErrTooLarge says that a database has more bytes or entries than a reader takes.
var ErrTooLarge = errors.New("package database too large")
