package object_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

func id64(t testing.TB, s string) object.Checksum {
	t.Helper()
	c, err := object.ParseChecksum(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "", "|", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The vectors below are objects that ostree 2022.7 wrote.

func TestFileIDsAreOstrees(t *testing.T) {
	for _, c := range []struct {
		name    string
		header  object.FileHeader
		content string
		id      string
	}{
		{"hello", object.FileHeader{UID: 1000, GID: 1001, Mode: 0o100644}, "hello world\n",
			"1cf7d7006ffc3322270a4cbd6034ca0fdc6f659cdc42ab65313354861079adca"},
		{"setuid", object.FileHeader{Mode: 0o104755}, "#!/bin/sh\nexit 0\n",
			"3c8288aab868ebdf6a6f6032cbcc03aebc718909f342529506fcab2c3895c090"},
		{"xattrs", object.FileHeader{Mode: 0o100640,
			Xattrs: object.Xattrs{{Name: "user.a", Value: []byte("aval")},
				{Name: "user.b", Value: []byte("bval")}}}, "x", "df8cbb2213e10810a2b66265e566a228db1a245cc8104a1d76e2fa4e4be6d85e"},
		{"empty", object.FileHeader{Mode: 0o100600}, "", "d3fa9214de0816a2cf5475da17be2036ae0eda3df526eff7c1ddee082c6e5b58"},
		{"symlink", object.FileHeader{Mode: 0o120777, Target: "../etc/hello"}, "",
			"a04ae1208607a1c82f92de56a15d70d5c132333961cef8d73c00aae96f5c196f"},
		{"hello, bare-user-only", object.FileHeader{Mode: 0o100644}, "hello world\n",
			"81381808c56d4f3d643ec12f6a18fcf2993af8daba7c2a1b2cbfc315b39424c6"},
		{"setuid, bare-user-only", object.FileHeader{Mode: 0o100755}, "#!/bin/sh\nexit 0\n",
			"172a2017590ff78c34c5d3ad417e393e24b829a7da80c05c32339d0115e116bb"},
		{"xattrs, bare-user-only", object.FileHeader{Mode: 0o100640}, "x",
			"a9587313a2895e8c3fd01a007ad2101059b4cc9b3317f417fc2e757e7f47d96e"},
		{"moo", object.FileHeader{Mode: 0o100644}, "moo\n",
			"f6a517d53831a40cff3886a965c70d57aa50797a8e5ea965b2c49cc575a6ff51"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := object.FileHasher(&c.header)
			if err != nil {
				t.Fatal(err)
			}
			h.Write([]byte(c.content))
			if got := hex.EncodeToString(h.Sum(nil)); got != c.id {
				t.Errorf("id %s, want %s", got, c.id)
			}
			data, err := object.EncodeFileHeader(&c.header)
			if err != nil {
				t.Fatal(err)
			}
			back, err := object.ParseFileHeader(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.header, back); diff != "" {
				t.Errorf("the header comes back different: %s", diff)
			}
		})
	}
}

func TestFileHeadersHaveOstreesBytes(t *testing.T) {
	xattrs := object.Xattrs{{Name: "user.a", Value: []byte("aval")}, {Name: "user.b", Value: []byte("bval")}}
	hashed, err := object.EncodeFileHeader(&object.FileHeader{Mode: 0o100640, Xattrs: xattrs})
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, `0000002c 00000000 | 00000000 00000000 000081a0 00000000 00
		| 757365722e6100 6176616c 07 | 757365722e6200 6276616c 07 | 0c 18 | 11`)
	if got := object.FrameHeader(hashed); !bytes.Equal(got, want) {
		t.Errorf("hashed header\n%x, want\n%x", got, want)
	}
	archived, err := object.EncodeArchiveHeader(&object.FileInfo{FileHeader: object.FileHeader{UID: 1000, GID: 1001,
		Mode: 0o100644}, Size: 12})
	if err != nil {
		t.Fatal(err)
	}
	want = unhex(t, "0000001a 00000000 | 000000000000000c 000003e8 000003e9 000081a4 00000000 00 19")
	if got := object.FrameHeader(archived); !bytes.Equal(got, want) {
		t.Errorf("archived header\n%x, want\n%x", got, want)
	}
	info, err := object.ParseArchiveHeader(archived)
	if err != nil || info.Size != 12 || info.UID != 1000 || info.GID != 1001 || info.Mode != 0o100644 {
		t.Errorf("archived header comes back as %+v, %v", info, err)
	}
}

// TestObjectsHaveOstreesBytes has the bytes that the ids above only imply, and the headers that are not hashed.
func TestObjectsHaveOstreesBytes(t *testing.T) {
	encoded := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	link := object.FileHeader{Mode: 0o120777, Target: "../etc/hello"}
	const root = "ad86fa6f7af99a1f317635e6cab796eddfcffa63b9a465a463ff4fd316deaa60"
	const rootMeta = "446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488"
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"hello, hashed",
			object.FrameHeader(encoded(object.EncodeFileHeader(&object.FileHeader{UID: 1000, GID: 1001, Mode: 0o100644}))),
			"00000012 00000000 | 000003e8 000003e9 000081a4 00000000 00 11"},
		{"link, hashed", object.FrameHeader(encoded(object.EncodeFileHeader(&link))),
			"0000001e 00000000 | 00000000 00000000 0000a1ff 00000000 2e2e2f6574632f68656c6c6f00 1d"},
		{"link, archived", object.FrameHeader(encoded(object.EncodeArchiveHeader(&object.FileInfo{FileHeader: link}))),
			"00000026 00000000 | 0000000000000000 00000000 00000000 0000a1ff 00000000 2e2e2f6574632f68656c6c6f00 25"},
		{"zero, archived",
			object.FrameHeader(encoded(object.EncodeArchiveHeader(
				&object.FileInfo{FileHeader: object.FileHeader{Mode: 0o100600}}))),
			"0000001a 00000000 | 0000000000000000 00000000 00000000 00008180 00000000 00 19"},
		{"dirmeta 0:0 0755", encoded(object.EncodeDirMeta(&object.DirMeta{Mode: 0o40755})), "00000000 00000000 000041ed"},
		{"dirmeta /empty",
			encoded(object.EncodeDirMeta(&object.DirMeta{Mode: 0o40755,
				Xattrs: object.Xattrs{{Name: "user.dirattr", Value: []byte("d1")}}})),
			"00000000 00000000 000041ed | 757365722e6469726174747200 6431 0d | 10"},
		{"dirtree /etc", encoded(object.EncodeDirTree(etcTree(t))),
			`68656c6c6f00 1cf7d7006ffc3322270a4cbd6034ca0fdc6f659cdc42ab65313354861079adca 06
			72756e00 3c8288aab868ebdf6a6f6032cbcc03aebc718909f342529506fcab2c3895c090 04
			786174747200 df8cbb2213e10810a2b66265e566a228db1a245cc8104a1d76e2fa4e4be6d85e 06
			7a65726f00 d3fa9214de0816a2cf5475da17be2036ae0eda3df526eff7c1ddee082c6e5b58 05 | 27 4c 73 99 | 9d`},
		{"dirtree /", encoded(object.EncodeDirTree(rootTree(t))),
			`6c696e6b00 a04ae1208607a1c82f92de56a15d70d5c132333961cef8d73c00aae96f5c196f 05 | 26
			656d70747900 6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
				0e9fe5a4e8cee3bac5d50a5309ebab1693f8772e7351603f2270484bc9b3bcbe 26 06
			65746300 0887db6261a4c88789a6cc390a152aa62aba99ae5263b84dfca27ddb2b738e16 ` + rootMeta + ` 24 04
			746d7000 6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
				bbe8d5c22ca8a645068a1aa51a59e117f139319d9a791e4d4c0d27dae64cc8c7 24 04 | 48 8e d4 | 27`},
		{"commit", encoded(object.EncodeCommit(vectorCommit(t))),
			`76657273696f6e00 312e3000 00 73 08 00
			6f73747265652e7265662d62696e64696e6700 0000000000 746573742f7838365f363400 0c 00 6173 13 | 0f 39
			7375626a00 626f6479207465787400 000000000000 000000006553f100 ` + root + rootMeta + ` 78 4a 40 3b 3b 3b`},
	} {
		if want := unhex(t, c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s:\n%x, want\n%x", c.name, c.got, want)
		}
	}
}

// etcTree and rootTree are the directories of the tree that the vectors were made of.
func etcTree(t testing.TB) *object.DirTree {
	return &object.DirTree{Files: []object.FileEntry{
		{Name: "hello", Checksum: id64(t, "1cf7d7006ffc3322270a4cbd6034ca0fdc6f659cdc42ab65313354861079adca")},
		{Name: "run", Checksum: id64(t, "3c8288aab868ebdf6a6f6032cbcc03aebc718909f342529506fcab2c3895c090")},
		{Name: "xattr", Checksum: id64(t, "df8cbb2213e10810a2b66265e566a228db1a245cc8104a1d76e2fa4e4be6d85e")},
		{Name: "zero", Checksum: id64(t, "d3fa9214de0816a2cf5475da17be2036ae0eda3df526eff7c1ddee082c6e5b58")},
	}}
}

func rootTree(t testing.TB) *object.DirTree {
	empty := id64(t, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")
	return &object.DirTree{
		Files: []object.FileEntry{{Name: "link",
			Checksum: id64(t, "a04ae1208607a1c82f92de56a15d70d5c132333961cef8d73c00aae96f5c196f")}},
		Dirs: []object.DirEntry{
			{Name: "empty", Tree: empty, Meta: id64(t, "0e9fe5a4e8cee3bac5d50a5309ebab1693f8772e7351603f2270484bc9b3bcbe")},
			{Name: "etc", Tree: id64(t, "0887db6261a4c88789a6cc390a152aa62aba99ae5263b84dfca27ddb2b738e16"),
				Meta: id64(t, "446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488")},
			{Name: "tmp", Tree: empty, Meta: id64(t, "bbe8d5c22ca8a645068a1aa51a59e117f139319d9a791e4d4c0d27dae64cc8c7")},
		},
	}
}

func TestDirTreeIDsAreOstrees(t *testing.T) {
	for id, tree := range map[string]*object.DirTree{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d": {},
		"0887db6261a4c88789a6cc390a152aa62aba99ae5263b84dfca27ddb2b738e16": etcTree(t),
		"ad86fa6f7af99a1f317635e6cab796eddfcffa63b9a465a463ff4fd316deaa60": rootTree(t),
	} {
		data, err := object.EncodeDirTree(tree)
		if err != nil {
			t.Fatal(err)
		}
		if got := object.HashMetadata(data); got != id64(t, id) {
			t.Errorf("id %s, want %s", got, id)
		}
		back, err := object.ParseDirTree(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tree, back); diff != "" {
			t.Errorf("the directory comes back different: %s", diff)
		}
	}
}

func TestDirMetaIDsAreOstrees(t *testing.T) {
	for id, meta := range map[string]*object.DirMeta{
		"446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488": {Mode: 0o40755},
		"0e9fe5a4e8cee3bac5d50a5309ebab1693f8772e7351603f2270484bc9b3bcbe": {Mode: 0o40755,
			Xattrs: object.Xattrs{{Name: "user.dirattr", Value: []byte("d1")}}},
		"bbe8d5c22ca8a645068a1aa51a59e117f139319d9a791e4d4c0d27dae64cc8c7": {Mode: 0o41777},
	} {
		data, err := object.EncodeDirMeta(meta)
		if err != nil {
			t.Fatal(err)
		}
		if got := object.HashMetadata(data); got != id64(t, id) {
			t.Errorf("%+v: id %s, want %s", meta, got, id)
		}
		if back, err := object.ParseDirMeta(data); err != nil || !cmp.Equal(back, meta) {
			t.Errorf("%+v comes back as %+v, %v", meta, back, err)
		}
	}
}

func vectorCommit(t testing.TB) *object.Commit {
	return &object.Commit{
		Metadata: gvariant.Dict{
			{Key: "version", Value: gvariant.String("1.0")},
			{Key: "ostree.ref-binding", Value: gvariant.Strings([]string{"test/x86_64"})},
		},
		Subject: "subj", Body: "body text", Timestamp: 1700000000,
		Tree: id64(t, "ad86fa6f7af99a1f317635e6cab796eddfcffa63b9a465a463ff4fd316deaa60"),
		Meta: id64(t, "446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488"),
	}
}

func TestCommitIDIsOstrees(t *testing.T) {
	c := vectorCommit(t)
	data, err := object.EncodeCommit(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := object.HashMetadata(data).String(),
		"9526a9238f6443f15abdec5364398072f84a647e91129d288f9cf7b9bdee231e"; got != want {
		t.Errorf("id %s, want %s", got, want)
	}
	if got, want := c.ContentChecksum().String(),
		"b6fb2c4e60434f884e4b4ad16910b46d299e6376eb894b367383b64c86cd08f9"; got != want {
		t.Errorf("content checksum %s, want %s", got, want)
	}
	back, err := object.ParseCommit(data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := object.EncodeCommit(back); err != nil || !bytes.Equal(again, data) {
		t.Errorf("the commit comes back different: %v", err)
	}
}

func TestNamesThatMayNotStandInADirectory(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "a\x00", "\xff", strings.Repeat("x", 256)} {
		if err := object.ValidateName(name); !errors.Is(err, object.ErrInvalidName) {
			t.Errorf("%q: %v, want ErrInvalidName", name, err)
		}
	}
	for _, name := range []string{"a", "...", "é", ".wh.x", strings.Repeat("x", 255)} {
		if err := object.ValidateName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestDirectoriesThatAreRefused(t *testing.T) {
	c := id64(t, strings.Repeat("1", 64))
	file := func(n string) object.FileEntry { return object.FileEntry{Name: n, Checksum: c} }
	dir := func(n string) object.DirEntry { return object.DirEntry{Name: n, Tree: c, Meta: c} }
	for name, tree := range map[string]*object.DirTree{
		"out of order": {Files: []object.FileEntry{file("b"), file("a")}},
		"a name twice": {Dirs: []object.DirEntry{dir("a"), dir("a")}},
		"a file and directory": {Files: []object.FileEntry{file("a"), file("c")},
			Dirs: []object.DirEntry{dir("b"), dir("c")}},
		"a way out": {Files: []object.FileEntry{file("..")}},
		"a path":    {Dirs: []object.DirEntry{dir("a/b")}},
	} {
		if _, err := object.EncodeDirTree(tree); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestXattrsAreBroughtIntoTheOrderThatIsHashed(t *testing.T) {
	got := object.NewXattrs([]object.Xattr{
		{Name: "user.z", Value: []byte("1")}, {Name: "user.a", Value: []byte("old")},
		{Name: "user.empty"}, {Name: "user.a", Value: []byte("new")},
	})
	want := object.Xattrs{{Name: "user.a", Value: []byte("new")}, {Name: "user.z", Value: []byte("1")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	unsorted := object.Xattrs{{Name: "b", Value: []byte("1")}, {Name: "a", Value: []byte("2")}}
	if _, err := object.ParseXattrs(object.EncodeXattrs(unsorted)); !errors.Is(err, object.ErrNotNormal) {
		t.Errorf("unsorted xattrs: %v, want ErrNotNormal", err)
	}
	loose, err := object.ParseXattrsLoose(object.EncodeXattrs(unsorted))
	if err != nil || len(loose) != 2 || loose[0].Name != "a" {
		t.Errorf("unsorted xattrs of old writers: %v, %v", loose, err)
	}
}

func TestEveryTruncationOfAnObjectIsAnError(t *testing.T) {
	tree, err := object.EncodeDirTree(rootTree(t))
	if err != nil {
		t.Fatal(err)
	}
	commit, err := object.EncodeCommit(vectorCommit(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range tree {
		if _, err := object.ParseDirTree(tree[:n]); err == nil && n != 1 {
			t.Errorf("a dirtree of %d of %d bytes passes", n, len(tree))
		}
	}
	for n := range commit {
		if _, err := object.ParseCommit(commit[:n]); err == nil {
			t.Errorf("a commit of %d of %d bytes passes", n, len(commit))
		}
	}
}

func BenchmarkDirTree(b *testing.B) {
	tree := &object.DirTree{}
	for i := range 100_000 {
		tree.Files = append(tree.Files, object.FileEntry{Name: fmt.Sprintf("file-%06d", i),
			Checksum: object.Checksum{byte(i), byte(i >> 8), 1}})
	}
	data, err := object.EncodeDirTree(tree)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := object.EncodeDirTree(tree); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := object.ParseDirTree(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
