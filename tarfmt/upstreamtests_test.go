package tarfmt_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// unpackRepo unpacks a repository from a compressed archive of directories and files, without detached metadata.
func unpackRepo(t *testing.T, name string) *repo.Repo {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir := t.TempDir()
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		switch {
		case h.Typeflag == tar.TypeDir:
			err = os.MkdirAll(to, 0o755)
		case strings.HasSuffix(h.Name, ".commitmeta"):
		default:
			data, readErr := io.ReadAll(in)
			err = errors.Join(readErr, os.WriteFile(to, data, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := repo.Open(filepath.Join(dir, "repo"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// These are the repositories that upstream's own tests build, with the results of those tests or of upstream's
// programs.
func TestUpstream_RepositoriesOfUpstreamsTests(t *testing.T) {
	for _, tt := range []struct {
		name, first, update, content string
		streams                      map[string]string // sums
	}{
		{
			"archived", "dd940d073f3c2c45f44a41319f9e504d07ccaf9d06626d8e63207cd336bb2ecd",
			"fe4ba8bbd8f61a69ae53cde0dd53c637f26dfbc87717b2e71e061415d931361e",
			"acc42fb5c796033f034941dc688643bf8beddfd9068d87165344d2b99906220a", nil,
		},
		{
			"current", "616069c200463abca9c1d3adc65b948f1f1d3ddd42bc2c8ea3308535a0e44c24",
			"6e6afc49d902daa2456c858818e0ad8bf9afe79cdcca738c5676c0e175c1def1",
			"bd3d13c3059e63e6f8a3d6d046923ded730d90bd7a055c9ad93312111ea7d395", map[string]string{
				"tar export":   "d9cd2218fae9930287ac0792c355ee8ce39cec72a5b0b1f6367d80fb958c2c0f",
				"single layer": "7806c7dac60c4a4d225dacec2aaa635b7acef922aa3f6afdc54a07291d4f19b1",
				"commit layer": "c298599d7ade7d17258d52ea7dec51143306f335b1438dd5b4b2ce6985309647",
				"9 components": "b9919e119497b9ade1a88ae01502b5bd350006b25968f863cb5066b41ba666fc",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := unpackRepo(t, fixtures.Dir(t, "upstream-tests", tt.name+".tar.zst"))
			const ref = "exampleos/x86_64/stable"
			for rev, want := range map[string]string{ref: tt.update, ref + "^": tt.first} {
				if got, err := r.ResolveRev(rev); err != nil || got.String() != want {
					t.Errorf("%s is %s, %v, want %s", rev, got, err, want)
				}
			}
			id, err := object.ParseChecksum(tt.first)
			if err != nil {
				t.Fatal(err)
			}
			data, err := r.Metadata(t.Context(), object.Name{Checksum: id, Type: object.TypeCommit})
			if err != nil {
				t.Fatal(err)
			}
			commit, err := object.ParseCommit(data)
			if err != nil {
				t.Fatal(err)
			}
			if got := object.Checksum(sha256.Sum256(append(commit.Tree[:], commit.Meta[:]...))); got.String() != tt.content {
				t.Errorf("the content checksum is %s, want %s", got, tt.content)
			}
			all := content(t, r, id)
			var single, first bytes.Buffer
			if err := errors.Join(tarfmt.ExportFinal(t.Context(), &single, r, id, all, tarfmt.ExportOptions{}),
				tarfmt.ExportFinal(t.Context(), &first, r, id, nil, tarfmt.ExportOptions{})); err != nil {
				t.Fatal(err)
			}
			streams := map[string][]byte{
				"tar export": exportCommit(t, r, id), "single layer": single.Bytes(), "commit layer": first.Bytes(),
				"9 components": exportChunk(t, r, id, all, false),
			}
			for name, want := range tt.streams {
				if got := hexSum(streams[name]); got != want {
					t.Errorf("%s has the sum %s, want %s", name, got, want)
				}
			}
		})
	}
}

// Targets of symlinks that a path library would change are preserved.
func TestUpstream_DenormalTargetsOfSymlinks(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"../../usr/sbin//chkconfig", "foo//bar/baz", "/", "../usr/bin/blah", "a/./b/", "//",
		strings.Repeat("d//", 60) + "f"} {
		src := newMemSource()
		tree, meta := src.addTree(t, object.DirMeta{Mode: object.ModeDir | 0o755}, []node{{path: "usr/link", target: target}})
		data, err := object.EncodeCommit(&object.Commit{Tree: tree, Meta: meta})
		if err != nil {
			t.Fatal(err)
		}
		commit := src.addMetadata(object.TypeCommit, data)
		r, err := repo.Init(filepath.Join(t.TempDir(), "repo"), repo.ModeArchive)
		if err != nil {
			t.Fatal(err)
		}
		txn, err := r.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := tarfmt.ImportCommit(t.Context(), txn, bytes.NewReader(exportCommit(t, src, commit)),
			tarfmt.ImportOptions{})
		if err != nil || got != commit {
			t.Errorf("%q: commit %s, %v, want %s", target, got, err, commit)
		}
		// The checksum of an object covers its target.
		if err := txn.VerifyComplete(t.Context(), commit); err != nil {
			t.Errorf("%q: %v", target, err)
		}
		if err := errors.Join(txn.Abort(), r.Close()); err != nil {
			t.Error(err)
		}
	}
}
