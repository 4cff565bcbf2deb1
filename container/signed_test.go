package container_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// remoteGate lets in an image whose commit the configuration of a remote accepts.
type remoteGate struct {
	verifier *sign.Verifier
	good     []oci.Signature
}

func (g *remoteGate) Top(context.Context, oci.Document) error    { return nil }
func (g *remoteGate) Member(context.Context, oci.Document) error { return nil }
func (g *remoteGate) Signatures() []oci.Signature                { return g.good }

func (g *remoteGate) Commit(_ context.Context, id string, commit, detached []byte) error {
	list, err := g.verifier.Verify(commit, detached)
	for _, s := range list {
		g.good = append(g.good, oci.Signature{Kind: "ostree-" + s.Engine, On: "commit", Signed: id, Signer: s.Signer})
	}
	return err
}

// row is a line of the table of verdicts.
type row struct {
	remote, image string
	accept        bool
}

func verdicts(t *testing.T, dir string) (rows []row) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "accept" && f[2] != "refuse" && f[2] != "verdict" {
			t.Fatalf("bad line %q", line)
		}
		if f[2] != "verdict" {
			rows = append(rows, row{f[0], f[1], f[2] == "accept"})
		}
	}
	return rows
}

// signedRepo returns a repository with the remotes and keyrings of the fixtures.
func signedRepo(t *testing.T, dir string) *repo.Repo {
	t.Helper()
	path := newRepo(t, repo.ModeBareUserOnly).Path()
	remotes, err := os.ReadFile(filepath.Join(dir, "remotes.conf"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(path, "config"))
	if err != nil {
		t.Fatal(err)
	}
	config = append(config, "\n"+strings.ReplaceAll(string(remotes), "=./keys/", "="+filepath.Join(dir, "keys")+"/")...)
	if err := os.WriteFile(filepath.Join(path, "config"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "keys", "key1.asc"))
	if err != nil {
		t.Fatal(err)
	}
	for _, remote := range []string{"gpg1", "gpg1-and-ed1"} {
		if err := os.WriteFile(filepath.Join(path, remote+".trustedkeys.gpg"), key, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := repo.Open(path)
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

// knownTexts returns the texts of refusals that people know. Remotes that demand nothing, or do not exist, refuse
// earlier than upstream's program, before the image is read.
func knownTexts(t *testing.T, dir string) (texts []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "messages.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		text := strings.TrimSuffix(strings.TrimSpace(line), "…")
		early := strings.Contains(text, "remote nothing") || strings.Contains(text, "nosuch")
		if early && strings.HasPrefix(text, "Using remote") {
			continue
		}
		if early {
			text = strings.TrimPrefix(text, "Verifying ostree commit in tar stream: ")
		}
		texts = append(texts, text)
	}
	return texts
}

// importers are the ways for an image to get into a repository. They return the commit.
var importers = map[string]func(
	context.Context, *repo.Repo, imgref.OstreeImageReference, source.Options,
) (object.Checksum, error){
	"unencapsulate": func(
		ctx context.Context, r *repo.Repo, ref imgref.OstreeImageReference, fetch source.Options,
	) (object.Checksum, error) {
		res, err := container.Unencapsulate(ctx, r, ref, fetch, container.ImportOptions{WriteRef: "os"})
		if err != nil {
			return object.Checksum{}, err
		}
		return res.Commit, nil
	},
	"store": func(
		ctx context.Context, r *repo.Repo, ref imgref.OstreeImageReference, fetch source.Options,
	) (object.Checksum, error) {
		p, err := store.Prepare(ctx, r, ref, store.Options{Source: fetch})
		if err != nil {
			return object.Checksum{}, err
		}
		res, err := p.Import(ctx, store.ImportOptions{})
		if err := errors.Join(err, p.Close()); err != nil {
			return object.Checksum{}, err
		}
		return res.Base, nil
	},
}

// TestEveryRemoteGivesEveryImageItsVerdict checks images with and without signatures against remotes that demand
// various ones. Nothing of a refused image may be in the repository afterwards.
func TestEveryRemoteGivesEveryImageItsVerdict(t *testing.T) {
	t.Parallel()
	dir := fixtures.Dir(t, "signed")
	id, err := os.ReadFile(filepath.Join(dir, "rev"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := object.ParseChecksum(strings.TrimSpace(string(id)))
	if err != nil {
		t.Fatal(err)
	}
	rows := verdicts(t, dir)
	if len(rows) < 200 {
		t.Fatalf("only %d rows", len(rows))
	}
	opts := sign.Options{Root: t.TempDir(), Getenv: func(string) string { return "" }}
	for name, bring := range importers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := signedRepo(t, dir)
			before := files(t, r)
			var said strings.Builder
			for _, row := range rows {
				ref := imgref.OstreeImageReference{
					Signature: imgref.SignatureSource{Kind: imgref.OstreeRemote, Remote: row.remote},
					Image:     imgref.ImageReference{Transport: imgref.OCIDir, Name: filepath.Join(dir, "images") + ":" + row.image},
				}
				g := &remoteGate{}
				admit := func(ref imgref.OstreeImageReference) (_ source.Gate, err error) {
					g.verifier, err = sign.ForRemote(r, ref.Signature.Remote, opts)
					return g, err
				}
				commit, err := bring(t.Context(), r, ref, source.Options{Admission: admit})
				switch {
				case !row.accept && err == nil:
					t.Fatalf("%s accepts %s", row.remote, row.image)
				case !row.accept:
					fmt.Fprintln(&said, err)
					if diff := cmp.Diff(before, files(t, r)); diff != "" {
						t.Fatalf("%s refuses %s, but leaves (-before +after):\n%s", row.remote, row.image, diff)
					}
				case err != nil:
					t.Errorf("%s refuses %s: %v", row.remote, row.image, err)
				case commit != want || len(g.good) == 0:
					t.Errorf("%s and %s: got commit %s, want %s; signatures %v", row.remote, row.image, commit, want, g.good)
				default: // A repository that has nothing of the images yet.
					r = signedRepo(t, dir)
					before = files(t, r)
				}
			}
			for _, text := range knownTexts(t, dir) {
				if !strings.Contains(said.String(), text) {
					t.Errorf("no refusal says %q", text)
				}
			}
		})
	}
}
