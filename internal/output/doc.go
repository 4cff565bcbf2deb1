// Package output writes to places that a user named, and manages temporary files.
//
// [Open] resolves a name. A regular file is replaced atomically, by a file that was written beside it. A symbolic link
// stays and its target is replaced. Anything else (a pipe, a device, a socket, an open file descriptor such as
// /dev/stdout) is written to as a stream.
//
// [Temp] and [TempDir] make files and directories that are locked while they are in use, so that [Sweep] can remove
// those that a killed process left. [Lock] prevents two processes from changing one directory at once.
package output
