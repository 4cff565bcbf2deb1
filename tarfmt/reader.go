package tarfmt

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// These are the limits on records that precede an entry.
const (
	maxLongRecord = 1 << 20
	// maxPAXRecords leaves room for the xattrs of one file, which the format limits to 1 MiB.
	maxPAXRecords = 2 << 20
	// maxSparseBlocks bounds the blocks that continue a sparse file's header.
	maxSparseBlocks = 1 << 16
)

// entry is a member of the archive. The records before its header are applied.
type entry struct {
	typ    byte
	path   string // may have any bytes
	link   string
	mode   uint64
	uid    uint64
	gid    uint64
	size   int64
	object string // the path below the repository, if the entry is in it
}

// tarReader reads entries. It does not use archive/tar, because the rules of the format differ: a GNU record wins over
// a PAX record, which wins over the header; an entry has at most one record of each kind; and checksums are checked as
// in the reference implementation.
type tarReader struct {
	r    *bufio.Reader
	left int64 // of the content of the current entry
	pad  int64

	done bool
}

func newTarReader(r io.Reader) *tarReader {
	return &tarReader{r: bufio.NewReaderSize(r, bufferSize)}
}

// Read reads the content of the current entry.
func (t *tarReader) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > t.left {
		p = p[:t.left]
	}
	n, err := t.r.Read(p)
	t.left -= int64(n)
	if errors.Is(err, io.EOF) && t.left > 0 {
		err = truncated()
	}
	return n, err
}

func truncated() error {
	return invalid(io.ErrUnexpectedEOF, "the stream ends inside an entry")
}

// records are the records that precede a header.
type records struct {
	name, link       string
	hasName, hasLink bool
	pax              []byte
	hasPAX           bool
}

func (r *records) any() bool { return r.hasName || r.hasLink || r.hasPAX }

// next returns the next entry, or io.EOF at the end of the archive.
func (t *tarReader) next() (*entry, error) {
	if t.done {
		return nil, io.EOF
	}
	var rec records
	for {
		var h block
		if err := t.header(&h); err != nil {
			if errors.Is(err, io.EOF) && rec.any() {
				return nil, invalidf("members found describing a future member but no future member found")
			}
			return nil, err
		}
		typ := h[156]
		if !h.known() || typ != typeLongName && typ != typeLongLink && typ != typePAX {
			return t.entry(&h, &rec)
		}
		if err := t.record(&h, &rec); err != nil {
			return nil, err
		}
	}
}

// known reports whether the header is of a form that has records.
func (b *block) known() bool {
	m := string(b.magic())
	return m == magicGNU || m == magicUSTAR
}

// header skips the rest of the last entry and reads a header.
func (t *tarReader) header(h *block) error {
	if err := t.skip(t.left + t.pad); err != nil {
		return err
	}
	t.left, t.pad = 0, 0
	if _, err := io.ReadFull(t.r, h[:]); err != nil {
		if errors.Is(err, io.EOF) {
			t.done = true
			return io.EOF
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return invalid(err, "failed to read entire block")
		}
		return err
	}
	if *h == (block{}) {
		t.done = true
		return io.EOF
	}
	want, err := parseNumber(h.checksum())
	if err != nil || want != uint64(h.sum()) {
		return invalidf("archive header checksum mismatch")
	}
	size, err := parseNumber(h.size())
	if err != nil {
		return err
	}
	return t.setSize(size)
}

func (t *tarReader) setSize(size uint64) error {
	if size > math.MaxInt64-blockSize {
		return invalidf("entry of %d bytes", size)
	}
	t.left = int64(size)
	t.pad = -t.left & (blockSize - 1)
	return nil
}

func (t *tarReader) skip(n int64) error {
	for n > 0 {
		step := int(min(n, 1<<30))
		d, err := t.r.Discard(step)
		n -= int64(d)
		if errors.Is(err, io.EOF) && n > 0 {
			return truncated()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tarReader) record(h *block, rec *records) error {
	typ, limit := h[156], int64(maxLongRecord)
	if typ == typePAX {
		limit = maxPAXRecords
	}
	if t.left > limit {
		return invalidf("record of type %s has %d bytes, more than %d", typeName(typ), t.left, limit)
	}
	var dup *bool
	what := "long name"
	switch typ {
	case typeLongName:
		dup = &rec.hasName
	case typeLongLink:
		dup = &rec.hasLink
	default:
		dup, what = &rec.hasPAX, "pax extensions"
	}
	if *dup {
		return invalidf("two %s entries describing the same member", what)
	}
	*dup = true
	data, err := t.all()
	if err != nil {
		return err
	}
	switch typ {
	case typeLongName:
		rec.name = string(bytes.TrimSuffix(data, zeros[:1]))
	case typeLongLink:
		rec.link = string(bytes.TrimSuffix(data, zeros[:1]))
	default:
		rec.pax = data
	}
	return nil
}

// all reads the content of the current entry, whose size the caller has checked. Memory grows with the data read, not
// with the size in the header.
func (t *tarReader) all() ([]byte, error) {
	const trusted = 128 << 10
	if t.left <= trusted {
		data := make([]byte, t.left)
		_, err := io.ReadFull(t, data)
		return data, err
	}
	var b bytes.Buffer
	b.Grow(trusted)
	_, err := io.Copy(&b, t)
	return b.Bytes(), err
}

// entry makes an entry from a header and the records before it.
func (t *tarReader) entry(h *block, rec *records) (*entry, error) {
	e := &entry{typ: h[156], path: h.path(), link: cString(h.linkname())}
	var err error
	if e.mode, err = parseNumber(h.mode()); err != nil {
		return nil, err
	}
	if e.uid, err = parseNumber(h.uid()); err != nil {
		return nil, err
	}
	if e.gid, err = parseNumber(h.gid()); err != nil {
		return nil, err
	}
	if rec.hasPAX && e.typ != typePAXGlobal {
		if err := t.applyPAX(e, rec.pax); err != nil {
			return nil, err
		}
	}
	if rec.hasName {
		e.path = rec.name
	}
	if rec.hasLink {
		e.link = rec.link
	}
	if e.typ == typeSparse && string(h.magic()) == magicGNU && h[482] != 0 {
		if err := t.sparseBlocks(); err != nil {
			return nil, err
		}
	}
	e.size = t.left
	return e, nil
}

// path returns the path in the header, without records.
func (b *block) path() string {
	name := cString(b.name())
	if string(b.magic()) == magicUSTAR {
		if prefix := cString(b[345:500]); prefix != "" {
			return prefix + "/" + name
		}
	}
	return name
}

// sparseBlocks reads the blocks that continue the header of a sparse file. Sparse files are not supported, but may
// occur outside the repository, where entries are ignored.
func (t *tarReader) sparseBlocks() error {
	for range maxSparseBlocks {
		var b block
		if _, err := io.ReadFull(t.r, b[:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return truncated()
			}
			return err
		}
		if b[504] == 0 {
			return nil
		}
	}
	return invalidf("the map of a sparse file has more than %d blocks", maxSparseBlocks)
}

// applyPAX applies PAX records. It splits records by their length, since a value may contain newlines; a reader that
// splits at newlines would see records inside a value.
func (t *tarReader) applyPAX(e *entry, data []byte) error {
	seen := map[string]bool{}
	for len(data) > 0 {
		key, value, rest, ok := cutPAX(data)
		if !ok {
			return invalidf("malformed pax extension")
		}
		data = rest
		switch key {
		case "path", "linkpath", "size", "uid", "gid":
		default:
			continue
		}
		if seen[key] {
			return invalidf("two pax records for %q of one entry", key)
		}
		seen[key] = true
		if err := t.setPAX(e, key, string(value)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tarReader) setPAX(e *entry, key, value string) error {
	switch key {
	case "path":
		e.path = value
		return nil
	case "linkpath":
		e.link = value
		return nil
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return invalidf("pax record %s is %q, which is not a number", key, shown(value))
	}
	switch key {
	case "uid":
		e.uid = n
	case "gid":
		e.gid = n
	default:
		return t.setSize(n)
	}
	return nil
}

// cutPAX splits the first record from the rest.
func cutPAX(data []byte) (key string, value, rest []byte, ok bool) {
	digits, _, found := bytes.Cut(data[:min(len(data), 20)], []byte(" "))
	if !found {
		return "", nil, nil, false
	}
	size, err := strconv.ParseUint(string(digits), 10, 31)
	if err != nil || int(size) > len(data) || int(size) < len(digits)+2 {
		return "", nil, nil, false
	}
	record := data[len(digits)+1 : size]
	if record[len(record)-1] != '\n' {
		return "", nil, nil, false
	}
	k, v, found := bytes.Cut(record[:len(record)-1], []byte("="))
	return string(k), v, data[size:], found && len(k) > 0
}

// parseNumber parses octal digits, surrounded by spaces and ended by a NUL, or the base-256 form for large numbers. An
// empty field is zero.
func parseNumber(field []byte) (uint64, error) {
	if field[0]&0x80 != 0 {
		return parseLargeNumber(field)
	}
	s := strings.Trim(cString(field), " ")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 64)
	if err != nil {
		return 0, invalidf("numeric field was not a number: %s", shown(s))
	}
	return n, nil
}

func parseLargeNumber(field []byte) (uint64, error) {
	var wide [12]byte
	copy(wide[12-len(field):], field)
	wide[12-len(field)] &^= 0x80
	if binary.BigEndian.Uint32(wide[:4]) != 0 || field[0]&0x40 != 0 {
		return 0, invalidf("numeric field is negative or too large")
	}
	return binary.BigEndian.Uint64(wide[4:]), nil
}

// typeName returns the name of a type of entry, as in the reference implementation.
func typeName(typ byte) string {
	switch typ {
	case typeRegular, typeOldFile:
		return "Regular"
	case typeHardLink:
		return "Link"
	case typeSymlink:
		return "Symlink"
	case '3':
		return "Char"
	case '4':
		return "Block"
	case typeDir:
		return "Directory"
	case '6':
		return "Fifo"
	case typeContig:
		return "Continuous"
	case typeLongName:
		return "GNULongName"
	case typeLongLink:
		return "GNULongLink"
	case typeSparse:
		return "GNUSparse"
	case typePAXGlobal:
		return "XGlobalHeader"
	case typePAX:
		return "XHeader"
	default:
		return fmt.Sprintf("%d", typ)
	}
}

func isRegular(typ byte) bool { return typ == typeRegular || typ == typeOldFile }
