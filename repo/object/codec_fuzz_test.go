package object_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// realObjects are small objects of a repository that ostree wrote, by file name. Archived files are reduced to the
// header, without the frame before it and the content after it.
func realObjects(t testing.TB) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir("testdata/objects")
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string][]byte{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join("testdata/objects", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(e.Name()) == ".filez" {
			data = data[8 : 8+binary.BigEndian.Uint32(data)]
		}
		objects[e.Name()] = data
	}
	return objects
}

// codecs parse an object strictly and write it again, by the extension of the object.
var codecs = map[string]func([]byte) ([]byte, error){
	".dirtree": func(data []byte) ([]byte, error) {
		v, err := object.ParseDirTree(data)
		if err != nil {
			return nil, err
		}
		return object.EncodeDirTree(v)
	},
	".dirmeta": func(data []byte) ([]byte, error) {
		v, err := object.ParseDirMeta(data)
		if err != nil {
			return nil, err
		}
		return object.EncodeDirMeta(v)
	},
	".commit": func(data []byte) ([]byte, error) {
		v, err := object.ParseCommit(data)
		if err != nil {
			return nil, err
		}
		return object.EncodeCommit(v)
	},
	".commitmeta": func(data []byte) ([]byte, error) {
		v, err := gvariant.ParseDict(data)
		return v.Encode(), err
	},
	".filez": func(data []byte) ([]byte, error) {
		v, err := object.ParseArchiveHeader(data)
		if err != nil {
			return nil, err
		}
		return object.EncodeArchiveHeader(v)
	},
	".header": func(data []byte) ([]byte, error) {
		v, err := object.ParseFileHeader(data)
		if err != nil {
			return nil, err
		}
		return object.EncodeFileHeader(v)
	},
	".xattrs": func(data []byte) ([]byte, error) {
		v, err := object.ParseXattrs(data)
		return object.EncodeXattrs(v), err
	},
}

func TestRealObjectsAreWrittenAgainAsTheyWere(t *testing.T) {
	for name, data := range realObjects(t) {
		ext := filepath.Ext(name)
		if again, err := codecs[ext](data); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s: %x becomes %x, %v", name, data, again, err)
		}
		if ext == ".filez" || ext == ".commitmeta" {
			continue // not named by the hash of these bytes
		}
		if got := object.HashMetadata(data).String(); got != strings.TrimSuffix(name, ext) {
			t.Errorf("%s hashes to %s", name, got)
		}
	}
}

// fuzzCodec checks that no bytes make the parser panic, and that a parsed object of the given form is written again as
// the same bytes.
func fuzzCodec(f *testing.F, ext string, inForm func([]byte) bool, seeds ...[]byte) {
	for name, data := range realObjects(f) {
		if filepath.Ext(name) == ext {
			f.Add(data)
		}
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		again, err := codecs[ext](data)
		if err != nil || inForm != nil && !inForm(data) {
			return
		}
		if !bytes.Equal(again, data) {
			t.Errorf("%x is written again as %x", data, again)
		}
	})
}

// normalForm is for parsers that also accept other forms.
func normalForm(typ string) func([]byte) bool {
	return func(data []byte) bool {
		v, err := gvariant.New(typ, data)
		return err == nil && v.Validate() == nil
	}
}

func FuzzParseDirTree(f *testing.F) { fuzzCodec(f, ".dirtree", nil) }

func FuzzParseDirMeta(f *testing.F) { fuzzCodec(f, ".dirmeta", nil) }

// zeroParent is a commit whose parent is the zero checksum, which stands for none.
func zeroParent(t testing.TB) []byte {
	t.Helper()
	c := vectorCommit(t)
	c.Parent = object.Checksum{0xff}
	data, err := object.EncodeCommit(c)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Replace(data, []byte{0xff}, []byte{0}, 1)
}

func TestACommitWithAParentOfZerosIsRefused(t *testing.T) {
	if c, err := object.ParseCommit(zeroParent(t)); !errors.Is(err, object.ErrNotNormal) {
		t.Errorf("reads as %+v, %v, want ErrNotNormal", c, err)
	}
}

func FuzzParseCommit(f *testing.F) {
	f.Add(zeroParent(f))
	fuzzCodec(f, ".commit", normalForm("(a{sv}aya(say)sstayay)"))
}

func FuzzParseFileHeader(f *testing.F) {
	var seeds [][]byte
	for name, data := range realObjects(f) {
		if filepath.Ext(name) == ".filez" {
			info, err := object.ParseArchiveHeader(data)
			if err != nil {
				f.Fatal(err)
			}
			header, err := object.EncodeFileHeader(&info.FileHeader)
			if err != nil {
				f.Fatal(err)
			}
			seeds = append(seeds, header)
		}
	}
	fuzzCodec(f, ".header", nil, seeds...)
}

func FuzzParseXattrs(f *testing.F) {
	var seeds [][]byte
	for name, data := range realObjects(f) {
		if filepath.Ext(name) == ".dirmeta" {
			seeds = append(seeds, data[12:])
		}
	}
	fuzzCodec(f, ".xattrs", nil, append(seeds,
		object.EncodeXattrs(object.Xattrs{{Name: "user.a", Value: []byte("b")}, {Name: "user.c"}}))...)
}

// FuzzParseArchiveHeader checks that a parsed header is stable once it was written again. Unsorted xattrs and other
// forms are accepted.
func FuzzParseArchiveHeader(f *testing.F) {
	for name, data := range realObjects(f) {
		if filepath.Ext(name) == ".filez" {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := codecs[".filez"](data)
		if err != nil {
			return
		}
		if again, err := codecs[".filez"](once); err != nil || !bytes.Equal(again, once) {
			t.Errorf("%x is written again as %x, %v", once, again, err)
		}
	})
}

// FuzzNormalizeMetadata checks that the result is in normal form at every depth and is stable.
func FuzzNormalizeMetadata(f *testing.F) {
	for _, data := range realObjects(f) {
		f.Add(data)
	}
	padded, err := gvariant.New("(yu)", []byte{1, 0, 0xff, 0, 2, 0, 0, 0})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(gvariant.Dict{{Key: "k", Value: padded}}.Encode())
	types := map[object.Type]string{
		object.TypeDirTree: "(a(say)a(sayay))", object.TypeDirMeta: "(uuua(ayay))",
		object.TypeCommit: "(a{sv}aya(say)sstayay)", object.TypeCommitMeta: "a{sv}",
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for typ, text := range types {
			normal, err := object.NormalizeMetadata(typ, data)
			if err != nil {
				continue
			}
			if !normalForm(text)(normal) {
				t.Errorf("%s %x becomes %x, which is not in normal form", typ, data, normal)
			}
			if again, err := object.NormalizeMetadata(typ, normal); err != nil || !bytes.Equal(again, normal) {
				t.Errorf("%s %x becomes %x, %v", typ, normal, again, err)
			}
		}
	})
}
