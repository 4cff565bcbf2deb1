// Package tarfmt turns the objects of OSTree commits into tar streams and back. The streams are the layers of
// container images that carry a commit, and the stand-alone files of "tar export".
//
// [ExportCommit] writes a whole commit; [ExportChunk] and [ExportFinal] write the layers of an image, given which
// object belongs to which layer ([repo.Files], [repo.CommitContent]). The bytes are a pure function of the commit and of
// that choice, and equal those of the reference implementation, so that a host that holds a layer made by either has
// it.
//
// [ImportCommit] and [ImportObjectSet] read such streams, also those of older encoders, into a transaction of a
// repository. A stream is hostile until checked: every object is written under the checksum that it must have,
// everything that is held in memory is bounded, and a stream that does not follow the format is an error that wraps
// [ErrInvalidStream]. An importer does not end the transaction; a caller that gets an error aborts it. Whether a
// commit has arrived whole is for [repo.Txn.VerifyComplete] to say.
//
// A layer holds each object as a file below sysroot/ostree/repo/objects, preceded by its extended attributes in a file
// of its own, and each visible file as a hard link to its object. So the same layer serves both a container engine,
// which sees files, and an OSTree host, which takes the objects.
package tarfmt
