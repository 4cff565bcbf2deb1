package repo

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// These are the bytes of /etc/hello of the format document as libostree compresses it.
const helloObject = "0000001a00000000" + "000000000000000c000003e8000003e9000081a4000000000019" +
	"cb48cdc9c95728cf2fca49e10200"

func readPacked(p *pools, data []byte) (*object.FileInfo, string, error) {
	in := p.inflaters.Get().(*inflater)
	in.br = bufio.NewReader(bytes.NewReader(data))
	info, err := readArchiveHeader(in.br, int64(len(data)))
	if err != nil || info.IsSymlink() {
		return info, "", err
	}
	if err := in.reset(); err != nil {
		return info, "", err
	}
	content, err := io.ReadAll(io.LimitReader(&exactReader{r: in, left: info.Size}, 1<<20))
	return info, string(content), err
}

func TestLibostreesCompressedObject(t *testing.T) {
	t.Parallel()
	data, err := hex.DecodeString(helloObject)
	if err != nil {
		t.Fatal(err)
	}
	info, content, err := readPacked(newPools(6), data)
	if err != nil || content != "hello world\n" || info.UID != 1000 || info.GID != 1001 || info.Mode != 0o100644 {
		t.Errorf("got %+v, %q, %v", info, content, err)
	}
}

func FuzzCompressedObject(f *testing.F) {
	data, err := hex.DecodeString(helloObject)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, obj := range testfiles.Read(f, "object/testdata/objects/*.filez") {
		f.Add(obj.Data)
	}
	p := newPools(6)
	f.Fuzz(func(t *testing.T, data []byte) {
		info, content, err := readPacked(p, data)
		if err != nil {
			return
		}
		if !info.IsSymlink() && info.Size <= 1<<20 && int64(len(content)) != info.Size {
			t.Errorf("got %d bytes of %d", len(content), info.Size)
		}
	})
}

func TestExactReader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		content string
		size    int64
		ok      bool
	}{{"", 0, true}, {"abc", 3, true}, {"abc", 2, false}, {"abc", 4, false}, {"", 1, false}, {"a", 0, false}}
	for _, test := range tests {
		got, err := io.ReadAll(&exactReader{r: bytes.NewReader([]byte(test.content)), left: test.size})
		if test.ok != (err == nil) || !test.ok && !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%q as %d bytes: got %q, %v", test.content, test.size, got, err)
		}
	}
}
