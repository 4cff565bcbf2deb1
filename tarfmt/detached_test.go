package tarfmt_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// replaced returns a stream with other detached metadata.
func replaced(t *testing.T, stream, detached []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := tarfmt.ReplaceDetached(t.Context(), &out, bytes.NewReader(stream), detached); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The sums of the single layer with and without detached metadata are those that upstream's program gives.
func TestUpstream_ReplaceDetachedMetadata(t *testing.T) {
	src, commit := exampleOS(t)
	noted, _ := exampleOS(t)
	attachNote(noted, commit)
	note, err := noted.Metadata(t.Context(), object.Name{Checksum: commit, Type: object.TypeCommitMeta})
	if err != nil {
		t.Fatal(err)
	}
	all := content(t, src, commit)
	without, with := exportFinal(t, src, commit, all, false), exportFinal(t, noted, commit, all, false)
	const sumWith, sumWithout = "1d4f581ee04d7a80f23af6349e18aa01ae44b91e9b4822626cc48538ea2cb8c3",
		"7806c7dac60c4a4d225dacec2aaa635b7acef922aa3f6afdc54a07291d4f19b1"
	removed, added := hexSum(replaced(t, with, nil)), hexSum(replaced(t, without, note))
	if hexSum(with) != sumWith || removed != sumWithout || added != sumWith {
		t.Errorf("%s, without metadata %s, with them again %s", hexSum(with), removed, added)
	}
	other := gvariant.Dict{}.Set("other", gvariant.String(strings.Repeat("long", 1000))).Encode()
	for _, c := range []struct {
		name         string
		stream, meta []byte
		want         []byte
	}{
		{"removed", with, nil, without},
		{"added", without, note, with},
		{"kept", with, note, with},
		{"removed where there is none", without, nil, without},
		{"replaced by others, and back", replaced(t, with, other), note, with},
		{"added to tar export and removed", replaced(t, exportCommit(t, src, commit), note), nil,
			exportCommit(t, src, commit)},
	} {
		if got := replaced(t, c.stream, c.meta); !bytes.Equal(got, c.want) {
			t.Errorf("%s: the stream has the sum %s, want %s", c.name, hexSum(got), hexSum(c.want))
		}
	}
}

func TestReplacingDetachedMetadataKeepsBytesOfOtherPrograms(t *testing.T) {
	src, commit := exampleOS(t)
	const size = 1 << 20
	var odd bytes.Buffer
	w := tar.NewWriter(&odd)
	h := &tar.Header{Name: "usr/large", Mode: 0o644, Size: size, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("x"), size)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	stream := append(odd.Bytes(), exportFinal(t, src, commit, nil, false)...)
	stream = append(stream, make([]byte, 8192)...)
	if got := replaced(t, stream, nil); !bytes.Equal(got, stream) {
		t.Errorf("%d bytes became %d, or others", len(stream), len(got))
	}
}

func TestDetachedMetadataOfInvalidStreamsAreNotReplaced(t *testing.T) {
	src, commit := exampleOS(t)
	stream := exportFinal(t, src, commit, nil, false)
	end := bytes.Index(stream, []byte(".commit000"))
	if end < 0 {
		t.Fatal("there is no commit")
	}
	atCommit := stream[:end-end%512+1024]
	for name, c := range map[string]struct {
		stream, meta []byte
		text         string
	}{
		"no commit": {exportChunk(t, src, commit, nil, false), nil, "Missing commit object"},
		"nothing":   {nil, nil, "Missing commit object"},
		"nothing after it": {append(bytes.Clone(atCommit), make([]byte, 1024)...), nil,
			"Expected metadata object after commit"},
		"a cut stream":          {stream[:end-end%512+600], nil, ""},
		"metadata of no format": {stream, []byte("text"), "detached metadata"},
	} {
		err := tarfmt.ReplaceDetached(t.Context(), io.Discard, bytes.NewReader(c.stream), c.meta)
		if !errors.Is(err, tarfmt.ErrInvalidStream) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want ErrInvalidStream with %q", name, err, c.text)
		}
	}
	err := tarfmt.ReplaceDetached(t.Context(), &failingWriter{after: 5000}, bytes.NewReader(stream), nil)
	if !errors.Is(err, errDisk) {
		t.Errorf("writing: %v", err)
	}
}

func TestTheCommitOfAStreamIsReadAndChecked(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	plain := exportFinal(t, src, commit, nil, false)
	attachNote(src, commit)
	noted := exportFinal(t, src, commit, nil, false)
	for what, c := range map[string]struct{ stream, detached []byte }{
		"without detached metadata": {plain, nil},
		"with detached metadata":    {noted, src.metadata[object.Name{Checksum: commit, Type: object.TypeCommitMeta}]},
	} {
		got, err := tarfmt.ReadCommit(t.Context(), bytes.NewReader(c.stream))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if got.ID != commit || object.HashMetadata(got.Commit) != commit || !bytes.Equal(got.Detached, c.detached) {
			t.Errorf("%s: got commit %s with %x", what, got.ID, got.Detached)
		}
	}
	data := src.metadata[object.Name{Checksum: commit, Type: object.TypeCommit}]
	at := bytes.Index(plain, data)
	changed := bytes.Clone(plain)
	changed[at+len(data)-1] ^= 1
	for what, c := range map[string]struct {
		stream []byte
		want   error
	}{
		"no commit":      {exportChunk(t, src, commit, nil, false), tarfmt.ErrInvalidStream},
		"nothing":        {nil, tarfmt.ErrInvalidStream},
		"cut in it":      {plain[:at+10], tarfmt.ErrInvalidStream},
		"cut behind it":  {plain[:len(plain)-len(plain)%512-3000], tarfmt.ErrInvalidStream},
		"another commit": {changed, object.ErrCorrupt},
		"in the next file": {bytes.ReplaceAll(noted, []byte(commit.String()[2:]+".commitmeta"),
			[]byte(strings.Repeat("0", 62)+".commitmeta")), tarfmt.ErrInvalidStream},
	} {
		if got, err := tarfmt.ReadCommit(t.Context(), bytes.NewReader(c.stream)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", what, got, err, c.want)
		}
	}
}
