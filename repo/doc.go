// Package repo reads and writes OSTree repositories in pure Go, interchangeably with libostree.
//
// [Open] opens a repository, [Repo.ResolveRev] finds a commit in it, and [Repo.OpenFile] and its siblings, which make
// up [Source], read the objects, whose form is in package object. [ViewCommit] reads the files of a commit by path,
// [LoadCommit] and its siblings read one object, and [WalkTree], [Traverse] and [CommitContent] all of them.
//
// Everything is written in a transaction, [Repo.Begin]: staged aside, synced to disk at once, moved into place, and
// only then named by refs. Both programs may work on one repository at the same time; see [Repo.Lock].
//
// It needs Linux with /proc mounted.
package repo
