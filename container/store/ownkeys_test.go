package store_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// pretending makes an image of a commit that looks like that of a layer, with detached metadata.
func pretending(t *testing.T, detached gvariant.Dict) imgref.OstreeImageReference {
	t.Helper()
	r := repotest.Init(t, repo.ModeArchive)
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &object.Commit{Metadata: gvariant.Dict{}.Set("ostree.importer.version", gvariant.String("0.15.3"))}
	if c.Tree, c.Meta, err = repotest.Write(t.Context(), txn, repotest.Release(1)); err != nil {
		t.Fatal(err)
	}
	id, err := txn.WriteCommit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	img, err := encapsulate.Build(t.Context(), r, id, encapsulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ref := imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir()}
	if _, err := dest.Write(t.Context(), img, ref, dest.Options{}); err != nil {
		t.Fatal(err)
	}
	return imgref.Unverified(replaceDetached(t, ref, detached.Encode()))
}

// letIn is an admission that asks for nothing, whatever the reference asks for.
func letIn(imgref.OstreeImageReference) (source.Gate, error) { return nil, nil }

// TestAnImageDoesNotSayWhatTheLayersOfOthersAre pulls an image whose commit is said to be made from a layer of another
// one, which asks for signatures.
func TestAnImageDoesNotSayWhatTheLayersOfOthersAre(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	layer := files(t, "usr/a", "a")
	id, err := layer.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	pull(t, r, pretending(t, gvariant.Dict{}.Set("ostree-ext.diff-ids", gvariant.Strings([]string{id.String()}))),
		store.ImportOptions{})
	ref := push(t, reg.Host, "os", image(t, layer))
	ref.Signature.Kind = imgref.ContainerPolicy
	opts := plainHTTP
	opts.Admission = letIn
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: opts})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if missing, _ := p.Missing(); len(missing) != 1 {
		t.Errorf("of the layer that is not stored there is the commit %s", p.Layers[0].Commit)
	}
}

// TestAnImageKeepsWhatIsKnownOfItsCommit pulls an image of a commit that is stored, with detached metadata that claim
// to be this program's.
func TestAnImageKeepsWhatIsKnownOfItsCommit(t *testing.T) {
	r := newRepo(t, repo.ModeBareUser)
	own := gvariant.Dict{}.Set("ostree-ext.signatures", gvariant.String("[]"))
	first := pull(t, r, pretending(t, own.Set("note", gvariant.String("1"))), store.ImportOptions{})
	keys := func() (keys []string) {
		d, err := repo.LoadDetachedMetadata(t.Context(), r, first.Base)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range d {
			text, _ := e.Value.Text()
			keys = append(keys, e.Key+" "+text)
		}
		return keys
	}
	if diff := cmp.Diff([]string{"note 1"}, keys()); diff != "" {
		t.Errorf("of an image (-want +got):\n%s", diff)
	}
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := gvariant.Dict{}.Set("ostree-ext.signatures", gvariant.String("known"))
	if err := txn.WriteDetachedMetadata(t.Context(), first.Base, known.Encode()); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := pull(t, r, pretending(t, own.Set("note", gvariant.String("2"))), store.ImportOptions{})
	if again.Base != first.Base {
		t.Fatalf("the commits are %s and %s", first.Base, again.Base)
	}
	if diff := cmp.Diff([]string{"note 2", "ostree-ext.signatures known"}, keys()); diff != "" {
		t.Errorf("of a commit that is stored (-want +got):\n%s", diff)
	}
}

// TestAnImageOfOtherBlobsIsNotTheSignedOne pulls a signed image under whose reference another one is stored, with the
// digest of the signed one: containers-storage says which digest an image had, and nobody checks it.
func TestAnImageOfOtherBlobsIsNotTheSignedOne(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	want := image(t, files(t, "usr/a", "good"))
	ref := push(t, reg.Host, "os", want)
	id, err := want.Digest()
	if err != nil {
		t.Fatal(err)
	}
	other := push(t, reg.Host, "other", image(t, files(t, "usr/a", "evil")))
	stored := importNow(t, r, other, store.ImportOptions{Target: ref.Image})
	c, err := repo.LoadCommit(t.Context(), r, stored.Commit)
	if err != nil {
		t.Fatal(err)
	}
	c.Metadata = c.Metadata.Set("ostree.manifest-digest", gvariant.String(id.String()))
	refs, err := r.Refs("ostree/container/image")
	if err != nil || len(refs) != 1 {
		t.Fatalf("the images are %v, %v", refs, err)
	}
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	forged, err := txn.WriteCommit(t.Context(), c)
	if err == nil {
		err = txn.SetRef(refs[0].Name, forged)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	ref.Signature.Kind = imgref.ContainerPolicy
	opts := plainHTTP
	opts.Admission = letIn
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: opts})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if p.Present {
		t.Fatal("the signed image is said to be there")
	}
	res, err := p.Import(t.Context(), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, r, res.Commit, "usr/a"); got != "good" {
		t.Errorf("the file has %q", got)
	}
}

// TestWhatAnotherProgramRecordsIsNotBelieved has another program write into the repository what this one records: it
// keeps the detached metadata of images, or takes them from another repository.
func TestWhatAnotherProgramRecordsIsNotBelieved(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	layer, other := files(t, "usr/a", "a"), files(t, "usr/b", "b")
	id, err := layer.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	// This gives the repository its secret.
	importNow(t, r, push(t, reg.Host, "other", image(t, other)), store.ImportOptions{})
	fake := pull(t, r, pretending(t, nil), store.ImportOptions{})
	for name, d := range map[string]gvariant.Dict{
		"no proof":      nil,
		"another proof": gvariant.Dict{}.Set("ostree-ext.diff-ids-proof", gvariant.String(strings.Repeat("0", 64))),
	} {
		txn, err := r.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d = d.Set("ostree-ext.diff-ids", gvariant.Strings([]string{id.String()}))
		if err := txn.WriteDetachedMetadata(t.Context(), fake.Base, d.Encode()); err != nil {
			t.Fatal(err)
		}
		if _, err := txn.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		for kind, missing := range map[imgref.SignatureKind]int{
			imgref.ContainerPolicy: 1, imgref.ContainerPolicyAllowInsecure: 0,
		} {
			ref := push(t, reg.Host, "os", image(t, layer))
			ref.Signature.Kind = kind
			opts := plainHTTP
			opts.Admission = letIn
			p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: opts})
			if err != nil {
				t.Fatal(err)
			}
			if list, _ := p.Missing(); len(list) != missing {
				t.Errorf("%s, %v: %d layers are missing, want %d", name, ref.Signature, len(list), missing)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
