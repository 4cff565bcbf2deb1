package container_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// gate records the calls of its methods, and refuses the image in one of them.
type gate struct {
	asked  []string
	refuse string
	seen   func() // called at each question
}

var errRefused = errors.New("refused on purpose")

func (g *gate) ask(what string) error {
	g.asked = append(g.asked, what)
	if g.seen != nil {
		g.seen()
	}
	if g.refuse == what {
		return errRefused
	}
	return nil
}

func (g *gate) Top(context.Context, oci.Document) error    { return g.ask("top") }
func (g *gate) Member(context.Context, oci.Document) error { return g.ask("member") }
func (g *gate) Signatures() []oci.Signature                { return nil }

func (g *gate) Commit(_ context.Context, id string, commit, detached []byte) error {
	return g.ask("commit " + id[:8])
}

// signed is a commit with detached metadata, as signed commits have.
func signed(t *testing.T, r *repo.Repo) object.Checksum {
	t.Helper()
	commit := commitFiles(t, r, "one", "two", "three", "four")
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	beside := gvariant.Dict{}.Set("signed", gvariant.String("by nobody")).Encode()
	if err := txn.WriteDetachedMetadata(t.Context(), commit, beside); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return commit
}

// TestAnImageComesInOnlyIfEveryQuestionIsAnsweredYes checks that nothing of an image is in the repository if any method
// of the gate refuses it, and that nothing is visible there while the methods run.
func TestAnImageComesInOnlyIfEveryQuestionIsAnsweredYes(t *testing.T) {
	t.Parallel()
	from := newRepo(t, repo.ModeArchive)
	img := encapsulated(t, from, signed(t, from))
	ref := img.write(t)
	ref.Signature = imgref.SignatureSource{Kind: imgref.ContainerPolicy}
	commit := "commit " + img.commit.String()[:8]
	for _, c := range []struct {
		refuse string
		want   []string
	}{
		{"", []string{"top", commit}}, {"top", []string{"top"}}, {commit, []string{"top", commit}},
	} {
		r := newRepo(t, repo.ModeBareUser)
		before := files(t, r)
		g := &gate{refuse: c.refuse}
		g.seen = func() {
			for _, name := range files(t, r) {
				if strings.Contains(name, "/objects/") {
					t.Errorf("%s is there before the image was admitted", name)
				}
			}
		}
		fetch := source.Options{Admission: func(imgref.OstreeImageReference) (source.Gate, error) { return g, nil }}
		_, err := container.Unencapsulate(t.Context(), r, ref, fetch, container.ImportOptions{WriteRef: "os"})
		if c.refuse == "" && err != nil || c.refuse != "" && !errors.Is(err, errRefused) {
			t.Errorf("refusing at %q: %v", c.refuse, err)
		}
		if diff := cmp.Diff(c.want, g.asked); diff != "" {
			t.Errorf("refusing at %q (-want +asked):\n%s", c.refuse, diff)
		}
		if c.refuse != "" {
			if diff := cmp.Diff(before, files(t, r)); diff != "" {
				t.Errorf("refusing at %q leaves:\n%s", c.refuse, diff)
			}
		}
	}
}

func TestAReferenceThatAsksForSignaturesIsRefusedBeforeAnythingIsRead(t *testing.T) {
	t.Parallel()
	ref := unverified(imgref.OCIDir, "/nowhere")
	for _, kind := range []imgref.SignatureKind{imgref.ContainerPolicy, imgref.OstreeRemote} {
		ref.Signature = imgref.SignatureSource{Kind: kind}
		if _, err := source.Open(t.Context(), ref, source.Options{}); !errors.Is(err, source.ErrVerificationUnsupported) {
			t.Errorf("got %v", err)
		}
	}
}
