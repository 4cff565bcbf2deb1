package bundle_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// bundlesDecide reports whether the verdict about an image depends on bundles alone. Attachments decide about the
// others, which package trust has to judge.
func bundlesDecide(image string) bool {
	switch image {
	case "unsigned", "both":
		return true
	}
	return strings.HasPrefix(image, "b") || strings.HasPrefix(image, "f") || strings.HasPrefix(image, "g") ||
		strings.HasPrefix(image, "idx-")
}

// subjects returns the digests of which one has to be signed: that of what the tag names, and those of its members.
func subjects(t *testing.T, r *testreg.Registry, image string) []digest.Digest {
	t.Helper()
	res, err := http.Get("http://" + r.Host + "/v2/os/" + image + "/manifests/latest")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var top struct {
		Manifests []struct{ Digest digest.Digest }
	}
	if err := json.Unmarshal(data, &top); err != nil {
		t.Fatal(err)
	}
	all := []digest.Digest{digest.FromBytes(data)}
	for _, m := range top.Manifests {
		all = append(all, m.Digest)
	}
	return all
}

func TestWhatTheRealCosignSigned(t *testing.T) {
	r := sigstorefixture.Load(t)
	rows := 0
	for _, v := range sigstorefixture.Verdicts(t) {
		if !v.Bundles || !bundlesDecide(v.Image) {
			continue
		}
		rows++
		var keys []bundle.Key
		for _, n := range v.Keys {
			k, err := bundle.LoadKeys(sigstorefixture.PublicKey(t, n))
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, k...)
		}
		accepted := false
		for _, d := range subjects(t, r, v.Image) {
			s := bundle.Find(r.Host+"/os/"+v.Image+":latest", access.Options{InsecureSkipTLSVerify: true}, d)
			_, _, err := s.VerifyKeys(t.Context(), keys)
			if err == nil {
				accepted = true
			} else if _, ok := errors.AsType[*bundle.RefusedError](err); !ok {
				t.Errorf("%s: %v", v, err)
			}
		}
		if accepted != v.Accept {
			t.Errorf("%s: accepted %v, want %v", v, accepted, v.Accept)
		}
	}
	if rows < 50 {
		t.Errorf("only %d rows were checked", rows)
	}
}

func TestTheReasonsWhyBundlesOfCosignDoNotCount(t *testing.T) {
	r := sigstorefixture.Load(t)
	keys, err := bundle.LoadKeys(sigstorefixture.PublicKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]error{
		"unsigned": bundle.ErrUnsigned, "b-attestation": bundle.ErrAttestation, "b-otherdigest": bundle.ErrOtherSubject,
		"b-flip": nil, "b-otherpayload": nil, "b2": nil, "f2": nil,
	} {
		s := bundle.Find(r.Host+"/os/"+image, access.Options{InsecureSkipTLSVerify: true}, signedImage)
		_, _, err := s.VerifyKeys(t.Context(), keys)
		_, bad := errors.AsType[*bundle.BadSignatureError](err)
		if want != nil && !errors.Is(err, want) || bad != (want == nil) {
			t.Errorf("%s: got %v", image, err)
		}
	}
}
