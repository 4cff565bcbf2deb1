// Package advice says what makes the updates of an image larger than they need be, and how to end it: caches and lists
// of package managers, logs, files that hold the time of a build, files that no layer needs.
//
// [Of] judges a tree by the names and sizes in its listing alone, so that every build can end with it. [Examine] also
// reads the beginnings of some files, and [Compare] finds out what differs between two builds of the same sources.
// docs/advice.md explains each name.
package advice
