// Package gvariant reads and writes serialised GVariant values: the encoding of everything in an OSTree repository that is
// not file content.
//
// [New] views bytes as a value of a type, and the accessors of [Value] take it apart without copying. The functions named
// after types, [Tuple], [Array] and [Variant] make values, always in normal form. [Dict] is the a{sv} that metadata is.
// [Value.String] prints a value as GLib does, [ParseText] reads that notation.
//
// Numbers are little-endian, as GLib writes them on nearly every machine. Where OSTree stores them big-endian, its codecs
// swap them. The format is described in GLib's documentation ("GVariant Format Specification").
package gvariant
