package store_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

func TestAnUpdateFetchesOnlyNewLayers(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	lower, old, upper := files(t, "usr/a", "a"), files(t, "usr/b", "1"), files(t, "usr/c", "c")
	importNow(t, r, push(t, reg.Host, "os:latest", image(t, lower, old, upper)), store.ImportOptions{})
	sent := reg.BlobsSent()
	ref := push(t, reg.Host, "os:latest", image(t, lower, files(t, "usr/b", "2"), upper))
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if missing, _ := p.Missing(); len(missing) != 1 {
		t.Errorf("%d layers are missing, want 1", len(missing))
	}
	update, err := store.CachedUpdate(t.Context(), r, p.Previous)
	if err != nil || update == nil || update.ManifestDigest != p.Image.Top.Digest {
		t.Errorf("the pending update is %+v, %v", update, err)
	}
	res, err := p.Import(t.Context(), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := reg.BlobsSent() - sent; n != 2 {
		t.Errorf("%d blobs were fetched, want the configuration and a layer", n)
	}
	for path, want := range map[string]string{"/usr/a": "a", "/usr/b": "2", "/usr/c": "c"} {
		if got := read(t, r, res.Commit, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if res.Removed != 1 {
		t.Errorf("%d layers were removed, want the old one", res.Removed)
	}
	if update, err := store.CachedUpdate(t.Context(), r, res.Image); update != nil || err != nil {
		t.Errorf("after the update another one is pending: %+v, %v", update, err)
	}
}

func TestALayerInAnotherCompressionIsNotFetched(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	layer := files(t, "usr/a", "a")
	first := importNow(t, r, push(t, reg.Host, "one", image(t, layer)), store.ImportOptions{})
	ref := push(t, reg.Host, "two", image(t, uncompressed(t, layer)))
	// This program made the commit of the layer, so that is good enough for references that ask for signatures, too.
	ref.Signature.Kind = imgref.ContainerPolicy
	opts := plainHTTP
	opts.Admission = letIn
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: opts})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if missing, _ := p.Missing(); len(missing) != 0 {
		t.Errorf("%d layers would be fetched", len(missing))
	}
	res, err := p.Import(t.Context(), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := tree(t, r, first.Commit), tree(t, r, res.Commit); a != b {
		t.Errorf("the trees are %s and %s", a, b)
	}
}

func tree(t *testing.T, r *repo.Repo, commit object.Checksum) object.Checksum {
	t.Helper()
	c, err := repo.LoadCommit(t.Context(), r, commit)
	if err != nil {
		t.Fatal(err)
	}
	return c.Tree
}

func TestAFailedPullKeepsLayersAndTheOldImage(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	ref := push(t, reg.Host, "os:latest", chunked(t, "/usr/a", "1", "/usr/b", "1"))
	old := importNow(t, r, ref, store.ImportOptions{})
	push(t, reg.Host, "os:latest", chunked(t, "/usr/a", "2", "/usr/b", "2", "/usr/c", "2", "/usr/d", "2", "/usr/e", "2"))
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	missing, _ := p.Missing()
	ctx, cancel := context.WithCancel(t.Context())
	done := 0
	_, err = p.Import(ctx, store.ImportOptions{Layers: 1, Progress: func(e progress.Event) {
		if e.Kind == progress.Finished {
			if done++; done == 4 {
				cancel()
			}
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the import: %v, want canceled", err)
	}
	if now, err := store.Query(t.Context(), r, ref.Image); err != nil || now.Commit != old.Commit {
		t.Errorf("the image is now %v, %v, want the old one", now, err)
	}
	again, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if left, _ := again.Missing(); len(left) == 0 || len(left) >= len(missing) {
		t.Errorf("%d layers are missing after the failure, %d before it", len(left), len(missing))
	}
	res, err := again.Import(t.Context(), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, r, res.Commit, "/usr/c"); got != "2" {
		t.Errorf("/usr/c is %q", got)
	}
	if _, err := r.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
		t.Error(err)
	}
}

func TestDamagedBlobsAreRefused(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	ref := push(t, reg.Host, "os", image(t, files(t, "usr/a", "content")))
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	reg.Misbehave(testreg.Faults{Flip: true})
	if _, err := p.Import(t.Context(), store.ImportOptions{}); err == nil {
		t.Fatal("a damaged layer was imported")
	}
	refs, err := r.Refs("")
	if err != nil || len(refs) != 0 {
		t.Errorf("refs after the failure: %v, %v", refs, err)
	}
	for name, err := range r.Objects(t.Context()) {
		t.Errorf("object %s after the failure, %v", name, err)
	}
}

func TestProgressCountsTheObjectsOfEachLayer(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	ref := push(t, reg.Host, "os", image(t, files(t, "usr/a", "a", "usr/b", "b"), files(t, "usr/c/d", "d")))
	objects := map[int]int{}
	importNow(t, r, ref, store.ImportOptions{Progress: func(e progress.Event) {
		if e.Kind == progress.Finished {
			objects[e.Layer] = e.Objects
		}
	}})
	// Files, directories and their metadata, and the commit.
	if want := map[int]int{0: 2, 1: 1}; objects[0] < want[0] || objects[1] < want[1] || len(objects) != 2 {
		t.Errorf("got %v, want at least %v", objects, want)
	}
}

func TestNothingIsFetchedAboveTheLimit(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	ref := push(t, reg.Host, "os", image(t, files(t, "usr/a", "content")))
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	sent := reg.BlobsSent()
	_, err = p.Import(t.Context(), store.ImportOptions{MaxBytes: 10})
	var budget *store.BudgetError
	if _, size := p.Missing(); !errors.As(err, &budget) || budget.Need != size || budget.Limit != 10 {
		t.Errorf("the error is %v, want a *BudgetError", err)
	}
	if n := reg.BlobsSent() - sent; n != 0 {
		t.Errorf("%d blobs were fetched", n)
	}
}

func TestImagesThatCannotBeBootedAreRefusedIfAsked(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	bootable := func(arch string, labels map[string]string) v1.Image {
		img := image(t, files(t, "usr/a", "a"))
		f, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		f = f.DeepCopy()
		f.Architecture, f.Config.Labels = arch, labels
		if img, err = mutate.ConfigFile(img, f); err != nil {
			t.Fatal(err)
		}
		return img
	}
	label := map[string]string{"containers.bootc": "1"}
	for name, c := range map[string]struct {
		img v1.Image
		ok  bool
	}{
		"good": {bootable(runtime.GOARCH, label), true},
		"arch": {bootable("mips64le", label), false},
		"none": {bootable(runtime.GOARCH, nil), false},
	} {
		opts := store.Options{Source: plainHTTP, Bootable: true}
		p, err := store.Prepare(t.Context(), r, push(t, reg.Host, name, c.img), opts)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, store.ErrNotBootable) {
			t.Errorf("%s: %v", name, err)
		}
		if p != nil {
			_ = p.Close()
		}
	}
}

func TestAnUnencapsulatedUpdateFetchesOnlyNewLayers(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	ref := push(t, reg.Host, "os:latest", chunked(t, "/usr/a", "1", "/usr/b", "1", "/usr/c", "1"))
	get := func() *container.Imported {
		t.Helper()
		res, err := store.Unencapsulate(t.Context(), r, ref, plainHTTP, container.ImportOptions{WriteRef: "os"})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	get()
	push(t, reg.Host, "os:latest", chunked(t, "/usr/a", "1", "/usr/b", "2", "/usr/c", "1"))
	sent := reg.BlobsSent()
	res := get()
	if n := reg.BlobsSent() - sent; n != 3 {
		t.Errorf("%d blobs were fetched, want the configuration, the layer of the commit and a chunk", n)
	}
	if got, err := r.ResolveRef("os"); err != nil || got != res.Commit || read(t, r, got, "/usr/b") != "2" {
		t.Errorf("the ref is %s, %v, want %s", got, err, res.Commit)
	}
	layers, err := r.Refs("ostree/container/blob")
	if err != nil || len(layers) != 4 {
		t.Errorf("%d layers are kept, %v, want 4", len(layers), err)
	}
	if n, err := store.PruneLayers(t.Context(), r); n != 0 || err != nil {
		t.Errorf("%d layers were removed, %v", n, err)
	}
	if err := r.DeleteRef(t.Context(), "os"); err != nil {
		t.Fatal(err)
	}
	if n, err := store.PruneLayers(t.Context(), r); n != 4 || err != nil {
		t.Errorf("%d layers were removed after the ref, %v, want 4", n, err)
	}
	if refs, err := r.Refs(""); err != nil || len(refs) != 0 {
		t.Errorf("refs that are left: %v, %v", refs, err)
	}
}

func TestUnencapsulateRefusesLayersOnTop(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	derived, err := mutate.AppendLayers(chunked(t, "/usr/a", "1"), files(t, "usr/b", "2"))
	if err != nil {
		t.Fatal(err)
	}
	for name, img := range map[string]v1.Image{"derived": derived, "plain": image(t, files(t, "usr/a", "1"))} {
		ref := push(t, reg.Host, name, img)
		opts := container.ImportOptions{WriteRef: "os"}
		if _, err := store.Unencapsulate(t.Context(), r, ref, plainHTTP, opts); !errors.Is(err, oci.ErrNotEncapsulated) {
			t.Errorf("%s: %v, want ErrNotEncapsulated", name, err)
		}
	}
}

func TestOneLayerIsStoredInTheWayThatItsImageNeeds(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	img := chunked(t, "/usr/a", "1")
	importNow(t, r, push(t, reg.Host, "os", img), store.ImportOptions{})
	// The same blobs without the labels are an ordinary image.
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	res := importNow(t, r, push(t, reg.Host, "plain", image(t, layers...)), store.ImportOptions{})
	if got := read(t, r, res.Commit, "/usr/a"); got != "1" {
		t.Errorf("/usr/a is %q", got)
	}
	if got := read(t, r, res.Commit, "/sysroot/ostree/repo/config"); got == "" || got[0] == '[' {
		t.Errorf("the image's own repository was stored as files: %q", got)
	}
}

func TestPruningRemovesWhatIsNotInUse(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	shared := files(t, "usr/shared", "s")
	keep := push(t, reg.Host, "keep", image(t, shared, files(t, "usr/a", "1")))
	drop := push(t, reg.Host, "drop", image(t, shared, files(t, "usr/b", "2")))
	importNow(t, r, keep, store.ImportOptions{})
	importNow(t, r, drop, store.ImportOptions{})
	used := []imgref.ImageReference{keep.Image}
	dry, err := store.PruneImages(t.Context(), r, used, store.PruneOptions{Layers: true, Objects: true, DryRun: true})
	if err != nil || !slices.Contains(dry.Images, drop.Image) || len(dry.Images) != 1 {
		t.Errorf("a dry run: %+v, %v", dry, err)
	}
	done, err := store.PruneImages(t.Context(), r, used, store.PruneOptions{Layers: true, Objects: true})
	if err != nil || len(done.Images) != 1 || done.Layers != 1 || done.Objects == 0 || done.Bytes == 0 {
		t.Errorf("pruned %+v, %v", done, err)
	}
	if dry.Layers != done.Layers || dry.Objects != done.Objects {
		t.Errorf("the dry run promised %+v, done was %+v", dry, done)
	}
	images, err := store.List(r)
	if err != nil || len(images) != 1 || images[0] != keep.Image {
		t.Errorf("images that are left: %v, %v", images, err)
	}
	if _, err := r.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
		t.Error(err)
	}
}

func TestTwoPullsAtOnce(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	shared := files(t, "usr/shared", "s")
	errs := make(chan error, 2)
	for _, name := range []string{"a", "b"} {
		ref := push(t, reg.Host, name, image(t, shared, files(t, "usr/"+name, name)))
		go func() {
			p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
			if err == nil {
				_, err = p.Import(t.Context(), store.ImportOptions{})
				err = errors.Join(err, p.Close())
			}
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	images, err := store.List(r)
	if err != nil || len(images) != 2 {
		t.Fatalf("images: %v, %v", images, err)
	}
	for _, ref := range images {
		img, err := store.Query(t.Context(), r, ref)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, r, img.Commit, "/usr/shared"); got != "s" {
			t.Errorf("%s: /usr/shared is %q", ref, got)
		}
	}
}

func TestImagesThatCannotBeStoredAreRefusedBeforeAnythingIsFetched(t *testing.T) {
	chunks := chunked(t, "/usr/a", "1", "/usr/b", "2")
	layers, err := chunks.Layers()
	if err != nil {
		t.Fatal(err)
	}
	twice, err := mutate.Append(chunks, mutate.Addendum{Layer: layers[1], Annotations: map[string]string{"x": "y"}})
	if err != nil {
		t.Fatal(err)
	}
	unknown := image(t, static.NewLayer([]byte("x"), "application/vnd.example.delta"))
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	for name, c := range map[string]struct {
		img  v1.Image
		want string
	}{
		"twice":   {twice, "is a chunk layer, and again a derived layer"},
		"empty":   {empty.Image, "No layers in manifest"},
		"unknown": {unknown, "unhandled layer type: application/vnd.example.delta"},
	} {
		p, err := store.Prepare(t.Context(), r, push(t, reg.Host, name, c.img), store.Options{Source: plainHTTP})
		if err == nil {
			_ = p.Close()
		}
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(c.want)) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestADamagedImageDoesNotPreventOtherPulls(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	ref := push(t, reg.Host, "os", image(t, files(t, "usr/a", "a")))
	base := importNow(t, r, push(t, reg.Host, "other", image(t, files(t, "usr/b", "b"))), store.ImportOptions{})
	layer, err := r.Refs("ostree/container/blob")
	if err != nil {
		t.Fatal(err)
	}
	damaged, err := store.ImageRef(ref.Image)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetRef(t.Context(), damaged, layer[0].Commit); err != nil {
		t.Fatal(err)
	}
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if p.Previous != nil || len(p.Warnings) == 0 {
		t.Errorf("the previous image is %v, with warnings %v", p.Previous, p.Warnings)
	}
	if _, err := store.PruneLayers(t.Context(), r); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("layers were pruned although an image is damaged: %v", err)
	}
	res, err := p.Import(t.Context(), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if res.Commit == base.Commit || read(t, r, res.Commit, "/usr/a") != "a" {
		t.Error("the image was not repaired by the pull")
	}
}

func TestAnOfflinePullNeedsADigest(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	img := image(t, files(t, "usr/a", "a"))
	push(t, reg.Host, "os", img)
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	name := reg.Host + "/os@" + d.String()
	ref := imgref.Unverified(imgref.ImageReference{Transport: imgref.Registry, Name: name})
	opts := store.Options{Source: plainHTTP, Offline: true}
	if _, err := store.Prepare(t.Context(), r, ref, opts); !errors.Is(err, store.ErrOffline) {
		t.Errorf("an image that is not stored: %v, want ErrOffline", err)
	}
	importNow(t, r, ref, store.ImportOptions{})
	p, err := store.Prepare(t.Context(), r, ref, opts)
	if err != nil || !p.Present {
		t.Errorf("an image that is stored: %+v, %v", p, err)
	}
}

func TestARegistryThatMisbehavesNeverLeavesAWrongImage(t *testing.T) {
	for name, c := range map[string]struct {
		faults testreg.Faults
		fails  bool
	}{
		"connections that are cut":    {testreg.Faults{Cut: 100}, false},
		"errors that go away":         {testreg.Faults{Fail: 2}, false},
		"answers that are late":       {testreg.Faults{Delay: 20 * time.Millisecond}, false},
		"blobs with a wrong bit":      {testreg.Faults{Flip: true}, true},
		"a manifest with a wrong bit": {testreg.Faults{FlipManifest: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
			img := chunked(t, "/usr/a", "1", "/usr/b", "2")
			ref := push(t, reg.Host, "os", img)
			d, err := img.Digest() // known after the layers were read
			if err != nil {
				t.Fatal(err)
			}
			ref.Image.Name += "@" + d.String()
			reg.Misbehave(c.faults)
			res, err := pullOnce(t, r, ref)
			if c.fails != (err != nil) {
				t.Errorf("the pull: %v", err)
			}
			if _, queryErr := store.Query(t.Context(), r, ref.Image); (queryErr == nil) != (err == nil) {
				t.Errorf("after the pull, which ended with %v, the image: %v", err, queryErr)
			}
			if _, err := r.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
				t.Error(err)
			}
			if err != nil {
				reg.Misbehave(testreg.Faults{})
				if res, err = pullOnce(t, r, ref); err != nil {
					t.Fatalf("the next pull: %v", err)
				}
			}
			if got := read(t, r, res.Commit, "/usr/b"); got != "2" {
				t.Errorf("/usr/b is %q", got)
			}
		})
	}
}

// pullOnce prepares and imports an image.
func pullOnce(t *testing.T, r *repo.Repo, ref imgref.OstreeImageReference) (res *store.Imported, err error) {
	t.Helper()
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	return p.Import(t.Context(), store.ImportOptions{})
}

func TestATagThatMovesDuringAPullDoesNotMixImages(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	ref := push(t, reg.Host, "os:latest", chunked(t, "/usr/a", "1", "/usr/b", "1"))
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	push(t, reg.Host, "os:latest", chunked(t, "/usr/a", "2", "/usr/b", "2"))
	res, err := p.Import(t.Context(), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := read(t, r, res.Commit, "/usr/a"), read(t, r, res.Commit, "/usr/b"); a != "1" || b != "1" {
		t.Errorf("the files are %q and %q, want those of the image that was prepared", a, b)
	}
	if next := importNow(t, r, ref, store.ImportOptions{}); read(t, r, next.Commit, "/usr/b") != "2" {
		t.Error("the next pull did not bring the new image")
	}
}
