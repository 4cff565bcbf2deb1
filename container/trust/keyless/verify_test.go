package keyless_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

const (
	github   = "https://token.actions.githubusercontent.com"
	workflow = "https://github.com/exampleos/os/.github/workflows/build.yml@refs/heads/main"
	google   = "https://accounts.google.com"
	mail     = "release@exampleos.example"
)

var (
	// manifest is that of an image of which there is nothing else.
	manifest = []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","layers":[]}`)
	image    = digest.FromBytes(manifest)
	byMain   = keyless.Identity{Issuer: github, Identity: workflow}
	byMail   = keyless.Identity{Issuer: google, Identity: mail}
	byTag    = keyless.Identity{Issuer: github, Expression: `https://github\.com/exampleos/os/.*@refs/tags/v[0-9.]+`}
	reasons  = []error{keyless.ErrBundle, keyless.ErrPredicate, keyless.ErrDigest, keyless.ErrSignature,
		keyless.ErrNoLogEntry, keyless.ErrLogEntry, keyless.ErrNoTime, keyless.ErrOutsideTime, keyless.ErrChain,
		keyless.ErrNoSCT, keyless.ErrIssuer, keyless.ErrIdentity, keyless.ErrAllowed}
)

// signed returns a signature of the image by the workflow.
func signed() testca.Signature {
	return testca.Signature{Identity: workflow, Issuer: github, Payload: testca.Statement(image.Encoded())}
}

// instance is a verifier with the trusted root that it was made from.
type instance struct {
	*keyless.Verifier
	root []byte
}

func verifier(t *testing.T, root *testca.Root) instance {
	t.Helper()
	v, err := keyless.New(root.JSON())
	if err != nil {
		t.Fatal(err)
	}
	return instance{v, root.JSON()}
}

func TestSignaturesThatAreAccepted(t *testing.T) {
	t.Parallel()
	a := testca.New(t)
	v := verifier(t, a.Root())
	aYearAgo := time.Now().Add(-300 * 24 * time.Hour)
	for _, tt := range []struct {
		name  string
		alter func(*testca.Signature)
		allow []keyless.Identity
	}{
		{"by a workflow, in Rekor 1", func(s *testca.Signature) {}, nil},
		{"in Rekor 2, with a timestamp", func(s *testca.Signature) { s.Rekor2 = true }, nil},
		{"in Rekor 1, with a timestamp besides", func(s *testca.Signature) { s.Timestamp = true }, nil},
		{"with a proof and a timestamp, without a promise",
			func(s *testca.Signature) { s.Timestamp, s.NoPromise = true, true }, nil},
		{"long ago, with a certificate that has expired since", func(s *testca.Signature) { s.At = aYearAgo }, nil},
		{"long ago, in Rekor 2", func(s *testca.Signature) { s.At, s.Rekor2 = aYearAgo, true }, nil},
		{"by an e-mail address", func(s *testca.Signature) { s.Identity, s.Issuer = mail, google },
			[]keyless.Identity{byMail}},
		{"by the second of two identities", func(s *testca.Signature) { s.Identity, s.Issuer = mail, google },
			[]keyless.Identity{byMain, byMail}},
		{"by an identity that an expression matches",
			func(s *testca.Signature) { s.Identity = strings.Replace(workflow, "heads/main", "tags/v1.2", 1) },
			[]keyless.Identity{byTag}},
		{"of several subjects", func(s *testca.Signature) {
			s.Payload = bytes.Replace(s.Payload, []byte(`"subject":[`),
				[]byte(`"subject":[{"name":"other","digest":{"sha256":"`+strings.Repeat("0", 64)+`"}},`), 1)
		}, nil},
		{"with the issuer in the older extension alone", func(s *testca.Signature) {
			s.Leaf = func(c *x509.Certificate) { c.ExtraExtensions = c.ExtraExtensions[:1] }
		}, nil},
		{"with the issuer in the newer extension alone", func(s *testca.Signature) {
			s.Leaf = func(c *x509.Certificate) { c.ExtraExtensions = c.ExtraExtensions[1:] }
		}, nil},
		{"with an entry of an unknown log besides", func(s *testca.Signature) {
			other := testca.New(t).Bundle(*s).VerificationMaterial.TLogEntries[0]
			s.Change = func(b *testca.Bundle) {
				b.VerificationMaterial.TLogEntries = append([]*testca.TLogEntry{other}, b.VerificationMaterial.TLogEntries...)
			}
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := signed()
			s.At = time.Now()
			tt.alter(&s)
			allow := tt.allow
			if allow == nil {
				allow = []keyless.Identity{byMain}
			}
			found, err := v.Verify(a.Sign(s), image, allow)
			if err != nil {
				t.Fatal(err)
			}
			log := "https://rekor1.example"
			if s.Rekor2 {
				log = "https://rekor2.example"
			}
			if found.Identity != s.Identity || found.Issuer != s.Issuer || found.Log != log || found.LogIndex == 0 ||
				!found.At.Equal(s.At.Truncate(time.Second)) {
				t.Errorf("found %+v", found)
			}
		})
	}
}

func TestSignaturesThatAreRefused(t *testing.T) {
	t.Parallel()
	a, other := testca.New(t), testca.New(t)
	v := verifier(t, a.Root())
	before := a.Bundle(signed())
	change := func(f func(*testca.Bundle)) func(*testca.Signature) {
		return func(s *testca.Signature) { s.Change = f }
	}
	replace := func(old, with string) func(*testca.Signature) {
		return func(s *testca.Signature) {
			if !bytes.Contains(s.Payload, []byte(old)) {
				t.Fatalf("no %s", old)
			}
			s.Payload = bytes.ReplaceAll(s.Payload, []byte(old), []byte(with))
		}
	}
	leaf := func(f func(*x509.Certificate)) func(*testca.Signature) {
		return func(s *testca.Signature) { s.Leaf = f }
	}
	otherDigest := digest.FromString("another manifest")
	for _, tt := range []struct {
		name  string
		alter func(*testca.Signature)
		want  error
	}{
		// The signer.
		{"another workflow", func(s *testca.Signature) { s.Identity += "2" }, keyless.ErrIdentity},
		{"another branch", func(s *testca.Signature) {
			s.Identity = strings.Replace(workflow, "main", "feature", 1)
		}, keyless.ErrIdentity},
		{"another case", func(s *testca.Signature) {
			s.Identity = strings.Replace(workflow, "exampleos", "ExampleOS", 1)
		}, keyless.ErrIdentity},
		{"another issuer", func(s *testca.Signature) { s.Issuer = google }, keyless.ErrIssuer},
		{"an issuer with a slash more", func(s *testca.Signature) { s.Issuer += "/" }, keyless.ErrIssuer},
		{"no issuer", leaf(func(c *x509.Certificate) { c.ExtraExtensions = nil }), keyless.ErrIdentity},
		{"two issuers", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions[0].Value = []byte("https://evil.example")
		}), keyless.ErrIdentity},
		{"an issuer that is not a DER string", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: c.ExtraExtensions[1].Id, Value: []byte(github)}}
		}), keyless.ErrIdentity},
		{"no name", leaf(func(c *x509.Certificate) { c.URIs = nil }), keyless.ErrIdentity},
		{"two names", leaf(func(c *x509.Certificate) {
			c.URIs = append([]*url.URL{{Scheme: "https", Host: "evil.example"}}, c.URIs...)
		}), keyless.ErrIdentity},
		{"a name and an address", leaf(func(c *x509.Certificate) { c.EmailAddresses = []string{mail} }),
			keyless.ErrIdentity},

		{"a user name, which is neither an address nor a URI", leaf(func(c *x509.Certificate) {
			name, err := asn1.MarshalWithParams(otherName{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7}, "me"}, "tag:0")
			if err != nil {
				t.Error(err)
			}
			names, err := asn1.Marshal([]asn1.RawValue{{FullBytes: name}})
			if err != nil {
				t.Error(err)
			}
			c.URIs = nil
			c.ExtraExtensions = append(c.ExtraExtensions,
				pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: names})
		}), keyless.ErrIdentity},

		// The certificate.
		{"a chain of another authority", func(s *testca.Signature) { s.CA = other }, keyless.ErrChain},
		{"self-signed with the right name", func(s *testca.Signature) { s.SelfSign = true }, keyless.ErrChain},
		{"self-signed, and everything else by another instance", func(s *testca.Signature) {
			s.SelfSign, s.CTLog, s.Log, s.TSA = true, other, other, other
		}, keyless.ErrNoLogEntry},
		{"a certificate for servers", leaf(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), keyless.ErrChain},
		{"signed after the certificate expired", leaf(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = c.NotBefore.Add(-time.Hour), c.NotAfter.Add(-time.Hour)
		}), keyless.ErrOutsideTime},
		{"signed before the certificate was valid", leaf(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = c.NotBefore.Add(time.Hour), c.NotAfter.Add(time.Hour)
		}), keyless.ErrOutsideTime},
		{"stamped after the certificate expired", func(s *testca.Signature) {
			s.Rekor2 = true
			s.Leaf = func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = c.NotBefore.Add(-time.Hour), c.NotAfter.Add(-time.Hour)
			}
		}, keyless.ErrOutsideTime},
		{"logged in time and stamped after the certificate expired", func(s *testca.Signature) {
			late := s.At.Add(time.Hour)
			s.Change = func(b *testca.Bundle) { a.Stamp(b, late) }
		}, keyless.ErrOutsideTime},
		{"before the authority of the root was valid", func(s *testca.Signature) {
			s.At = time.Now().Add(-3 * 365 * 24 * time.Hour)
		}, keyless.ErrLogEntry},
		{"no SCT", func(s *testca.Signature) { s.NoSCT = true }, keyless.ErrNoSCT},
		{"an SCT of another log", func(s *testca.Signature) { s.CTLog = other }, keyless.ErrNoSCT},
		{"an SCT of another certificate", func(s *testca.Signature) {
			sct := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
			s.NoSCT = true
			s.Leaf = func(c *x509.Certificate) {
				cert, err := x509.ParseCertificate(before.VerificationMaterial.Certificate.RawBytes)
				if err != nil {
					t.Error(err)
				}
				for _, e := range cert.Extensions {
					if e.Id.Equal(sct) {
						c.ExtraExtensions = append(c.ExtraExtensions, e)
					}
				}
			}
		}, keyless.ErrNoSCT},

		// The log and the time.
		{"no log entry", func(s *testca.Signature) { s.NoLog = true }, keyless.ErrNoLogEntry},
		{"no log entry, but a timestamp", func(s *testca.Signature) { s.NoLog, s.Timestamp = true, true },
			keyless.ErrNoLogEntry},
		{"a log of another key", func(s *testca.Signature) { s.Log = other }, keyless.ErrNoLogEntry},
		{"Rekor 2 of another key", func(s *testca.Signature) { s.Log, s.Rekor2 = other, true }, keyless.ErrNoLogEntry},
		{"a log of another key that calls itself by the name of ours", func(s *testca.Signature) {
			s.Log = other
			s.Change = func(b *testca.Bundle) {
				b.VerificationMaterial.TLogEntries[0].LogID = before.VerificationMaterial.TLogEntries[0].LogID
			}
		}, keyless.ErrLogEntry},
		{"Rekor 2 of another key under the name of ours", func(s *testca.Signature) {
			s.Log, s.Rekor2 = other, true
			s.Change = func(b *testca.Bundle) {
				b.VerificationMaterial.TLogEntries[0].LogID.KeyID = a.Root().TLogs[1].LogID.KeyID
			}
		}, keyless.ErrLogEntry},
		{"the log entry of another signature", change(func(b *testca.Bundle) {
			b.VerificationMaterial.TLogEntries = before.VerificationMaterial.TLogEntries
		}), keyless.ErrLogEntry},
		{"the log entry of another signature, in Rekor 2", func(s *testca.Signature) {
			s.Rekor2 = true
			same := *s
			s.Change = func(b *testca.Bundle) {
				b.VerificationMaterial.TLogEntries = a.Bundle(same).VerificationMaterial.TLogEntries
			}
		}, keyless.ErrLogEntry},
		{"the entry of another signature besides", change(func(b *testca.Bundle) {
			m := &b.VerificationMaterial
			m.TLogEntries = append(m.TLogEntries, before.VerificationMaterial.TLogEntries...)
		}), keyless.ErrLogEntry},
		{"the body of the entry replaced, with the proof of another, in Rekor 2", func(s *testca.Signature) {
			s.Rekor2 = true
			same := *s
			s.Change = func(b *testca.Bundle) {
				b.VerificationMaterial.TLogEntries[0].InclusionProof =
					a.Bundle(same).VerificationMaterial.TLogEntries[0].InclusionProof
			}
		}, keyless.ErrLogEntry},
		{"an entry twice", change(func(b *testca.Bundle) {
			m := &b.VerificationMaterial
			m.TLogEntries = append(m.TLogEntries, m.TLogEntries...)
		}), keyless.ErrBundle},
		{"a promise of a time long ago", change(func(b *testca.Bundle) {
			b.VerificationMaterial.TLogEntries[0].IntegratedTime = "1000000000"
		}), keyless.ErrLogEntry},
		{"a promise of a time a minute later", change(func(b *testca.Bundle) {
			e := b.VerificationMaterial.TLogEntries[0]
			e.IntegratedTime = strconv.FormatInt(time.Now().Unix()+60, 10)
		}), keyless.ErrLogEntry},
		{"a proof that leads elsewhere", change(func(b *testca.Bundle) {
			hash := b.VerificationMaterial.TLogEntries[0].InclusionProof.Hashes[0]
			hash[0] ^= 1
		}), keyless.ErrLogEntry},
		{"a checkpoint whose signature was changed", change(func(b *testca.Bundle) {
			c := &b.VerificationMaterial.TLogEntries[0].InclusionProof.Checkpoint
			c.Envelope = strings.Replace(c.Envelope, "\n\n", "\nmore\n\n", 1)
		}), keyless.ErrLogEntry},
		{"an entry without signatures", change(func(b *testca.Bundle) {
			e := b.VerificationMaterial.TLogEntries[0]
			e.CanonicalizedBody = []byte(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"signatures":[]}}`)
		}), keyless.ErrBundle},
		{"an entry of Rekor 2 without a signature", func(s *testca.Signature) {
			s.Rekor2 = true
			s.Change = func(b *testca.Bundle) {
				e := b.VerificationMaterial.TLogEntries[0]
				e.CanonicalizedBody = []byte(`{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{}}}`)
			}
		}, keyless.ErrLogEntry},
		{"an entry of a kind that is unknown", change(func(b *testca.Bundle) {
			b.VerificationMaterial.TLogEntries[0].CanonicalizedBody =
				[]byte(`{"apiVersion":"0.0.2","kind":"dsse","spec":{"dsseV002":{}}}`)
		}), keyless.ErrBundle},
		{"neither proof nor promise", func(s *testca.Signature) { s.NoProof, s.NoPromise = true, true },
			keyless.ErrBundle},
		{"a promise without a proof, which version 0.3 does not allow", func(s *testca.Signature) { s.NoProof = true },
			keyless.ErrBundle},
		{"no promise and no timestamp", func(s *testca.Signature) { s.NoPromise = true }, keyless.ErrNoTime},
		{"Rekor 2 without a timestamp", func(s *testca.Signature) { s.Rekor2, s.NoTimestamp = true, true },
			keyless.ErrNoTime},
		{"an unknown timestamp authority", func(s *testca.Signature) { s.Rekor2, s.TSA = true, other },
			keyless.ErrNoTime},
		{"a timestamp of another signature", func(s *testca.Signature) {
			s.Rekor2 = true
			same := *s
			s.Change = func(b *testca.Bundle) {
				b.VerificationMaterial.TimestampVerificationData =
					a.Bundle(same).VerificationMaterial.TimestampVerificationData
			}
		}, keyless.ErrNoTime},
		{"a timestamp that is nonsense", func(s *testca.Signature) {
			s.Rekor2 = true
			s.Change = func(b *testca.Bundle) {
				b.VerificationMaterial.TimestampVerificationData.RFC3161Timestamps[0].SignedTimestamp = []byte("soon")
			}
		}, keyless.ErrNoTime},

		// What is signed.
		{"a signature of another digest", replace(image.Encoded(), otherDigest.Encoded()), keyless.ErrDigest},
		{"the digest of another algorithm", replace("sha256", "sha512"), keyless.ErrDigest},
		{"no subject", replace(`{"digest":{"sha256":"`+image.Encoded()+`"},"annotations":{}}`, ""), keyless.ErrDigest},
		{"another predicate", replace("https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v1"),
			keyless.ErrPredicate},
		{"another kind of statement", replace("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"),
			keyless.ErrPredicate},
		{"a key twice", replace(`"subject":`, `"subject":[{"digest":{"sha256":"`+otherDigest.Encoded()+`"}}],"subject":`),
			keyless.ErrBundle},
		{"a key in another case", replace(`"predicateType"`, `"PredicateType"`), keyless.ErrBundle},
		{"a statement that is not JSON", replace(`"predicate":{}}`, `"predicate":{}}}`), keyless.ErrBundle},
		{"the digest in the payload replaced", func(s *testca.Signature) {
			s.Payload = testca.Statement(otherDigest.Encoded())
			s.Change = func(b *testca.Bundle) { b.DSSEEnvelope.Payload = testca.Statement(image.Encoded()) }
		}, keyless.ErrSignature},
		{"a changed payload", change(func(b *testca.Bundle) {
			b.DSSEEnvelope.Payload = append(b.DSSEEnvelope.Payload, ' ')
		}), keyless.ErrSignature},
		{"a changed signature", change(func(b *testca.Bundle) { b.DSSEEnvelope.Signatures[0].Sig[20] ^= 1 }),
			keyless.ErrSignature},
		{"the certificate of another signature", change(func(b *testca.Bundle) {
			b.VerificationMaterial.Certificate = before.VerificationMaterial.Certificate
		}), keyless.ErrSignature},

		// Other documents.
		{"a bundle by a key", change(func(b *testca.Bundle) {
			b.VerificationMaterial.Certificate = nil
			b.VerificationMaterial.PublicKey = map[string]any{"hint": "key"}
		}), keyless.ErrBundle},
		{"a chain of certificates", change(func(b *testca.Bundle) {
			b.VerificationMaterial.X509CertificateChain = map[string]any{
				"certificates": []any{b.VerificationMaterial.Certificate}}
			b.VerificationMaterial.Certificate = nil
		}), keyless.ErrBundle},
		{"a bundle of version 0.1", change(func(b *testca.Bundle) {
			b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1"
		}), keyless.ErrBundle},
		{"a bundle of version 0.4", change(func(b *testca.Bundle) {
			b.MediaType = "application/vnd.dev.sigstore.bundle.v0.4+json"
		}), keyless.ErrBundle},
		{"a signature of a file", change(func(b *testca.Bundle) {
			b.MessageSignature = map[string]any{"signature": b.DSSEEnvelope.Signatures[0].Sig,
				"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": []byte("digest")}}
			b.DSSEEnvelope = nil
		}), keyless.ErrBundle},
		{"an envelope of another type", func(s *testca.Signature) { s.PayloadType = "text/plain" }, keyless.ErrBundle},
		{"no signature in the envelope", change(func(b *testca.Bundle) { b.DSSEEnvelope.Signatures = nil }),
			keyless.ErrBundle},
		{"two signatures", change(func(b *testca.Bundle) {
			b.DSSEEnvelope.Signatures = append(b.DSSEEnvelope.Signatures, b.DSSEEnvelope.Signatures...)
		}), keyless.ErrBundle},
		{"thousands of log entries", change(func(b *testca.Bundle) {
			for range 3000 {
				b.VerificationMaterial.TLogEntries = append(b.VerificationMaterial.TLogEntries,
					&testca.TLogEntry{LogIndex: "1"})
			}
		}), keyless.ErrBundle},
		{"a huge bundle", replace(`"predicate":{}`, `"predicate":{"a":"`+strings.Repeat("a", keyless.MaxBundle)+`"}`),
			keyless.ErrBundle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := signed()
			s.At = time.Now()
			tt.alter(&s)
			refused(t, v, a.Sign(s), tt.want, byMain)
		})
	}
}

// otherName is a name in a certificate of a kind that its ID says.
type otherName struct {
	ID    asn1.ObjectIdentifier
	Value string `asn1:"utf8,explicit,tag:0"`
}

// refused checks that a bundle is refused for one reason and no other, and that nothing of an image that has only this
// bundle gets into a repository.
func refused(t *testing.T, v instance, bundle []byte, want error, allow ...keyless.Identity) {
	t.Helper()
	found, err := v.Verify(bundle, image, allow)
	if err == nil {
		t.Fatalf("accepted: %+v", found)
	}
	if (found != keyless.Found{}) {
		t.Errorf("it returned %+v", found)
	}
	for _, reason := range reasons {
		if errors.Is(err, reason) != errors.Is(want, reason) {
			t.Errorf("got %v; want %v", err, want)
		}
	}
	if errors.Is(want, keyless.ErrAllowed) {
		return // such a rule is refused before there is an image
	}
	img := trusttest.NewImage(t, manifest)
	trusttest.Attach(t, img.Registry, "os", image, bundle)
	says := want.Error()
	if slices.Contains([]error{keyless.ErrBundle, keyless.ErrPredicate, keyless.ErrDigest}, want) {
		says = img.Registry.Host + "/os@sha256:" // it is named, and what it says has been found before
	}
	trusttest.Refused(t, imgref.ImageReference{Transport: imgref.Registry, Name: img.Name}, trust.Options{
		Registry: img.Options, Policy: trusttest.File(t, []byte(trusttest.RejectAll)),
		RuleDirs: []string{v.rules(t, img.Registry.Host, allow)},
	}, says)
}

// rules makes a directory with a rule for a registry that accepts the identities.
func (v instance) rules(t *testing.T, host string, allow []keyless.Identity) string {
	t.Helper()
	root := trusttest.File(t, v.root)
	var signers []rules.Signer
	for _, id := range allow {
		signers = append(signers, rules.Signer{
			OIDCIssuer: id.Issuer, Identity: id.Identity, IdentityExpression: id.Expression, TrustedRoot: root,
		})
	}
	return trusttest.Rules(t, map[string]*rules.Rule{host: {SignedBy: signers}})
}
