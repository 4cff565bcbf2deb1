package tarfmt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const blockSize = 512

// Types of tar entries.
const (
	typeRegular   = '0'
	typeOldFile   = 0
	typeHardLink  = '1'
	typeSymlink   = '2'
	typeDir       = '5'
	typeContig    = '7'
	typePAX       = 'x'
	typePAXGlobal = 'g'
	typeLongLink  = 'K'
	typeLongName  = 'L'
	typeSparse    = 'S'
)

// block is the header of a tar entry, in GNU format unless stated otherwise.
type block [blockSize]byte

func (b *block) name() []byte     { return b[0:100] }
func (b *block) mode() []byte     { return b[100:108] }
func (b *block) uid() []byte      { return b[108:116] }
func (b *block) gid() []byte      { return b[116:124] }
func (b *block) size() []byte     { return b[124:136] }
func (b *block) mtime() []byte    { return b[136:148] }
func (b *block) checksum() []byte { return b[148:156] }
func (b *block) linkname() []byte { return b[157:257] }
func (b *block) magic() []byte    { return b[257:265] }

// attributes are the numbers of an object that go into a header.
type attributes struct {
	uid, gid uint32
	mode     uint32 // permission bits; others are ignored
}

const (
	magicGNU   = "ustar  \x00"
	magicUSTAR = "ustar\x0000"
)

// newHeader returns a header without a name. Device numbers and the names of users stay zero bytes.
func newHeader(typ byte, a attributes, size int64) block {
	var b block
	putNumber(b.mode(), uint64(a.mode&0o7777))
	putNumber(b.uid(), uint64(a.uid))
	putNumber(b.gid(), uint64(a.gid))
	putNumber(b.size(), uint64(size))
	putNumber(b.mtime(), 0)
	b[156] = typ
	copy(b.magic(), magicGNU)
	return b
}

// newPAXHeader returns the header of a block of PAX records, without a name.
func newPAXHeader(size int64) block {
	var b block
	putNumber(b.size(), uint64(size))
	putNumber(b.mtime(), 0)
	b[156] = typePAX
	copy(b.magic(), magicUSTAR)
	return b
}

// seal sets the checksum. It writes seven octal digits, while other programs write six and a space.
func (b *block) seal() { putNumber(b.checksum(), uint64(b.sum())) }

// sum adds up the bytes, with spaces for the checksum field. It runs for each header of every stream, so it adds eight
// bytes at a time, in four sums of 16 bits, which 512 bytes cannot overflow.
func (b *block) sum() uint32 {
	const mask = 0x00ff00ff00ff00ff
	var lanes uint64
	for i := 0; i < blockSize; i += 8 {
		v := binary.LittleEndian.Uint64(b[i:])
		lanes += v&mask + v>>8&mask
	}
	sum := uint32(lanes&0xffff + lanes>>16&0xffff + lanes>>32&0xffff + lanes>>48)
	for _, c := range b.checksum() {
		sum -= uint32(c)
	}
	return sum + 8*' '
}

// putNumber writes a number as octal digits and a NUL. If they do not fit, it writes the bytes of the number and sets
// the top bit of the field.
func putNumber(field []byte, v uint64) {
	last := len(field) - 1
	if v>>(3*last) != 0 {
		clear(field)
		for i := range 8 {
			field[last-i] = byte(v >> (8 * i))
		}
		field[0] |= 0x80
		return
	}
	field[last] = 0
	for i := last - 1; i >= 0; i-- {
		field[i] = '0' + byte(v&7)
		v >>= 3
	}
}

// pathKind says which rules apply to writing a path.
type pathKind uint8

const (
	namePath      pathKind = iota // relative, without ".."
	truncatedPath                 // like namePath, but the last component may have been cut to ".."
	linkPath                      // anything
)

// These are the errors of putPath. Callers that can write the path as a record only check that there is an error.
var (
	errPathTooLong  = errors.New("provided value is too long")
	errPathNUL      = errors.New("provided value contains a nul byte")
	errPathAbsolute = errors.New("paths in archives must be relative")
	errPathParent   = errors.New("paths in archives must not have `..`")
	errPathEmpty    = errors.New("paths in archives must have at least one component")
)

// slotWriter writes to a fixed field of a header. Bytes after the written ones keep their values. The format depends on
// that: the name field of a hard link has the tail of its object's path after the NUL.
type slotWriter struct {
	free []byte
}

func (s *slotWriter) put(text string) error {
	if len(text) > len(s.free) {
		return errPathTooLong
	}
	if strings.IndexByte(text, 0) >= 0 {
		return errPathNUL
	}
	n := copy(s.free, text)
	s.free = s.free[n:]
	if len(s.free) > 0 {
		s.free[0] = 0
	}
	return nil
}

// putPath writes a path component by component. It drops empty components, and "." unless it is the first. After an
// error the components written so far remain.
func putPath(slot []byte, path string, kind pathKind) error {
	s := slotWriter{free: slot}
	rest, leading, written, slash := path, true, false, false
	if strings.HasPrefix(path, "/") {
		if kind != linkPath {
			return errPathAbsolute
		}
		if err := s.put("/"); err != nil {
			return err
		}
		rest, leading, written = path[1:], false, true
	}
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		first := leading
		leading = false
		if skipComponent(name, rest, first, kind) {
			continue
		}
		if name == ".." && kind != linkPath && (kind != truncatedPath || hasComponent(rest)) {
			return errPathParent
		}
		if slash {
			if err := s.put("/"); err != nil {
				return err
			}
		}
		if err := s.put(name); err != nil {
			return err
		}
		written, slash = true, true
	}
	if !written {
		return errPathEmpty
	}
	if strings.HasSuffix(path, "/") {
		return s.put("/")
	}
	return nil
}

func skipComponent(name, rest string, first bool, kind pathKind) bool {
	switch name {
	case "":
		return true
	case ".":
		return !first || kind != linkPath && hasComponent(rest)
	default:
		return false
	}
}

// hasComponent reports whether the rest of a path has a component.
func hasComponent(rest string) bool {
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if name != "" && name != "." {
			return true
		}
	}
	return false
}

// setPath writes the name field and reports whether the path does not fit and needs a record.
func (b *block) setPath(path string) (long bool, err error) {
	err = putPath(b.name(), path, namePath)
	if err == nil {
		return false, nil
	}
	if len(path) < len(b.name()) || strings.IndexByte(path, 0) >= 0 {
		return false, fmt.Errorf("path %q: %w", path, err)
	}
	if err := putPath(b.name(), validPrefix(path[:len(b.name())]), truncatedPath); err != nil {
		return false, fmt.Errorf("path %q: %w", path, err)
	}
	return true, nil
}

// validPrefix returns the longest prefix that is valid UTF-8.
func validPrefix(s string) string {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return s[:i]
		}
		i += n
	}
	return s
}

// setTarget writes the target of a symlink and reports whether it needs a record. Every target is preserved exactly.
// The reference implementation writes targets as paths. That damages targets with a "." component, a trailing slash or
// a lone one, unless they contain "//", and then it fails if they are long. Wherever the reference implementation
// preserves the target, the bytes written here are the same. Otherwise the target is written literally to the field, or
// to a record if it does not fit. Every importer reads back either one unchanged, since a record takes precedence over
// the field and the field is taken as it is.
func (b *block) setTarget(target string) (long bool, err error) {
	switch {
	case target == "":
		return false, errors.New("symlink without a target")
	case strings.IndexByte(target, 0) >= 0:
		return false, fmt.Errorf("symlink target %q has a NUL byte", target)
	case !utf8.ValidString(target):
		return false, fmt.Errorf("symlink target %q is not UTF-8, which a tar stream of objects cannot carry", target)
	}
	slot := b.linkname()
	fits := len(target) <= len(slot)
	if !strings.Contains(target, "//") {
		err := putPath(slot, target, linkPath)
		if err != nil && !fits || err == nil && cString(slot) == target {
			return err != nil, nil
		}
	}
	clear(slot)
	if fits {
		copy(slot, target)
	}
	return !fits, nil
}

// cString returns the bytes of a field up to its first NUL.
func cString(field []byte) string {
	for i, c := range field {
		if c == 0 {
			return string(field[:i])
		}
	}
	return string(field)
}
