package reason_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice/reason"
)

func file(data string) reason.File {
	return reason.File{Size: int64(len(data)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(data)), nil
	}}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func gz(t *testing.T, data string, at int64, level int) string {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if at > 0 {
		z.ModTime = time.Unix(at, 0)
	}
	if _, err := io.WriteString(z, data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tarOf returns a tar archive of files, each NAME=CONTENT@TIME.
func tarOf(t *testing.T, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		name, rest, _ := strings.Cut(f, "=")
		content, at, _ := strings.Cut(rest, "@")
		var seconds int64
		if _, err := fmt.Sscan(at, &seconds); err != nil {
			t.Fatal(err)
		}
		h := tar.Header{Name: name, Size: int64(len(content)), ModTime: time.Unix(seconds, 0)}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// cpioOf returns an archive of "newc" with a directory, of an inode number.
func cpioOf(inode int) string {
	member := func(name string, inode int) string {
		s := fmt.Sprintf("070701%08x%08x%056x%08x%08x%08x%08x", inode, 0o040755, 1, 0, 0, len(name)+1, 0)[:94] +
			fmt.Sprintf("%08x%08x", len(name)+1, 0) + name + "\x00"
		return s + strings.Repeat("\x00", -len(s)&3)
	}
	return member("dir", inode) + member("TRAILER!!!", 0)
}

func arOf(at int) string {
	return "!<arch>\n" + fmt.Sprintf("%-16s%-12d%-6d%-6d%-8o%-10d`\nab", "a.o/", at, 0, 0, 0o644, 2)
}

func noise(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, 5000)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return string(data)
}

func TestTheReasonOfADifferenceIsFound(t *testing.T) {
	t.Parallel()
	binary := "\x7fELF\x00" + strings.Repeat("\x01\x00\x02", 2000)
	for name, tt := range map[string]struct {
		a, b, want, detail string
	}{
		"the time in a gzip header": {gz(t, "text", 1700000000, 6), gz(t, "text", 1700000001, 6), reason.GzipTimes,
			"the header has the time 2023-11-14T22:13:20Z, and 2023-11-14T22:13:21Z"},
		"another level": {gz(t, strings.Repeat("text ", 99), 0, 1), gz(t, strings.Repeat("text ", 99), 0, 9),
			reason.Compression, "compressed in another way"},
		"lines in gzip": {gz(t, "a\nb\n", 1, 6), gz(t, "b\na\n", 2, 6), reason.LineOrder, "in the compressed content: "},
		"times in tar": {tarOf(t, "a=x@1", "b=y@2"), tarOf(t, "a=x@1", "b=y@3"), reason.MemberTimes,
			"times of 1 member differ"},
		"order in tar": {tarOf(t, "a=x@1", "b=y@2"), tarOf(t, "b=y@2", "a=x@1"), reason.MemberOrder, "another order"},
		"content in tar": {tarOf(t, "a=x@1", "b=y@2"), tarOf(t, "a=z@1", "b=y@9"), reason.Members,
			`tar: 1 member of 2 have other content, the first "a"`},
		"members of tar":    {tarOf(t, "a=x@1"), tarOf(t, "a=x@1", "b=y@9"), reason.Members, `"b" is only in the second`},
		"tar in gzip":       {gz(t, tarOf(t, "a=x@1"), 5, 6), gz(t, tarOf(t, "a=x@2"), 6, 6), reason.MemberTimes, ""},
		"only that gzip":    {gz(t, tarOf(t, "a=x@1"), 5, 6), gz(t, tarOf(t, "a=x@1"), 6, 6), reason.GzipTimes, ""},
		"times in ar":       {arOf(1), arOf(2), reason.MemberTimes, ""},
		"inodes in cpio":    {cpioOf(1), cpioOf(2), reason.MemberInodes, ""},
		"Python's header":   {read(t, "first.pyc"), read(t, "second.pyc"), reason.PycTimes, "2023-11-14T22:13:20Z"},
		"SQLite's counters": {read(t, "first.db"), read(t, "second.db"), reason.SQLite, ""},
		"SQLite's pages":    {read(t, "first.db"), strings.Repeat("x", 1024), reason.Content, ""},
		"order of lines":    {"a\nb\nc\n", "c\na\nb\n", reason.LineOrder, ""},
		"a date in text": {"made Tue Nov 14 22:13:20 UTC 2023\n", "made Wed Nov 15 08:00:01 UTC 2023\n", reason.Times,
			`line 1: "made Tue`},
		"a day in shadow": {"root:*:19675:0:99999:7:::\nx:!:19675::::::\n", "root:*:19675:0:99999:7:::\nx:!:19676::::::\n",
			reason.Times, `line 2: "x:!:19675`},
		"another password in shadow": {"x:!:19675:0:99999:7:::\n", "x:*:19675:0:99999:7:::\n", reason.Content, ""},
		"seconds in text":            {"T=1700000000\n", "T=1700000009\n", reason.Times, ""},
		"a date of ISO":              {"2023-11-14T22:13:20Z x\n", "2023-11-15T22:13:20Z x\n", reason.Times, ""},
		"a UUID": {"id 6ba7b810-9dad-11d1-80b4-00c04fd430c8\n", "id 6ba7b811-9dad-11d1-80b4-00c04fd430c9\n",
			reason.Random, ""},
		"a machine-id": {"0123456789abcdef0123456789abcdef\n", "fedcba9876543210fedcba9876543210\n", reason.Random, ""},
		"seconds in a binary": {binary + "\x00\xf1\x53\x65" + binary, binary + "\x7b\xf1\x53\x65" + binary, reason.Times,
			"1 byte at 1 place: "},
		"a hash in a binary": {binary + noise(1)[:20] + binary, binary + noise(2)[:20] + binary, reason.Random, ""},
		"a word in a binary": {binary + "\x00none" + binary, binary + "\x00some" + binary, reason.Content, ""},
		"other content":      {noise(3), noise(4), reason.Content, ""},
		"another length":     {noise(3), noise(4)[:100], reason.Content, ""},
		"another format":     {arOf(1), tarOf(t, "a=x@1"), reason.Content, "one is ar, the other tar"},
		"other text":         {"version one\n", "version two and more\n", reason.Content, ""},
		"a broken archive":   {arOf(1)[:40], arOf(2)[:40], reason.Content, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := reason.Of(file(tt.a), file(tt.b))
			if err != nil || got.Name != tt.want || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("got %+v, %v, want %s: %s", got, err, tt.want, tt.detail)
			}
		})
	}
}

func TestErrorsOfReadingComeBack(t *testing.T) {
	t.Parallel()
	broken := reason.File{Open: func() (io.ReadCloser, error) { return nil, os.ErrPermission }}
	for _, pair := range [][2]reason.File{{broken, file("a")}, {file("a"), broken}} {
		if _, err := reason.Of(pair[0], pair[1]); !errors.Is(err, os.ErrPermission) {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add([]byte("a\nb"), []byte("b\na"))
	f.Add([]byte(arOf(1)), []byte(arOf(2)))
	f.Add([]byte(cpioOf(1)), []byte(cpioOf(2)))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if got, err := reason.Of(file(string(a)), file(string(b))); err != nil || got.Name == "" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
