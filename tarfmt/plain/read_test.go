package plain_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// readAll reads a layer. The handles of its files are their contents.
func readAll(ctx context.Context, r io.Reader, opts plain.ReadOptions) (list []overlay.Entry[string], err error) {
	in := plain.NewReader[string](ctx, r, opts)
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		if e.File != nil {
			data, err := io.ReadAll(in)
			if err != nil {
				return list, err
			}
			e.File.Content = string(data)
		}
		list = append(list, e)
	}
}

func TestEntriesAreReadAsTheyAre(t *testing.T) {
	stream := archive(t,
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "passed over"}},
		tar.Header{Typeflag: tar.TypeDir, Name: "./d/", Mode: 0o1777, Uid: 1, Gid: 4294967294},
		tar.Header{Typeflag: tar.TypeReg, Name: "d//f", Mode: 0o4755, PAXRecords: map[string]string{
			"SCHILY.xattr.user.b": "2", "SCHILY.xattr.user.a": "1", "comment": "no xattr",
		}},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "/s", Linkname: "../d", Mode: 0o644},
		tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "./d/f"},
		tar.Header{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o600},
		tar.Header{Typeflag: tar.TypeChar, Name: "c", Devmajor: 1, Devminor: 3},
		tar.Header{Typeflag: tar.TypeBlock, Name: "b", Devmajor: 259, Devminor: 70000},
	)
	got, err := readAll(t.Context(), bytes.NewReader(stream), plain.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	type file = overlay.File[string]
	xattrs := object.Xattrs{{Name: "user.a", Value: []byte("1")}, {Name: "user.b", Value: []byte("2")}}
	want := []overlay.Entry[string]{
		{Path: "/d", File: &file{FileHeader: object.FileHeader{Mode: 0o41777, UID: 1, GID: 4294967294}}},
		{Path: "/d/f", File: &file{FileHeader: object.FileHeader{Mode: 0o104755, Xattrs: xattrs}, Size: 4, Content: "d//f"}},
		{Path: "/s", File: &file{FileHeader: object.FileHeader{Mode: 0o120777, Target: "../d"}}},
		{Path: "/h", Link: "/d/f"},
		{Path: "/p", File: &file{FileHeader: object.FileHeader{Mode: 0o10600}}},
		{Path: "/c", File: &file{FileHeader: object.FileHeader{Mode: 0o20000}, Device: 0x103}},
		{Path: "/b", File: &file{FileHeader: object.FileHeader{Mode: 0o60000}, Device: 0x11110370}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhiteoutsAreToldApart(t *testing.T) {
	for name, want := range map[string]overlay.Entry[string]{
		".wh.a":               {Mark: overlay.Whiteout, Path: "/a"},
		"./d/.wh.a":           {Mark: overlay.Whiteout, Path: "/d/a"},
		"d/.wh.a.wh.b":        {Mark: overlay.Whiteout, Path: "/d/a.wh.b"},
		"d/.wh....":           {Mark: overlay.Whiteout, Path: "/d/..."},
		".wh..wh..opq":        {Mark: overlay.Opaque, Path: "/"},
		"d/e/.wh..wh..opq":    {Mark: overlay.Opaque, Path: "/d/e"},
		"d/.wh.":              {Mark: overlay.Reserved, Path: "/d/.wh."},
		"d/.wh..":             {Mark: overlay.Reserved, Path: "/d/.wh.."},
		"d/.wh...":            {Mark: overlay.Reserved, Path: "/d/.wh..."},
		"d/.wh..wh.a":         {Mark: overlay.Reserved, Path: "/d/.wh..wh.a"},
		"d/.wh..wh..opqs":     {Mark: overlay.Reserved, Path: "/d/.wh..wh..opqs"},
		"d/.wh..wh..plnk/1.2": {Mark: overlay.Reserved, Path: "/d/.wh..wh..plnk/1.2"},
		".wh.d/.wh.a":         {Mark: overlay.Reserved, Path: "/.wh.d/.wh.a"},
	} {
		for _, typ := range []byte{tar.TypeReg, tar.TypeDir, tar.TypeLink} {
			t.Run(fmt.Sprintf("%s of type %c", strings.ReplaceAll(name, "/", "|"), typ), func(t *testing.T) {
				h := tar.Header{Typeflag: typ, Name: name}
				if typ == tar.TypeLink {
					h.Linkname = "x"
				}
				stream := archive(t, h)
				got, err := readAll(t.Context(), bytes.NewReader(stream), plain.ReadOptions{})
				if diff := cmp.Diff([]overlay.Entry[string]{want}, got); diff != "" || err != nil {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			})
		}
	}
}

func TestContentThatIsNotReadIsPassedOver(t *testing.T) {
	stream := archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "a"}, tar.Header{Typeflag: tar.TypeReg, Name: "b"})
	in := plain.NewReader[struct{}](t.Context(), bytes.NewReader(stream), plain.ReadOptions{})
	for _, want := range []string{"/a", "/b"} {
		if e, err := in.Next(); err != nil || e.Path != want {
			t.Errorf("got %s, %v, want %s", e.Path, err, want)
		}
	}
	if _, err := in.Next(); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestReadersAskBeforeTheyTake(t *testing.T) {
	full := errors.New("full")
	xattr := map[string]string{"SCHILY.xattr.user.a": "value"}
	stream := archive(t,
		tar.Header{Typeflag: tar.TypeReg, Name: "a", PAXRecords: xattr}, tar.Header{Typeflag: tar.TypeReg, Name: "long name"})
	for name, opts := range map[string]plain.ReadOptions{
		"memory": {Memory: func(n int) error {
			if n > len("aSCHILY.xattr.user.avalue") || n == len("long name") {
				return full
			}
			return nil
		}},
		"content": {Content: func(n int64) error {
			if n == int64(len("long name")) {
				return full
			}
			return nil
		}},
	} {
		got, err := readAll(t.Context(), bytes.NewReader(stream), opts)
		if !errors.Is(err, full) || errors.Is(err, tarfmt.ErrInvalidStream) || len(got) != 1 {
			t.Errorf("%s: got %v and %d entries", name, err, len(got))
		}
	}
}

func TestErrorsOfTheStreamAreNotTheLayers(t *testing.T) {
	stream := archive(t, tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("n", 90)})
	broken := errors.New("the line is broken")
	for _, end := range []int{0, 100, 512, 550} {
		r := io.MultiReader(bytes.NewReader(stream[:end]), iotest.ErrReader(broken))
		_, err := readAll(t.Context(), r, plain.ReadOptions{})
		if !errors.Is(err, broken) || errors.Is(err, tarfmt.ErrInvalidStream) {
			t.Errorf("after %d bytes: got %v", end, err)
		}
		if end == 0 {
			continue // which is an archive without an end, as some programs write it
		}
		_, err = readAll(t.Context(), bytes.NewReader(stream[:end]), plain.ReadOptions{})
		if !errors.Is(err, tarfmt.ErrInvalidStream) {
			t.Errorf("only %d bytes: got %v", end, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readAll(ctx, bytes.NewReader(stream), plain.ReadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSparseFilesCountWithTheirSizeAndCanBeRefused(t *testing.T) {
	stream := archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", PAXRecords: map[string]string{
		"XNU.sparse.major": "0", "XNU.sparse.minor": "1", "XNU.sparse.numblocks": "1", "XNU.sparse.map": "0,1",
		"XNU.sparse.size": "1000",
	}})
	stream = bytes.ReplaceAll(stream, []byte("XNU."), []byte("GNU.")) // which archive/tar does not write
	var size int64
	count := func(n int64) error { size = n; return nil }
	got, err := readAll(t.Context(), bytes.NewReader(stream), plain.ReadOptions{Content: count})
	if err != nil || size != 1000 || len(got) != 1 || got[0].File.Content != "a"+strings.Repeat("\x00", 999) {
		t.Errorf("got %v, a size of %d and %v", err, size, got)
	}
	_, err = readAll(t.Context(), bytes.NewReader(stream), plain.ReadOptions{NoSparse: true})
	if !errors.Is(err, tarfmt.ErrInvalidStream) {
		t.Errorf("got %v", err)
	}
	for _, err = range plain.List(t.Context(), bytes.NewReader(stream)) {
	}
	if !errors.Is(err, tarfmt.ErrInvalidStream) {
		t.Errorf("got %v", err)
	}
}
