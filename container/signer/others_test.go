package signer_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

func TestWhatCosignWroteStays(t *testing.T) {
	t.Parallel()
	reg := sigstorefixture.Load(t)
	key := newKey(t)
	for image, want := range map[string]map[signer.Format][]int{
		"att12": {signer.Attachment: {3}}, "both": {signer.Attachment: {2}}, "b12": {signer.Attachment: {1}},
		"f12": {signer.Attachment: {1}, signer.Bundle: {3}}, "g1": {signer.Attachment: {1}, signer.Bundle: {2}},
		"aidx-all": {signer.Attachment: {2, 2}}, "aidx-index": {signer.Attachment: {1, 2}},
	} {
		t.Run(image, func(t *testing.T) {
			t.Parallel()
			ref := imgref.ImageReference{Transport: imgref.Registry, Name: reg.Host + "/os/" + image}
			r, err := signer.Sign(t.Context(), ref, "", options(signer.Both, key))
			if err != nil {
				t.Fatal(err)
			}
			got := map[signer.Format][]int{}
			for _, s := range r.Signed {
				if s.Tag == "" {
					continue
				}
				res, err := http.Get("http://" + reg.Host + "/v2/os/" + image + "/manifests/" + s.Tag)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				var m struct{ Layers, Manifests []json.RawMessage }
				if err := json.NewDecoder(res.Body).Decode(&m); err != nil {
					t.Fatal(err)
				}
				got[s.Format] = append(got[s.Format], len(m.Layers)+len(m.Manifests))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the tags have %v signatures, want %v", got, want)
			}
		})
	}
}

func TestFieldsThatOthersWroteStay(t *testing.T) {
	t.Parallel()
	w, key := newWorld(t), newKey(t)
	d := w.image("stable", "x").Digest
	other := w.put("", ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "x": "y",
		"config": ocispec.DescriptorEmptyJSON, "layers": []any{}})
	w.put(attachmentTag(d), ocispec.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "annotations": map[string]string{"a": "b"},
		"new": 1, "config": ocispec.DescriptorEmptyJSON,
		"layers": []any{map[string]any{"mediaType": "x/y", "digest": digest.FromString("z"), "size": 1, "new": 2}},
	})
	w.put(fallbackTag(d), ocispec.MediaTypeImageIndex, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "annotations": map[string]string{"a": "b"}, "new": 1,
		"manifests": []any{map[string]any{
			"mediaType": other.MediaType, "digest": other.Digest, "size": other.Size, "new": 2,
		}},
	})
	w.sign(w.ref(":stable"), options(signer.Both, key))
	for _, tag := range []string{attachmentTag(d), fallbackTag(d)} {
		var m struct {
			New         int
			Annotations map[string]string
			Layers      []struct{ New int }
			Manifests   []struct{ New int }
		}
		if err := json.Unmarshal(w.get(tag), &m); err != nil {
			t.Fatal(err)
		}
		list := append(m.Layers, m.Manifests...)
		if m.New != 1 || m.Annotations["a"] != "b" || len(list) != 2 || list[0].New != 2 {
			t.Errorf("%s has become %s", tag, w.get(tag))
		}
	}
}

func TestSignaturesThatOthersUndoAreWrittenAgain(t *testing.T) {
	t.Parallel()
	for name, tag := range map[string]func(digest.Digest) string{"attachments": attachmentTag, "bundles": fallbackTag} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, key := newWorld(t), newKey(t)
			d := w.image("stable", "x").Digest
			w.sign(w.ref(":stable"), options(signer.Both, newKey(t)))
			// Another program read this, and writes it after us.
			theirs := w.get(tag(d))
			var once sync.Once
			w.reg.Misbehave(testreg.Faults{After: func(req *http.Request) {
				if req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, "/"+tag(d)) {
					once.Do(func() {
						if err := w.reg.Put(repository, tag(d), mediaTypeOf(theirs), theirs); err != nil {
							t.Error(err)
						}
					})
				}
			}})
			w.sign(w.ref(":stable"), options(signer.Both, key))
			if bytes.Equal(w.get(tag(d)), theirs) {
				t.Error("our signature is lost")
			}
			if a, r := w.attachment(d, key), w.referrers(d, true); len(a) != 2 || len(r) != 2 {
				t.Errorf("%d attachments and %d referrers", len(a), len(r))
			}
		})
	}
}

func TestATagThatIsReplacedAllTheTime(t *testing.T) {
	t.Parallel()
	w, key := newWorld(t), newKey(t)
	d := w.image("stable", "x").Digest
	w.sign(w.ref(":stable"), options(signer.Attachment, newKey(t)))
	undone := w.get(attachmentTag(d))
	w.reg.Misbehave(testreg.Faults{After: func(req *http.Request) {
		if req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, ".sig") {
			if err := w.reg.Put(repository, attachmentTag(d), ocispec.MediaTypeImageManifest, undone); err != nil {
				t.Error(err)
			}
		}
	}})
	_, err := signer.Sign(t.Context(), w.ref(":stable"), "", options(signer.Attachment, key))
	if !errors.Is(err, signer.ErrContended) {
		t.Errorf("got %v", err)
	}
}

func TestManySignersAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.image("stable", "x").Digest
	const signers = 6
	keys := make([]*signer.Key, signers)
	var all sync.WaitGroup
	for i := range keys {
		keys[i] = newKey(t)
		all.Go(func() {
			o := signer.WithPause(options(signer.Both, keys[i]), 300*time.Millisecond)
			if _, err := signer.Sign(t.Context(), w.ref(":stable"), d, o); err != nil {
				t.Errorf("signer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	for i, key := range keys {
		good := 0
		for _, a := range w.attachment(d, key) {
			if a.good {
				good++
			}
		}
		if good != 1 {
			t.Errorf("key %d has %d signatures", i, good)
		}
	}
	if n := len(w.referrers(d, true)); n != signers {
		t.Errorf("%d artifacts are listed, want %d", n, signers)
	}
}
