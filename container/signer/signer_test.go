package signer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

func TestAnImageIsSignedUnderItsNames(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string][]string{
		"": {":latest"}, ":stable": {":stable"}, "@": {"@"}, ":stable@": {":stable"},
	} {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			w, key := newWorld(t), newKey(t)
			d := w.image("stable", "x").Digest
			w.image("latest", "x")
			before := w.get("stable")
			o := options(signer.Attachment, key)
			o.Names = []string{w.ref(":more").Name, w.ref(":stable").Name}
			r := w.sign(w.ref(strings.Replace(tag, "@", "@"+d.String(), 1)), o)
			var names []string
			for _, a := range w.attachment(d, key) {
				names = append(names, strings.TrimPrefix(a.name, w.reg.Host+"/"+repository))
				if a.digest != d || !a.good {
					t.Errorf("%s: signed is %s, good: %t", a.name, a.digest, a.good)
				}
			}
			for i := range want {
				want[i] = strings.Replace(want[i], "@", "@"+d.String(), 1)
			}
			for _, more := range []string{":more", ":stable"} {
				if !slices.Contains(want, more) {
					want = append(want, more)
				}
			}
			if !slices.Equal(names, want) {
				t.Errorf("signed as %q, want %q", names, want)
			}
			if got := r.Signed; r.Digest != d || len(got) != 1 || got[0] != (signer.Signed{
				Digest: d, Format: signer.Attachment, Tag: attachmentTag(d), Added: true,
			}) {
				t.Errorf("the result is %+v", r)
			}
			if !bytes.Equal(w.get("stable"), before) {
				t.Error("the image changed")
			}
		})
	}
}

func TestNamesAreInTheFormThatContainerToolsCompare(t *testing.T) {
	t.Parallel()
	d := digest.FromString("x")
	for image, want := range map[string]string{
		"app": "docker.io/library/app:latest", "index.docker.io/me/app:1": "docker.io/me/app:1",
		"localhost:5000/app": "localhost:5000/app:latest", "registry.example/a/b:1": "registry.example/a/b:1",
		"registry.example/a@" + d.String():   "registry.example/a@" + d.String(),
		"registry.example/a:1@" + d.String(): "registry.example/a:1",
	} {
		for _, pushed := range []digest.Digest{"", d} {
			if got, err := signer.SignedNames(image, pushed); err != nil || len(got) != 1 || got[0] != want {
				t.Errorf("%s, pushed as %q: got %q, %v; want %q", image, pushed, got, err, want)
			}
		}
	}
	got, err := signer.SignedNames("app:1", d, "index.docker.io/library/app:2", "docker.io/library/app:1")
	if err != nil || !slices.Equal(got, []string{"docker.io/library/app:1", "docker.io/library/app:2"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSigningAgainChangesNothing(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) *world{"a registry that lists": listing, "another": newWorld} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, key := make(t), newKey(t)
			d := w.image("stable", "x").Digest
			first := w.sign(w.ref(":stable"), options(signer.Both, key))
			attachment, list := w.get(attachmentTag(d)), w.get(fallbackTag(d))
			second := w.sign(w.ref(":stable"), options(signer.Both, key))
			if !bytes.Equal(w.get(attachmentTag(d)), attachment) || !bytes.Equal(w.get(fallbackTag(d)), list) {
				t.Error("signing again changed something")
			}
			for i := range first.Signed {
				if !first.Signed[i].Added || second.Signed[i].Added {
					t.Errorf("added: %t, then %t", first.Signed[i].Added, second.Signed[i].Added)
				}
				first.Signed[i].Added = false
			}
			if !slices.Equal(first.Signed, second.Signed) {
				t.Errorf("the results are %+v and %+v", first, second)
			}
		})
	}
}

func TestTwoKeysSignOneImage(t *testing.T) {
	t.Parallel()
	for _, fallback := range []bool{false, true} {
		t.Run(fmt.Sprintf("fallback %t", fallback), func(t *testing.T) {
			t.Parallel()
			w, one, two := newWorld(t), newKey(t), newKey(t)
			if !fallback {
				w = listing(t)
			}
			d := w.image("stable", "x").Digest
			w.sign(w.ref(":stable"), options(signer.Both, one))
			r := w.sign(w.ref(":stable"), options(signer.Both, two))
			for key, want := range map[*signer.Key][]bool{one: {true, false}, two: {false, true}} {
				var good []bool
				for _, a := range w.attachment(d, key) {
					good = append(good, a.good)
				}
				if !slices.Equal(good, want) {
					t.Errorf("signatures by one key: %t, want %t", good, want)
				}
			}
			if got := w.referrers(d, fallback); len(got) != 2 || !slices.Contains(got, r.Signed[1].Referrer) {
				t.Errorf("referrers %s, the last one is %s", got, r.Signed[1].Referrer)
			}
			if got := r.Signed[1].Tag; fallback != (got == fallbackTag(d)) || !fallback && got != "" {
				t.Errorf("the bundle is listed at the tag %q", got)
			}
		})
	}
}

func TestAnIndexIsSignedWithEverythingThatItLists(t *testing.T) {
	t.Parallel()
	w, key := listing(t), newKey(t)
	amd64, arm64, attestation := w.image("", "amd64"), w.image("", "arm64"), w.image("", "attestation")
	absent := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 3}
	nested := w.index("", arm64, amd64)
	// The registry would not take an index of something that is not there.
	data, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{amd64, nested, attestation, absent, amd64}})
	if err != nil {
		t.Fatal(err)
	}
	hidden := w.image("", "absent")
	data = bytes.ReplaceAll(data, []byte(absent.Digest), []byte(hidden.Digest))
	if err := w.reg.Put(repository, "stable", ocispec.MediaTypeImageIndex, data); err != nil {
		t.Fatal(err)
	}
	w.reg.Misbehave(testreg.Faults{Refuse: func(req *http.Request) int {
		if strings.HasSuffix(req.URL.Path, hidden.Digest.String()) {
			return http.StatusNotFound
		}
		return 0
	}})
	r := w.sign(w.ref(":stable"), options(signer.Both, key))
	top := digest.FromBytes(data)
	want := []digest.Digest{amd64.Digest, nested.Digest, arm64.Digest, attestation.Digest, top}
	var got []digest.Digest
	for i, s := range r.Signed {
		if i%2 == 0 {
			got = append(got, s.Digest)
		}
		if index := s.Digest == nested.Digest || s.Digest == top; s.Index != index {
			t.Errorf("%s is an index: %t, want %t", s.Digest, s.Index, index)
		}
	}
	if !slices.Equal(got, want) || len(r.Signed) != 2*len(want) || r.Digest != top {
		t.Errorf("signed are %q, want %q", got, want)
	}
	if !slices.Equal(r.Absent, []digest.Digest{hidden.Digest}) {
		t.Errorf("absent are %q", r.Absent)
	}
	for _, d := range want {
		signed := w.attachment(d, key)
		if len(signed) != 1 || signed[0] != (attached{w.ref(":stable").Name, d, true}) {
			t.Errorf("%s: the attachment is %+v", d, signed)
		}
		if n := len(w.referrers(d, false)); n != 1 {
			t.Errorf("%s has %d referrers", d, n)
		}
	}
}

func TestRegistriesTakeSignaturesInTheirWay(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]testreg.Uploads{
		"no PATCH":               {NoPatch: http.StatusMethodNotAllowed},
		"a length is demanded":   {NeedLength: true, NoPatch: http.StatusNotFound},
		"only POST with content": {NoSession: http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, key := newWorld(t), newKey(t)
			d := w.image("stable", "x").Digest
			w.reg.TakeUploads(how)
			w.sign(w.ref(":stable"), options(signer.Both, key))
			if got := w.attachment(d, key); len(got) != 1 || !got[0].good {
				t.Errorf("the attachment is %+v", got)
			}
			if n := len(w.referrers(d, true)); n != 1 {
				t.Errorf("%d artifacts are listed", n)
			}
		})
	}
}
