// Package object defines the objects of OSTree commits: their names, their types, and the bytes in which they are
// stored and hashed.
//
// [ParseDirTree], [ParseDirMeta] and [ParseFileHeader] parse untrusted bytes. They demand normal form, the one form in
// which an object may be written; otherwise the error wraps [ErrNotNormal]. [ParseCommit] also accepts other forms, as
// libostree does. The functions that begin with Encode are their inverses. [HashMetadata] and [FileHasher] give the
// [Checksum] that names an object. This package does not read or write repositories; package repo does.
package object
