// Package deflate compresses into the DEFLATE format (RFC 1951) and wraps it as gzip (RFC 1952).
//
// It exists because digests of image layers are computed from compressed bytes. If the output of a compressor changes
// between versions, as that of libraries does, every host fetches every layer again. The output of this package for an
// input and level must not change; golden sums in its tests check that.
//
// [Writer] splits its input into blocks of 1 MiB. The workers of its [Pool] compress several blocks at a time, each
// with the 32 KiB before it as dictionary. The compressed blocks are joined into one gzip member, the same for any
// number of workers. [Encoder] compresses one such block.
//
// Matches are found with hash chains of limited length and chosen lazily. Blocks end where the statistics of their
// symbols change, and each has the cheapest of the three block types. Level 1 uses the first match that it finds. The
// output does not depend on time or on the machine.
package deflate
