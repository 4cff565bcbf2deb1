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

// These are the tags of a header that this package uses.
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

// These are rpm's own limits.
const (
	maxTags = 65535
	maxData = 256 << 20
)

const (
	flagGhost    = 1 << 6
	digestSHA256 = 8
)

// header is a parsed header blob: an index of entries, and their data in big-endian order.
type header struct {
	data    []byte
	entries map[uint32]entry
}

type entry struct{ typ, offset, count uint32 }

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{pkgdb.ErrBroken}, args...)...)
}

// parseHeader parses a blob: the number of entries, the size of the data, the entries, the data.
func parseHeader(blob []byte) (*header, error) {
	if len(blob) < 8 {
		return nil, broken("a header of %d bytes", len(blob))
	}
	n, size := binary.BigEndian.Uint32(blob), binary.BigEndian.Uint32(blob[4:])
	if n > maxTags || size > maxData || uint64(len(blob)) < 8+16*uint64(n)+uint64(size) {
		return nil, broken("a header of %d bytes with %d entries and %d bytes of data", len(blob), n, size)
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

// strings returns the values of a tag of strings.
func (h *header) strings(tag uint32) ([]string, error) {
	e, ok := h.entries[tag]
	if !ok {
		return nil, nil
	}
	if e.typ != typeString && e.typ != typeStringArray && e.typ != typeI18n || uint64(e.offset) > uint64(len(h.data)) {
		return nil, broken("tag %d", tag)
	}
	rest := h.data[e.offset:]
	// Each string has at least its NUL.
	if uint64(e.count) > uint64(len(rest)) {
		return nil, broken("tag %d has %d strings in %d bytes", tag, e.count, len(rest))
	}
	list := make([]string, e.count)
	for i := range list {
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			return nil, broken("a string of tag %d has no end", tag)
		}
		list[i], rest = string(rest[:end]), rest[end+1:]
	}
	return list, nil
}

// str returns the first value of a tag, or an empty string.
func (h *header) str(tag uint32) (string, error) {
	list, err := h.strings(tag)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0], nil
}

// numbers returns the values of a tag of integers.
func (h *header) numbers(tag uint32) ([]uint64, error) {
	e, ok := h.entries[tag]
	if !ok {
		return nil, nil
	}
	width, known := map[uint32]uint64{typeInt16: 2, typeInt32: 4, typeInt64: 8}[e.typ]
	if !known || uint64(e.offset)+width*uint64(e.count) > uint64(len(h.data)) {
		return nil, broken("tag %d", tag)
	}
	list := make([]uint64, e.count)
	for i := range list {
		at := h.data[uint64(e.offset)+width*uint64(i):]
		switch width {
		case 2:
			list[i] = uint64(binary.BigEndian.Uint16(at))
		case 4:
			list[i] = uint64(binary.BigEndian.Uint32(at))
		default:
			list[i] = binary.BigEndian.Uint64(at)
		}
	}
	return list, nil
}

// reader collects values and keeps the first error.
type reader struct {
	h   *header
	err error
}

func (r *reader) str(tag uint32) string {
	s, err := r.h.str(tag)
	r.keep(err)
	return s
}

func (r *reader) strings(tag uint32) []string {
	s, err := r.h.strings(tag)
	r.keep(err)
	return s
}

func (r *reader) numbers(tag uint32) []uint64 {
	n, err := r.h.numbers(tag)
	r.keep(err)
	return n
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// readPackage makes a package from a header blob. It ignores public keys, which are not packages.
func readPackage(blob []byte) (*pkgdb.Package, error) {
	h, err := parseHeader(blob)
	if err != nil {
		return nil, err
	}
	r := &reader{h: h}
	p := &pkgdb.Package{Name: r.str(tagName), Arch: r.str(tagArch)}
	p.Version = r.str(tagVersion) + "-" + r.str(tagRelease)
	if epoch := r.numbers(tagEpoch); len(epoch) > 0 && epoch[0] != 0 {
		p.Version = fmt.Sprintf("%d:%s", epoch[0], p.Version)
	}
	if p.Source = sourceName(r.str(tagSourceRPM)); p.Source == "" {
		p.Source = p.Name
	}
	for _, tag := range []uint32{tagBuildTime, tagInstallTime} {
		if t := r.numbers(tag); len(t) > 0 && p.Built.IsZero() {
			p.Built = date(t[0])
		}
	}
	for _, t := range r.numbers(tagChangelogTime) {
		if d := date(t); !d.IsZero() {
			p.Changes = append(p.Changes, d)
		}
	}
	files := r.files()
	if r.err != nil {
		return nil, fmt.Errorf("package %.100q: %w", p.Name, r.err)
	}
	if p.Name == "gpg-pubkey" {
		return nil, nil
	}
	if p.Name == "" || strings.ContainsAny(p.Name+p.Source, "/\x00 ,") {
		return nil, broken("the package name %.100q of %.100q", p.Name, p.Source)
	}
	p.Files = files
	return p, nil
}

// files returns the files. Each path consists of a name and the number of its directory.
func (r *reader) files() (files pkgdb.Files) {
	bases, dirs, indexes := r.strings(tagBaseNames), r.strings(tagDirNames), r.numbers(tagDirIndexes)
	flags, digests, algo := r.numbers(tagFileFlags), r.strings(tagFileDigests), r.numbers(tagDigestAlgo)
	sizes := r.numbers(tagLongFileSizes)
	if sizes == nil {
		sizes = r.numbers(tagFileSizes)
	}
	if len(bases) != len(indexes) {
		r.keep(broken("%d names in %d directories", len(bases), len(indexes)))
	}
	if r.err != nil {
		return files
	}
	for i, base := range bases {
		if indexes[i] >= uint64(len(dirs)) {
			r.keep(broken("directory %d of %d", indexes[i], len(dirs)))
			return files
		}
		f := pkgdb.File{Path: path.Join("/", dirs[indexes[i]], base)}
		if i < len(flags) {
			f.Ghost = flags[i]&flagGhost != 0
		}
		if i < len(sizes) && sizes[i] < 1<<62 {
			f.Size = int64(sizes[i])
		}
		if i < len(digests) && len(algo) > 0 && algo[0] == digestSHA256 {
			if sum, err := hex.DecodeString(digests[i]); err == nil && len(sum) == len(f.Digest) {
				f.Digest = [sha256.Size]byte(sum)
			}
		}
		files.Add(f)
	}
	return files
}

// sourceName returns the name of a source package's file without version and release.
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
