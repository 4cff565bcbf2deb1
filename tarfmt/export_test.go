package tarfmt_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

const emptyChunk = "12787d84fa137cd5649a9005efe98ec9d05ea46245fdc50aecb7dd007f2035b1"

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func exportCommit(t testing.TB, src repo.Source, commit object.Checksum) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tarfmt.ExportCommit(t.Context(), &b, src, commit); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func exportChunk(t testing.TB, src repo.Source, commit object.Checksum, c repo.Content, parents bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tarfmt.ExportChunk(t.Context(), &b, src, commit, c, tarfmt.ExportOptions{ParentDirs: parents}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func exportFinal(t testing.TB, src repo.Source, commit object.Checksum, c repo.Content, parents bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tarfmt.ExportFinal(t.Context(), &b, src, commit, c, tarfmt.ExportOptions{ParentDirs: parents}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func content(t testing.TB, src repo.Source, commit object.Checksum) repo.Content {
	t.Helper()
	c, err := repo.CommitContent(t.Context(), src, commit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// choose returns the objects that have one of the paths, with all of their paths.
func choose(all repo.Content, paths ...string) (chosen, rest repo.Content) {
	of := map[object.Checksum]bool{}
	for _, f := range all {
		if slices.Contains(paths, f.Path) {
			of[f.Checksum] = true
		}
	}
	for _, f := range all {
		if of[f.Checksum] {
			chosen = append(chosen, f)
		} else {
			rest = append(rest, f)
		}
	}
	return chosen, rest
}

// These are the sums of streams that upstream's program wrote for the same commit.
func TestUpstream_Vectors(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	noted, _ := exampleOS(t)
	attachNote(noted, commit)
	all := content(t, src, commit)
	kernel, rest := choose(all, "/usr/lib/modules/5.10.18-200.x86_64/vmlinuz",
		"/usr/lib/modules/5.10.18-200.x86_64/initramfs")
	pkgdb, unpackaged := choose(rest, "/usr/lib/pkgdb/pkgdb")
	for _, tc := range []struct {
		name   string
		stream []byte
		size   int
		sum    string
	}{
		{"tar export", exportCommit(t, src, commit), 212480,
			"d9cd2218fae9930287ac0792c355ee8ce39cec72a5b0b1f6367d80fb958c2c0f"},
		{"tar export with detached metadata", exportCommit(t, noted, commit), 214528,
			"3a36f0582cc1209755a1b2755ac1afd5aab8c867f1782633281ff826b0325d27"},
		{"single layer", exportFinal(t, src, commit, all, false), 0,
			"7806c7dac60c4a4d225dacec2aaa635b7acef922aa3f6afdc54a07291d4f19b1"},
		{"single layer with detached metadata", exportFinal(t, noted, commit, all, false), 0,
			"1d4f581ee04d7a80f23af6349e18aa01ae44b91e9b4822626cc48538ea2cb8c3"},
		{"commit layer", exportFinal(t, src, commit, nil, false), 172032,
			"c298599d7ade7d17258d52ea7dec51143306f335b1438dd5b4b2ce6985309647"},
		{"chunk with everything", exportChunk(t, src, commit, all, false), 179712,
			"b9919e119497b9ade1a88ae01502b5bd350006b25968f863cb5066b41ba666fc"},
		{"empty chunk", exportChunk(t, src, commit, nil, false), 139264, emptyChunk},
		{"kernel", exportChunk(t, src, commit, kernel, false), 0,
			"6a9d6668bbd2e29894fa82f43f3d8da09544c79c72156d8ffa1fb61bdb26b947"},
		{"package database", exportChunk(t, src, commit, pkgdb, false), 0,
			"b65ca0de0308253abee0e91c57f76fdf422cf8881ed631c550a810e9ae1583d9"},
		{"the others", exportChunk(t, src, commit, unpackaged, false), 0,
			"5273ccec66c5656939797579c402ae05004f4dc40c8798d148355509b582304b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.size != 0 && len(tc.stream) != tc.size {
				t.Errorf("got %d bytes, want %d", len(tc.stream), tc.size)
			}
			if got := hexSum(tc.stream); got != tc.sum {
				t.Errorf("got sha256 %s, want %s", got, tc.sum)
			}
		})
	}
}

func TestUpstream_ReproducibleExport(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	want := exportCommit(t, src, commit)
	for range 20 {
		if !bytes.Equal(exportCommit(t, src, commit), want) {
			t.Fatal("two exports of one commit differ")
		}
	}
}

type failingWriter struct{ after int }

var errDisk = errors.New("disk is full")

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.after -= len(p); w.after < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestExportReports(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	all := content(t, src, commit)

	t.Run("a writer's error", func(t *testing.T) {
		t.Parallel()
		if err := tarfmt.ExportCommit(t.Context(), &failingWriter{after: 1000}, src, commit); !errors.Is(err, errDisk) {
			t.Errorf("got %v, want %v", err, errDisk)
		}
	})
	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := tarfmt.ExportCommit(ctx, io.Discard, src, commit); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
	t.Run("the first missing object", func(t *testing.T) {
		t.Parallel()
		damaged, _ := exampleOS(t)
		delete(damaged.files, all[2].Checksum)
		delete(damaged.files, all[5].Checksum)
		err := tarfmt.ExportChunk(t.Context(), io.Discard, damaged, commit, all, tarfmt.ExportOptions{})
		if !errors.Is(err, repo.ErrObjectNotFound) || !strings.Contains(err.Error(), all[2].Checksum.String()) {
			t.Errorf("got %v, want that %s is missing", err, all[2].Checksum)
		}
	})
	t.Run("content of another length", func(t *testing.T) {
		t.Parallel()
		for _, change := range []int64{-1, 1} {
			damaged, _ := exampleOS(t)
			for c, f := range damaged.files {
				if f.info.Size > 1 {
					f.info.Size += change
					damaged.files[c] = f
				}
			}
			if err := tarfmt.ExportCommit(t.Context(), io.Discard, damaged, commit); err == nil {
				t.Errorf("a file with %+d bytes was exported", change)
			}
		}
	})
	t.Run("objects out of order", func(t *testing.T) {
		t.Parallel()
		c := slices.Clone(all)
		c[0], c[1] = c[1], c[0]
		if err := tarfmt.ExportChunk(t.Context(), io.Discard, src, commit, c, tarfmt.ExportOptions{}); err == nil {
			t.Error("the layer was written")
		}
	})
	t.Run("what no importer takes", func(t *testing.T) {
		t.Parallel()
		many, files := newMemSource(), object.DirTree{}
		c := many.addFile(t, object.FileHeader{Mode: object.ModeRegular | 0o644}, nil)
		for i := range 260_000 {
			files.Files = append(files.Files, object.FileEntry{Name: fmt.Sprintf("f%06d", i), Checksum: c})
		}
		attribute := object.Xattr{Name: "user.x", Value: make([]byte, 1<<20)}
		heavy := newMemSource()
		h := object.FileHeader{Mode: object.ModeRegular | 0o644, Xattrs: object.NewXattrs([]object.Xattr{attribute})}
		one := object.DirTree{Files: []object.FileEntry{{Name: "heavy", Checksum: heavy.addFile(t, h, nil)}}}
		for name, src := range map[string]struct {
			*memSource
			root object.DirTree
			says string
		}{
			"a directory of too many files": {many, files, "directory /: "}, "too many attributes": {heavy, one, "/heavy "},
		} {
			err := tarfmt.ExportCommit(t.Context(), io.Discard, src, src.addFlatCommit(t, &src.root))
			if !errors.Is(err, tarfmt.ErrTooLarge) || !strings.Contains(err.Error(), src.says) {
				t.Errorf("%s: got %v, want an error that names it", name, err)
			}
		}
	})
	t.Run("parents that the commit has not", func(t *testing.T) {
		t.Parallel()
		c := repo.Content{{Checksum: all[0].Checksum, Path: "/usr/nowhere/file"}}
		opts := tarfmt.ExportOptions{ParentDirs: true}
		if err := tarfmt.ExportChunk(t.Context(), io.Discard, src, commit, c, opts); err == nil {
			t.Error("the layer was written")
		}
	})
}
