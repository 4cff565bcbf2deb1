// Package fetch reads blobs from a registry in a way that neither hangs nor starts over.
//
// A [Client] reads the blobs of one image. It asks the mirrors in registries.conf first and the registry last, as
// package access lists them, with the credentials, certificates and rules of that package.
//
// If a connection breaks, ends early, or sends nothing for [Options.Stall], the rest of the blob is asked for with a
// Range header, at the same endpoint or the next. A server that ignores the header sends the blob from its beginning,
// and the bytes that are already there are skipped. Answers that do not fit, because of their range or size, are
// refused. A server that is busy (429) or broken (5xx) is asked again later, when it says (Retry-After) or after a
// pause that doubles. The number of attempts without a new byte is bounded, and so is the time waited. Other errors are
// not repeated: a [*access.StatusError] for a blob that does not exist, a [*access.DeniedError] for credentials that
// are not accepted.
//
// The reader of a blob does not check the digest. [oci.Verify] does, for every source of blobs.
//
// # Kept bytes
//
// With [Options.Dir], what was read of a blob is also written to a file there, and the next process continues where
// this one ended. The file has the name ALGORITHM-HEX, and belongs to one reader at a time: it is locked with flock,
// and another reader of the same blob keeps nothing. The file is removed
//
//   - when the blob was read to its end and the reader is closed;
//   - when the reader is closed before that, although nothing failed: the caller did not want the bytes, which may be
//     wrong;
//   - when the digest of a blob with kept bytes is wrong, see [ErrKeptDamaged];
//   - when it is a week old, or room is needed for others, oldest first ([Options.MaxKept]).
//
// So it stays if the process is killed, the context of the reader is cancelled, or the registry fails.
//
// Nothing is synced to disk, so after a power failure files may be short or have wrong blocks. Each block in a file has
// a checksum: what follows the first wrong one is fetched again. A file is: 8 bytes "OEXBLOB1", the size of the blob (8
// bytes, big-endian), the CRC-32C of these 16 bytes; then for each block its length and its CRC-32C, both 4 bytes,
// big-endian, and the data.
//
// The directory must belong to the user, and not be writable for others. Anything in it that is not a regular file of
// the user with one link is not opened. Changes to the directory are made under a lock of it (flock).
package fetch
