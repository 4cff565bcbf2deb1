// Package gvariant reads and writes serialised GVariant values: the encoding of everything in an OSTree repository that
// is not file content.
//
// [New] views bytes as a value of a type, and the accessors of [Value] read its parts without copying. The functions
// named after types, such as [Tuple], [Array] and [Variant], make values, always in normal form. [Dict] is a dictionary
// of type a{sv}, as metadata is. [Value.String] prints a value as GLib does, and [ParseText] reads that notation.
//
// Numbers are little-endian, as GLib writes them on nearly every machine. Where OSTree stores them big-endian, the
// codecs of its objects swap them. The format is described in GLib's documentation ("GVariant Format Specification").
package gvariant
