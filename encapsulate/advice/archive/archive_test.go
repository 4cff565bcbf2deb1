package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice/archive"
)

// newc returns a cpio archive in the format "newc": the mark 070701 and 13 numbers of eight hexadecimal digits (inode,
// mode, owner, group, links, time, size, four of devices, length of the name with its zero, checksum), then name and
// content, each padded to four bytes.
func newc(members ...archive.Member) []byte {
	var b bytes.Buffer
	add := func(m archive.Member, content string) {
		mode := 0o100644
		if m.Dir {
			mode = 0o040755
		}
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", m.Inode, mode, 0, 0, 1, m.Time,
			len(content), 0, 0, 0, 0, len(m.Name)+1, 0)
		b.WriteString(m.Name + "\x00")
		b.Write(make([]byte, -b.Len()&3))
		b.WriteString(content)
		b.Write(make([]byte, -b.Len()&3))
	}
	for _, m := range members {
		content := ""
		if !m.Dir {
			content = "content of " + m.Name
		}
		add(m, content)
	}
	add(archive.Member{Name: "TRAILER!!!"}, "")
	return b.Bytes()
}

func gzipped(t *testing.T, data []byte, at time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.ModTime = at
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t *testing.T, data []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll(data, nil)
}

var (
	limits = archive.Options{Members: 100, Bytes: 1 << 20}
	early  = []archive.Member{{Name: "kernel", Time: 5, Inode: 1, Dir: true}, {Name: "kernel/x86", Time: 6, Inode: 2}}
	main   = []archive.Member{{Name: ".", Time: 7, Inode: 9, Dir: true}, {Name: "init", Time: 8, Inode: 10}}
	both   = []archive.Member{first(early[0]), early[1], first(main[0]), main[1]}
)

func first(m archive.Member) archive.Member {
	m.First = true
	return m
}

func TestMembersOfEachFormatAreListed(t *testing.T) {
	t.Parallel()
	var tarred, zipped bytes.Buffer
	w := tar.NewWriter(&tarred)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "d/", Typeflag: tar.TypeDir, ModTime: time.Unix(3, 0)}),
		w.WriteHeader(&tar.Header{Name: "d/f", Size: 2, ModTime: time.Unix(4, 0)})); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(&zipped)
	f, err := z.CreateHeader(&zip.FileHeader{Name: "a.class", Modified: time.Unix(1700000000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("class")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	ar := "!<arch>\n" + fmt.Sprintf("%-16s%-12d%-6d%-6d%-8o%-10d`\n", "a.o/", 12, 0, 0, 0o644, 3) + "abc\n" +
		fmt.Sprintf("%-16s%-12d%-6d%-6d%-8o%-10d`\n", "b.o/", 13, 0, 0, 0o644, 2) + "de"
	tarMembers := []archive.Member{{Name: "d/", Time: 3, Dir: true}, {Name: "d/f", Time: 4}}
	at := time.Unix(1700000000, 0)
	zeros := make([]byte, 512)
	for name, tt := range map[string]struct {
		data []byte
		want archive.Contents
	}{
		"tar":         {tarred.Bytes(), archive.Contents{Format: archive.Tar, Members: tarMembers}},
		"tar in gzip": {gzipped(t, tarred.Bytes(), time.Time{}), archive.Contents{Format: archive.Tar, Members: tarMembers}},
		"ar": {[]byte(ar), archive.Contents{Format: archive.Ar,
			Members: []archive.Member{{Name: "a.o/", Time: 12}, {Name: "b.o/", Time: 13}}}},
		"zip": {zipped.Bytes(), archive.Contents{Format: archive.Zip,
			Members: []archive.Member{{Name: "a.class", Time: 1700000000}}}},
		"cpio, as an initial RAM disk has it": {
			bytes.Join([][]byte{newc(early...), zeros, gzipped(t, newc(main...), at)}, nil),
			archive.Contents{Format: archive.CPIO, Members: both, GzipTimes: []uint32{1700000000}}},
		"cpio in zstd": {bytes.Join([][]byte{newc(early...), zeros, zstded(t, newc(main...))}, nil),
			archive.Contents{Format: archive.CPIO, Members: both}},
		"cpio, and something that is not read": {bytes.Join([][]byte{newc(early...), zeros, []byte("\xfd7zXZ\x00...")}, nil),
			archive.Contents{Format: archive.CPIO, Members: both[:2], Opaque: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := archive.Read(bytes.NewReader(tt.data), limits)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSumsDependOnContentAndHeaderButNotOnTimes(t *testing.T) {
	t.Parallel()
	sum := func(m archive.Member) string {
		opts := limits
		opts.Sums = true
		got, err := archive.Read(bytes.NewReader(newc(m)), opts)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", got.Members[0].Sum)
	}
	base := sum(archive.Member{Name: "a", Time: 1, Inode: 1})
	if other := sum(archive.Member{Name: "a", Time: 2, Inode: 7}); other != base {
		t.Errorf("%s with another time, want %s", other, base)
	}
	for _, m := range []archive.Member{{Name: "b"}, {Name: "a", Dir: true}} {
		if sum(m) == base {
			t.Errorf("the same for %+v", m)
		}
	}
}

func TestHostileArchivesAreErrors(t *testing.T) {
	t.Parallel()
	long := newc(archive.Member{Name: strings.Repeat("n", 5000)})
	huge := bytes.Replace(newc(archive.Member{Name: "a"}), []byte("0000000c"), []byte("ffffffff"), 1)
	bomb := newc(main...)
	for range 4 {
		bomb = gzipped(t, bomb, time.Time{})
	}
	for name, tt := range map[string]struct {
		data []byte
		opts archive.Options
		want error
	}{
		"nothing":                        {nil, limits, archive.ErrFormat},
		"something else":                 {[]byte("something else"), limits, archive.ErrFormat},
		"xz":                             {[]byte("\xfd7zXZ\x00..."), limits, archive.ErrFormat},
		"cut off":                        {newc(main...)[:200], limits, archive.ErrBroken},
		"a long name":                    {long, limits, archive.ErrBroken},
		"a size that is not there":       {huge, limits, archive.ErrBroken},
		"numbers that are none":          {[]byte("070701" + strings.Repeat("z", 200)), limits, archive.ErrBroken},
		"something after it":             {append(newc(main...), "xyz"...), limits, archive.ErrBroken},
		"too many members":               {newc(main...), archive.Options{Members: 1, Bytes: 1 << 20}, archive.ErrTooLarge},
		"too many bytes":                 {newc(main...), archive.Options{Members: 10, Bytes: 100}, archive.ErrTooLarge},
		"gzip in gzip in gzip in gzip":   {bomb, limits, archive.ErrTooLarge},
		"gzip of many zeros":             {gzipped(t, make([]byte, 1<<21), time.Time{}), limits, archive.ErrFormat},
		"gzip that is broken":            {gzipped(t, newc(main...), time.Time{})[:30], limits, archive.ErrBroken},
		"ar with a broken header":        {[]byte("!<arch>\n" + strings.Repeat("x", 60)), limits, archive.ErrBroken},
		"zip without its list":           {[]byte("PK\x03\x04" + strings.Repeat("x", 60)), limits, archive.ErrBroken},
		"tar after cpio, which none has": {append(newc(main...), "!<arch>\n"...), limits, archive.ErrBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := archive.Read(bytes.NewReader(tt.data), tt.opts); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzRead(f *testing.F) {
	f.Add(newc(main...))
	f.Add(append(newc(early...), 0, 0, 0, 0))
	f.Add([]byte("!<arch>\n"))
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := archive.Read(bytes.NewReader(data), archive.Options{Members: 10, Bytes: 1 << 16, Sums: true})
		if len(got.Members) > 10 || err != nil && !errors.Is(err, archive.ErrBroken) && !errors.Is(err, archive.ErrFormat) &&
			!errors.Is(err, archive.ErrTooLarge) {
			t.Errorf("%d members, %v", len(got.Members), err)
		}
		if _, err := archive.Read(failing{}, limits); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
	})
}
