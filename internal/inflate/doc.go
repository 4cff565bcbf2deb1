// Package inflate decompresses gzip (RFC 1952) streams of the DEFLATE format (RFC 1951), such as image layers.
//
// It exists because decompression limits the speed of importing an image: a layer can only be decompressed by one
// processor. The package takes about half the time of other Go libraries (BenchmarkReader). It reads eight bytes of
// input at once, finds a literal or a length with its extra bits by one table lookup, and copies matches by words. It
// accepts and refuses the same input as [compress/gzip]; a fuzz test compares both.
package inflate
