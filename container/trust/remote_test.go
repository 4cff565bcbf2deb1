package trust_test

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// withRemotes makes a repository with the remotes of the fixtures.
func withRemotes(t *testing.T) *repo.Repo {
	t.Helper()
	r := trusttest.NewRepo(t)
	dir := fixtures.Dir(t, "signed")
	remotes, err := os.ReadFile(filepath.Join(dir, "remotes.conf"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "keys", "key1.asc"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gpg1", "gpg1-and-ed1"} {
		if err := os.WriteFile(filepath.Join(r.Path(), name+".trustedkeys.gpg"), key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(r.Path(), "config")
	old, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	remotes = bytes.ReplaceAll(remotes, []byte("=./keys/"), []byte("="+dir+"/keys/"))
	if err := os.WriteFile(config, append(append(old, '\n'), remotes...), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := repo.Open(r.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	return again
}

// image is the reference to an image of the fixtures that asks for the signatures of a remote.
func image(t *testing.T, remote, tag string) imgref.OstreeImageReference {
	t.Helper()
	return imgref.OstreeImageReference{
		Signature: imgref.SignatureSource{Kind: imgref.OstreeRemote, Remote: remote},
		Image: imgref.ImageReference{
			Transport: imgref.OCIDir, Name: filepath.Join(fixtures.Dir(t, "signed"), "images") + ":" + tag,
		},
	}
}

// damaged is the image whose detached metadata cannot be read at all.
const damaged = "spki-ed25519-1-ff"

// TestCommitsAreAdmittedAsTheirRemoteSays pulls every image of the fixtures with every remote, in a repository that is
// empty, and in one that has the image already because nobody asked for signatures.
func TestCommitsAreAdmittedAsTheirRemoteSays(t *testing.T) {
	f, err := os.Open(fixtures.Dir(t, "signed", "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan()
	for lines.Scan() {
		row := strings.Split(lines.Text(), "\t")
		ref, accept := image(t, row[0], row[1]), row[2] == "accept"
		t.Run(row[0]+"/"+row[1], func(t *testing.T) {
			t.Parallel()
			r := withRemotes(t)
			door := trust.New(trust.Options{Repo: r, RuleDirs: []string{}})
			res, err := pull(t, r, ref, door)
			if (err == nil) != accept {
				t.Fatalf("got %v", err)
			}
			if !accept {
				if left := trusttest.Content(t, r); len(left) > 0 {
					t.Errorf("of the refused image there is:\n%s", strings.Join(left, "\n"))
				}
			} else if list, err := store.Signatures(t.Context(), r, res.Image); err != nil || len(list) == 0 ||
				list[0].Rule != "remote "+row[0] || list[0].On != "commit" {
				t.Errorf("recorded are %+v, %v", list, err)
			}
			r = withRemotes(t)
			door = trust.New(trust.Options{Repo: r, RuleDirs: []string{}})
			switch _, err := pull(t, r, imgref.Unverified(ref.Image), door); {
			case row[1] == damaged:
				if err == nil {
					t.Error("detached metadata that are not valid were stored")
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			before := trusttest.Content(t, r)
			p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: source.Options{Admission: door.Admit}})
			if (err == nil) != accept || accept && !p.Present {
				t.Errorf("in a repository that has it: %v", err)
			}
			if diff := cmp.Diff(before, trusttest.Content(t, r)); diff != "" && !accept {
				t.Errorf("the refused pull changed the repository (-before +after):\n%s", diff)
			}
		})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestARemoteNeedsARepositoryThatHasIt(t *testing.T) {
	t.Parallel()
	ref := image(t, "nowhere", "gpg1")
	if _, err := trust.New(trust.Options{RuleDirs: []string{}}).Admit(ref); !errors.Is(err, trust.ErrNoRepo) {
		t.Errorf("without a repository: %v", err)
	}
	door := trust.New(trust.Options{Repo: trusttest.NewRepo(t), RuleDirs: []string{}})
	if _, err := door.Admit(ref); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("without the remote: %v", err)
	}
}

// TestTheReportOfARemoteVerifiesTheCommit looks at reports, for which only the beginning of a layer is read.
func TestTheReportOfARemoteVerifiesTheCommit(t *testing.T) {
	t.Parallel()
	door := trust.New(trust.Options{Repo: withRemotes(t), RuleDirs: []string{}})
	for tag, admitted := range map[string]bool{"ed1": true, "ed2": false, "unsigned": false, "ed1-flip": false} {
		report, err := door.Check(t.Context(), image(t, "ed1", tag), source.Options{})
		if err != nil || report.Admitted != admitted || (report.Reason == "") != admitted {
			t.Errorf("%s: %+v, %v", tag, report, err)
		}
	}
}

func TestLayersThatTheSignatureOfTheCommitDoesNotCoverAreRefused(t *testing.T) {
	t.Parallel()
	r := withRemotes(t)
	door := trust.New(trust.Options{Repo: r, RuleDirs: []string{}})
	for tag, layers := range map[string]int{"derived1": 2, "derived-single": 1, "plain": 0} {
		ref := image(t, "ed1", tag)
		ref.Image.Name = fixtures.Dir(t, "upstream", "derived") + ":" + tag
		_, err := pull(t, r, ref, door)
		refused, ok := errors.AsType[*source.UnsignedLayersError](err)
		if !ok || refused.Layers != layers || !strings.Contains(err.Error(), "ostree-image-signed:") {
			t.Errorf("%s: got %v", tag, err)
		}
	}
	if left := trusttest.Content(t, r); len(left) > 0 {
		t.Errorf("of the refused images there is:\n%s", strings.Join(left, "\n"))
	}
}

// TestSignaturesThatAnotherImageReplacedComeBack pulls an image of the same commit with other signatures in between,
// without asking for any.
func TestSignaturesThatAnotherImageReplacedComeBack(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"ed2", "gpg1", "ed1-flip"} {
		r := withRemotes(t)
		door := trust.New(trust.Options{Repo: r, RuleDirs: []string{}})
		ref := image(t, "ed1", "ed1")
		first, err := pull(t, r, ref, door)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pull(t, r, imgref.Unverified(image(t, "ed1", other).Image), door); err != nil {
			t.Fatal(err)
		}
		if _, err := pull(t, r, image(t, "ed1", other), door); err == nil {
			t.Errorf("%s is accepted", other)
		}
		again, err := pull(t, r, ref, door)
		if err != nil || again.Commit != first.Commit {
			t.Fatalf("after %s: %v", other, err)
		}
		p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: source.Options{Admission: door.Admit}})
		if err != nil || !p.Present {
			t.Errorf("after %s, the image is not there: %v", other, err)
		}
		if update, err := store.CachedUpdate(t.Context(), r, again.Image); update != nil || err != nil {
			t.Errorf("after %s, the image is its own update: %v, %v", other, update, err)
		}
	}
}

func TestPeekingAtASignedImageThatIsThereRecordsNothing(t *testing.T) {
	t.Parallel()
	r := withRemotes(t)
	door := trust.New(trust.Options{Repo: r, RuleDirs: []string{}})
	ref := image(t, "ed1", "ed1")
	if _, err := pull(t, r, imgref.Unverified(ref.Image), door); err != nil {
		t.Fatal(err)
	}
	for _, peek := range []bool{true, false} {
		opts := store.Options{Source: source.Options{Admission: door.Admit}, Peek: peek}
		p, err := store.Prepare(t.Context(), r, ref, opts)
		if err != nil || !p.Present {
			t.Fatalf("the image is not there: %v", err)
		}
		list, err := store.Signatures(t.Context(), r, p.Previous)
		if err != nil || (len(list) == 0) != peek {
			t.Errorf("peek is %v, and recorded are %v, %v", peek, list, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTheLabelHasToNameTheSignedCommit has an image whose commit is signed, and whose label names another one.
func TestTheLabelHasToNameTheSignedCommit(t *testing.T) {
	t.Parallel()
	ref := image(t, "ed1", "ed1")
	from, tag, _ := strings.Cut(ref.Image.Name, ":")
	index, err := layout.ImageIndexFromPath(from)
	if err != nil {
		t.Fatal(err)
	}
	found, err := partial.FindImages(index, match.Name(tag))
	if err != nil || len(found) != 1 {
		t.Fatalf("there are %d images, %v", len(found), err)
	}
	config, err := found[0].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.Config.Labels[oci.LabelCommit] = strings.Repeat("0", 64)
	changed, err := mutate.ConfigFile(found[0], config)
	if err != nil {
		t.Fatal(err)
	}
	to, err := layout.Write(t.TempDir(), empty.Index)
	if err == nil {
		err = to.AppendImage(changed)
	}
	if err != nil {
		t.Fatal(err)
	}
	ref.Image.Name = string(to)
	r := withRemotes(t)
	door := trust.New(trust.Options{Repo: r, RuleDirs: []string{}})
	report, err := door.Check(t.Context(), ref, source.Options{})
	if err != nil || report.Admitted || !strings.Contains(report.Reason, "its label ostree.commit is") {
		t.Errorf("the report is %+v, %v", report, err)
	}
	_, err = pull(t, r, ref, door)
	if _, ok := errors.AsType[*oci.CommitMismatchError](err); !ok {
		t.Errorf("a pull: %v", err)
	}
	if left := trusttest.Content(t, r); len(left) > 0 {
		t.Errorf("of the refused image there is:\n%s", strings.Join(left, "\n"))
	}
}
