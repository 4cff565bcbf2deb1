// Package inflate reads gzip (RFC 1952) streams of the DEFLATE format (RFC 1951), as layers of images are.
//
// Importing an image waits for nothing as much as for this, since a layer can be inflated by one processor only. The package
// takes about half the time of the libraries that there are in Go (BenchmarkReader): it looks at eight bytes of input at once, finds a literal or a
// length with its extra bits by one look into a table, and copies matches by words. What it accepts and refuses is what
// [compress/gzip] does; a fuzz test compares both.
package inflate
