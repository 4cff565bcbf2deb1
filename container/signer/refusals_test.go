package signer_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

func TestNamesThatCannotBeSigned(t *testing.T) {
	t.Parallel()
	w, key := newWorld(t), newKey(t)
	d := w.image("stable", "x").Digest
	other := digest.FromString("other")
	layout := imgref.ImageReference{Transport: imgref.OCIDir, Name: "x"}
	for name, c := range map[string]struct {
		ref      imgref.ImageReference // that of the image if it is empty
		d        digest.Digest
		format   signer.Format // attachment if it is empty
		names    []string
		unkeyed  bool
		registry access.Options
		want     error
		says     string
	}{
		"a directory":             {ref: layout, want: signer.ErrNotRegistry, says: "push it"},
		"a name that is none":     {ref: w.ref(":UPPER:"), says: "image name"},
		"an absent tag":           {ref: w.ref(":absent"), want: source.ErrNoImage, says: "404"},
		"an absent digest":        {ref: w.ref("@" + other.String()), want: source.ErrNoImage, says: "404"},
		"another digest":          {ref: w.ref("@" + other.String()), d: d, says: "is not the digest"},
		"SHA-512":                 {d: digest.SHA512.FromString("x"), says: "only sha256"},
		"not a digest":            {d: "sha256:x", says: "only sha256"},
		"a format that is none":   {format: "gpg", want: signer.ErrOptions, says: "no format"},
		"a name elsewhere":        {names: []string{"other/os"}, want: signer.ErrOptions, says: "not in the repository"},
		"text that is not a name": {names: []string{"A B"}, says: "image name"},
		"no key":                  {unkeyed: true, want: signer.ErrOptions, says: "there is no key"},
		"no key for bundles":      {unkeyed: true, format: signer.Bundle, want: signer.ErrOptions, says: "no key"},
		"conflicting credentials": {
			registry: access.Options{AuthFile: "x", Anonymous: true}, want: access.ErrAuthConflict,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(cmp.Or(c.format, signer.Attachment), key)
			o.Names, o.Registry = c.names, c.registry
			o.Registry.InsecureSkipTLSVerify = true
			if c.unkeyed {
				o.Key = nil
			}
			if c.ref.Name == "" {
				c.ref = w.ref(":stable")
			}
			_, err := signer.Sign(t.Context(), c.ref, c.d, o)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

func TestIndexesThatListTooMuch(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(*world){
		"deep": func(w *world) {
			d := w.image("", "x")
			for range 5 {
				d = w.index("", d)
			}
			w.index("stable", d)
		},
		"wide": func(w *world) {
			var all []ocispec.Descriptor
			for i := range 300 {
				all = append(all, w.image("", fmt.Sprint(i)))
			}
			w.index("stable", all...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			build(w)
			_, err := signer.Sign(t.Context(), w.ref(":stable"), "", options(signer.Both, newKey(t)))
			if !errors.Is(err, signer.ErrTooMany) {
				t.Errorf("got %v", err)
			}
			if w.get(attachmentTag(digest.FromBytes(w.get("stable")))) != nil {
				t.Error("something was signed")
			}
		})
	}
}

func TestDocumentsThatAreNotSigned(t *testing.T) {
	t.Parallel()
	const image, index = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	for name, c := range map[string]struct {
		mediaType, data string
		want            error
	}{
		"not JSON":        {image, "x", source.ErrInvalidManifest},
		"too large":       {image, strings.Repeat(" ", oci.MaxManifestSize+1), nil},
		"another type":    {"text/plain", `{"schemaVersion":2,"mediaType":"text/plain"}`, source.ErrInvalidManifest},
		"index and image": {index, `{"schemaVersion":2,"manifests":[],"layers":[]}`, source.ErrInvalidManifest},
		"a key twice":     {index, `{"schemaVersion":2,"manifests":[],"manifests":[]}`, source.ErrInvalidManifest},
		"a foreign digest": {
			index, `{"schemaVersion":2,"mediaType":"` + index + `","manifests":[{"digest":"sha512:x"}]}`, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.reg.Misbehave(testreg.Faults{Answer: map[string]testreg.Answer{
				"/v2/" + repository + "/manifests/stable": {MediaType: c.mediaType, Body: []byte(c.data)},
			}})
			_, err := signer.Sign(t.Context(), w.ref(":stable"), "", options(signer.Both, newKey(t)))
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestARegistryThatSendsSomethingElseIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.image("stable", "x").Digest
	w.reg.Misbehave(testreg.Faults{FlipManifest: true})
	_, err := signer.Sign(t.Context(), w.ref(":stable"), d, options(signer.Attachment, newKey(t)))
	if !errors.Is(err, oci.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

func TestATagThatHasSomethingElseIsNotReplaced(t *testing.T) {
	t.Parallel()
	long := make([]ocispec.Descriptor, 5000)
	for i := range long {
		long[i] = ocispec.Descriptor{MediaType: "a/b", Digest: digest.FromString(fmt.Sprint(i)), Size: 1}
	}
	manifest := map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest,
		"config": ocispec.DescriptorEmptyJSON, "layers": long[:2000]}
	index := map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": long}
	for name, c := range map[string]struct {
		tag       func(digest.Digest) string
		mediaType string
		doc       any
		want      error
	}{
		"an index for attachments": {attachmentTag, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2,
			"manifests": []any{}}, signer.ErrForeignTag},
		"Docker's manifest": {attachmentTag, "application/vnd.docker.distribution.manifest.v2+json", map[string]any{
			"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "config": long[0],
			"layers": []any{}}, signer.ErrForeignTag},
		"no layers": {attachmentTag, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2,
			"config": long[0]}, signer.ErrForeignTag},
		"a layer that is none": {attachmentTag, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2,
			"config": long[0], "layers": []any{1}}, signer.ErrForeignTag},
		"nonsense":             {attachmentTag, ocispec.MediaTypeImageManifest, "x", signer.ErrForeignTag},
		"too many signatures":  {attachmentTag, ocispec.MediaTypeImageManifest, manifest, signer.ErrTooMany},
		"an image for bundles": {fallbackTag, ocispec.MediaTypeImageManifest, manifest, signer.ErrForeignTag},
		"an entry that is none": {fallbackTag, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2,
			"manifests": []any{1}}, signer.ErrForeignTag},
		"too many artifacts": {fallbackTag, ocispec.MediaTypeImageIndex, index, signer.ErrTooMany},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			d := w.image("stable", "x").Digest
			data, err := json.Marshal(c.doc)
			if err != nil {
				t.Fatal(err)
			}
			path := "/v2/" + repository + "/manifests/" + c.tag(d)
			written := false
			w.reg.Misbehave(testreg.Faults{
				Answer: map[string]testreg.Answer{path: {MediaType: c.mediaType, Body: data}},
				Refuse: func(req *http.Request) int {
					written = written || req.Method == http.MethodPut && req.URL.Path == path
					return 0
				},
			})
			_, err = signer.Sign(t.Context(), w.ref(":stable"), "", options(signer.Both, newKey(t)))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.tag(d)) {
				t.Errorf("got %v", err)
			}
			if written {
				t.Error("it was replaced")
			}
		})
	}
}

func TestARegistryThatRefusesIsNamedWithTheCredentials(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*http.Request) int{
		"blobs": func(req *http.Request) int {
			if req.Method == http.MethodPost {
				return http.StatusForbidden
			}
			return 0
		},
		"manifests": func(req *http.Request) int {
			if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/") {
				return http.StatusForbidden
			}
			return 0
		},
		"reading": func(req *http.Request) int {
			if req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, ".sig") {
				return http.StatusUnauthorized
			}
			return 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.image("stable", "x")
			w.reg.Misbehave(testreg.Faults{Refuse: refuse})
			o := options(signer.Both, newKey(t))
			o.Registry.Credentials = &access.Credentials{Username: "somebody", Password: "swordfish"}
			_, err := signer.Sign(t.Context(), w.ref(":stable"), "", o)
			denied, ok := errors.AsType[*access.DeniedError](err)
			if !ok || denied.Login.User != "somebody" || strings.Contains(err.Error(), "swordfish") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestARegistryThatTakesNoArtifacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.image("stable", "x").Digest
	w.reg.Misbehave(testreg.Faults{Refuse: func(req *http.Request) int {
		if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/sha256:") {
			return http.StatusBadRequest
		}
		return 0
	}})
	key := newKey(t)
	_, err := signer.Sign(t.Context(), w.ref(":stable"), "", options(signer.Both, key))
	if !errors.Is(err, signer.ErrNoBundles) {
		t.Errorf("got %v", err)
	}
	w.sign(w.ref(":stable"), options(signer.Attachment, key))
	if n := len(w.attachment(d, key)); n != 1 {
		t.Errorf("%d attachments", n)
	}
}

func TestNothingIsSignedOverPlainHTTPUnasked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.image("stable", "x")
	o := options(signer.Both, newKey(t))
	o.Registry = access.Options{}
	if _, err := signer.Sign(t.Context(), w.ref(":stable"), "", o); !errors.Is(err, access.ErrPlainHTTP) {
		t.Errorf("got %v", err)
	}
}

func TestSigningEndsWithTheContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.image("stable", "x")
	ctx, cancel := context.WithCancel(t.Context())
	w.reg.Misbehave(testreg.Faults{Refuse: func(req *http.Request) int {
		if req.Method == http.MethodPut {
			cancel()
		}
		return 0
	}})
	_, err := signer.Sign(ctx, w.ref(":stable"), "", signer.WithPause(options(signer.Attachment, newKey(t)), time.Hour))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
