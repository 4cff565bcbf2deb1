package tarfmt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// streamBuilder makes streams that no exporter writes.
type streamBuilder struct {
	buf bytes.Buffer
	s   *streamWriter
}

func newBuilder() *streamBuilder {
	b := &streamBuilder{}
	b.s = newStreamWriter(&b.buf)
	return b
}

// part adds a part to a stream.
type part func(b *streamBuilder)

func build(parts ...part) []byte {
	b := newBuilder()
	for _, p := range parts {
		p(b)
	}
	if err := b.s.end(); err != nil {
		panic(err)
	}
	b.s.release()
	return b.buf.Bytes()
}

func regular(path string, data []byte) part { return sized(path, data, int64(len(data))) }

// sized is a regular file whose header has another size.
func sized(path string, data []byte, size int64) part {
	return header(func(h *block) { putNumber(h.size(), uint64(size)) }, typeRegular, path, data)
}

func header(change func(h *block), typ byte, path string, data []byte) part {
	return func(b *streamBuilder) {
		h := newHeader(typ, attributes{mode: 0o644}, int64(len(data)))
		if change != nil {
			change(&h)
		}
		if err := b.s.entry(&h, path); err != nil {
			panic(err)
		}
		b.s.write(data)
		b.s.pad(int64(len(data)))
	}
}

func link(typ byte, path, target string) part {
	return header(func(h *block) { copy(h.linkname(), target) }, typ, path, nil)
}

func longLink(typ byte, path, target string) part {
	return func(b *streamBuilder) {
		b.s.longRecord(typeLongLink, target)
		link(typ, path, "")(b)
	}
}

func record(typ byte, text string) part {
	return func(b *streamBuilder) { b.s.longRecord(typ, text) }
}

func pax(key, value string) part {
	return func(b *streamBuilder) { b.s.pax(appendPAX(nil, key, []byte(value))) }
}

func raw(data ...byte) part { return func(b *streamBuilder) { b.s.write(data) } }

// sample holds the objects of a commit with one file.
type sample struct {
	commit, tree, meta, file object.Checksum
	commitData, treeData     []byte
	metaData                 []byte
	xattrs                   []byte
}

const hello = "hello"

func newSample() *sample {
	x := &sample{xattrs: object.EncodeXattrs(object.Xattrs{{Name: "user.a", Value: []byte("b")}})}
	h := object.FileHeader{Mode: object.ModeRegular | 0o644, Xattrs: object.Xattrs{{Name: "user.a", Value: []byte("b")}}}
	hash, err := object.FileHasher(&h)
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(hash, hello)
	x.file = object.Checksum(hash.Sum(nil))
	x.treeData = must(object.EncodeDirTree(&object.DirTree{Files: []object.FileEntry{{Name: "f", Checksum: x.file}}}))
	x.metaData = must(object.EncodeDirMeta(&object.DirMeta{Mode: object.ModeDir | 0o755}))
	x.tree, x.meta = object.HashMetadata(x.treeData), object.HashMetadata(x.metaData)
	x.commitData = must(object.EncodeCommit(&object.Commit{Tree: x.tree, Meta: x.meta}))
	x.commit = object.HashMetadata(x.commitData)
	return x
}

func (x *sample) commitPart() part {
	return regular(objectPath(x.commit, "commit"), x.commitData)
}

func (x *sample) trees() part {
	return func(b *streamBuilder) {
		regular(objectPath(x.meta, "dirmeta"), x.metaData)(b)
		regular(objectPath(x.tree, "dirtree"), x.treeData)(b)
	}
}

func (x *sample) xattrPart() part {
	return regular(objectPath(x.file, "file-xattrs-link"), x.xattrs)
}

func (x *sample) filePart() part { return regular(objectPath(x.file, "file"), []byte(hello)) }

// start is the start of a commit stream, up to its files.
func (x *sample) start() part {
	return func(b *streamBuilder) { x.commitPart()(b); x.trees()(b) }
}

func (x *sample) stream() []byte { return build(x.start(), x.xattrPart(), x.filePart()) }

type reading uint8

const (
	asCommit reading = iota
	asObjectSet
)

func importStream(t testing.TB, how reading, stream []byte) (*repo.Repo, error) {
	t.Helper()
	r := repotest.Init(t, repo.ModeArchive)
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var commit object.Checksum
	if how == asCommit {
		commit, err = ImportCommit(t.Context(), txn, bytes.NewReader(stream), ImportOptions{})
		if err == nil {
			err = txn.VerifyComplete(t.Context(), commit)
		}
	} else {
		_, err = ImportObjectSet(t.Context(), txn, bytes.NewReader(stream))
	}
	if err == nil {
		_, err = txn.Commit(t.Context())
	}
	return r, errors.Join(err, txn.Abort())
}

func TestStreamsThatAreTaken(t *testing.T) {
	t.Parallel()
	x := newSample()
	sum := object.Checksum(sha256.Sum256(x.xattrs))
	for name, stream := range map[string][]byte{
		"plain":          x.stream(),
		"without an end": x.stream()[:len(x.stream())-1024],
		"with other files between": build(regular("usr/x", []byte("x")), x.start(), x.xattrPart(),
			regular("etc/y", make([]byte, 3000)), x.filePart()),
		"xattrs shared, archived program": build(x.start(), regular(objectPath(sum, "file-xattrs"), x.xattrs),
			longLink(typeHardLink, objectPath(x.file, "file-xattrs-link"), objectPath(sum, "file-xattrs")), x.filePart()),
		"xattrs shared, relative target": build(x.start(), regular(objectPath(sum, "file-xattrs"), x.xattrs),
			longLink(typeHardLink, objectPath(x.file, "file-xattrs-link"),
				"../"+objectPath(sum, "file-xattrs")[len(objectsPrefix):]), x.filePart()),
		"version 0": build(x.start(), regular("sysroot/ostree/repo/xattrs/"+sum.String(), x.xattrs),
			link(typeHardLink, objectPath(x.file, "file.xattrs"), "../../xattrs/"+sum.String()), x.filePart()),
		"a link between xattrs and file": build(x.start(), x.xattrPart(),
			link(typeHardLink, "usr/f", objectPath(x.file, "file")), x.filePart()),
		"dangling xattrs at the end": build(x.start(), x.xattrPart(), x.filePart(), x.xattrPart()),
		"files twice":                build(x.start(), x.xattrPart(), x.filePart(), x.xattrPart(), x.filePart()),
		"the name in a long record": build(x.start(), x.xattrPart(), record(typeLongName, objectPath(x.file, "file")),
			regular("x", []byte(hello))),
		"the name in a PAX record": build(x.start(), x.xattrPart(), pax("path", objectPath(x.file, "file")),
			regular("x", []byte(hello))),
		"long records win over PAX": build(x.start(), x.xattrPart(), pax("path", "usr/bin/x"),
			record(typeLongName, objectPath(x.file, "file")), regular("x", []byte(hello))),
		"a PAX value that looks like one": build(x.start(), x.xattrPart(),
			pax("SCHILY.xattr.user.x", "\n12 path=abc\n9 size=1\n"), x.filePart()),
		"PAX size, uid and gid": build(x.start(), x.xattrPart(),
			func(b *streamBuilder) {
				b.s.pax(appendPAX(appendPAX(appendPAX(nil, "size", []byte("5")), "uid", []byte("0")), "gid", []byte("0")))
			}, header(func(h *block) { putNumber(h.size(), 0); putNumber(h.uid(), 77) }, typeRegular, objectPath(x.file, "file"),
				[]byte(hello))),
		"the repository's own files": build(regular("sysroot/ostree/repo/config", nil),
			regular("sysroot/ostree/repo/refs/heads/x", []byte("y")), x.start(), regular("sysroot/ostree/repo/state/x", nil),
			x.xattrPart(), x.filePart()),
		"a sparse file elsewhere": build(header(func(h *block) { h[482] = 1 }, typeSparse, "usr/x", nil),
			raw(make([]byte, 512)...), x.start(), x.xattrPart(), x.filePart()),
		"a global header": build(header(nil, typePAXGlobal, "pax_global_header",
			appendPAX(nil, "path", []byte("x"))), x.start(), x.xattrPart(), x.filePart()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := importStream(t, asCommit, stream)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := r.Has(object.Name{Checksum: x.commit, Type: object.TypeCommit}); err != nil || !ok {
				t.Errorf("the commit is not there: %v", err)
			}
		})
	}
}

func TestStreamsThatAreRefused(t *testing.T) {
	t.Parallel()
	x := newSample()
	sum := object.Checksum(sha256.Sum256(x.xattrs))
	file := objectPath(x.file, "file")
	xlink := objectPath(x.file, "file-xattrs-link")
	cs := x.file.String()
	big := make([]byte, 11<<20)
	zero := object.Checksum{}
	for _, tc := range []struct {
		name   string
		how    reading
		stream []byte
		want   string
	}{
		{"no commit", asCommit, build(x.trees()), "Expected commit object, not "},
		{"commit alone", asCommit, build(x.commitPart()), "End of stream after commit object"},
		{"xattrs right after the commit", asCommit, build(x.commitPart(), x.xattrPart(), x.filePart()),
			"Invalid object type file-xattrs-link"},
		{"two commits", asCommit, build(x.start(), x.commitPart()), "Found multiple commit objects"},
		{"commit in a set", asObjectSet, build(x.commitPart()), "Found multiple commit objects"},
		{"dirtree in a set", asObjectSet, build(x.trees()),
			"Found metadata object " + x.meta.String() + ".dirmeta in object set mode"},
		{"commitmeta of another commit", asCommit, build(x.commitPart(), regular(objectPath(zero, "commitmeta"), nil)),
			"Expected commitmeta checksum " + x.commit.String() + ", found " + zero.String()},
		{"commitmeta later", asCommit, build(x.start(), regular(objectPath(x.commit, "commitmeta"), nil)),
			"Invalid metadata object type; "},
		{"unknown kind", asCommit, build(x.start(), regular(objectPath(zero, "tombstone"), nil)),
			"Invalid object type tombstone"},
		{"commit with other bytes", asCommit, build(regular(objectPath(zero, "commit"), x.commitData), x.trees()),
			"orrupted commit object"},
		{"commit of garbage", asCommit, build(regular(objectPath(zero, "commit"), []byte("garbage")), x.trees()),
			"object " + zero.String() + ".commit: "},
		{"commitmeta of garbage", asCommit, build(x.commitPart(),
			regular(objectPath(x.commit, "commitmeta"), []byte("garbage"))), ".commitmeta: "},
		{"dirtree with other bytes", asCommit, build(x.start(), regular(objectPath(zero, "dirtree"), x.treeData)),
			"orrupted dirtree object"},
		{"dirtree of garbage", asCommit, build(x.start(), regular(objectPath(zero, "dirtree"), []byte("garbage"))),
			"dirtree: "},
		{"dirmeta as a symlink", asCommit, build(x.start(), link(typeSymlink, objectPath(zero, "dirmeta"), "/etc/shadow")),
			"Invalid non-regular metadata object " + zero.String()},
		{"commit as a hard link", asCommit, build(link(typeHardLink, objectPath(x.commit, "commit"), "x"), x.trees()),
			"Invalid non-regular metadata object " + x.commit.String()},
		{"oversized dirtree", asCommit, build(x.start(), regular(objectPath(zero, "dirtree"), big)),
			"object of size 11534336 exceeds 10485760 bytes"},
		{"dirtree that claims to be oversized", asCommit, build(x.start(), sized(objectPath(zero, "dirtree"), nil, 1<<40)),
			"object of size 1099511627776 exceeds 10485760 bytes"},

		{"file without xattrs", asCommit, build(x.start(), x.filePart()), "Missing xattrs reference"},
		{"xattrs of another file", asObjectSet, build(regular(objectPath(zero, "file-xattrs-link"), nil), x.filePart()),
			"Object mismatch, found xattrs for " + zero.String()},
		{"xattrs twice", asObjectSet, build(x.xattrPart(), x.xattrPart()),
			"Found previous dangling xattrs for file object '" + cs + "'"},
		{"xattrs as a symlink", asObjectSet, build(link(typeSymlink, xlink, "x")), "Unexpected xattrs type Symlink"},
		{"xattrs linked to a short path", asObjectSet, build(link(typeHardLink, xlink, "x.file-xattrs")),
			"Invalid checksum parent "},
		{"xattrs that never came", asObjectSet,
			build(longLink(typeHardLink, xlink, objectPath(sum, "file-xattrs")), x.filePart()),
			"Failed to find xattrs content " + sum.String()},
		{"xattrs with another checksum", asObjectSet, build(regular(objectPath(zero, "file-xattrs"), x.xattrs)),
			"Checksum mismatch, expected '" + zero.String() + "' but computed '" + sum.String() + "'"},
		{"xattr body as a link", asObjectSet, build(link(typeHardLink, objectPath(sum, "file-xattrs"), "x")),
			"Invalid xattr entry of type Link"},
		{"oversized xattrs", asObjectSet, build(regular(xlink, big[:1<<20+1])), "Invalid xattr size 1048577"},
		{"xattrs of garbage", asObjectSet, build(regular(xlink, []byte("garbage")), x.filePart()),
			"file object " + cs + ": "},
		{"version 0 body of another name", asObjectSet, build(regular("sysroot/ostree/repo/xattrs/"+zero.String(), x.xattrs)),
			"Checksum mismatch, expected '"},
		{"version 0 body without a checksum", asObjectSet, build(regular("sysroot/ostree/repo/xattrs/short", x.xattrs)),
			"Invalid sha256 checksum (len) short"},
		{"version 0 reference that is a file", asObjectSet, build(regular(objectPath(x.file, "file.xattrs"), x.xattrs)),
			"Non-hardlink xattrs reference found for " + cs},

		{"file twice in a set", asObjectSet, build(x.xattrPart(), x.filePart(), x.xattrPart(), x.filePart()),
			"Duplicate object: " + cs},
		{"file as a hard link", asObjectSet, build(x.xattrPart(), link(typeHardLink, file, "etc/shadow")),
			"Invalid tar entry of type Link"},
		{"file as a device", asObjectSet, build(x.xattrPart(), header(nil, '3', file, nil)),
			"Invalid tar entry of type Char"},
		{"file as a sparse file", asObjectSet, build(x.xattrPart(), header(nil, typeSparse, file, []byte(hello))),
			"Invalid tar entry of type GNUSparse"},
		{"file with other content", asObjectSet, build(x.xattrPart(), regular(file, []byte("hellO"))),
			"orrupted file object"},
		{"file with another owner", asObjectSet,
			build(x.xattrPart(), header(func(h *block) { putNumber(h.uid(), 1) }, typeRegular, file, []byte(hello))),
			"orrupted file object"},
		{"file with an owner of 33 bits", asObjectSet,
			build(x.xattrPart(), header(func(h *block) { putNumber(h.gid(), 1<<32) }, typeRegular, file, []byte(hello))),
			"out of range integral type conversion attempted"},
		{"file with a type in its mode", asObjectSet,
			build(x.xattrPart(), header(func(h *block) { putNumber(h.mode(), 0o60644) }, typeRegular, file, []byte(hello))),
			"invalid mode"},
		{"symlink to nothing", asObjectSet, build(x.xattrPart(), link(typeSymlink, file, "")), "invalid symlink target"},
		{"symlink that is not UTF-8", asObjectSet, build(x.xattrPart(), link(typeSymlink, file, "\xff")),
			"invalid symlink target"},
		{"symlink in place of a file", asObjectSet, build(x.xattrPart(), link(typeSymlink, file, "/etc/shadow")),
			"orrupted file object"},
		{"first of two bad files", asObjectSet,
			build(x.xattrPart(), regular(file, []byte("other")), regular(objectPath(zero, "file-xattrs-link"), nil),
				regular(objectPath(zero, "file"), nil)), cs},
		{"bad file before a bad entry", asObjectSet,
			build(x.xattrPart(), regular(file, []byte("other")), x.xattrPart(), x.xattrPart()), "orrupted file object"},

		{"path that is not UTF-8", asObjectSet, build(regular("usr/\xff", nil)), "Invalid non-utf8 path"},
		{"path that leaves the repository", asObjectSet,
			build(header(func(h *block) { copy(h.name(), "sysroot/ostree/repo/objects/../../../etc/shadow") }, typeRegular, "x",
				nil), record(typeLongName, "sysroot/ostree/repo/objects/../../../../etc/shadow"), regular("x",
				nil)), "Invalid checksum parent etc"},
		{"short checksum", asObjectSet, build(regular(objectsPrefix+"aa/bb.file", nil)), "Invalid checksum part bb"},
		{"checksum in upper case", asObjectSet, build(regular(objectsPrefix+"AA/"+strings.Repeat("B", 62)+".file", nil)),
			"Invalid sha256 checksum AA"},
		{"no extension", asObjectSet, build(regular(objectsPrefix+"aa/bb", nil)), "Invalid objpath "},

		{"damaged checksum", asObjectSet, damage(build(x.xattrPart(), x.filePart()), 0), "archive header checksum mismatch"},
		{"cut inside a header", asObjectSet, build(x.xattrPart(), x.filePart())[:700], "the stream ends"},
		{"cut inside content", asObjectSet, build(regular("usr/x", make([]byte, 3000)))[:1024],
			"the stream ends inside an entry"},
		{"cut inside an object", asObjectSet, build(x.xattrPart(), sized(file, nil, 1<<20))[:2560],
			"file object " + cs + ": the stream ends inside an entry"},
		{"cut inside a small object", asObjectSet, build(x.xattrPart(), sized(file, nil, 1<<10))[:2560],
			"the stream ends inside an entry"},
		{"a block that is too short", asObjectSet, make([]byte, 100), "failed to read entire block"},
		{"negative size", asObjectSet,
			build(header(func(h *block) { copy(h.size(), bytes.Repeat([]byte{0xff}, 12)) }, typeRegular, "x", nil)),
			"numeric field is negative or too large"},
		{"size of 64 bits", asObjectSet, build(header(func(h *block) { putNumber(h.size(), 1<<63) }, typeRegular, "x", nil)),
			"entry of 9223372036854775808 bytes"},
		{"size that is not a number", asObjectSet,
			build(header(func(h *block) { copy(h.size(), "12x") }, typeRegular, "x", nil)), "numeric field was not a number"},
		{"endless name", asObjectSet, build(sizedRecord(typeLongName, 1<<40)),
			"record of type GNULongName has 1099511627776 bytes, more than 1048576"},
		{"endless target", asObjectSet, build(sizedRecord(typeLongLink, 1<<20+1)),
			"record of type GNULongLink has 1048577 bytes, more than 1048576"},
		{"endless PAX records", asObjectSet, build(sizedRecord(typePAX, 1<<40)),
			"record of type XHeader has 1099511627776 bytes, more than 2097152"},
		{"two names", asObjectSet, build(record(typeLongName, "a"), record(typeLongName, "b"), regular("x", nil)),
			"two long name entries describing the same member"},
		{"two targets", asObjectSet, build(record(typeLongLink, "a"), record(typeLongLink, "b"), regular("x", nil)),
			"two long name entries describing the same member"},
		{"two blocks of PAX records", asObjectSet, build(pax("a", "b"), pax("a", "b"), regular("x", nil)),
			"two pax extensions entries describing the same member"},
		{"a record of nothing", asObjectSet, build(record(typeLongName, "a")),
			"members found describing a future member but no future member found"},
		{"malformed PAX records", asObjectSet,
			build(func(b *streamBuilder) { b.s.pax([]byte("99 a=b\n")) }, regular("x", nil)), "malformed pax extension"},
		{"PAX records that differ", asObjectSet,
			build(func(b *streamBuilder) { b.s.pax(appendPAX(appendPAX(nil, "path", []byte("a")), "path", []byte("b"))) },
				regular("x", nil)), `two pax records for "path"`},
		{"PAX size that is not a number", asObjectSet, build(pax("size", "-5"), regular("x", nil)), "pax record size"},
		{"endless sparse map", asObjectSet, build(header(func(h *block) { h[482] = 1 }, typeSparse, "x", nil),
			func(b *streamBuilder) {
				more := make([]byte, 512)
				more[504] = 1
				for range maxSparseBlocks {
					b.s.write(more)
				}
			}), "the map of a sparse file"},

		{"missing dirtree", asCommit, build(x.commitPart(), regular(objectPath(x.meta, "dirmeta"), x.metaData)),
			fmt.Sprintf(`commit %s is incomplete: %s.dirtree of "/" is missing`, x.commit, x.tree)},
		{"missing dirmeta", asCommit, build(x.commitPart(), regular(objectPath(x.tree, "dirtree"), x.treeData), x.xattrPart(),
			x.filePart()), x.meta.String() + `.dirmeta of "/" is missing`},
		{"missing file", asCommit, build(x.start()), cs + `.file of "/f" is missing`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := importStream(t, tc.how, tc.stream)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			for name, err := range r.Objects(t.Context()) {
				t.Errorf("%s was written, %v", name, err)
			}
		})
	}
}

func damage(stream []byte, at int) []byte {
	stream[at] ^= 1
	return stream
}

// sizedRecord is a record whose header claims more data than it has.
func sizedRecord(typ byte, size int64) part {
	return func(b *streamBuilder) {
		h := newHeader(typ, attributes{}, size)
		h.seal()
		b.s.write(h[:])
	}
}

func TestErrorsOfSourcesAreNotInvalidStreams(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	r := repotest.Init(t, repo.ModeArchive)
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x := newSample()
	stream := io.MultiReader(bytes.NewReader(x.stream()[:1500]), errorReader{broken})
	if _, err := ImportCommit(t.Context(), txn, stream,
		ImportOptions{}); !errors.Is(err, broken) || errors.Is(err, ErrInvalidStream) {
		t.Errorf("got %v, want %v alone", err, broken)
	}
	if err := txn.Abort(); err != nil {
		t.Error(err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// upstreamsStream returns a stream that upstream's programs wrote, without entries of directories: commit.tar is the
// beginning of the first layer of the image "cli1", and the others are layers of the archived and the current program.
func upstreamsStream(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "upstream", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestStreamsOfUpstreamsProgramsAreTaken(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		objects int
		commit  string // the synthetic commit that upstream's programs made of the whole layer
	}{
		"current-util-linux.tar":  {1, "51c9233c7e74e22579d3aecb39980d038076970b35bdb6c32684866a76316b9e"},
		"archived-util-linux.tar": {1, "51c9233c7e74e22579d3aecb39980d038076970b35bdb6c32684866a76316b9e"},
		"current-setup.tar":       {5, "db78526a79f9fb0b06fa93c3faae313fee8961f258a1ae299901ef74a1dff92a"},
	} {
		r := repotest.Init(t, repo.ModeArchive)
		txn, err := r.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		objects, err := ImportObjectSet(t.Context(), txn, bytes.NewReader(upstreamsStream(t, name)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		commit, _, _ := SyntheticCommit(objects)
		if got := object.HashMetadata(commit).String(); len(objects) != want.objects || got != want.commit {
			t.Errorf("%s: %d objects, commit %s", name, len(objects), got)
		}
		if err := txn.Abort(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzImport needs -fuzzminimizetime=1x: coverage depends on the scheduling of workers, so Go's minimizer would not
// end.
func FuzzImport(f *testing.F) {
	x := newSample()
	sum := object.Checksum(sha256.Sum256(x.xattrs))
	f.Add(x.stream())
	f.Add(build(x.xattrPart(), x.filePart()))
	f.Add(build(x.commitPart(), regular(objectPath(x.commit, "commitmeta"), nil), x.trees(),
		regular(objectPath(sum, "file-xattrs"), x.xattrs),
		longLink(typeHardLink, objectPath(x.file, "file-xattrs-link"), objectPath(sum, "file-xattrs")), pax("size", "5"),
		x.filePart()))
	f.Add(build(x.start(), regular("sysroot/ostree/repo/xattrs/"+sum.String(), x.xattrs),
		link(typeHardLink, objectPath(x.file, "file.xattrs"), "../../xattrs/"+sum.String()), x.filePart()))
	for _, name := range []string{"commit.tar", "current-setup.tar", "current-util-linux.tar", "archived-util-linux.tar"} {
		f.Add(upstreamsStream(f, name))
	}
	r := repotest.Init(f, repo.ModeArchive)
	f.Fuzz(func(t *testing.T, stream []byte) {
		stream = bytes.Clone(stream)
		repair(stream)
		for _, how := range []reading{asCommit, asObjectSet} {
			txn, err := r.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if how == asCommit {
				c, err := ImportCommit(t.Context(), txn, bytes.NewReader(stream), ImportOptions{})
				if err == nil {
					_ = txn.VerifyComplete(t.Context(), c)
				}
			} else {
				_, _ = ImportObjectSet(t.Context(), txn, bytes.NewReader(stream))
			}
			if err := txn.Abort(); err != nil {
				t.Fatal(err)
			}
			for name, err := range r.Objects(t.Context()) {
				t.Fatalf("%s is visible after an abort, %v", name, err)
			}
		}
	})
}

// repair sets the checksums of headers, which a fuzzer cannot guess.
func repair(stream []byte) {
	for len(stream) >= blockSize && stream[0] != 0 {
		h := (*block)(stream)
		h.seal()
		size, err := parseNumber(h.size())
		if err != nil || size > uint64(len(stream)) {
			return
		}
		stream = stream[min(uint64(len(stream)), blockSize+(size+blockSize-1)/blockSize*blockSize):]
	}
}
