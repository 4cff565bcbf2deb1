// Package cleanup makes the root filesystem of a container fit to be committed as an operating system. It does what
// the scripts of hhd-dev/rechunk do before they commit a tree: accounts go to /usr/lib, the state in /var goes to /usr,
// and files that every build writes anew are left out. Each clean-up has a name, and what it changed is returned. The
// tree is not changed: the result is a view of it.
//
// A tree that was cleaned up is not changed again.
package cleanup
