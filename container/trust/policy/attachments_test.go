//go:build containers_image_openpgp

package policy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

const (
	repository = "os/x"
	name       = "registry.example/os/x"
)

func TestTheSignedReferenceIsJudgedByTheIdentityRule(t *testing.T) {
	r := registry(t)
	k := newPair(t)
	doc := publish(t, r, repository, "1", "")
	digested := name + "@" + doc.Digest.String()
	for _, c := range []struct {
		identity      object
		signed, asked string
		accept        bool
	}{
		{nil, name + ":1", name + ":1", true},
		{nil, name + ":2", name + ":1", false},
		{nil, name, name + ":1", false}, // as cosign signs
		{nil, name, digested, false},
		{nil, name + ":2", digested, true},
		{nil, "registry.example/os/y:1", digested, false},
		{object{"type": "matchRepoDigestOrExact"}, name + ":1", name + ":1", true},
		{object{"type": "matchExact"}, name + ":1", name + ":1", true},
		{object{"type": "matchExact"}, name + ":1", digested, false},
		{object{"type": "matchExact"}, digested, digested, true},
		{anyTag, name, name + ":1", true},
		{anyTag, name + ":2", name + ":1", true},
		{anyTag, "registry.example/os/y", name + ":1", false},
		{anyTag, "os/x", name + ":1", false},
		{exactRepository(name), name, name + ":1", true},
		{exactRepository("registry.example/os/y"), name, name + ":1", false},
		{object{"type": "exactReference", "dockerReference": name + ":2"}, name + ":2", name + ":1", true},
		{object{"type": "exactReference", "dockerReference": name + ":2"}, name + ":1", name + ":1", false},
		{object{"type": "remapIdentity", "prefix": "registry.example", "signedPrefix": "origin.example"},
			"origin.example/os/x:1",
			name + ":1", true},
		{object{"type": "remapIdentity", "prefix": "registry.example", "signedPrefix": "origin.example"}, name + ":1",
			name + ":1",
			false},
		{anyTag, "", name + ":1", false},
		{anyTag, "Not A Name", name + ":1", false},
	} {
		attach(t, r, repository, doc.Digest, k.sign(t, payload(t, c.signed, doc.Digest)))
		s, err := evaluate(t, docker(c.asked), rule(t, by(c.identity, k)), doc)
		if err == nil != c.accept {
			t.Errorf("%v, signed %q, asked for %q: accept is %v, %v", c.identity, c.signed, c.asked, err == nil, err)
		}
		if err == nil && s.Signer == "" {
			t.Errorf("%v, signed %q: nobody signed", c.identity, c.signed)
		}
		if err != nil && strings.Contains(c.signed, "/") != refusal(t, err).Found[0].Genuine {
			t.Errorf("%v, signed %q: the finding is %+v", c.identity, c.signed, refusal(t, err).Found)
		}
	}
}

func TestUnsignedAndBadlySignedAreToldApart(t *testing.T) {
	r := registry(t)
	k, other := newPair(t), newPair(t)
	doc := publish(t, r, repository, "1", "")
	elsewhere := publish(t, r, "os/elsewhere", "1", "other")
	good := k.sign(t, payload(t, name, doc.Digest))
	broken := func(change func(*layer)) layer {
		l := k.sign(t, payload(t, name, doc.Digest))
		change(&l)
		return l
	}
	for _, c := range []struct {
		name     string
		layers   []layer
		unsigned bool
		says     string
	}{
		{"no attachments", []layer{}, true, "there is no signature"},
		{"an attestation", []layer{{payload: []byte("{}"), mediaType: "application/vnd.dsse.envelope.v1+json"}}, true,
			"1 attachments that are not signatures"},
		{"another key", []layer{other.sign(t, payload(t, name, doc.Digest))}, false, "not by " + k.file},
		{"another digest", []layer{k.sign(t, payload(t, name, elsewhere.Digest))}, false, "another digest"},
		{"another payload", []layer{broken(func(l *layer) { l.payload = payload(t, name+":1", doc.Digest) })}, false,
			"not by"},
		{"no annotation", []layer{broken(func(l *layer) { l.annotations = nil })}, false, "missing"},
		{"no base64", []layer{broken(func(l *layer) { l.annotations = map[string]string{signatureAnnotation: "!"} })},
			false, "base64"},
		{"no JSON", []layer{k.sign(t, []byte("hello"))}, false, ""},
		{"another type", []layer{k.sign(t, []byte(strings.Replace(string(payload(t, name, doc.Digest)), "cosign", "other",
			1)))},
			false, "Unrecognized"},
		{"a key of the payload twice", []layer{k.sign(t, []byte(`{"critical":{},`+string(payload(t, name,
			doc.Digest))[1:]))}, false, ""},
		{"a payload that is missing", []layer{{payload: []byte("nowhere"), absent: true}}, false, "missing"},
		{"a payload that has another digest", []layer{broken(func(l *layer) {
			l.digest = digest.FromString("x")
		})}, false, "missing"},
		{"a digest that is none", []layer{broken(func(l *layer) { l.digest = "md5:x" })}, false, "sha256"},
		{"two kinds of mistakes", []layer{other.sign(t, payload(t, name, doc.Digest)),
			broken(func(l *layer) { l.annotations = nil })},
			false, "none of the 2 signatures"},
	} {
		t.Run(c.name, func(t *testing.T) {
			attach(t, r, repository, doc.Digest, c.layers...)
			_, err := evaluate(t, docker(name+":1"), rule(t, by(anyTag, k)), doc)
			refused := refusal(t, err)
			if refused.Unsigned() != c.unsigned || !strings.Contains(err.Error(), c.says) {
				t.Errorf("unsigned is %v, %v; want %v and %q", refused.Unsigned(), err, c.unsigned, c.says)
			}
			// One good signature among them is enough.
			attach(t, r, repository, doc.Digest, append(c.layers, good)...)
			if _, err := evaluate(t, docker(name+":1"), rule(t, by(anyTag, k)), doc); err != nil {
				t.Errorf("with a good one: %v", err)
			}
		})
	}
}

// TestASignatureInADocumentDoesNotChangeWhatIsJudged judges a document in the format of schema 1 of Docker that says of
// itself that another one is meant, which is signed. The library takes the digest of the other one.
func TestASignatureInADocumentDoesNotChangeWhatIsJudged(t *testing.T) {
	r := registry(t)
	k := newPair(t)
	good := publish(t, r, repository, "1", "signed")
	encode := base64.RawURLEncoding.EncodeToString
	protected := encode([]byte(`{"formatLength":1,"formatTail":"` + encode(good.Raw[1:]) + `"}`))
	raw := []byte(`{"schemaVersion":1,"fsLayers":[],"signatures":[{"header":{"alg":"ES256"},"signature":"` +
		encode([]byte("s")) + `","protected":"` + protected + `"}]}`)
	doc := oci.Document{Raw: raw, MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw)}
	attach(t, r, repository, doc.Digest, k.sign(t, payload(t, name+":1", good.Digest)))
	s, err := evaluate(t, docker(name+":1"), rule(t, by(nil, k)), doc)
	if !errors.Is(err, policy.ErrDocument) {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestExactlyTheGivenDocumentIsJudged(t *testing.T) {
	r := registry(t)
	k := newPair(t)
	doc := publish(t, r, repository, "1", "signed")
	attach(t, r, repository, doc.Digest, k.sign(t, payload(t, name+":1", doc.Digest)))
	img, err := policy.Open(t.Context(), docker(name+":1"), access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	q := rule(t, by(nil, k)).Requirements[0]

	// The tag moves to an image that is not signed, while the signature of the first stays.
	moved := publish(t, r, repository, "1", "not signed")
	if s, err := img.Evaluate(t.Context(), q, "", doc); err != nil || s.Signed != doc.Digest.String() {
		t.Errorf("the signed document: %+v, %v", s, err)
	}
	_, err = img.Evaluate(t.Context(), q, "", moved)
	if !refusal(t, err).Unsigned() {
		t.Errorf("the other document: %v", err)
	}
	lie := oci.Document{Raw: moved.Raw, MediaType: moved.MediaType, Digest: doc.Digest}
	if _, err := img.Evaluate(t.Context(), q, "", lie); !errors.Is(err, policy.ErrDocument) {
		t.Errorf("bytes under another digest: %v", err)
	}

	// A signature at the wrong place is one of another document.
	attach(t, r, repository, moved.Digest, k.sign(t, payload(t, name+":1", doc.Digest)))
	other, err := policy.Open(t.Context(), docker(name+":1"), access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, err = other.Evaluate(t.Context(), q, "", moved)
	if f := refusal(t, err).Found; len(f) != 1 || f[0].Digest != doc.Digest.String() {
		t.Errorf("a signature of another document: %v", err)
	}
}

func TestIndexesAreJudgedLikeManifests(t *testing.T) {
	r := registry(t)
	k := newPair(t)
	raw := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`)
	index := oci.Document{Raw: raw, MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(raw)}
	attach(t, r, repository, index.Digest, k.sign(t, payload(t, name+":1", index.Digest)))
	s, err := evaluate(t, docker(name+":1"), rule(t, by(nil, k)), index)
	if err != nil || s.On != "index" {
		t.Errorf("got %+v, %v", s, err)
	}
	// It does not say anything about what it does not list.
	_, err = evaluate(t, docker(name+":1"), rule(t, by(nil, k)), publish(t, r, repository, "1", "not listed"))
	if !refusal(t, err).Unsigned() {
		t.Errorf("got %v", err)
	}
}

func TestOneOfSeveralKeysIsEnough(t *testing.T) {
	r := registry(t)
	doc := publish(t, r, repository, "1", "")
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, next, other := newPair(t), newPair(t), pairOf(t, large)
	attach(t, r, repository, doc.Digest, next.sign(t, payload(t, name, doc.Digest)))
	inPolicy := object{"type": policyjson.SigstoreSigned, "keyDatas": [][]byte{old.pem, next.pem},
		"signedIdentity": anyTag}
	one := object{"type": policyjson.SigstoreSigned, "keyPath": next.file, "signedIdentity": anyTag}
	for _, c := range []struct {
		requirement object
		signer      string
	}{
		{by(anyTag, old, next, other), "sha256:" + spki(t, next.file) + " (" + next.file + ")"},
		{one, "sha256:" + spki(t, next.file) + " (" + next.file + ")"},
		{inPolicy, "sha256:" + spki(t, next.file) + " (a key in the policy)"},
		{by(anyTag, old, other), ""},
	} {
		s, err := evaluate(t, docker(name+":1"), rule(t, c.requirement), doc)
		if s.Signer != c.signer || (err == nil) != (c.signer != "") {
			t.Errorf("%v: got %q, %v; want %q", c.requirement, s.Signer, err, c.signer)
		}
	}
}

func TestRequirementsThatAskForNoSignature(t *testing.T) {
	r := registry(t)
	doc := publish(t, r, repository, "1", "")
	s, err := evaluate(t, docker(name), rule(t, object{"type": policyjson.AcceptAnything}), doc)
	if s != (oci.Signature{}) || err != nil {
		t.Errorf("%s: got %+v, %v", policyjson.AcceptAnything, s, err)
	}
	_, err = evaluate(t, docker(name), rule(t, object{"type": policyjson.Reject}), doc)
	if refused := refusal(t, err); refused.Unsigned() || len(refused.Looked) > 0 {
		t.Errorf("%s: got %+v", policyjson.Reject, refused)
	}
	_, err = evaluate(t, docker(name), rule(t, object{"type": policyjson.SignedBaseLayer,
		"baseLayerIdentity": exactRepository(name)}), doc)
	if err == nil {
		t.Errorf("%s is accepted", policyjson.SignedBaseLayer)
	}
	for _, keyType := range []string{"signedByGPGKeys", "X509Certificates"} {
		by := object{"type": policyjson.SignedBy, "keyType": keyType, "keyPath": "/k"}
		_, err = evaluate(t, docker(name), rule(t, by), doc)
		if err == nil {
			t.Errorf("keys of type %s are accepted", keyType)
		}
	}
	without := rule(t, object{"type": policyjson.Reject})
	without.Requirements = []policyjson.Requirement{{Type: policyjson.AcceptAnything}}
	if _, err := evaluate(t, docker(name), without, doc); err == nil {
		t.Error("a requirement without text is accepted")
	}
	lie := rule(t, object{"type": policyjson.Reject})
	lie.Requirements[0].Type = policyjson.AcceptAnything
	if _, err := evaluate(t, docker(name), lie, doc); err == nil {
		t.Error("a requirement is accepted that is another by its text")
	}
}

func TestKeysThatCannotBeUsedAreErrorsBeforeAnythingIsAsked(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(s.Close)
	configure(t, map[string]string{"registries.d/0.yaml": attachmentsOn})
	sigstorefixture.RegistriesConf(t, &testreg.Registry{Host: strings.TrimPrefix(s.URL, "http://")})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "private"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	raw := []byte(`{}`)
	doc := oci.Document{Raw: raw, MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw)}
	good := newPair(t)
	log := func(path string) object {
		return object{"type": policyjson.SigstoreSigned, "keyPath": good.file, "rekorPublicKeyPath": path}
	}
	for _, q := range []object{
		by(nil, pair{file: filepath.Join(dir, "absent")}),
		by(nil, good, pair{file: dir}),
		by(nil, good, pair{file: filepath.Join(dir, "private")}),
		{"type": policyjson.SigstoreSigned, "keyData": []byte("x")},
		{"type": policyjson.SignedBy, "keyType": "GPGKeys", "keyPath": good.file},
		log(filepath.Join(dir, "absent")),
		{"type": policyjson.SigstoreSigned, "fulcio": object{"caPath": good.file, "oidcIssuer": "i", "subjectEmail": "e"},
			"rekorPublicKeyPath": good.file},
		{"type": policyjson.SigstoreSigned, "pki": object{"caRootsPath": filepath.Join(dir, "absent"), "subjectEmail": "e"}},
	} {
		_, err := evaluate(t, docker(name), rule(t, q), doc)
		if _, ok := errors.AsType[*policy.KeyError](err); !ok {
			t.Errorf("%v: got %v", q, err)
		}
	}
	if asked.Load() > 0 {
		t.Errorf("the registry was asked %d times", asked.Load())
	}
}

func TestAttachmentsAreLookedForOnlyWhereRegistriesDSaysSo(t *testing.T) {
	r := registry(t)
	k := newPair(t)
	doc := publish(t, r, repository, "1", "")
	attach(t, r, repository, doc.Digest, k.sign(t, payload(t, name, doc.Digest)))
	host := r.Host
	for conf, accept := range map[string]bool{
		"": false,
		"default-docker: {use-sigstore-attachments: false}":                                false,
		"docker: {\"" + host + "\": {use-sigstore-attachments: true}}":                     true,
		"docker: {\"" + host + "/os/x\": {use-sigstore-attachments: true}}":                true,
		"docker: {\"" + host + "/os/x:1\": {use-sigstore-attachments: true}}":              true,
		"docker: {\"" + host + "/os/x:2\": {use-sigstore-attachments: true}}":              false,
		"docker: {\"" + host + "/other\": {use-sigstore-attachments: true}}":               false,
		"docker: {registry.example: {use-sigstore-attachments: true}}":                     false, // not where it is read
		attachmentsOn + "docker: {\"" + host + "/os\": {use-sigstore-attachments: false}}": false,
		attachmentsOn + "docker: {\"" + host + "/os\": {lookaside: \"file:///x\"}}":        true,
		attachmentsOn + "docker: {registry.example: {use-sigstore-attachments: false}}":    true,
	} {
		configure(t, map[string]string{"registries.d/0.yaml": conf})
		_, err := evaluate(t, docker(name+":1"), rule(t, by(anyTag, k)), doc)
		if (err == nil) != accept {
			t.Errorf("%s: %v; accept has to be %v", conf, err, accept)
		}
		if err != nil && (!refusal(t, err).Unsigned() || len(refusal(t, err).Looked) > 0) {
			t.Errorf("%s: %+v", conf, refusal(t, err))
		}
	}
	configure(t, map[string]string{"registries.d/0.yaml": attachmentsOn, "registries.d/1.yaml": attachmentsOn})
	_, err := evaluate(t, docker(name+":1"), rule(t, by(anyTag, k)), doc)
	if _, ok := errors.AsType[*policy.ConflictError](err); !ok {
		t.Errorf("a section in two files: %v", err)
	}
}

func TestSignaturesAreFoundAtMirrors(t *testing.T) {
	k := newPair(t)
	type places struct{ main, mirror *testreg.Registry }
	for _, c := range []struct {
		name   string
		set    func(t *testing.T, p places, doc oci.Document, good layer)
		accept bool
		failed bool // it is an error of a registry
	}{
		{"signed at the mirror", func(t *testing.T, p places, doc oci.Document, good layer) {
			attach(t, p.mirror, repository, doc.Digest, good)
		}, true, false},
		{"signed at the registry only", func(t *testing.T, p places, doc oci.Document, good layer) {
			attach(t, p.main, repository, doc.Digest, good)
		}, true, false},
		{"the mirror is broken", func(t *testing.T, p places, doc oci.Document, good layer) {
			p.mirror.Misbehave(testreg.Faults{User: "nobody"})
			attach(t, p.main, repository, doc.Digest, good)
		}, true, false},
		{"the mirror has a signature by another key", func(t *testing.T, p places, doc oci.Document, good layer) {
			attach(t, p.mirror, repository, doc.Digest, newPair(t).sign(t, good.payload))
			attach(t, p.main, repository, doc.Digest, good)
		}, false, false},
		{"the mirror has other content with its signature", func(t *testing.T, p places, _ oci.Document, _ layer) {
			other := publish(t, p.mirror, repository, "1", "other")
			attach(t, p.mirror, repository, other.Digest, newPair(t).sign(t, payload(t, name, other.Digest)))
		}, false, false},
		{"stripped at both", func(*testing.T, places, oci.Document, layer) {}, false, false},
		{"both are broken", func(_ *testing.T, p places, _ oci.Document, _ layer) {
			p.main.Misbehave(testreg.Faults{User: "nobody"})
			p.mirror.Misbehave(testreg.Faults{User: "nobody"})
		}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			configure(t, map[string]string{"registries.d/0.yaml": attachmentsOn})
			p := places{testreg.New(t), testreg.New(t)}
			mirrored(t, p.main.Host, p.mirror.Host)
			doc := publish(t, p.main, repository, "1", "")
			publish(t, p.mirror, repository, "1", "")
			c.set(t, p, doc, k.sign(t, payload(t, name, doc.Digest)))
			_, err := evaluate(t, docker(name+":1"), rule(t, by(anyTag, k)), doc)
			_, refused := errors.AsType[*policy.RefusedError](err)
			if (err == nil) != c.accept || (err != nil && refused == c.failed) {
				t.Errorf("got %v; accept has to be %v", err, c.accept)
			}
		})
	}
}

func TestBlockedRegistriesAreNotAsked(t *testing.T) {
	configure(t, map[string]string{"registries.d/0.yaml": attachmentsOn})
	registriesConf(t, "[[registry]]\nlocation = \"registry.example\"\nblocked = true\n")
	doc := oci.Document{Raw: []byte("{}"), Digest: digest.FromString("{}")}
	if _, err := evaluate(t, docker(name), rule(t, by(anyTag, newPair(t))), doc); err == nil ||
		!strings.Contains(err.Error(), "blocked") {
		t.Errorf("got %v", err)
	}
}

func TestCredentialsAreUsedForSignatures(t *testing.T) {
	r := registry(t)
	k := newPair(t)
	doc := publish(t, r, repository, "1", "")
	attach(t, r, repository, doc.Digest, k.sign(t, payload(t, name, doc.Digest)))
	r.Misbehave(testreg.Faults{User: "me", Password: "secret"})
	q := rule(t, by(anyTag, k)).Requirements[0]
	for _, c := range []struct {
		opts   access.Options
		denied bool
	}{
		{access.Options{}, true},
		{access.Options{Credentials: &access.Credentials{Username: "me", Password: "secret"}}, false},
	} {
		img, err := policy.Open(t.Context(), docker(r.Host+"/"+repository+":1"), c.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer img.Close()
		insecure(t, r.Host)
		q.Raw = []byte(strings.Replace(string(q.Raw), "matchRepository", "exactRepository\",\"dockerRepository\":\""+name, 1))
		if _, err := img.Evaluate(t.Context(), q, "", doc); errors.Is(err, access.ErrDenied) != c.denied || (err != nil &&
			!c.denied) {
			t.Errorf("denied has to be %v, got %v", c.denied, err)
		}
	}
}

func TestTransportsWithoutSignatures(t *testing.T) {
	configure(t, nil)
	k := newPair(t)
	doc := oci.Document{Raw: []byte("{}"), Digest: digest.FromString("{}")}
	dir := t.TempDir()
	for transport, path := range map[imgref.Transport]string{
		imgref.OCIDir: dir, imgref.OCIArchive: dir + "/x.tar", imgref.DockerArchive: dir + "/x.tar",
	} {
		ref := imgref.ImageReference{Transport: transport, Name: path}
		_, err := evaluateAlone(t, ref, rule(t, by(exactRepository(name), k)).Rule, doc)
		if !refusal(t, err).Unsigned() || !strings.Contains(err.Error(), "transport "+transport.String()) {
			t.Errorf("%s: %v", transport, err)
		}
	}
	ref := imgref.ImageReference{Transport: imgref.ContainersStorage, Name: "localhost/os"}
	if _, err := evaluateAlone(t, ref, rule(t, by(exactRepository(name), k)).Rule, doc); err == nil {
		t.Error("an image in containers-storage is accepted")
	}
}

func TestFilesForJudgingAreRemoved(t *testing.T) {
	r := registry(t)
	k := newPair(t)
	doc := publish(t, r, repository, "1", "")
	attach(t, r, repository, doc.Digest, k.sign(t, payload(t, name, doc.Digest)))
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	if _, err := evaluate(t, docker(name), rule(t, by(anyTag, k)), doc); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// insecure has a registry read over plain HTTP.
func insecure(t *testing.T, host string) {
	t.Helper()
	registriesConf(t, fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", host))
}

// mirrored has registry.example read from a mirror first.
func mirrored(t *testing.T, main, mirror string) {
	t.Helper()
	registriesConf(t, fmt.Sprintf("[[registry]]\nprefix = \"registry.example\"\nlocation = %q\ninsecure = true\n"+
		"[[registry.mirror]]\nlocation = %q\ninsecure = true\n", main, mirror))
}
