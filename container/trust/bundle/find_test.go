package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

func TestABundleIsFoundWhereverItIsListed(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *registry, d ocispec.Descriptor)
	}{
		{"by the registry", func(*registry, ocispec.Descriptor) {}},
		{"by the tag", func(r *registry, d ocispec.Descriptor) {
			r.noListing = true
			r.content["manifests/"+bundle.FallbackTag(signedImage)] = index([]ocispec.Descriptor{d})
		}},
		{"by the tag, and the registry has an empty list", func(r *registry, d ocispec.Descriptor) {
			r.listed = nil
			r.content["manifests/"+bundle.FallbackTag(signedImage)] = index([]ocispec.Descriptor{d})
		}},
		{"by the tag, and the registry answers with a page", func(r *registry, d ocispec.Descriptor) {
			r.content["manifests/"+bundle.FallbackTag(signedImage)] = index([]ocispec.Descriptor{d})
			r.bend = func(w http.ResponseWriter, _ *http.Request, path string) bool {
				if !strings.HasPrefix(path, "referrers/") {
					return false
				}
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = w.Write([]byte("<html>Welcome</html>"))
				return true
			}
		}},
		{"with the type of its configuration", func(r *registry, _ ocispec.Descriptor) {
			r.listed[0].ArtifactType = ocispec.MediaTypeEmptyJSON
		}},
		{"without a type", func(r *registry, _ ocispec.Descriptor) { r.listed[0].ArtifactType = "" }},
		{"as an attestation", func(r *registry, _ ocispec.Descriptor) {
			r.listed[0].Annotations = map[string]string{"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}
		}},
		{"with another size", func(r *registry, _ ocispec.Descriptor) { r.listed[0].Size = 1 }},
	} {
		r := newRegistry(t)
		d := r.attach(stored(t, "b1.json"), nil)
		c.change(r, d)
		b, key, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if b.Artifact != d.Digest || b.From != r.host+"/a/b" || key.File != "testdata/key1.pub" {
			t.Errorf("%s: got %s at %s by %s", c.name, b.Artifact, b.From, key)
		}
	}
}

func TestAnArtifactNeedNotSayItsTypeTwice(t *testing.T) {
	r := newRegistry(t)
	r.attach(stored(t, "b1.json"), func(m *ocispec.Manifest) {
		m.ArtifactType, m.Config.MediaType = "", bundle.MediaType
		m.Annotations = map[string]string{"dev.sigstore.bundle.predicateType": "a lie"}
	})
	if _, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub")); err != nil {
		t.Error(err)
	}
}

func TestAnImageWithoutBundlesIsUnsigned(t *testing.T) {
	for _, noListing := range []bool{true, false} {
		r := newRegistry(t)
		r.noListing = noListing
		_, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
		if refused, ok := errors.AsType[*bundle.RefusedError](err); !ok || !errors.Is(err, bundle.ErrUnsigned) ||
			refused.Signed || refused.Subject != signedImage {
			t.Errorf("got %v", err)
		}
	}
}

// In each case the key signed a bundle, and nothing else is wrong with it.
func TestListsThatLie(t *testing.T) {
	good := stored(t, "b1.json")
	for _, c := range []struct {
		name string
		make func(r *registry)
		want error
		text string
	}{
		{name: "the manifest is of another type", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) { m.ArtifactType = "application/spdx+json" })
		}, want: bundle.ErrUnsigned, text: "application/spdx+json"},
		{name: "the manifest has no type", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) { m.ArtifactType = "" })
		}, want: bundle.ErrUnsigned, text: ocispec.MediaTypeEmptyJSON},
		{name: "the layer is of another type", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) { m.Layers[0].MediaType = "application/json" })
		}, want: bundle.ErrUnsigned, text: "application/json"},
		{name: "two layers", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) })
		}, want: bundle.ErrUnsigned, text: "2 layers"},
		{name: "an index", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) { m.MediaType = ocispec.MediaTypeImageIndex })
		}, want: bundle.ErrUnsigned, text: ocispec.MediaTypeImageIndex},
		{name: "the subject is another image", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) { m.Subject.Digest = otherImage })
		}, want: bundle.ErrOtherSubject, text: otherImage.String()},
		{name: "no subject", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) { m.Subject = nil })
		}, want: bundle.ErrOtherSubject},
		{name: "the bundle is of another image", make: func(r *registry) { r.attach(stored(t, "other.json"), nil) },
			want: bundle.ErrOtherSubject, text: otherImage.String()},
		{name: "the bundle is an attestation", make: func(r *registry) { r.attach(stored(t, "b1-attestation.json"), nil) },
			want: bundle.ErrAttestation, text: "https://example.com/note/v1"},
		{name: "the subject is there twice", make: func(r *registry) {
			m := r.artifact(good, nil)
			r.listed = append(r.listed, r.put([]byte(replace(t, string(m), `"subject":`, `"subject":{},"subject":`))))
		}, want: bundle.ErrUnsigned, text: "ambiguous"},
		{name: "the manifest has other content", make: func(r *registry) {
			r.content["manifests/"+r.attach(good, nil).Digest.String()] = r.artifact(good, func(m *ocispec.Manifest) {
				m.Annotations = map[string]string{"a": "b"}
			})
		}, want: oci.ErrMismatch},
		{name: "the manifest is not there", make: func(r *registry) {
			delete(r.content, "manifests/"+r.attach(good, nil).Digest.String())
		}, want: bundle.ErrUnsigned, text: "not there"},
		{name: "the manifest is huge", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) {
				m.Annotations = map[string]string{"a": strings.Repeat("a", 1<<20)}
			})
		}, want: bundle.ErrTooLarge},
		{name: "the bundle has other content", make: func(r *registry) {
			r.attach(stored(t, "other.json"), nil)
			r.content["blobs/"+digest.FromBytes(stored(t, "other.json")).String()] = good
		}, want: oci.ErrMismatch},
		{name: "the bundle is longer than its descriptor says", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) { m.Layers[0].Size-- })
		}, want: oci.ErrMismatch},
		{name: "the bundle is not there", make: func(r *registry) {
			r.attach(good, nil)
			delete(r.content, "blobs/"+digest.FromBytes(good).String())
		}, want: bundle.ErrUnsigned, text: "not there"},
		{name: "the digest of the bundle is a path", make: func(r *registry) {
			r.attach(good, func(m *ocispec.Manifest) { m.Layers[0].Digest = "../../../secret" })
		}, want: bundle.ErrUnsigned, text: "../../../secret"},
		{name: "the digest of the manifest is a tag", make: func(r *registry) {
			r.content["manifests/latest"] = r.artifact(good, nil)
			r.listed = []ocispec.Descriptor{{Digest: "latest", ArtifactType: bundle.MediaType}}
		}, want: bundle.ErrUnsigned, text: "latest"},
		{name: "the digest of the manifest is a SHA-512", make: func(r *registry) {
			m := r.artifact(good, nil)
			d := digest.SHA512.FromBytes(m)
			r.content["manifests/"+d.String()] = m
			r.listed = []ocispec.Descriptor{{Digest: d, ArtifactType: bundle.MediaType}}
		}, want: bundle.ErrUnsigned, text: "SHA-256 only"},
		{name: "the tag is an image", make: func(r *registry) {
			r.content["manifests/"+bundle.FallbackTag(signedImage)] = r.artifact(good, nil)
		}, want: bundle.ErrUnsigned, text: "is an image"},
		{name: "deep JSON", make: func(r *registry) {
			deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
			r.attach([]byte(`{"mediaType":`+deep+`}`), nil)
		}, want: bundle.ErrUnsigned, text: "deep"},
	} {
		r := newRegistry(t)
		c.make(r)
		s := r.find()
		_, _, err := s.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
		if refused, ok := errors.AsType[*bundle.RefusedError](err); !ok || refused.Signed || !errors.Is(err, c.want) ||
			!strings.Contains(skipReasons(s), c.text) || len(s.Skipped()) != 1 {
			t.Errorf("%s: got %v, skipped %s", c.name, err, skipReasons(s))
		}
		r.refused(t, key1)
	}
}

func TestABadSignatureIsToldFromNone(t *testing.T) {
	r := newRegistry(t)
	bad := r.attach(stored(t, "b1-flip.json"), nil)
	attestation := r.attach(stored(t, "b1-attestation.json"), nil)
	r.others(20)
	s := r.find()
	_, _, err := s.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
	refused, ok := errors.AsType[*bundle.RefusedError](err)
	if _, isBad := errors.AsType[*bundle.BadSignatureError](err); !ok || !isBad || !refused.Signed ||
		errors.Is(err, bundle.ErrUnsigned) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{bad.Digest.String(), attestation.Digest.String(), "20 other artifacts"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the message does not have %s: %v", part, err)
		}
	}
	if len(s.Skipped()) != 22 {
		t.Errorf("%d were skipped", len(s.Skipped()))
	}
}

func TestACallerMayJudgeBundlesItself(t *testing.T) {
	r := newRegistry(t)
	first, second := r.attach(stored(t, "b1.json"), nil), r.attach(stored(t, "b2.json"), nil)
	no := errors.New("not by this one")
	b, err := r.find().Verify(t.Context(), func(b *bundle.Bundle) error {
		if b.Artifact == first.Digest {
			return no
		}
		return nil
	})
	if err != nil || b.Artifact != second.Digest {
		t.Errorf("got %v, %v", b, err)
	}
	b, err = r.find().Verify(t.Context(), func(*bundle.Bundle) error { return no })
	if refused, ok := errors.AsType[*bundle.RefusedError](err); !ok || b != nil || !errors.Is(err, no) ||
		len(refused.Skipped) != 2 {
		t.Errorf("got %v, %v", b, err)
	}
}

func TestOneGoodSignatureAmongOthersIsEnough(t *testing.T) {
	r := newRegistry(t)
	r.attach(stored(t, "b1-flip.json"), nil)
	r.attach(stored(t, "b2.json"), nil)
	want := r.attach(stored(t, "b1.json"), nil)
	b, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
	if err != nil || b.Artifact != want.Digest {
		t.Errorf("got %v, %v", b, err)
	}
}

func TestACallerSeesEachBundleOnceUntilItHasSeenEnough(t *testing.T) {
	r := newRegistry(t)
	r.attach(stored(t, "b1.json"), nil)
	r.attach(stored(t, "b2.json"), nil)
	// The same bundle in another artifact, and the same artifact at the tag.
	r.attach(stored(t, "b1.json"), func(m *ocispec.Manifest) { m.Annotations = map[string]string{"a": "b"} })
	r.content["manifests/"+bundle.FallbackTag(signedImage)] = index(r.listed)
	s := r.find()
	for range 2 { // a search can be repeated
		n := 0
		for b, err := range s.Bundles(t.Context()) {
			if err != nil || b.Subject != signedImage {
				t.Fatalf("got %v, %v", b, err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%d bundles", n)
		}
	}
	before := len(r.requests())
	for _, err := range s.Bundles(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if n := len(r.requests()) - before; n != 3 { // list, manifest, bundle
		t.Errorf("%d requests", n)
	}
}

// pages has the registry send its list in pages of a size. The n-th page links to what next returns.
func (r *registry) pages(size int, next func(path string, n int) string) {
	r.bend = func(w http.ResponseWriter, req *http.Request, path string) bool {
		if !strings.HasPrefix(path, "referrers/") {
			return false
		}
		n, _ := strconv.Atoi(req.URL.Query().Get("n"))
		if link := next(req.URL.Path, n); link != "" {
			w.Header().Set("Link", `</first>; rel="first", <`+link+`>; title="a, b"; rel=next`)
		}
		from := min(n*size, len(r.listed))
		sendIndex(w, r.listed[from:min(from+size, len(r.listed))])
		return true
	}
}

func TestPagesAreFollowed(t *testing.T) {
	for _, c := range []struct {
		name string
		next func(r *registry, path string, n int) string
	}{
		{"a path", func(_ *registry, path string, n int) string { return fmt.Sprintf("%s?n=%d", path, n+1) }},
		{"a query alone", func(_ *registry, _ string, n int) string { return fmt.Sprintf("?n=%d&x=%%2F", n+1) }},
		{"an address", func(r *registry, path string, n int) string { return fmt.Sprintf("%s%s?n=%d", r.URL, path, n+1) }},
		{"an address with the wrong scheme", func(r *registry, path string, n int) string {
			return fmt.Sprintf("https://%s%s?n=%d", r.host, path, n+1)
		}},
		{"a path as it is behind a proxy", func(_ *registry, path string, n int) string {
			return fmt.Sprintf("/inner%s?n=%d", path, n+1)
		}},
	} {
		r := newRegistry(t)
		r.others(3)
		want := r.attach(stored(t, "b1.json"), nil)
		r.pages(2, func(path string, n int) string {
			if n == 1 {
				return ""
			}
			return c.next(r, path, n)
		})
		b, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
		if err != nil || b.Artifact != want.Digest {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

// What the pages before list is looked at all the same, and another page could have listed a signature.
func TestPagesThatLeadAstray(t *testing.T) {
	elsewhere := newRegistry(t)
	for _, c := range []struct {
		name  string
		next  func(path string, n int) string
		want  string
		pages int
	}{
		{"a circle", func(path string, n int) string { return path + "?n=" + strconv.Itoa((n+1)%3) }, "circle", 4},
		{"the same page", func(path string, _ int) string { return path }, "circle", 1},
		{"an empty link", func(string, int) string { return "?" }, "circle", 1},
		{"pages without end", func(path string, n int) string { return fmt.Sprintf("%s?n=%d", path, n+1) },
			"100 pages", bundle.MaxPages},
		{"another host", func(path string, _ int) string { return elsewhere.URL + path + "?n=1" }, elsewhere.host, 1},
		{"a host without a scheme", func(path string, _ int) string { return "//" + elsewhere.host + path },
			elsewhere.host, 1},
		{"the referrers of another image", func(path string, _ int) string {
			return strings.ReplaceAll(path, signedImage.Encoded(), otherImage.Encoded())
		}, otherImage.Encoded(), 1},
		{"another path", func(string, int) string { return "/v2/_catalog?n=1" }, "_catalog", 1},
		{"no link", func(string, int) string { return "http://[::1" }, "link", 1},
	} {
		r := newRegistry(t)
		r.pages(1, c.next)
		_, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
		if _, ok := errors.AsType[*bundle.IncompleteError](err); !ok || !strings.Contains(err.Error(), c.want) ||
			errors.Is(err, bundle.ErrUnsigned) {
			t.Errorf("%s: got %v", c.name, err)
		}
		pages := 0
		for _, path := range r.requests() {
			if strings.HasPrefix(path, "referrers/") {
				pages++
			}
		}
		if pages != c.pages {
			t.Errorf("%s: %d pages were asked for", c.name, pages)
		}
		r.attach(stored(t, "b1.json"), nil)
		if _, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub")); err != nil {
			t.Errorf("%s, with a signature on the first page: %v", c.name, err)
		}
	}
	if asked := elsewhere.requests(); len(asked) > 0 {
		t.Errorf("the other host was asked for %v", asked)
	}
}

func TestAMalformedLinkIsAnError(t *testing.T) {
	r := newRegistry(t)
	r.bend = func(w http.ResponseWriter, _ *http.Request, path string) bool {
		w.Header().Set("Link", "next")
		return false
	}
	_, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
	if _, ok := errors.AsType[*bundle.IncompleteError](err); !ok {
		t.Errorf("got %v", err)
	}
}

// Descriptors are not believed, but what they say decides what is looked at first.
func TestASignatureIsFoundAmongThousandsOfOthers(t *testing.T) {
	r := newRegistry(t)
	for i := range 5000 {
		r.listed = append(r.listed, ocispec.Descriptor{Digest: digest.FromString(strconv.Itoa(i)),
			ArtifactType: "application/spdx+json"})
	}
	r.attach(stored(t, "b1.json"), nil)
	if _, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub")); err != nil {
		t.Fatal(err)
	}
	if n := len(r.requests()); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func TestWhatIsLookedAtIsBounded(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(r *registry)
		want string
	}{
		{"thousands of artifacts that say they are bundles", func(r *registry) { r.others(bundle.MaxManifests + 1) },
			"1000 referrers"},
		{"hundreds of bundles", func(r *registry) {
			for i := range bundle.MaxBundles + 1 {
				r.attach(append(stored(t, "b1-flip.json"), bytes.Repeat([]byte{' '}, i)...), nil)
			}
		}, "256 bundles"},
		{"a list without end", func(r *registry) {
			for i := range bundle.MaxListed + 1 {
				r.listed = append(r.listed, ocispec.Descriptor{Digest: digest.FromString(strconv.Itoa(i))})
			}
			r.bend = func(_ http.ResponseWriter, _ *http.Request, path string) bool {
				return !strings.HasPrefix(path, "referrers/") // empty answers
			}
		}, "10000 referrers"},
		{"large bundles", func(r *registry) {
			for i := range 20 {
				r.attach(append(stored(t, "b1-flip.json"), bytes.Repeat([]byte{' '}, 4_000_000+i)...), nil)
			}
		}, "67.1"},
	} {
		r := newRegistry(t)
		c.make(r)
		_, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
		_, ok := errors.AsType[*bundle.IncompleteError](err)
		if limit, isLimit := errors.AsType[*bundle.LimitError](err); !ok || !isLimit ||
			!strings.Contains(limit.Error(), c.want) || errors.Is(err, bundle.ErrUnsigned) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestAHugePageIsAnError(t *testing.T) {
	r := newRegistry(t)
	r.bend = func(w http.ResponseWriter, _ *http.Request, path string) bool {
		if !strings.HasPrefix(path, "referrers/") {
			return false
		}
		_, _ = w.Write(append(index(nil), bytes.Repeat([]byte{' '}, 10<<20)...))
		return true
	}
	_, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
	if _, ok := errors.AsType[*bundle.IncompleteError](err); !ok || !errors.Is(err, bundle.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestAHugeBundleIsNamedAndNotRead(t *testing.T) {
	r := newRegistry(t)
	huge := r.attach(stored(t, "b2.json"), func(m *ocispec.Manifest) { m.Layers[0].Size = bundle.MaxSize + 1 })
	r.attach(stored(t, "b1.json"), nil)
	s := r.find()
	if _, _, err := s.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub")); err != nil {
		t.Fatal(err)
	}
	skipped := s.Skipped()
	if len(skipped) != 1 || skipped[0].Artifact != huge.Digest || !errors.Is(skipped[0].Err, bundle.ErrTooLarge) {
		t.Errorf("skipped %v", skipped)
	}
	if slices.Contains(r.requests(), "blobs/"+digest.FromBytes(stored(t, "b2.json")).String()) {
		t.Error("it was fetched")
	}
}

func TestAServerThatFailsDoesNotMakeAnImageUnsigned(t *testing.T) {
	for _, code := range []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusForbidden, http.StatusUnauthorized, http.StatusTeapot} {
		for _, what := range []string{"referrers/", "manifests/sha256-", "manifests/sha256:", "blobs/"} {
			r := newRegistry(t)
			r.attach(stored(t, "b1.json"), nil)
			r.bend = func(w http.ResponseWriter, _ *http.Request, path string) bool {
				if !strings.HasPrefix(path, what) {
					return false
				}
				w.WriteHeader(code)
				return true
			}
			_, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key2.pub"))
			status, ok := errors.AsType[*access.StatusError](err)
			if _, incomplete := errors.AsType[*bundle.IncompleteError](err); !incomplete || !ok || status.Code != code ||
				errors.Is(err, bundle.ErrUnsigned) {
				t.Errorf("%d for %s: got %v", code, what, err)
			}
		}
	}
}

func TestAListThatCannotBeReadIsAnError(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON": "hello", "cut short": string(index(nil)[:20]), "a list": "[]", "a manifest": `{"mediaType":"` +
			ocispec.MediaTypeImageManifest + `"}`,
		"manifests twice": `{"manifests":[],"manifests":[]}`, "in another case": `{"Manifests":[]}`,
	} {
		r := newRegistry(t)
		r.bend = func(w http.ResponseWriter, _ *http.Request, path string) bool {
			if !strings.HasPrefix(path, "referrers/") {
				return false
			}
			_, _ = w.Write([]byte(text))
			return true
		}
		_, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
		if _, ok := errors.AsType[*bundle.IncompleteError](err); !ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestABusyServerIsAskedAgainWhenItSays(t *testing.T) {
	r := newRegistry(t)
	r.attach(stored(t, "b1.json"), nil)
	failures, wait := 2, "7"
	r.bend = func(w http.ResponseWriter, _ *http.Request, path string) bool {
		if failures == 0 || !strings.HasPrefix(path, "referrers/") {
			return false
		}
		failures--
		w.Header().Set("Retry-After", wait)
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	var waits []time.Duration
	find := func() error {
		s := r.find()
		s.SetPace(0, func(_ context.Context, d time.Duration) error {
			waits = append(waits, d)
			return nil
		})
		_, _, err := s.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
		return err
	}
	if err := find(); err != nil || !slices.Equal(waits, []time.Duration{7 * time.Second, 7 * time.Second}) {
		t.Errorf("got %v, waited %v", err, waits)
	}
	failures, wait, waits = 1, "3600", nil
	if err := find(); err == nil || len(waits) > 0 {
		t.Errorf("got %v, waited %v", err, waits)
	}
}

func TestAServerThatSendsNothingIsGivenUp(t *testing.T) {
	r := newRegistry(t)
	r.bend = func(w http.ResponseWriter, req *http.Request, path string) bool {
		if !strings.HasPrefix(path, "referrers/") {
			return false
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = w.Write([]byte("{"))
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
		return true
	}
	s := r.find()
	s.SetPace(20*time.Millisecond, noWait)
	_, _, err := s.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
	if err == nil || !strings.Contains(err.Error(), "sends nothing") {
		t.Errorf("got %v", err)
	}
}

func TestASearchEndsWithTheContext(t *testing.T) {
	r := newRegistry(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.bend = func(http.ResponseWriter, *http.Request, string) bool {
		cancel()
		return false
	}
	r.attach(stored(t, "b1-flip.json"), nil)
	if _, _, err := r.find().VerifyKeys(ctx, cosignKeys(t, "key1.pub")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNothingIsAskedOverPlainHTTP(t *testing.T) {
	r := newRegistry(t)
	r.attach(stored(t, "b1.json"), nil)
	s := bundle.Find(r.host+"/a/b:c", access.Options{Anonymous: true}, signedImage)
	s.SetPace(0, noWait)
	_, _, err := s.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
	if !errors.Is(err, access.ErrPlainHTTP) || len(r.requests()) > 0 {
		t.Errorf("got %v", err)
	}
}
