package bundle_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"

	sigstorebundle "github.com/sigstore/sigstore-go/pkg/bundle"

	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
)

// What is accepted with the key is what cosign signed with it, and sigstore-go finds the same subject in whatever both
// read.
func FuzzParse(f *testing.F) {
	keys := cosignKeys(f, "key1.pub")
	for _, file := range []string{"b1.json", "b2.json", "b1-attestation.json", "b1-flip.json", "b1-otherpayload.json",
		"other.json"} {
		f.Add(stored(f, file))
	}
	f.Add([]byte(`{"mediaType":"` + bundle.MediaType + `","verificationMaterial":{"x509CertificateChain":` +
		`{"certificates":[{"rawBytes":"eA=="}]},"tlogEntries":[{}],"timestampVerificationData":{}},` +
		`"messageSignature":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := bundle.Parse(raw, signedImage)
		if err != nil {
			return
		}
		if b.Subject != signedImage || b.PredicateType != bundle.PredicateType || !bytes.Equal(b.Raw, raw) {
			t.Errorf("got %+v", b)
		}
		if _, err := b.VerifyKeys(keys); err == nil && payload(t, raw) != statement {
			t.Errorf("something else was signed: %s", raw)
		}
		if have, ok := sigstoreSubjects(raw); ok && !have[signedImage.Encoded()] {
			t.Errorf("sigstore-go finds the subjects %v in %s", have, raw)
		}
	})
}

// payload returns the payload of a bundle.
func payload(t *testing.T, raw []byte) string {
	t.Helper()
	var b struct{ DSSEEnvelope struct{ Payload []byte } }
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Fatal(err)
	}
	return string(b.DSSEEnvelope.Payload)
}

// sigstoreSubjects returns what sigstore-go says is signed. ok is false if it cannot read the bundle or its statement.
func sigstoreSubjects(raw []byte) (digests map[string]bool, ok bool) {
	var b sigstorebundle.Bundle
	if b.UnmarshalJSON(raw) != nil {
		return nil, false
	}
	e, err := b.Envelope()
	if err != nil {
		return nil, false
	}
	s, err := e.Statement()
	if err != nil {
		return nil, false
	}
	digests = map[string]bool{}
	for _, subject := range s.GetSubject() {
		digests[subject.GetDigest()["sha256"]] = true
	}
	return digests, s.GetPredicateType() == bundle.PredicateType
}

func TestTheFuzzersSeedsAreUnderstood(t *testing.T) {
	have, ok := sigstoreSubjects(stored(t, "b1.json"))
	if !ok || !have[signedImage.Encoded()] || payload(t, stored(t, "b1.json")) != statement {
		t.Errorf("got %v, %v", have, ok)
	}
	if text := base64.StdEncoding.EncodeToString([]byte(statement)); !bytes.Contains(stored(t, "b1.json"), []byte(text)) {
		t.Errorf("the statement of cosign is not %s", text)
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add(stored(f, "key1.pub"))
	f.Add(append(stored(f, "key1.pub"), stored(f, "key2.pub")...))
	f.Add([]byte("-----BEGIN RSA PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := bundle.ParseKeys(data)
		if n := bytes.Count(data, []byte("-----BEGIN")); err == nil && len(keys) != n {
			t.Errorf("%d keys in %d blocks", len(keys), n)
		}
		for _, k := range keys {
			if again, err := pubkey.New(k.Public); err != nil || again.Fingerprint != k.Fingerprint {
				t.Errorf("%v: %v", k, err)
			}
		}
	})
}

// A list is read whatever a server says in the header Link.
func FuzzLink(f *testing.F) {
	const path = "referrers/sha256:aa"
	for _, link := range []string{"", `</v2/a/` + path + `?n=1>; rel="next"`, `<?a=b>;rel=next,<x>`, "<", `<>;"`, "next"} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		query, more, err := bundle.NextQuery(link, "registry.example", path)
		if (!more || err != nil) && query != "" {
			t.Errorf("got %q, %v, %v", query, more, err)
		}
	})
}
