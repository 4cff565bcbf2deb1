// Package object has the objects that OSTree commits are made of: their names, their types, and the bytes that they are
// stored and hashed as.
//
// [ParseCommit], [ParseDirTree], [ParseDirMeta] and [ParseFileHeader] read bytes, which may come from anywhere: they
// demand the one form in which an object may be written, and say so with an error that wraps [ErrNotNormal]. The
// functions that begin with Encode are their inverses. [HashMetadata] and [FileHasher] give the [Checksum] that names
// an object. Nothing here reads or writes a repository; package repo does.
package object
