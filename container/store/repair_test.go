package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// policyTree is a tree without labels, and with a policy that gives every file one.
func policyTree() []repotest.Entry {
	const dir, file = object.ModeDir, object.ModeRegular
	return []repotest.Entry{
		{Mode: dir | 0o755}, {Path: "usr", Mode: dir | 0o755},
		{Path: "usr/bin", Mode: dir | 0o751}, {Path: "usr/bin/tool", Mode: file | 0o755, Content: []byte("tool")},
		{Path: "usr/etc", Mode: dir | 0o755}, {Path: "usr/etc/selinux", Mode: dir | 0o755},
		{Path: "usr/etc/selinux/config", Mode: file | 0o644, Content: []byte("SELINUX=enforcing\nSELINUXTYPE=t\n")},
		{Path: "usr/etc/selinux/t", Mode: dir | 0o755}, {Path: "usr/etc/selinux/t/contexts", Mode: dir | 0o755},
		{Path: "usr/etc/selinux/t/contexts/files", Mode: dir | 0o755},
		{Path: "usr/etc/selinux/t/contexts/files/file_contexts", Mode: file | 0o644,
			Content: []byte("/.* system_u:object_r:t:s0\n")},
		{Path: "usr/lib", Mode: dir | 0o755}, {Path: "usr/lib/rest", Mode: file | 0o644, Content: []byte("rest")},
	}
}

// layered makes the image of a commit in three layers, with a layer of another kind on top: 0 has the commit and
// /usr/lib/rest, 1 has /usr/bin/tool, 2 the policy, 3 is derived.
func layered(t *testing.T, content string) v1.Image {
	t.Helper()
	r := repotest.Init(t, repo.ModeArchive)
	id := repotest.Commit(t, r, policyTree(), "os")
	all, err := repo.CommitContent(t.Context(), r, id)
	if err != nil {
		t.Fatal(err)
	}
	split := &chunking.Split{Layers: []chunking.Layer{{Name: "tool"}, {Name: "policy"}}}
	parts := map[string]repo.Content{}
	for _, f := range all {
		part := "policy"
		switch f.Path {
		case "usr/bin/tool", "/usr/bin/tool":
			part = "tool"
		case "usr/lib/rest", "/usr/lib/rest":
			part = "rest"
		}
		parts[part] = append(parts[part], f)
	}
	split.Remainder, split.Layers[0].Content, split.Layers[1].Content = parts["rest"], parts["tool"], parts["policy"]
	img, err := encapsulate.Build(t.Context(), r, id, encapsulate.Options{Split: split})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	to := imgref.ImageReference{Transport: imgref.OCIDir, Name: dir}
	if _, err := dest.Write(t.Context(), img, to, dest.Options{}); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	base, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	out, err := mutate.AppendLayers(base, files(t, "usr/share/derived", content, "etc/conf", content))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// writeLayout writes an image to a new OCI directory and returns its reference.
func writeLayout(t *testing.T, img v1.Image) imgref.OstreeImageReference {
	t.Helper()
	ref := imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir()}
	if _, err := dest.Write(t.Context(), img, ref, dest.Options{}); err != nil {
		t.Fatal(err)
	}
	return imgref.Unverified(ref)
}

// objectPath returns where an object is stored.
func objectPath(r *repo.Repo, n object.Name) string {
	name := n.String()
	if n.Type == object.TypeFile && r.Mode() == repo.ModeArchive {
		name += "z"
	}
	return filepath.Join(r.Path(), "objects", name[:2], name[2:])
}

// corrupt changes the last byte of an object.
func corrupt(t *testing.T, r *repo.Repo, n object.Name) {
	t.Helper()
	p := objectPath(r, n)
	data, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := errors.Join(os.Chmod(p, 0o644), os.WriteFile(p, data, 0o644)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, r *repo.Repo, n object.Name) {
	t.Helper()
	if err := os.Remove(objectPath(r, n)); err != nil {
		t.Fatal(err)
	}
}

// at returns the object at a path of a commit: the file, or with "tree" or "meta" one of those of the directory.
func at(t *testing.T, r *repo.Repo, commit object.Checksum, path, what string) object.Name {
	t.Helper()
	view, err := repo.ViewCommit(t.Context(), r, commit)
	if err != nil {
		t.Fatal(err)
	}
	item, err := view.Lookup(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	switch what {
	case "tree":
		return object.Name{Checksum: item.Tree, Type: object.TypeDirTree}
	case "meta":
		return object.Name{Checksum: item.Meta, Type: object.TypeDirMeta}
	}
	return object.Name{Checksum: item.File, Type: object.TypeFile}
}

// hosted is a repository with an image of [layered].
type hosted struct {
	repo  *repo.Repo
	ref   imgref.OstreeImageReference
	res   *store.Imported
	layer []object.Checksum
}

func host(t *testing.T, mode repo.Mode, ref imgref.OstreeImageReference) *hosted {
	t.Helper()
	h := &hosted{repo: repotest.Init(t, mode), ref: ref}
	h.res = importNow(t, h.repo, ref, store.ImportOptions{})
	for _, l := range h.res.Layers {
		c, err := h.repo.ResolveRef("ostree/container/blob/sha256_3A_" + l.Descriptor.Digest.Encoded())
		if err != nil {
			t.Fatal(err)
		}
		h.layer = append(h.layer, c)
	}
	return h
}

func (h *hosted) repair(t *testing.T, opts store.RepairOptions) (*store.Repaired, error) {
	t.Helper()
	opts.Source = plainHTTP
	return store.Repair(t.Context(), h.repo, h.repo.NewChecker(), h.ref.Image, opts)
}

func commitName(c object.Checksum) object.Name {
	return object.Name{Checksum: c, Type: object.TypeCommit}
}

// damages are objects of every kind, and the layers that must be fetched to put them right.
var damages = []struct {
	name   string
	find   func(*testing.T, *hosted) object.Name
	layers []int
	opens  bool // documents are fetched
}{
	{"a file in a chunk", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.layer[0], "/usr/bin/tool", "")
	}, []int{1}, true},
	{"a file in the layer of the commit", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.layer[0], "/usr/lib/rest", "")
	}, []int{0}, true},
	{"a directory of the commit", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.layer[0], "/usr/bin", "tree")
	}, []int{0}, true},
	{"the root of the commit", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.layer[0], "/", "tree")
	}, []int{0}, true},
	{"metadata of a directory of the commit", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.layer[0], "/usr/bin", "meta")
	}, []int{0}, true},
	{"the commit", func(_ *testing.T, h *hosted) object.Name { return commitName(h.layer[0]) }, []int{0}, true},
	{"the list of a chunk", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.layer[1], "/", "tree")
	}, []int{1}, true},
	{"the commit of a chunk", func(_ *testing.T, h *hosted) object.Name { return commitName(h.layer[1]) }, []int{1}, true},
	{"metadata that every chunk has", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.layer[1], "/", "meta")
	}, nil, false},
	{"a file of a derived layer", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.layer[3], "/usr/share/derived", "")
	}, []int{3}, true},
	{"a directory of a derived layer", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.layer[3], "/usr", "tree")
	}, []int{3}, true},
	{"the commit of a derived layer", func(_ *testing.T, h *hosted) object.Name {
		return commitName(h.layer[3])
	}, []int{3}, true},
	{"a file with another label in the merged tree", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.res.Commit, "/usr/bin/tool", "")
	}, nil, false},
	{"a directory of the merged tree", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.res.Commit, "/usr/etc", "tree")
	}, nil, false},
	{"metadata of a directory in the merged tree", func(t *testing.T, h *hosted) object.Name {
		return at(t, h.repo, h.res.Commit, "/usr/bin", "meta")
	}, nil, false},
	{"the merge commit", func(_ *testing.T, h *hosted) object.Name { return commitName(h.res.Commit) }, nil, true},
}

func TestADamagedObjectIsPutRightWithOnlyItsLayer(t *testing.T) {
	img := layered(t, "derived")
	places := map[string]func(t *testing.T) (imgref.OstreeImageReference, *testreg.Registry){
		"directory": func(t *testing.T) (imgref.OstreeImageReference, *testreg.Registry) { return writeLayout(t, img), nil },
		"registry": func(t *testing.T) (imgref.OstreeImageReference, *testreg.Registry) {
			reg := testreg.New(t)
			return push(t, reg.Host, "os:latest", img), reg
		},
	}
	for place, start := range places {
		for _, mode := range []repo.Mode{repo.ModeBareUser, repo.ModeArchive} {
			ref, reg := start(t)
			h := host(t, mode, ref)
			ways := map[string]func(*testing.T, *repo.Repo, object.Name){"corrupt": corrupt, "missing": remove}
			for how, damage := range ways {
				for _, c := range damages {
					t.Run(place+"/"+mode.String()+"/"+how+"/"+c.name, func(t *testing.T) {
						h.check(t, reg, c.find(t, h), damage, c.layers, c.opens)
					})
				}
			}
		}
	}
}

// check damages an object and repairs the image.
func (h *hosted) check(
	t *testing.T, reg *testreg.Registry, n object.Name, damage func(*testing.T, *repo.Repo, object.Name),
	layers []int, opens bool,
) {
	before, err := os.ReadFile(objectPath(h.repo, n))
	if err != nil {
		t.Fatal(err)
	}
	damage(t, h.repo, n)
	if _, err := h.repo.Fsck(t.Context(), repo.FsckOptions{All: true}); err == nil {
		t.Fatal("fsck does not find the damage")
	}
	sent := 0
	if reg != nil {
		sent = reg.BlobsSent()
	}
	plan, err := h.repair(t, store.RepairOptions{DryRun: true})
	if err != nil || len(plan.Damaged) == 0 {
		t.Fatalf("a dry run: %+v, %v", plan, err)
	}
	if reg != nil && reg.BlobsSent() != sent {
		t.Error("the dry run fetched something")
	}
	res, err := h.repair(t, store.RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(res.Damaged, func(p repo.FsckProblem) bool { return p.Object == n }) {
		t.Errorf("the damage is %v, and does not name %s", res.Damaged, n)
	}
	var want []string
	var size int64
	for _, i := range layers {
		want = append(want, h.res.Layers[i].Descriptor.Digest.String())
		size += h.res.Layers[i].Descriptor.Size
	}
	for name, r := range map[string]*store.Repaired{"dry run": plan, "repair": res} {
		var got []string
		for _, d := range r.Layers {
			got = append(got, d.String())
		}
		if !slices.Equal(got, want) || r.Bytes != size {
			t.Errorf("%s: the layers are %v of %d bytes, want %v of %d", name, got, r.Bytes, want, size)
		}
	}
	if reg != nil {
		blobs := len(layers)
		if opens {
			blobs++ // the configuration
		}
		if got := reg.BlobsSent() - sent; got != blobs {
			t.Errorf("%d blobs were fetched, want %d", got, blobs)
		}
	}
	after, err := os.ReadFile(objectPath(h.repo, n))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the object is not what it was (%v)", err)
	}
	h.sound(t)
}

// sound checks that nothing is wrong with the repository, and that the image is the same.
func (h *hosted) sound(t *testing.T) {
	t.Helper()
	if report, err := h.repo.Fsck(t.Context(), repo.FsckOptions{All: true}); err != nil || report.Partial > 0 {
		t.Errorf("fsck: %v, %d partial commits, %v", err, report.Partial, report.Problems)
	}
	img, err := store.Query(t.Context(), h.repo, h.ref.Image)
	if err != nil || img.Commit != h.res.Commit {
		t.Fatalf("the image is now %v, %v, want commit %s", img, err, h.res.Commit)
	}
	res, err := h.repair(t, store.RepairOptions{})
	if err != nil || !res.Sound() {
		t.Errorf("another repair: %+v, %v", res, err)
	}
}

func TestEverythingDamagedAtOnceIsPutRight(t *testing.T) {
	h := host(t, repo.ModeBareUser, writeLayout(t, layered(t, "derived")))
	seen := map[object.Name]bool{}
	for n, err := range h.repo.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		// Empty files have nothing to change.
		if info, err := os.Stat(objectPath(h.repo, n)); err == nil && info.Size() > 0 && n.Type != object.TypeCommitMeta {
			seen[n] = true
		}
	}
	for n := range seen {
		corrupt(t, h.repo, n)
	}
	if _, err := h.repair(t, store.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	res, err := h.repair(t, store.RepairOptions{})
	if err != nil || !res.Sound() {
		t.Errorf("another repair: %+v, %v", res, err)
	}
}

func TestWhatFsckDeletedIsPutRight(t *testing.T) {
	h := host(t, repo.ModeBareUser, writeLayout(t, layered(t, "derived")))
	corrupt(t, h.repo, at(t, h.repo, h.layer[0], "/usr/bin/tool", ""))
	if _, err := h.repo.Fsck(t.Context(), repo.FsckOptions{Delete: true}); !errors.Is(err, repo.ErrRepositoryCorrupt) {
		t.Fatal(err)
	}
	res, err := h.repair(t, store.RepairOptions{})
	if err != nil || len(res.Unmarked) == 0 {
		t.Errorf("%+v, %v: want commits that are not partial any more", res, err)
	}
	h.sound(t)
}

func TestLayersOfAnImageThatHasMovedOnComeByTheirDigests(t *testing.T) {
	reg := testreg.New(t)
	ref := push(t, reg.Host, "os:latest", layered(t, "derived"))
	h := host(t, repo.ModeBareUser, ref)
	push(t, reg.Host, "os:latest", layered(t, "another"))
	corrupt(t, h.repo, at(t, h.repo, h.layer[3], "/usr/share/derived", ""))
	res, err := h.repair(t, store.RepairOptions{})
	if err != nil || !res.Moved || len(res.Layers) != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	h.sound(t)

	// In a directory only the blobs are left.
	old := layered(t, "derived")
	dir := writeLayout(t, old)
	h = host(t, repo.ModeBareUser, dir)
	next := writeLayout(t, layered(t, "another"))
	index, err := os.ReadFile(filepath.Join(next.Image.Name, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	err = os.CopyFS(filepath.Join(dir.Image.Name, "new"), os.DirFS(filepath.Join(next.Image.Name, "blobs")))
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(dir.Image.Name, "new/sha256/*"))
	if err != nil || len(blobs) == 0 {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if err := os.Rename(b, filepath.Join(dir.Image.Name, "blobs/sha256", filepath.Base(b))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir.Image.Name, "index.json"), index, 0o644); err != nil {
		t.Fatal(err)
	}
	corrupt(t, h.repo, at(t, h.repo, h.layer[3], "/usr/share/derived", ""))
	if res, err = h.repair(t, store.RepairOptions{}); err != nil || !res.Moved {
		t.Errorf("%+v, %v", res, err)
	}
	h.sound(t)

	// A layer that is gone is an error that says so, and the damage stays.
	corrupt(t, h.repo, at(t, h.repo, h.layer[3], "/usr/share/derived", ""))
	gone := h.res.Layers[3].Descriptor.Digest.Encoded()
	if err := os.Remove(filepath.Join(dir.Image.Name, "blobs/sha256", gone)); err != nil {
		t.Fatal(err)
	}
	if res, err = h.repair(t, store.RepairOptions{}); err == nil || len(res.Left) == 0 {
		t.Errorf("without the layer: %+v, %v", res, err)
	}
}

func TestUsersOfACommitAreTheImagesThatNeedIt(t *testing.T) {
	h := host(t, repo.ModeBareUser, writeLayout(t, layered(t, "derived")))
	users, err := store.Users(t.Context(), h.repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(slices.Clone(h.layer), h.res.Commit) {
		if got := users[c]; len(got) != 1 || got[0] != h.ref.Image {
			t.Errorf("commit %s: users are %v", c, got)
		}
	}
	if h.res.Layers[3].Kind != oci.Derived {
		t.Error("the last layer should be a derived one")
	}
}

// restamp gives a ref another commit of the same tree, as programs write it whose commits have the time of the import.
func (h *hosted) restamp(t *testing.T, ref string, id object.Checksum) object.Checksum {
	t.Helper()
	txn, err := h.repo.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := repo.LoadCommit(t.Context(), txn, id)
	if err != nil {
		t.Fatal(err)
	}
	c.Timestamp += 1000
	other, err := txn.WriteCommit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := txn.SetRef(ref, other); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.repo.Prune(t.Context(), repo.PruneOptions{RefsOnly: true}); err != nil {
		t.Fatal(err)
	}
	return other
}

func TestTheCommitOfALayerThatAnotherProgramStoredIsReplaced(t *testing.T) {
	h := host(t, repo.ModeBareUser, writeLayout(t, layered(t, "derived")))
	ref := "ostree/container/blob/sha256_3A_" + h.res.Layers[3].Descriptor.Digest.Encoded()
	theirs := h.restamp(t, ref, h.layer[3])
	corrupt(t, h.repo, commitName(theirs))
	if _, err := h.repair(t, store.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	if now, err := h.repo.ResolveRef(ref); err != nil || now != h.layer[3] {
		t.Errorf("the layer is commit %s, %v, want %s", now, err, h.layer[3])
	}
	if ok, err := h.repo.Has(commitName(theirs)); ok || err != nil {
		t.Errorf("the damaged commit is still there (%v)", err)
	}
	h.sound(t)
}

func TestAMergeCommitThatCannotBeMadeAgainIsSaidToBeDamaged(t *testing.T) {
	h := host(t, repo.ModeBareUser, writeLayout(t, layered(t, "derived")))
	refs, err := h.repo.Refs("ostree/container/image")
	if err != nil || len(refs) != 1 {
		t.Fatal(refs, err)
	}
	h.res.Commit = h.restamp(t, refs[0].Name, h.res.Commit)
	// Its trees can be made again.
	corrupt(t, h.repo, at(t, h.repo, h.res.Commit, "/usr/etc", "tree"))
	if _, err := h.repair(t, store.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	h.sound(t)
	corrupt(t, h.repo, commitName(h.res.Commit))
	res, err := h.repair(t, store.RepairOptions{})
	if !errors.Is(err, store.ErrUnrepaired) || len(res.Left) != 1 || res.Left[0].Object != commitName(h.res.Commit) {
		t.Errorf("%+v, %v, want ErrUnrepaired", res, err)
	}
	if now, err := h.repo.ResolveRef(refs[0].Name); err != nil || now != h.res.Commit {
		t.Errorf("the ref is %s, %v, want that it stays", now, err)
	}
}
