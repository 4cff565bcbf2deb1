package sigstorefixture_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

func TestMain(m *testing.M) { os.Exit(testhome.Tests{M: m}.Run()) }

const (
	image      = "sha256:308cd94b08669b1dbb88c1ed018b49ecc563a98af4668e16afd7783d200712ea"
	bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

func TestTheRegistryHasImagesAndSignatures(t *testing.T) {
	r := sigstorefixture.Load(t)
	for _, path := range []string{
		"os/unsigned/manifests/latest",
		"os/att1/manifests/sha256-" + image[len("sha256:"):] + ".sig",
		"os/f1/manifests/sha256-" + image[len("sha256:"):],
		"os/att1/blobs/sha256:b5c56210c35911ca6b5b349763e38ddce9fcd23254fa343eee77e13e2aaff506",
	} {
		if status, _ := get(t, r, path); status != http.StatusOK {
			t.Errorf("%s: status %d", path, status)
		}
	}
	for _, file := range []string{sigstorefixture.PublicKey(t, 1), sigstorefixture.PrivateKey(t, 2)} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}

func TestReferrersAreServedWhereTheyWere(t *testing.T) {
	r := sigstorefixture.Load(t)
	filter := "?" + url.Values{"artifactType": {bundleType}}.Encode()
	for _, c := range []struct {
		path   string
		status int
		count  int
	}{
		{"os/b12/referrers/" + image, http.StatusOK, 2},
		{"os/b12/referrers/" + image + filter, http.StatusOK, 2},
		{"os/b12/referrers/" + image + "?artifactType=other", http.StatusOK, 0},
		{"os/att1/referrers/" + image, http.StatusOK, 0},
		{"os/f1/referrers/" + image, http.StatusNotFound, 0},
	} {
		status, index := get(t, r, c.path)
		if status != c.status || len(index.Manifests) != c.count {
			t.Errorf("%s: status %d, want %d; %d referrers, want %d", c.path, status, c.status, len(index.Manifests), c.count)
		}
		for _, m := range index.Manifests {
			if m.ArtifactType != bundleType {
				t.Errorf("%s: the type is %s", c.path, m.ArtifactType)
			}
		}
	}
}

func TestReferrersComeInPages(t *testing.T) {
	r := sigstorefixture.Load(t)
	r.ServeReferrers(testreg.Referrers{In: func(string) bool { return true }, Page: 1, IgnoreFilter: true})
	_, first := get(t, r, "os/b12/referrers/"+image+"?artifactType=other")
	_, second := get(t, r, "os/b12/referrers/"+image+"?after=1")
	if len(first.Manifests) != 1 || len(second.Manifests) != 1 || first.next == "" || second.next != "" {
		t.Errorf("pages: %+v, %+v", first, second)
	}
}

func TestEveryVerdictIsRead(t *testing.T) {
	verdicts := sigstorefixture.Verdicts(t)
	accepted := 0
	for _, v := range verdicts {
		if v.Accept {
			accepted++
		}
	}
	if len(verdicts) != 150 || accepted == 0 {
		t.Errorf("%d verdicts, %d of them accept", len(verdicts), accepted)
	}
	if got, want := verdicts[2].String(), "unsigned/attach-key1+key2"; got != want {
		t.Errorf("name: %s, want %s", got, want)
	}
}

type list struct {
	Manifests []struct{ ArtifactType string }
	next      string
}

func get(t *testing.T, r *testreg.Registry, path string) (int, list) {
	t.Helper()
	resp, err := http.Get("http://" + r.Host + "/v2/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	l := list{next: resp.Header.Get("Link")}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(data, &l); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, l
}
