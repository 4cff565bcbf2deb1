package tarfmt_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// begin starts a transaction that is aborted unless the test commits it.
func begin(t testing.TB, r *repo.Repo) *repo.Txn {
	t.Helper()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := txn.Abort(); err != nil {
			t.Error(err)
		}
	})
	return txn
}

// importCommit does what "tar import" does.
func importCommit(ctx context.Context, t testing.TB, r *repo.Repo, stream []byte,
	opts tarfmt.ImportOptions) (object.Checksum, error) {
	t.Helper()
	txn := begin(t, r)
	commit, err := tarfmt.ImportCommit(ctx, txn, bytes.NewReader(stream), opts)
	if err == nil {
		err = txn.VerifyComplete(ctx, commit)
	}
	if err != nil {
		return commit, errors.Join(err, txn.Abort())
	}
	txn.UnmarkPartial(commit)
	_, err = txn.Commit(ctx)
	return commit, err
}

func wantEmpty(t testing.TB, r *repo.Repo) {
	t.Helper()
	for name, err := range r.Objects(t.Context()) {
		t.Errorf("the repository has %s, %v", name, err)
	}
	if refs, err := r.Refs(""); err != nil || len(refs) != 0 {
		t.Errorf("the repository has refs %v, %v", refs, err)
	}
}

func TestUpstream_EmptyImport(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string][]byte{"no bytes": nil, "no entries": make([]byte, 1024),
		"an empty chunk": emptyStream(t)} {
		r := repotest.Init(t, repo.ModeArchive)
		_, err := importCommit(t.Context(), t, r, stream, tarfmt.ImportOptions{})
		if err == nil || err.Error() != "Commit object not found" || !errors.Is(err, tarfmt.ErrInvalidStream) {
			t.Errorf("%s: got %v, want that there is no commit", name, err)
		}
		wantEmpty(t, r)
	}
}

func emptyStream(t testing.TB) []byte {
	src, commit := exampleOS(t)
	return exportChunk(t, src, commit, nil, false)
}

func TestUpstream_ImportOfAnExport(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	attachNote(src, commit)
	stream := exportCommit(t, src, commit)
	for _, mode := range []repo.Mode{repo.ModeArchive, repo.ModeBareUser} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			r := repotest.Init(t, mode)
			got, err := importCommit(t.Context(), t, r, stream, tarfmt.ImportOptions{})
			if err != nil || got != commit {
				t.Fatalf("got %s, %v, want %s", got, err, commit)
			}
			c, err := repo.LoadCommit(t.Context(), r, commit)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := c.ContentChecksum().String(),
				"bd3d13c3059e63e6f8a3d6d046923ded730d90bd7a055c9ad93312111ea7d395"; got != want {
				t.Errorf("got content checksum %s, want %s", got, want)
			}
			if kernel, err := repo.FindKernel(t.Context(), r, c.Tree); err != nil || kernel != "5.10.18-200.x86_64" {
				t.Errorf("got kernel %q, %v", kernel, err)
			}
			d, err := repo.LoadDetachedMetadata(t.Context(), r, commit)
			if err != nil {
				t.Fatal(err)
			}
			if v, ok := d.Lookup("my-detached-key"); !ok || v.String() != "'my-detached-value'" {
				t.Errorf("got detached metadata %v", d)
			}
			if state, err := r.IsPartial(commit); err != nil || state != repo.CommitComplete {
				t.Errorf("got state %v, %v, want a complete commit", state, err)
			}
			if !bytes.Equal(exportCommit(t, r, commit), stream) {
				t.Error("the commit's own export has other bytes")
			}
		})
	}
}

func TestImportLeavesTheCommitPartialAndTheRestToTheCaller(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	r := repotest.Init(t, repo.ModeArchive)
	txn := begin(t, r)
	if _, err := tarfmt.ImportCommit(t.Context(), txn, bytes.NewReader(exportCommit(t, src, commit)),
		tarfmt.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, r)
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state, err := r.IsPartial(commit); err != nil || state != repo.CommitPartial {
		t.Errorf("got state %v, %v, want a partial commit", state, err)
	}
}

func TestUpstream_SignedImport(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	stripped := exportCommit(t, src, commit)
	attachNote(src, commit)
	noted := exportCommit(t, src, commit)
	refuse := errors.New("Can't check signature: public key not found")

	t.Run("metadata stripped", func(t *testing.T) {
		t.Parallel()
		r := repotest.Init(t, repo.ModeArchive)
		_, err := importCommit(t.Context(), t, r, stripped, tarfmt.ImportOptions{
			Remote: "myremote",
			Verify: func(_ object.Checksum, _, detached []byte) error {
				if detached != nil {
					t.Errorf("asked about the detached metadata %x", detached)
				}
				return refuse
			},
		})
		if !errors.Is(err, refuse) || !strings.HasPrefix(err.Error(),
			"Using remote myremote for verification; Expected commitmeta object, not DirMeta") {
			t.Errorf("got %v, want that the commitmeta object is missing", err)
		}
		wantEmpty(t, r)
	})
	t.Run("no metadata needed", func(t *testing.T) {
		t.Parallel()
		r := repotest.Init(t, repo.ModeArchive)
		got, err := importCommit(t.Context(), t, r, stripped, tarfmt.ImportOptions{
			Verify: func(object.Checksum, []byte, []byte) error { return nil },
		})
		if err != nil || got != commit {
			t.Errorf("got commit %s, %v", got, err)
		}
	})
	t.Run("no key", func(t *testing.T) {
		t.Parallel()
		r := repotest.Init(t, repo.ModeArchive)
		_, err := importCommit(t.Context(), t, r, noted, tarfmt.ImportOptions{
			Verify: func(object.Checksum, []byte, []byte) error { return refuse },
		})
		if !errors.Is(err, refuse) || !strings.HasPrefix(err.Error(), "Verifying ostree commit in tar stream: ") {
			t.Errorf("got %v, want %v", err, refuse)
		}
		wantEmpty(t, r)
	})
	t.Run("good", func(t *testing.T) {
		t.Parallel()
		r := repotest.Init(t, repo.ModeArchive)
		called := 0
		_, err := importCommit(t.Context(), t, r, noted, tarfmt.ImportOptions{
			Verify: func(c object.Checksum, data, detached []byte) error {
				called++
				wantEmpty(t, r)
				if c != commit || object.HashMetadata(data) != commit {
					t.Errorf("asked to verify %s with bytes of %s", c, object.HashMetadata(data))
				}
				name := object.Name{Checksum: commit, Type: object.TypeCommitMeta}
				if !bytes.Equal(detached, src.metadata[name]) {
					t.Errorf("got commitmeta %x", detached)
				}
				return nil
			},
		})
		if err != nil || called != 1 {
			t.Errorf("got %v after %d calls", err, called)
		}
	})
}

func TestUpstream_ExportStructure(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	entries := map[string]*tar.Header{}
	r := tar.NewReader(bytes.NewReader(exportCommit(t, src, commit)))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		if entries[name] != nil {
			t.Errorf("%q comes twice", name)
		}
		entries[name] = h
	}
	for name, want := range map[string]struct {
		typ  byte
		mode int64
	}{
		"boot": {tar.TypeDir, 0o755}, "usr": {tar.TypeDir, 0o755}, "etc": {tar.TypeDir, 0o755},
		"var/tmp":                        {tar.TypeDir, 0o1777},
		"sysroot/ostree/repo/objects/ff": {tar.TypeDir, 0o755}, "sysroot/ostree/repo/config": {tar.TypeReg, 0o644},
		"usr/lib/emptyfile": {tar.TypeReg, 0o644}, "usr/lib64/emptyfile2": {tar.TypeReg, 0o644},
		"usr/bin/bash": {tar.TypeLink, 0o755}, "usr/bin/hardlink-a": {tar.TypeLink, 0o644},
		"usr/bin/hardlink-b": {tar.TypeLink, 0o644},
	} {
		if h := entries[name]; h == nil || h.Typeflag != want.typ || h.Mode != want.mode {
			t.Errorf("%s: got %+v, want type %c and mode %o", name, h, want.typ, want.mode)
		}
	}
	const arping = "sysroot/ostree/repo/objects/b0/48a4f451e9fdfaaec911c1fe07d5d1d39be02f932b827c25458d3b15ae589e.file"
	if h := entries[arping]; h == nil || h.PAXRecords["SCHILY.xattr.security.capability"] == "" {
		t.Errorf("arping's object has no xattr for container engines: %+v", h)
	}
}

func TestImportOfUpstreamsStreams(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"archived", "current"} {
		for _, n := range []string{"1", "2"} {
			for _, mode := range []repo.Mode{repo.ModeArchive, repo.ModeBareUser} {
				t.Run(program+n+"/"+mode.String(), func(t *testing.T) {
					t.Parallel()
					stream := unzstd(t, fixtures.Dir(t, "upstream", program, "v"+n+".tar.zst"))
					r := repotest.Init(t, mode)
					want := revision(t, "rev"+n)
					if got, err := importCommit(t.Context(), t, r, stream, tarfmt.ImportOptions{}); err != nil || got != want {
						t.Fatalf("got %s, %v, want %s", got, err, want)
					}
					again := exportCommit(t, r, want)
					if current := unzstd(t, fixtures.Dir(t, "upstream", "current", "v"+n+".tar.zst")); !bytes.Equal(again, current) {
						t.Errorf("exported again, the stream differs from upstream's at byte %d", firstDifference(again, current))
					}
				})
			}
		}
	}
}

func TestImportOfReleasesWithoutFixtures(t *testing.T) {
	t.Parallel()
	sums := map[int]string{
		1: "6a0f8521eb24353cd46e744e80f7c83d35a4c8d251d3d4d5ee6f1966161c2ae7",
		2: "98220870b6afe4252f480905f83fc334b0038edb60c27fe036feb850d642d2ce",
	}
	for n, mode := range map[int]repo.Mode{1: repo.ModeArchive, 2: repo.ModeBareUser} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			r := repotest.Init(t, mode)
			stream := exportCommit(t, r, repotest.CommitRelease(t, r, n))
			if got := hexSum(stream); got != sums[n] {
				t.Errorf("got sha256 %s, want upstream's %s", got, sums[n])
			}
			into := repotest.Init(t, mode)
			if got, err := importCommit(t.Context(), t, into, stream,
				tarfmt.ImportOptions{}); err != nil || got != repotest.ReleaseCommit(n) {
				t.Errorf("got %s, %v, want %s", got, err, repotest.ReleaseCommit(n))
			}
		})
	}
}

func TestBareUserOnlyTakesCanonicalFilesOnly(t *testing.T) {
	t.Parallel()
	canonical := repotest.Init(t, repo.ModeBareUserOnly)
	commit := repotest.CommitRelease(t, canonical, 1)
	into := repotest.Init(t, repo.ModeBareUserOnly)
	if got, err := importCommit(t.Context(), t, into, exportCommit(t, canonical, commit),
		tarfmt.ImportOptions{}); err != nil || got != commit {
		t.Errorf("got %s, %v, want %s", got, err, commit)
	}
	src, odd := exampleOS(t)
	refusing := repotest.Init(t, repo.ModeBareUserOnly)
	_, err := importCommit(t.Context(), t, refusing, exportCommit(t, src, odd), tarfmt.ImportOptions{})
	if err == nil || !strings.Contains(err.Error(), "bare-user-only") {
		t.Errorf("got %v, want that the mode cannot hold a file", err)
	}
	wantEmpty(t, refusing)
}

func TestImportOfUpstreamsLayers(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"archived", "current"} {
		for _, tag := range []string{"single1", "single2", "cli1", "cli2"} {
			t.Run(program+"/"+tag, func(t *testing.T) {
				t.Parallel()
				layers, want := openLayout(t, fixtures.Dir(t, "upstream", program, "images")).layers(t, tag)
				r := repotest.Init(t, repo.ModeBareUser)
				txn := begin(t, r)
				commit, err := tarfmt.ImportCommit(t.Context(), txn, bytes.NewReader(layers[0]), tarfmt.ImportOptions{})
				if err != nil || commit != want {
					t.Fatalf("got %s, %v, want %s", commit, err, want)
				}
				for i, layer := range layers[1:] {
					var missing *repo.IncompleteError
					if err := txn.VerifyComplete(t.Context(), commit); !errors.As(err, &missing) && i == 0 {
						t.Errorf("after %d of %d layers: got %v, want that an object is missing", i+1, len(layers), err)
					}
					if _, err := tarfmt.ImportObjectSet(t.Context(), txn, bytes.NewReader(layer)); err != nil {
						t.Fatal(err)
					}
				}
				if err := txn.VerifyComplete(t.Context(), commit); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// These are the synthetic commits that upstream makes of its layers.
func TestUpstream_ObjectSetsHaveSyntheticCommits(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	all := content(t, src, commit)
	kernel, rest := choose(all, "/usr/lib/modules/5.10.18-200.x86_64/vmlinuz",
		"/usr/lib/modules/5.10.18-200.x86_64/initramfs")
	pkgdb, unpackaged := choose(rest, "/usr/lib/pkgdb/pkgdb")
	for _, tc := range []struct {
		name      string
		content   repo.Content
		synthetic string
	}{
		{"nothing", nil, "6109d33e99f48e9b90cdf8ad037b8e5d20ef899697cfd3eb492cf78800aed498"},
		{"everything", all, "876c4e4aa93f714fff0104338117af05a1f3728a4132ba0322393d5d40642212"},
		{"kernel", kernel, "28369f03523aa6cd7eef30b7231497a18afee7e6b4e326a6f059ba9d52bc89ec"},
		{"package database", pkgdb, "c4232683cfd4050cfb765183a23bec196f3f8c4d0c7fb889ec0ec6c8f5968b43"},
		{"the others", unpackaged, "aee2363372ce83330227e85054df9f501699399ac9374b908c5c3ac883665151"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			layer := exportChunk(t, src, commit, tc.content, true)
			r := repotest.Init(t, repo.ModeArchive)
			txn := begin(t, r)
			got, err := tarfmt.ImportObjectSet(t.Context(), txn, bytes.NewReader(layer))
			if err != nil {
				t.Fatal(err)
			}
			want := []object.Checksum{}
			for _, o := range tc.content {
				want = append(want, o.Checksum)
			}
			want = slices.Compact(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			slices.Reverse(got)
			commit, _, _ := tarfmt.SyntheticCommit(append(got, got...))
			if sum := object.HashMetadata(commit).String(); sum != tc.synthetic {
				t.Errorf("got synthetic commit %s, want %s", sum, tc.synthetic)
			}
			again, err := tarfmt.ImportObjectSet(t.Context(), txn, bytes.NewReader(layer))
			slices.Reverse(got)
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("a second time: %v, objects (-first +second):\n%s", err, diff)
			}
		})
	}
}

func TestUpstream_SyntheticCommitVectors(t *testing.T) {
	t.Parallel()
	hello := must(object.ParseChecksum("afd2231b1fa521726d822282338af4736b56a2a4b3f121b5e2446458bb8c4e10"))
	commit, dirtree, dirmeta := tarfmt.SyntheticCommit([]object.Checksum{hello})
	if got, want := object.HashMetadata(commit).String(),
		"71abe15a8e00a789ffd22775174b4381a52372f70f2c6ec9aa930b4375b8e7dd"; got != want {
		t.Errorf("got commit %s, want %s", got, want)
	}
	if got, want := object.HashMetadata(dirmeta).String(),
		"446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488"; got != want {
		t.Errorf("got dirmeta %s, want %s", got, want)
	}
	c := must(object.ParseCommit(commit))
	if c.Tree != object.HashMetadata(dirtree) {
		t.Error("the commit has another tree")
	}
	if empty, _, _ := tarfmt.SyntheticCommit(nil); len(empty) != 86 {
		t.Errorf("got a commit of %d bytes, want 86", len(empty))
	}
}

// Everything that a repository can hold is preserved: targets that upstream damages, names and owners at the limits of
// header fields, and content at the limits of blocks and buffers.
func TestOddCommitsSurviveTheRoundTrip(t *testing.T) {
	t.Parallel()
	src, commit := oddCommit(t)
	stream := exportCommit(t, src, commit)
	r := repotest.Init(t, repo.ModeArchive)
	if got, err := importCommit(t.Context(), t, r, stream, tarfmt.ImportOptions{}); err != nil || got != commit {
		t.Fatalf("got %s, %v, want %s", got, err, commit)
	}
	all := content(t, src, commit)
	txn := begin(t, repotest.Init(t, repo.ModeBareUser))
	if _, err := tarfmt.ImportCommit(t.Context(), txn, bytes.NewReader(exportFinal(t, src, commit, nil, true)),
		tarfmt.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := tarfmt.ImportObjectSet(t.Context(), txn,
		bytes.NewReader(exportChunk(t, src, commit, all, true))); err != nil {
		t.Fatal(err)
	}
	if err := txn.VerifyComplete(t.Context(), commit); err != nil {
		t.Error(err)
	}
}

func oddCommit(t testing.TB) (*memSource, object.Checksum) {
	t.Helper()
	var nodes []node
	for _, target := range []string{
		"/", "//", "a/./b", "a/.", "./a", ".", "..", "a//b", "a/", strings.Repeat("x", 99), strings.Repeat("x", 100),
		strings.Repeat("x", 101), "a//" + strings.Repeat("x", 200), "a/./" + strings.Repeat("x", 97),
		"../" + strings.Repeat("y", 3000), "日本語/" + strings.Repeat("é", 60),
	} {
		nodes = append(nodes, node{path: "links/" + hexSum([]byte(target)), target: target})
	}
	for _, size := range []int{0, 1, 511, 512, 513, 16 << 10, 16<<10 + 1, 130048, 130049, 256 << 10, 256<<10 + 1,
		1<<20 + 7, 33 << 20} {
		nodes = append(nodes, node{path: "sizes/" + hexSum([]byte{byte(size), byte(size >> 8), byte(size >> 16)}),
			mode: 0o4755, data: strings.Repeat("z", size)})
	}
	for n := 80; n < 110; n++ {
		nodes = append(nodes, node{path: "d/" + strings.Repeat("n", n), mode: 0o644, data: "x"},
			node{path: strings.Repeat("é", n/2) + "/f", mode: 0, data: "y"})
	}
	deep := "deep" + strings.Repeat("/directory", 30)
	nodes = append(nodes,
		node{path: deep + "/f", mode: 0o600, data: "deep", uid: 4294967294, gid: 2097152},
		node{path: "owners", mode: object.ModeDir | 0o1700, uid: 2097151, gid: 2097152},
		node{path: "owners/f", mode: 0o7777, data: "o", uid: 2097152, gid: 1},
		node{path: "xattrs", mode: 0o644, data: "same",
			xattrs: object.Xattrs{{Name: "user.a", Value: []byte("\n12 size=5\n\x00")}}},
		node{path: "usr/etc/passwd", mode: 0o644, data: "root"}, node{path: "var/tmp", mode: object.ModeDir | 0o755},
		node{path: "again", mode: 0o644, data: "same"}, node{path: "usr/again", mode: 0o644, data: "same"},
	)
	m := newMemSource()
	return m, m.addCommit(t, object.Commit{}, object.DirMeta{Mode: object.ModeDir | 0o755}, nodes)
}

func TestImportStopsWithItsContext(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	r := repotest.Init(t, repo.ModeArchive)
	txn := begin(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tarfmt.ImportCommit(ctx, txn, bytes.NewReader(exportCommit(t, src, commit)),
		tarfmt.ImportOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestSysroot(t *testing.T) {
	t.Parallel()
	def := object.DirMeta{Mode: object.ModeDir | 0o755}
	t.Run("empty, and the only empty directory", func(t *testing.T) {
		t.Parallel()
		src := newMemSource()
		commit := src.addCommit(t, object.Commit{}, def,
			[]node{{path: "sysroot", mode: object.ModeDir | 0o755}, {path: "usr/f", mode: 0o644}})
		r := repotest.Init(t, repo.ModeArchive)
		if got, err := importCommit(t.Context(), t, r, exportCommit(t, src, commit),
			tarfmt.ImportOptions{}); err != nil || got != commit {
			t.Errorf("got %s, %v, want %s", got, err, commit)
		}
	})
	t.Run("with content, which streams do not carry", func(t *testing.T) {
		t.Parallel()
		src := newMemSource()
		commit := src.addCommit(t, object.Commit{}, def, []node{{path: "sysroot/f", mode: 0o644}})
		r := repotest.Init(t, repo.ModeArchive)
		_, err := importCommit(t.Context(), t, r, exportCommit(t, src, commit), tarfmt.ImportOptions{})
		var missing *repo.IncompleteError
		if !errors.As(err, &missing) || missing.Path != "/sysroot" || !errors.Is(err, repo.ErrObjectNotFound) {
			t.Errorf("got %v, want that /sysroot is missing", err)
		}
		wantEmpty(t, r)
	})
}
