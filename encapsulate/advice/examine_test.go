package advice_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

func header(mode uint32) *object.FileHeader { return &object.FileHeader{Mode: mode} }

// listed is a tree that is only listed.
type listed struct{ list *rootfs.List }

func (l listed) Entries() *rootfs.List { return l.list }
func (l listed) Open(context.Context, int) (io.ReadCloser, error) {
	return nil, os.ErrPermission
}

// examine returns the reasons by path, each after the name of the advice.
func examine(t *testing.T, files map[string]string, kept bool) map[string]string {
	t.Helper()
	in := tree(t, files)
	set, err := component.Detect(t.Context(), in, component.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := advice.Examine(t.Context(), in, advice.ExamineOptions{Options: advice.Options{Set: set}, TimesKept: kept})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range r.Advice {
		if a.Download == 0 || a.Download > a.Bytes {
			t.Errorf("%s: about %d of %d bytes", a.Name, a.Download, a.Bytes)
		}
		for _, f := range a.Files {
			got[f.Path] = a.Name + ": " + f.Why
		}
	}
	return got
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// pyc returns the header of a compiled file as PEP 552 has it: version, flags, time and size of the source.
func pyc(version uint16, flags, seconds, size uint32) string {
	head := binary.LittleEndian.AppendUint16(nil, version)
	head = append(head, "\r\n"...)
	for _, n := range []uint32{flags, seconds, size} {
		head = binary.LittleEndian.AppendUint32(head, n)
	}
	return string(head) + "code"
}

// TestCompiledPythonFilesAreComparedWithTheirSources uses files of Python 3.11, compiled from "x = 1\n", and headers
// of other versions.
func TestCompiledPythonFilesAreComparedWithTheirSources(t *testing.T) {
	t.Parallel()
	timed, hashed := read(t, "pyc/timed.pyc"), read(t, "pyc/hashed.pyc")
	const (
		lib   = "/usr/lib/python3/dist-packages/owned"
		local = "/usr/local/lib/python3.11/site-packages/m"
		when  = "its header has the time 2023-11-14T22:13:20Z"
	)
	files := map[string]string{
		"/var/lib/dpkg/status":          "Package: owned\nStatus: install ok installed\nArchitecture: all\n\n",
		"/var/lib/dpkg/info/owned.list": lib + "/m.py\n" + lib + "/zero.py\n",
		lib + "/m.py":                   "x = 1\n", lib + "/zero.py": "x = 1\n",
		lib + "/__pycache__/m.cpython-311.pyc": timed, lib + "/__pycache__/zero.cpython-311.pyc": pyc(3495, 0, 0, 6),
		local + "/m.py": "x = 1\n", local + "/n.py": "x = 11\n", local + "/old.py": "x = 1\n",
		local + "/__pycache__/m.cpython-311.pyc":       timed,
		local + "/__pycache__/m.cpython-311.opt-1.pyc": hashed,
		local + "/__pycache__/m.pypy39.pyc":            pyc(336, 0, 1700000000, 6),
		local + "/__pycache__/n.cpython-311.pyc":       timed,
		local + "/__pycache__/gone.cpython-311.pyc":    timed,
		local + "/__pycache__/m.cpython-36.pyc":        pyc(3379, 1700000000, 7, 0),
		local + "/__pycache__/not.cpython-311.pyc":     "short",
		local + "/old.pyc":                             pyc(62211, 1700000000, 0, 0),
		local + "/alone.pyc":                           timed,
	}
	want := map[string]string{
		lib + "/__pycache__/m.cpython-311.pyc":      "pyc-stale: " + when + ", and files of layers have 0",
		local + "/__pycache__/m.cpython-311.pyc":    "pyc-times: " + when,
		local + "/__pycache__/m.pypy39.pyc":         "pyc-times: " + when,
		local + "/__pycache__/n.cpython-311.pyc":    "pyc-stale: it was compiled from 6 bytes, and " + local + "/n.py has 7",
		local + "/__pycache__/m.cpython-36.pyc":     "pyc-stale: it was compiled from 7 bytes, and " + local + "/m.py has 6",
		local + "/__pycache__/gone.cpython-311.pyc": "pyc-stale: its source " + local + "/gone.py is not there",
		local + "/old.pyc":                          "pyc-times: " + when,
		local + "/alone.pyc":                        "pyc-times: " + when,
	}
	if diff := cmp.Diff(want, examine(t, files, false)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	delete(want, lib+"/__pycache__/m.cpython-311.pyc")
	if diff := cmp.Diff(want, examine(t, files, true)); diff != "" {
		t.Errorf("in an image that keeps times (-want +got)\n%s", diff)
	}
}

func gzipped(t *testing.T, data string, at time.Time) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.ModTime = at
	if _, err := io.WriteString(z, data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTimesInGzipHeadersCountUnlessAPackageBringsThem(t *testing.T) {
	t.Parallel()
	at := time.Unix(1700000000, 0)
	got := examine(t, map[string]string{
		"/var/lib/dpkg/status":          "Package: owned\nStatus: install ok installed\nArchitecture: all\n\n",
		"/var/lib/dpkg/info/owned.list": "/usr/share/owned.gz\n",
		"/usr/share/owned.gz":           gzipped(t, "x", at), "/srv/made.gz": gzipped(t, "x", at),
		"/srv/fine.gz": gzipped(t, "x", time.Time{}), "/srv/not.gz": "text", "/srv/cut.gz": "\x1f\x8b\x08\x00",
	}, false)
	want := map[string]string{"/srv/made.gz": "gzip-times: its header has the time 2023-11-14T22:13:20Z"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// cpio returns an archive of "newc", whose members are NAME or NAME/, with times and inode numbers.
func cpio(names []string, seconds, inodes []int) string {
	var b strings.Builder
	member := func(name string, mode, at, inode int) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", inode, mode, 0, 0, 1, at, 0, 0, 0, 0,
			0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.WriteString(strings.Repeat("\x00", -b.Len()&3))
	}
	for i, name := range names {
		mode := 0o100644
		if strings.HasSuffix(name, "/") {
			mode = 0o040755
		}
		member(path.Clean(name), mode, seconds[i], inodes[i])
	}
	member("TRAILER!!!", 0, 0, 0)
	return b.String()
}

func TestAnInitialRAMDiskShowsWhatDiffersInTheNextOne(t *testing.T) {
	t.Parallel()
	const build = 1700000000
	names := []string{"./", "bin/", "bin/sh", "init"}
	fine := cpio(names, []int{build, build, 1600000000, 1500000000}, []int{1, 2, 3, 4})
	for name, tt := range map[string]struct {
		data string
		want []string
	}{
		"reproducible":         {fine, nil},
		"reproducible in gzip": {gzipped(t, fine, time.Time{}), nil},
		"counted from 721":     {cpio(names, []int{0, 0, 0, 0}, []int{721, 722, 723, 724}), nil},
		"microcode before it": {cpio([]string{"kernel/", "kernel/x86/"}, []int{build, build}, []int{1, 2}) +
			strings.Repeat("\x00", 512) + gzipped(t, fine, time.Time{}), nil},
		"a time in the header": {gzipped(t, fine, time.Unix(build, 0)), []string{"the gzip header has the time"}},
		"times of directories": {cpio(names, []int{build, build + 2, 0, 0}, []int{1, 2, 3, 4}), []string{"have 2 times"}},
		"times of microcode": {cpio([]string{"kernel/", "kernel/x86/"}, []int{build, build + 9}, []int{1, 2}) + fine,
			[]string{"have 2 times"}},
		"inode numbers": {cpio(names, []int{1, 1, 1, 1}, []int{812, 90, 4711, 17}), []string{"inode numbers"}},
		"order": {cpio([]string{"./", "init", "bin/", "bin/sh"}, []int{1, 1, 1, 1}, []int{1, 2, 3, 4}),
			[]string{"order of directories"}},
		"everything": {gzipped(t, cpio([]string{"./", "init", "bin/"}, []int{build, 5, build + 1}, []int{9, 5, 99}),
			time.Unix(build, 0)), []string{"gzip", "2 times", "inode", "order"}},
		"cut off":        {fine[:150], nil},
		"something else": {"something else", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, at := range []string{"/boot/initrd.img-6.1", "/usr/lib/modules/6.1/initramfs.img"} {
				got := examine(t, map[string]string{at: tt.data}, false)[at]
				if (got == "") != (len(tt.want) == 0) {
					t.Fatalf("got %q, want %q", got, tt.want)
				}
				for _, w := range tt.want {
					if !strings.HasPrefix(got, "initramfs: ") || !strings.Contains(got, w) {
						t.Errorf("got %q, want %q", got, w)
					}
				}
			}
		})
	}
}

func TestFilesOfLayersThatTheTreeDoesNotHave(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("duplicate ", 10000)
	in := tree(t, map[string]string{"a": "new", "big1": big, "big2": big, "big3": big,
		"other": strings.Repeat("z", 100000)})
	layer := map[string]int{"/a": 1, "/big1": 0, "/big2": 1, "/big3": 0, "/other": 1}
	r, err := advice.Examine(t.Context(), in, advice.ExamineOptions{Layers: &advice.Layers{
		Of:     func(i int) int { return layer[in.Entries().At(i).Path()] },
		Hidden: []advice.HiddenFile{{Path: "/a", Size: 1000, Layer: 0}, {Path: "/gone", Size: 2000, Layer: 0}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range r.Advice {
		for _, f := range a.Files {
			got = append(got, fmt.Sprintf("%s %s %d %s", a.Name, f.Path, f.Bytes, f.Why))
		}
	}
	want := []string{
		"duplicate-files /big2 100000 in layer 2, and in layer 1 as /big1",
		"hidden-files /gone 2000 in layer 1", "hidden-files /a 1000 in layer 1, replaced in layer 2",
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Bytes != 0 {
		t.Errorf("%d bytes (-want +got)\n%s", r.Bytes, diff)
	}
}
