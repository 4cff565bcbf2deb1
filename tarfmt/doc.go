// Package tarfmt turns the objects of OSTree commits into tar streams and back. The streams are the layers of container
// images that hold a commit, and the files that "tar export" writes.
//
// [ExportCommit] writes a whole commit. [ExportChunk] and [ExportFinal] write the layers of an image, given the objects
// of each layer ([repo.Files], [repo.CommitContent]). The bytes depend only on the commit and on that choice, and equal
// those of the reference implementation, so that a host need not fetch a layer that it has from either.
//
// [ImportCommit] and [ImportObjectSet] read such streams, including those of older encoders, into a transaction of a
// repository. Streams are not trusted: the checksum of every object is verified and memory is bounded. If a stream
// violates the format, the error wraps [ErrInvalidStream]. An importer does not end the transaction; the caller must
// abort it after an error. [repo.Txn.VerifyComplete] checks that a commit is complete.
//
// A layer holds each object as a file below sysroot/ostree/repo/objects, preceded by a file with its extended
// attributes, and each visible file as a hard link to its object. So one layer serves both a container engine, which
// uses the visible files, and an OSTree host, which imports the objects.
package tarfmt
