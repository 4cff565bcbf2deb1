package rootfs

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// names holds the names of a list: one after the other, each after its length, in pieces of memory that never move. A
// string header for each would take more memory than most names.
type names struct {
	pieces []string
	last   *strings.Builder // of the last piece; nil if that is shared
}

// The position of a name has 32 bits: the upper half is the piece, the lower the offset in it.
const (
	pieceBits = 16
	pieceSize = 1 << pieceBits
)

// clone returns a copy that can be added to independently.
func (n names) clone() names { return names{pieces: slices.Clone(n.pieces)} }

func (n *names) at(where uint32) string {
	s := n.pieces[where>>pieceBits][where&(pieceSize-1):]
	length, i := uint(s[0]), 1
	if length >= 0x80 {
		length, i = longLength(s)
	}
	return s[i : uint(i)+length]
}

// longLength reads a length of more than one byte.
func longLength(s string) (length uint, n int) {
	for shift := 0; ; shift += 7 {
		b := s[n]
		n++
		length |= uint(b&0x7f) << shift
		if b < 0x80 {
			return length, n
		}
	}
}

// add adds a name. The error is [ErrTooLong].
func (n *names) add(name string) (uint32, error) {
	size := len(name) + binary.MaxVarintLen64
	if n.last == nil || n.last.Len() >= pieceSize || n.last.Len()+size > n.last.Cap() {
		if len(n.pieces) > math.MaxUint32>>pieceBits {
			return 0, ErrTooLong
		}
		n.last = &strings.Builder{}
		n.last.Grow(max(size, pieceSize))
		n.pieces = append(n.pieces, "")
	}
	where := uint32(len(n.pieces)-1)<<pieceBits | uint32(n.last.Len())
	var length [binary.MaxVarintLen64]byte
	n.last.Write(length[:binary.PutUvarint(length[:], uint64(len(name)))])
	n.last.WriteString(name)
	// This shares the memory of the builder, which has room and so does not move.
	n.pieces[len(n.pieces)-1] = n.last.String()
	return where, nil
}
