//go:build interop

package e2e

import (
	"archive/tar"
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostileStream is a way to damage the tar stream of a commit, with the expected message.
type hostileStream struct {
	name   string
	damage func(t *testing.T, stream []byte) []byte
	says   string
}

// zeros is the content of a decompression bomb.
const zeros = 256 << 20

// hostileStreams apply to a layer of an image and to the input of "tar import".
var hostileStreams = []hostileStream{
	{"an empty stream", func(*testing.T, []byte) []byte { return nil }, "Commit object not found"},
	{"a stream without entries", func(*testing.T, []byte) []byte { return make([]byte, 1024) }, "Commit object not found"},
	{"not a tar stream", func(*testing.T, []byte) []byte { return bytes.Repeat([]byte("no tar "), 1000) },
		"archive header checksum mismatch"},
	{"a stream cut inside an object", func(_ *testing.T, s []byte) []byte { return s[:len(s)-len(s)%512-150*512] },
		"the stream ends inside an entry"},
	{"a stream cut inside a header", func(_ *testing.T, s []byte) []byte { return s[:700] },
		"failed to read entire block"},
	{"a header with a bit flipped", func(_ *testing.T, s []byte) []byte { s = bytes.Clone(s); s[0] ^= 1; return s },
		"archive header checksum mismatch"},
	{"an object that is absent", replaced(".file", func(string, []byte) []byte { return nil }),
		"Found previous dangling xattrs for file object"},
	{"a dirtree that is absent", replaced(".dirtree", func(string, []byte) []byte { return nil }), `of "/" is missing`},
	{"a commit that is absent", replaced(".commit", func(string, []byte) []byte { return nil }),
		"Expected commit object, not "},
	{"an object with other content", func(_ *testing.T, s []byte) []byte {
		return bytes.Replace(s, []byte("hello\n\x00"), []byte("jello\n\x00"), 1)
	}, "orrupted file object"},
	{"an object of another name", replaced(".file", func(name string, entry []byte) []byte {
		return entryOf(tar.Header{Name: objectDir + "00/" + strings.Repeat("0", 62) + ".file", Size: 1}, "x")
	}), "Object mismatch, found xattrs for "},
	{"the commit twice", replaced(".commit", twice), "Found multiple commit objects"},
	{"the commit again, later", replaced(".file-xattrs-link", func(name string, entry []byte) []byte {
		return append(entryOf(tar.Header{Name: objectDir + "00/" + strings.Repeat("0", 62) + ".commit", Size: 1}, "x"),
			entry...)
	}), "Found multiple commit objects"},
	{"xattrs twice", replaced(".file-xattrs-link", twice), "Found previous dangling xattrs for file object"},
	{"an object outside of the repository",
		before(".file-xattrs-link", tar.Header{Name: objectDir + "../../../../etc/passwd.file", Size: 1}, "x"),
		"Invalid checksum parent etc"},
	{"an object with a path for a name", before(".file-xattrs-link",
		tar.Header{Name: objectDir + "../../" + strings.Repeat("0", 62) + ".file", Size: 1},
		"x"), "Invalid sha256 checksum .."},
	{"an object with a short name", before(".file-xattrs-link", tar.Header{Name: objectDir + "00/00.file", Size: 1}, "x"),
		"Invalid checksum part 00"},
	{"an object that links to a file of the host", instead(tar.Header{Typeflag: tar.TypeLink, Linkname: "/etc/shadow"}),
		"Invalid tar entry of type Link"},
	{"an object that is a symlink to a file of the host",
		instead(tar.Header{Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}), "orrupted file object"},
	{"an object that is a device", instead(tar.Header{Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}),
		"Invalid tar entry of type Char"},
	{"a dirtree that is a symlink", replaced(".dirtree", func(name string, _ []byte) []byte {
		return entryOf(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: "/etc/shadow"}, "")
	}), "Invalid non-regular metadata object "},
	{"a dirtree of 11 MiB", replaced(".dirtree", func(name string, _ []byte) []byte {
		return entryOf(tar.Header{Name: name, Size: 11 << 20}, strings.Repeat("\x00", 11<<20))
	}), "object of size 11534336 exceeds 10485760 bytes"},
	{
		"a dirtree that claims a terabyte", replaced(".dirtree", func(name string, _ []byte) []byte {
			return entryOf(tar.Header{Name: name, Size: 1 << 40}, "")
		}), "object of size 1099511627776 exceeds 10485760 bytes"},
	{"xattrs of 2 MiB", replaced(".file-xattrs-link", func(name string, _ []byte) []byte {
		return entryOf(tar.Header{Name: name, Size: 2 << 20}, strings.Repeat("\x00", 2<<20))
	}), "Invalid xattr size 2097152"},
	{
		"an object that claims a petabyte", replaced(".file", func(name string, _ []byte) []byte {
			return entryOf(tar.Header{Name: name, Size: 1 << 50}, "x")
		}), "1.1\u00a0PB requested"},
	{"a name that claims a terabyte", replaced(".file", func(string, []byte) []byte {
		return entryOf(tar.Header{Typeflag: 'L', Name: "././@LongLink", Size: 1 << 40}, "x")
	}), "record of type GNULongName has 1099511627776 bytes, more than 1048576"},
}

// bomb is a large object of zeros. It takes seconds; another test has it in an image.
var bomb = hostileStream{"an object that is a bomb", replaced(".file", func(name string, _ []byte) []byte {
	return entryOf(tar.Header{Name: name, Size: zeros}, strings.Repeat("\x00", zeros))
}), "orrupted file object"}

const objectDir = "sysroot/ostree/repo/objects/"

func twice(_ string, entry []byte) []byte { return append(bytes.Clone(entry), entry...) }

// replaced replaces the first entry whose name ends in suffix.
func replaced(suffix string, with func(name string, entry []byte) []byte) func(*testing.T, []byte) []byte {
	return func(t *testing.T, stream []byte) []byte { return replaceEntry(t, stream, suffix, with) }
}

// before inserts another entry before it.
func before(suffix string, h tar.Header, data string) func(*testing.T, []byte) []byte {
	return replaced(suffix, func(_ string, entry []byte) []byte { return append(entryOf(h, data), entry...) })
}

// instead changes the first object to another type of entry.
func instead(h tar.Header) func(*testing.T, []byte) []byte {
	return replaced(".file", func(name string, _ []byte) []byte { h.Name = name; return entryOf(h, "") })
}

// entryOf returns an entry whose header may claim more data than follows.
func entryOf(h tar.Header, data string) []byte {
	h.Format, h.Mode = tar.FormatGNU, 0o644
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	raw := h.Typeflag == 'L' // which archive/tar writes for long names only
	if raw {
		h.Typeflag = tar.TypeReg
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&h); err != nil {
		panic(err)
	}
	if raw {
		b.Bytes()[156] = 'L'
		sum := 0
		copy(b.Bytes()[148:156], "        ")
		for _, c := range b.Bytes()[:512] {
			sum += int(c)
		}
		copy(b.Bytes()[148:156], octal(sum))
	}
	b.WriteString(data)
	b.Write(make([]byte, (512-len(data)%512)%512))
	return b.Bytes()
}

func octal(n int) string {
	digits := []byte("000000\x00 ")
	for i := 5; n > 0; i, n = i-1, n/8 {
		digits[i] = byte('0' + n%8)
	}
	return string(digits)
}

// replaceEntry replaces the first entry whose name ends in suffix, with its data and the record of a long name.
func replaceEntry(t *testing.T, stream []byte, suffix string, with func(name string, entry []byte) []byte) []byte {
	t.Helper()
	start := 0 // start start of the entry with its records
	name := ""
	for i := 0; i+512 <= len(stream); {
		size := 0
		for _, c := range bytes.Trim(stream[i+124:i+136], " \x00") {
			size = size*8 + int(c-'0')
		}
		next := i + 512 + (size+511)/512*512
		if stream[i+156] == 'L' {
			name = string(bytes.TrimRight(stream[i+512:i+512+size], "\x00"))
			i = next
			continue
		}
		if stream[i+156] == 'x' {
			i = next
			continue
		}
		if name == "" {
			short, _, _ := bytes.Cut(stream[i:i+100], []byte{0})
			name = string(short)
		}
		if strings.HasSuffix(name, suffix) {
			return bytes.Join([][]byte{stream[:start], with(name, stream[start:next]), stream[next:]}, nil)
		}
		start, i, name = next, next, ""
	}
	t.Fatalf("no entry ends in %q", suffix)
	return nil
}

// TestInterop_AHostileStreamIsRefusedAndLeavesNothing passes the damaged streams to "tar import".
func TestInterop_AHostileStreamIsRefusedAndLeavesNothing(t *testing.T) {
	source := hostileSource(t)
	pristine := sh(t, `"$1" tar export --repo="$2" b > "$2/stream" && echo "$2/stream"`, program, source)
	for _, c := range append(slices.Clone(hostileStreams), bomb) {
		t.Run(c.name, func(t *testing.T) {
			stream := readFile(t, pristine)
			file := filepath.Join(t.TempDir(), "stream")
			writeFile(t, file, string(c.damage(t, stream)))
			refuses(t, "bare-user", c.says, func(host string) []string {
				return []string{"tar", "import", "--repo=" + host, "--write-ref=b", file}
			})
		})
	}
}
