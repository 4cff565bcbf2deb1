package rpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// Tags of a header that this package uses.
const (
	tagName          = 1000
	tagVersion       = 1001
	tagRelease       = 1002
	tagEpoch         = 1003
	tagBuildTime     = 1006
	tagInstallTime   = 1008
	tagArch          = 1022
	tagFileSizes     = 1028
	tagFileDigests   = 1035
	tagFileFlags     = 1037
	tagSourceRPM     = 1044
	tagChangelogTime = 1080
	tagDirIndexes    = 1116
	tagBaseNames     = 1117
	tagDirNames      = 1118
	tagLongFileSizes = 5008
	tagDigestAlgo    = 5011
)

// Types of values.
const (
	typeInt16       = 3
	typeInt32       = 4
	typeInt64       = 5
	typeString      = 6
	typeStringArray = 8
	typeI18n        = 9
)

// Limits on a header, in bytes except for maxTags. rpm itself limits the data to 256 MiB. Packages with 100,000 files
// have about 15 MiB.
const (
	maxTags   = 65535
	maxData   = 32 << 20
	maxHeader = 8 + 16*maxTags + maxData
)

// Values of tagFileFlags and tagDigestAlgo.
const (
	flagGhost    = 1 << 6
	digestSHA256 = 8
)

// header is a parsed header blob: an index of entries, and their data in big-endian order.
type header struct {
	data    []byte
	entries map[uint32]entry
}

// entry says where the values of a tag are: the offset in the data and the number of values.
type entry struct{ typ, offset, count uint32 }

// broken returns an error that wraps [pkgdb.ErrBroken].
var broken = pkgdb.Broken

// parseHeader parses a blob, which has the number of entries, the size of the data, the entries and the data. The error
// wraps [pkgdb.ErrBroken].
func parseHeader(blob []byte) (*header, error) {
	if len(blob) < 8 {
		return nil, broken("the header has only %d bytes", len(blob))
	}
	n, size := binary.BigEndian.Uint32(blob), binary.BigEndian.Uint32(blob[4:])
	if n > maxTags || size > maxData || uint64(len(blob)) < 8+16*uint64(n)+uint64(size) {
		return nil, broken("the header has %d bytes, but claims %d entries and %d bytes of data", len(blob), n, size)
	}
	h := &header{data: blob[8+16*n : 8+16*n+size], entries: make(map[uint32]entry, n)}
	for i := range n {
		e := blob[8+16*i:]
		tag := binary.BigEndian.Uint32(e)
		if _, twice := h.entries[tag]; !twice {
			h.entries[tag] = entry{binary.BigEndian.Uint32(e[4:]), binary.BigEndian.Uint32(e[8:]),
				binary.BigEndian.Uint32(e[12:])}
		}
	}
	return h, nil
}

// strings returns the values of a tag of strings. They are slices of the header's data.
func (h *header) strings(tag uint32) (*stringList, error) {
	e, ok := h.entries[tag]
	if !ok {
		return &stringList{}, nil
	}
	if e.typ != typeString && e.typ != typeStringArray && e.typ != typeI18n || uint64(e.offset) > uint64(len(h.data)) {
		return nil, broken("tag %d has type %d and offset %d, not strings in %d bytes", tag, e.typ, e.offset, len(h.data))
	}
	rest := h.data[e.offset:]
	// Each string has at least a NUL at its end.
	if uint64(e.count) > uint64(len(rest)) {
		return nil, broken("tag %d claims %d strings in %d bytes", tag, e.count, len(rest))
	}
	return &stringList{tag: tag, rest: rest, left: int(e.count)}, nil
}

// stringList has the remaining values of a tag.
type stringList struct {
	tag  uint32
	rest []byte
	left int
}

// next removes the first value and returns it, or nil if there are no more. The error wraps [pkgdb.ErrBroken].
func (l *stringList) next() ([]byte, error) {
	if l.left == 0 {
		return nil, nil
	}
	end := bytes.IndexByte(l.rest, 0)
	if end < 0 {
		return nil, broken("a string of tag %d has no NUL at its end", l.tag)
	}
	s := l.rest[:end]
	l.rest, l.left = l.rest[end+1:], l.left-1
	return s, nil
}

// str returns the first value of a tag, or an empty string.
func (h *header) str(tag uint32) (string, error) {
	list, err := h.strings(tag)
	if err != nil {
		return "", err
	}
	s, err := list.next()
	return string(s), err
}

// numbers returns the values of a tag of integers. They are slices of the header's data.
func (h *header) numbers(tag uint32) (numbers, error) {
	e, ok := h.entries[tag]
	if !ok {
		return numbers{}, nil
	}
	width, known := map[uint32]uint64{typeInt16: 2, typeInt32: 4, typeInt64: 8}[e.typ]
	if !known || uint64(e.offset)+width*uint64(e.count) > uint64(len(h.data)) {
		return numbers{}, broken("tag %d has type %d, not %d integers in %d bytes", tag, e.typ, e.count, len(h.data))
	}
	return numbers{data: h.data[e.offset:], width: int(width), n: int(e.count)}, nil
}

// numbers are n integers of a width in bytes, big-endian.
type numbers struct {
	data     []byte
	width, n int
}

func (l numbers) at(i int) uint64 {
	at := l.data[l.width*i:]
	switch l.width {
	case 2:
		return uint64(binary.BigEndian.Uint16(at))
	case 4:
		return uint64(binary.BigEndian.Uint32(at))
	}
	return binary.BigEndian.Uint64(at)
}

// reader reads values of a header and keeps the first error.
type reader struct {
	h   *header
	err error
}

func (r *reader) str(tag uint32) string {
	s, err := r.h.str(tag)
	r.keep(err)
	return s
}

func (r *reader) strings(tag uint32) *stringList {
	s, err := r.h.strings(tag)
	r.keep(err)
	return s
}

func (r *reader) next(l *stringList) []byte {
	if r.err != nil {
		return nil
	}
	s, err := l.next()
	r.keep(err)
	return s
}

func (r *reader) numbers(tag uint32) numbers {
	n, err := r.h.numbers(tag)
	r.keep(err)
	return n
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// addPackage adds the package of a header blob. It ignores public keys, which rpm stores like packages. The error wraps
// [pkgdb.ErrBroken] if the header is not valid, and [pkgdb.ErrTooLarge] if the database is too large.
func addPackage(db *pkgdb.Reader, blob []byte) error {
	h, err := parseHeader(blob)
	if err != nil {
		return err
	}
	r := &reader{h: h}
	p := pkgdb.Package{Name: r.str(tagName), Arch: r.str(tagArch)}
	p.Version = r.str(tagVersion) + "-" + r.str(tagRelease)
	if epoch := r.numbers(tagEpoch); epoch.n > 0 && epoch.at(0) != 0 {
		p.Version = fmt.Sprintf("%d:%s", epoch.at(0), p.Version)
	}
	if p.Source = sourceName(r.str(tagSourceRPM)); p.Source == "" {
		p.Source = p.Name
	}
	for _, tag := range []uint32{tagBuildTime, tagInstallTime} {
		if t := r.numbers(tag); t.n > 0 && p.Built.IsZero() {
			p.Built = date(t.at(0))
		}
	}
	if p.Name == "gpg-pubkey" && r.err == nil {
		return nil
	}
	changes := r.numbers(tagChangelogTime)
	for i := range changes.n {
		if d := date(changes.at(i)); !d.IsZero() {
			r.keep(db.AddChanges(&p, d))
		}
		if r.err != nil {
			break
		}
	}
	r.files(db, &p)
	if r.err == nil {
		_, r.err = db.Add(p)
	}
	if r.err != nil {
		return fmt.Errorf("package %.100q: %w", p.Name, r.err)
	}
	return nil
}

// files adds the files of the package. A header has the name of each file and the index of its directory.
func (r *reader) files(db *pkgdb.Reader, p *pkgdb.Package) {
	bases, list, indexes := r.strings(tagBaseNames), r.strings(tagDirNames), r.numbers(tagDirIndexes)
	flags, digests, algo := r.numbers(tagFileFlags), r.strings(tagFileDigests), r.numbers(tagDigestAlgo)
	sizes := r.numbers(tagLongFileSizes)
	if sizes.n == 0 {
		sizes = r.numbers(tagFileSizes)
	}
	if r.err != nil {
		return
	}
	if bases.left != indexes.n || list.left > bases.left {
		r.keep(broken("the header has %d file names, %d indexes of directories and %d directories",
			bases.left, indexes.n, list.left))
		return
	}
	if list.left > maxDirectories {
		r.keep(broken("the package has %d directories, more than %d", list.left, maxDirectories))
		return
	}
	dirs := make([][]byte, list.left)
	for i := range dirs {
		dirs[i] = r.next(list)
	}
	sha256s := algo.n > 0 && algo.at(0) == digestSHA256
	for i := 0; bases.left > 0 && r.err == nil; i++ {
		base, digest := r.next(bases), r.next(digests)
		if at := indexes.at(i); at >= uint64(len(dirs)) {
			r.keep(broken("a file is in directory %d of %d", at, len(dirs)))
		} else if len(dirs[at])+len(base) > maxPath {
			r.keep(broken("a path has %d bytes, more than %d", len(dirs[at])+len(base), maxPath))
		} else {
			f := pkgdb.File{Path: path.Join("/", string(dirs[at]), string(base))}
			if i < flags.n {
				f.Ghost = flags.at(i)&flagGhost != 0
			}
			if i < sizes.n && sizes.at(i) < 1<<62 {
				f.Size = int64(sizes.at(i))
			}
			if sha256s && len(digest) == 2*sha256.Size {
				if _, err := hex.Decode(f.Digest[:], digest); err != nil {
					f.Digest = [sha256.Size]byte{}
				}
			}
			r.keep(db.AddFile(&p.Files, f))
		}
	}
}

// Limits on a package.
const (
	maxPath        = 4096 // bytes
	maxDirectories = 1 << 20
)

// sourceName returns the name in the file name of a source package, without version and release.
func sourceName(file string) string {
	for _, suffix := range []string{".src.rpm", ".nosrc.rpm"} {
		if name, ok := strings.CutSuffix(file, suffix); ok {
			for range 2 {
				i := strings.LastIndexByte(name, '-')
				if i <= 0 {
					return ""
				}
				name = name[:i]
			}
			return name
		}
	}
	return ""
}

// date returns a time if it is plausible for a package, or zero.
func date(seconds uint64) time.Time {
	if seconds == 0 || seconds > 1<<33 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}
