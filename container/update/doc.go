// Package update says what an update of a stored image brings, before it is booted and before any of its layers is
// fetched: packages, the kernel, system users, and how much there is to fetch.
//
// [Compare] reads the package databases of images that are stored. Of other images it has only manifest and
// configuration, and reads the label that this program writes, or else the annotations and the history in which
// upstream's program names packages. It writes nothing.
package update
