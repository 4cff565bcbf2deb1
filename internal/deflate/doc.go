// Package deflate compresses into the DEFLATE format (RFC 1951) and wraps it as gzip (RFC 1952).
//
// It exists because the digests of image layers are those of compressed bytes: a compressor whose output changes between
// versions, as libraries' do, makes every host fetch every layer again. The output of this package for an input and level
// is held by golden sums in its tests and must not change.
//
// [Writer] cuts its input into blocks of 1 MiB, several of which the workers of its [Pool] compress at a time, each with the 32 KiB
// before it as dictionary. The blocks' output is joined to one gzip member, the same for any number of workers. [Encoder] compresses one
// such block.
//
// Matches are found by hash chains of limited length and taken lazily; blocks end where the statistics of their symbols
// change; each has the cheapest of the three block forms. Level 1
// takes the first match it sees. Nothing depends on time or on the machine.
package deflate
