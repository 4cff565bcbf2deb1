package bundle_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
)

// key1 is the file with the key that signed b1.json.
const key1 = "testdata/key1.pub"

func TestABundleOfCosignTellsWhatItSigns(t *testing.T) {
	raw := stored(t, "b1.json")
	b, err := bundle.Parse(raw, signedImage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Raw, raw) || b.Subject != signedImage || b.PredicateType != bundle.PredicateType ||
		b.Hint != "PvydRHqgSINcz/AsvEBsJED5QKwbsdFi1nd8TYx0ucI=" || b.Certificate != nil {
		t.Errorf("got %+v", b)
	}
	keys := cosignKeys(t, "key2.pub", "key1.pub")
	key, err := b.VerifyKeys(keys)
	if err != nil || key.Fingerprint != keys[1].Fingerprint || key.File != "testdata/key1.pub" {
		t.Errorf("got %v, %v", key, err)
	}
}

func TestBundlesOfCosignThatAreNoGoodSignatures(t *testing.T) {
	keys := cosignKeys(t, "key1.pub", "key2.pub")
	for _, c := range []struct {
		name, file string
		subject    digest.Digest
		want       error
	}{
		{"an attestation", "b1-attestation.json", signedImage, bundle.ErrAttestation},
		{"the bundle of another image", "other.json", signedImage, bundle.ErrOtherSubject},
		{"another image asked for", "b1.json", otherImage, bundle.ErrOtherSubject},
	} {
		if _, err := bundle.Parse(stored(t, c.file), c.subject); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if c.subject == signedImage {
			refused(t, stored(t, c.file), key1)
		}
	}
	for _, file := range []string{"b1-flip.json", "b1-otherpayload.json"} {
		b, err := bundle.Parse(stored(t, file), signedImage)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.VerifyKeys(keys)
		bad, ok := errors.AsType[*bundle.BadSignatureError](err)
		if !ok || len(bad.Keys) != 2 || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: got %v", file, err)
		}
		refused(t, stored(t, file), key1)
	}
	refused(t, stored(t, "b1.json"), "testdata/key2.pub")
}

func TestTheMessageAboutABadSignatureNamesKeys(t *testing.T) {
	b, err := bundle.Parse(stored(t, "b1.json"), signedImage)
	if err != nil {
		t.Fatal(err)
	}
	one, two := cosignKeys(t, "key1.pub")[0], cosignKeys(t, "key2.pub")
	_, err = b.VerifyKeys(two)
	if err == nil || !strings.Contains(err.Error(), two[0].String()) || !strings.Contains(err.Error(), one.Fingerprint) {
		t.Errorf("got %v", err)
	}
	if _, err := b.VerifyKeys(nil); !errors.Is(err, bundle.ErrNoKeys) {
		t.Errorf("without keys: got %v", err)
	}
}

func TestTheHintDoesNotDecide(t *testing.T) {
	one := stored(t, "b1.json")
	hint1, hint2 := "PvydRHqgSINcz/AsvEBsJED5QKwbsdFi1nd8TYx0ucI=", "rH0xnnblN5j3grgRpnnKTdlH/MSXtzZgExUeX3hj5Tw="
	lying := []byte(replace(t, string(one), hint1, hint2))
	b, err := bundle.Parse(lying, signedImage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.VerifyKeys(cosignKeys(t, "key1.pub")); err != nil {
		t.Errorf("the key that signed: %v", err)
	}
	if _, err := b.VerifyKeys(cosignKeys(t, "key2.pub")); err == nil {
		t.Error("the key that the hint names is accepted")
	}
	refused(t, lying, "testdata/key2.pub")
}

// Each of these changes makes a bundle another one, which a reader that is less strict could understand in its own way.
func TestDocumentsThatAreNotBundles(t *testing.T) {
	good := string(stored(t, "b1.json"))
	for _, c := range []struct {
		name, old, replacement string
		want                   error
	}{
		{name: "trailing data", old: `"}]}}`, replacement: `"}]}} {}`},
		{name: "cut short", old: `"}]}}`, replacement: `"}]}`},
		{name: "a key twice", old: `{"mediaType":`, replacement: `{"mediaType":"x","mediaType":`,
			want: jsonkeys.ErrAmbiguous},
		{name: "an envelope twice", old: `"dsseEnvelope":`, replacement: `"dsseEnvelope":{},"dsseEnvelope":`,
			want: jsonkeys.ErrAmbiguous},
		{name: "a key in another case", old: `"payload"`, replacement: `"Payload"`, want: jsonkeys.ErrAmbiguous},
		{name: "two cases of a key", old: `"payload"`, replacement: `"PAYLOAD":"eA==","payload"`,
			want: jsonkeys.ErrAmbiguous},
		{name: "an unknown key", old: `"dsseEnvelope"`, replacement: `"dsse_envelope":{},"dsseEnvelope"`},
		{name: "deeply nested", old: `"publicKey"`,
			replacement: `"tlogEntries":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"publicKey"`},
		{name: "not UTF-8", old: `"hint":"`, replacement: "\"hint\":\"\xff"},
		{name: "of a later version", old: `bundle.v0.3+json`, replacement: `bundle.v0.4+json`},
		{name: "without a media type", old: `"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",`},
		{name: "without verification material", old: `{"publicKey":{"hint":"PvydRHqgSINcz/AsvEBsJED5QKwbsdFi1nd8TYx0ucI="}}`,
			replacement: `null`},
		{name: "with no kind of signer", old: `"publicKey":{"hint":"PvydRHqgSINcz/AsvEBsJED5QKwbsdFi1nd8TYx0ucI="}`},
		{name: "with two kinds of signer", old: `"publicKey"`,
			replacement: `"certificate":{"rawBytes":"eA=="},"publicKey"`},
		{name: "an empty chain", old: `"publicKey":{"hint":"PvydRHqgSINcz/AsvEBsJED5QKwbsdFi1nd8TYx0ucI="}`,
			replacement: `"x509CertificateChain":{"certificates":[]}`},
		{name: "without an envelope", old: `"dsseEnvelope":{`, replacement: `"dsseEnvelope":null,"messageSignature":{`,
			want: bundle.ErrMessageSignature},
		{name: "with both kinds of content", old: `"dsseEnvelope"`,
			replacement: `"messageSignature":{"signature":"eA=="},"dsseEnvelope"`, want: bundle.ErrMessageSignature},
		{name: "two signatures", old: `"signatures":[`, replacement: `"signatures":[{"sig":"eA=="},`},
		{name: "an empty signature", old: `"sig":"`, replacement: `"sig":"","keyid":"`},
		{name: "a payload of another type", old: inToto, replacement: "application/json"},
		{name: "a payload that is not base64", old: `"payload":"`, replacement: `"payload":"!`},
		{name: "base64 with a line break", old: `"payload":"eyJf`, replacement: `"payload":"eyJf\n`},
		{name: "a list", old: `{"mediaType"`, replacement: `[{"mediaType"`},
	} {
		raw := []byte(replace(t, good, c.old, c.replacement))
		if _, err := bundle.Parse(raw, signedImage); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
		refused(t, raw, key1)
	}
	if _, err := bundle.Parse(append([]byte(good), bytes.Repeat([]byte{' '}, bundle.MaxSize)...), signedImage); !errors.Is(
		err, bundle.ErrTooLarge) {
		t.Errorf("a huge document: got %v", err)
	}
	before, _, _ := strings.Cut(good, `"signatures":`)
	if _, err := bundle.Parse([]byte(before+`"signatures":[]}}`), signedImage); err == nil {
		t.Error("a bundle without signatures was accepted")
	}
	for _, d := range []digest.Digest{"", "sha256:00", digest.SHA512.FromString("x"), "../latest"} {
		if _, err := bundle.Parse([]byte(good), d); err == nil {
			t.Errorf("the digest %q was accepted", d)
		}
	}
}

func TestEarlierVersionsOfBundlesAreRead(t *testing.T) {
	for _, version := range []string{"0.1", "0.2", "0.3"} {
		raw := replace(t, string(stored(t, "b1.json")), bundle.MediaType,
			"application/vnd.dev.sigstore.bundle+json;version="+version)
		b, err := bundle.Parse([]byte(raw), signedImage)
		if err != nil {
			t.Errorf("version %s: %v", version, err)
			continue
		}
		if _, err := b.VerifyKeys(cosignKeys(t, "key1.pub")); err != nil {
			t.Errorf("version %s: %v", version, err)
		}
	}
}

// The signatures of all of these are good.
func TestWhatAStatementHasToSay(t *testing.T) {
	key := newECDSA(t)
	keyFile := trusttest.File(t, []byte(publicPEM(t, key.Public())))
	digests := `"digest":{"sha256":"308cd94b08669b1dbb88c1ed018b49ecc563a98af4668e16afd7783d200712ea"}`
	otherDigests := `"digest":{"sha256":"87926565692842832ed93ead9cb7cbe50f84004845c3d5b37658b12fa3217571"}`
	sha512 := `"digest":{"sha512":"` + strings.Repeat("30", 64) + `"}`
	for _, c := range []struct {
		name, old, replacement string
		good                   bool
		want                   error
	}{
		{name: "as cosign writes it", good: true},
		{name: "the subject has a name", old: digests, replacement: `"name":"registry.example/other:tag",` + digests,
			good: true},
		{name: "another subject precedes it", old: `[{` + digests, replacement: `[{` + otherDigests + `},{` + digests,
			good: true},
		{name: "with annotations", old: `"annotations":{}`, replacement: `"annotations":{"a":"b","A":1}`, good: true},
		{name: "with another digest beside it", old: `{"sha256"`, replacement: `{"sha512":"00","sha256"`, good: true},
		{name: "another subject", old: digests, replacement: otherDigests, want: bundle.ErrOtherSubject},
		{name: "a SHA-512 alone", old: digests, replacement: sha512, want: bundle.ErrOtherSubject},
		{name: "another algorithm's name", old: `"sha256"`, replacement: `"SHA256"`, want: bundle.ErrOtherSubject},
		{name: "the digest in capitals", old: "308cd94b", replacement: "308CD94B", want: bundle.ErrOtherSubject},
		{name: "the digest with its algorithm", old: `"308cd94b`, replacement: `"sha256:308cd94b`,
			want: bundle.ErrOtherSubject},
		{name: "no subject", old: `"subject":[{` + digests + `,"annotations":{}}]`, replacement: `"subject":[]`,
			want: bundle.ErrOtherSubject},
		{name: "the digest as a name", old: digests,
			replacement: `"name":"sha256:308cd94b08669b1dbb88c1ed018b49ecc563a98af4668e16afd7783d200712ea"`,
			want:        bundle.ErrOtherSubject},
		{name: "another predicate", old: "cosign/sign/v1", replacement: "cosign/sign/v2", want: bundle.ErrAttestation},
		{name: "no predicate type", old: `"predicateType":"https://sigstore.dev/cosign/sign/v1",`,
			want: bundle.ErrAttestation},
		{name: "another type of statement", old: "Statement/v1", replacement: "Statement/v0.1"},
		{name: "two subjects' lists", old: `"subject"`, replacement: `"subject":[],"subject"`, want: jsonkeys.ErrAmbiguous},
		{name: "two digests", old: `{"sha256"`, replacement: `{"sha256":"00","sha256"`, want: jsonkeys.ErrAmbiguous},
		{name: "a key in another case", old: `"predicateType"`, replacement: `"PredicateType"`, want: jsonkeys.ErrAmbiguous},
		{name: "an unknown key", old: `"predicateType"`, replacement: `"predicate_type":"x","predicateType"`},
		{name: "trailing data", old: `"predicate":{}}`, replacement: `"predicate":{}}{}`},
		{name: "not JSON", old: statement, replacement: "hello"},
	} {
		payload := replace(t, statement, c.old, c.replacement)
		raw := craft(t, key, inToto, payload)
		b, err := bundle.Parse(raw, signedImage)
		if !c.good {
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: got %v", c.name, err)
			}
			refused(t, raw, keyFile)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if _, err := b.VerifyKeys([]bundle.Key{public(t, key)}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A signature of the same bytes under another type must not become one of a statement.
func TestTheTypeOfThePayloadIsSigned(t *testing.T) {
	key := newECDSA(t)
	raw := replace(t, string(craft(t, key, "text/plain", statement)), "text/plain", inToto)
	b, err := bundle.Parse([]byte(raw), signedImage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.VerifyKeys([]bundle.Key{public(t, key)}); err == nil {
		t.Error("it was accepted")
	}
	refused(t, []byte(raw), trusttest.File(t, []byte(publicPEM(t, key.Public()))))
}

func TestABundleOfAnIdentityIsNotForKeys(t *testing.T) {
	key := newECDSA(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), EmailAddresses: []string{"me@example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	inBase64 := base64.StdEncoding.EncodeToString(der)
	for _, material := range []string{
		`"certificate":{"rawBytes":"` + inBase64 + `"}`,
		`"x509CertificateChain":{"certificates":[{"rawBytes":"` + inBase64 + `"}]}`,
	} {
		raw := replace(t, string(craft(t, key, inToto, statement)), `"publicKey":{"hint":"who knows"}`, material)
		b, err := bundle.Parse([]byte(raw), signedImage)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Certificate, der) {
			t.Error("the certificate is lost")
		}
		// Even the key in the certificate does not help: the rule for keys says nothing about it.
		if _, err := b.VerifyKeys([]bundle.Key{public(t, key)}); !errors.Is(err, bundle.ErrIdentity) {
			t.Errorf("got %v", err)
		}
		refused(t, []byte(raw), trusttest.File(t, []byte(publicPEM(t, key.Public()))))
	}
}

func TestSignaturesOfAnotherFormAreRefused(t *testing.T) {
	key := newECDSA(t)
	for name, sig := range map[string][]byte{
		"zeros": make([]byte, 64), "ones": bytes.Repeat([]byte{0xff}, 71), "one byte": {0},
		"r and s are 0": {0x30, 6, 2, 1, 0, 2, 1, 0},
	} {
		raw := wrap(t, inToto, statement, sig)
		b, err := bundle.Parse(raw, signedImage)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.VerifyKeys([]bundle.Key{public(t, key)}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		refused(t, raw, trusttest.File(t, []byte(publicPEM(t, key.Public()))))
	}
}
