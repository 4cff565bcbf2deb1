// Package archive lists the members of archives in the formats in which builds store files: cpio, tar, ar and zip,
// compressed or not. It says of each member what may differ between two builds of the same sources: its time, its inode
// number, its place in the order.
//
// The input is not trusted: the number of members, the length of names, and the bytes that are decompressed are
// limited.
package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/ostree-ext/ostree-ext-go/internal/inflate"
)

// Formats of archives.
const (
	CPIO = "cpio"
	Tar  = "tar"
	Ar   = "ar"
	Zip  = "zip"
)

// Member is one member of an archive.
type Member struct {
	Name string
	// Time is the member's time: seconds since 1970, for zip in the zone of UTC if none is given.
	Time int64
	// Inode is the inode number, in cpio archives.
	Inode uint64
	Dir   bool
	// First says that it is the first member of one of several archives of cpio.
	First bool
	// Sum identifies the content and the rest of the header. It is zero unless it was asked for.
	Sum [sha256.Size]byte
}

// Contents are the members of an archive.
type Contents struct {
	Format  string
	Members []Member
	// GzipTimes are the times in gzip headers that are not zero, in seconds since 1970.
	GzipTimes []uint32
	// Opaque says that a part is compressed in a way that is not read, such as xz.
	Opaque bool
}

// Options limit what is read.
type Options struct {
	// Members is the largest number of members, and Bytes that of bytes after decompression. What lies beyond is an
	// error that wraps [ErrTooLarge]; the contents up to there are returned with it.
	Members int
	Bytes   int64
	// Sums asks for the sums of members, for which their content is read.
	Sums bool
}

// Errors of [Read].
var (
	// ErrFormat says that the input is not an archive.
	ErrFormat = errors.New("not an archive")
	// ErrBroken says that the archive is damaged or has features that are not supported.
	ErrBroken = errors.New("broken archive")
	// ErrTooLarge says that a limit was exceeded.
	ErrTooLarge = errors.New("too large")
)

const (
	// peek is how many bytes tell a format: tar has its mark there.
	peek = 262
	// maxWindow is the largest window of a zstd stream, in bytes.
	maxWindow = 128 << 20
	// maxDepth is how often a stream may be compressed.
	maxDepth = 3
	// maxName is the length of a name in bytes, as in Linux.
	maxName = 4096
	// maxZip is the largest zip archive in bytes. It is held in memory, since its list is at its end.
	maxZip = 64 << 20
)

// reader reads an archive.
type reader struct {
	opts Options
	left int64
	out  *Contents
	// fault is the first error of reading the input.
	fault error
}

// Read lists the members of an archive that r holds from here on. Archives of cpio may follow each other, each
// compressed in its own way, as in an initial RAM disk. Errors of r are returned as they are.
func Read(r io.Reader, opts Options) (*Contents, error) {
	a := &reader{opts: opts, left: opts.Bytes, out: &Contents{}}
	err := a.stream(&watched{r, &a.fault}, 0)
	if a.fault != nil {
		err = a.fault
	}
	return a.out, err
}

// stream reads one stream.
func (a *reader) stream(r io.Reader, depth int) error {
	in := bufio.NewReaderSize(&limited{r, &a.left}, 64<<10)
	for first := true; ; first = false {
		head, err := skipZeros(in, !first)
		if err != nil {
			return err
		}
		if len(head) == 0 && !first {
			return nil
		}
		kind := Kind(head)
		if first || kind != "" {
			if depth == maxDepth && isCompressed(kind) {
				return fmt.Errorf("%w: compressed more than %d times", ErrTooLarge, maxDepth)
			}
		}
		switch kind {
		case CPIO:
			if err := a.format(CPIO); err != nil {
				return err
			}
			if err := a.cpio(in); err != nil {
				return err
			}
			continue
		case Tar, Ar, Zip:
			if !first {
				return fmt.Errorf("%w: %s after cpio", ErrBroken, kind)
			}
			if err := a.format(kind); err != nil {
				return err
			}
			switch kind {
			case Tar:
				return a.tar(in)
			case Ar:
				return a.ar(in)
			}
			return a.zip(in)
		case "gzip":
			if t := binary.LittleEndian.Uint32(head[4:8]); t != 0 {
				a.out.GzipTimes = append(a.out.GzipTimes, t)
			}
			z, err := inflate.NewReader(in)
			if err != nil {
				return broken(err)
			}
			return a.stream(z, depth+1)
		case "zstd":
			z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return broken(err)
			}
			defer z.Close()
			return a.stream(z, depth+1)
		case "":
			if first {
				return ErrFormat
			}
			return fmt.Errorf("%w: something else follows", ErrBroken)
		default:
			a.out.Opaque = true
			if first && a.out.Format == "" {
				return ErrFormat
			}
			return nil
		}
	}
}

func (a *reader) format(f string) error {
	if a.out.Format != "" && a.out.Format != f {
		return fmt.Errorf("%w: both %s and %s", ErrBroken, a.out.Format, f)
	}
	a.out.Format = f
	return nil
}

// add adds a member.
func (a *reader) add(m Member) error {
	if len(a.out.Members) >= a.opts.Members {
		return fmt.Errorf("%w: more than %d members", ErrTooLarge, a.opts.Members)
	}
	a.out.Members = append(a.out.Members, m)
	return nil
}

// skipZeros passes over the zeros between cpio archives, and returns the first bytes of what follows.
func skipZeros(in *bufio.Reader, zeros bool) ([]byte, error) {
	for {
		head, err := in.Peek(peek)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, broken(err)
		}
		if !zeros || len(head) == 0 || head[0] != 0 {
			return head, nil
		}
		n := 0
		for n < len(head) && head[n] == 0 {
			n++
		}
		if _, err := in.Discard(n); err != nil {
			return nil, broken(err)
		}
	}
}

// magic are the first bytes of formats. Those that are not archives are compressed.
var magic = []struct {
	kind, text string
	at         int
}{
	{CPIO, "070701", 0}, {CPIO, "070702", 0}, {Tar, "ustar", 257}, {Ar, "!<arch>\n", 0}, {Zip, "PK\x03\x04", 0},
	{"gzip", "\x1f\x8b\x08", 0}, {"zstd", "\x28\xb5\x2f\xfd", 0}, {"xz", "\xfd7zXZ\x00", 0}, {"bzip2", "BZh", 0},
	{"lz4", "\x02\x21\x4c\x18", 0}, {"lz4", "\x04\x22\x4d\x18", 0}, {"lzop", "\x89LZO\x00", 0},
	{"lzma", "\x5d\x00\x00", 0},
}

// Kind returns the format that the first bytes of a file show: one of the archives, "gzip", "zstd", another way to
// compress, or "". It needs 262 bytes to tell tar.
func Kind(head []byte) string {
	for _, m := range magic {
		if len(head) >= m.at && bytes.HasPrefix(head[m.at:], []byte(m.text)) {
			if m.kind == "gzip" && len(head) < 10 {
				return ""
			}
			return m.kind
		}
	}
	return ""
}

func isCompressed(kind string) bool { return kind == "gzip" || kind == "zstd" }

// broken returns an error about the archive.
func broken(err error) error {
	if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrBroken) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// watched remembers an error of reading.
type watched struct {
	r     io.Reader
	fault *error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && *w.fault == nil {
		*w.fault = err
	}
	return n, err
}

// limited reads up to a number of bytes that several readers share.
type limited struct {
	r    io.Reader
	left *int64
}

func (l *limited) Read(p []byte) (int, error) {
	if *l.left <= 0 {
		return 0, ErrTooLarge
	}
	n, err := l.r.Read(p[:min(int64(len(p)), *l.left)])
	*l.left -= int64(n)
	return n, err
}
