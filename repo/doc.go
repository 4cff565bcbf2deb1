// Package repo reads and writes OSTree repositories in pure Go, interchangeably with libostree.
//
// [Open] opens a repository and [Repo.ResolveRev] finds a commit in it. The methods of [Source], such as
// [Repo.OpenFile], read its objects, whose encoding is in package object. [ViewCommit] reads the files of a commit by
// path. [LoadCommit], [LoadDirTree] and [LoadDirMeta] read one object; [WalkTree], [Traverse] and [CommitContent] visit
// all of them.
//
// Everything is written in a transaction, see [Repo.Begin]: objects are staged, synced to disk together, moved into
// place, and only then named by refs. Libostree may use the repository at the same time; see [Repo.Lock].
//
// The package needs Linux with /proc mounted.
package repo
