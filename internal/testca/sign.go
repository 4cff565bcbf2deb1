package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net/url"
	"strings"
	"time"

	"github.com/digitorus/timestamp"
)

// Signature says what to sign, as whom, and how. With the zero values of all fields but the first three, the bundle is
// one that cosign 3 makes at the public good instance: logged by Rekor 1, without a timestamp.
type Signature struct {
	// Identity is an e-mail address or a URI, Issuer the provider that vouches for it.
	Identity, Issuer string
	// Payload is what is signed, in an envelope of type PayloadType, by default that of in-toto.
	Payload     []byte
	PayloadType string
	// At is when the logs and the timestamp authority see the signature. The default is now.
	At time.Time
	// Rekor2 logs in Rekor 2, which vouches for no time, and asks the timestamp authority.
	Rekor2 bool
	// Timestamp asks the timestamp authority also with Rekor 1.
	Timestamp bool
	// NoLog, NoPromise, NoProof, NoTimestamp and NoSCT leave evidence out.
	NoLog, NoPromise, NoProof, NoTimestamp, NoSCT bool
	// Leaf changes the certificate before it is issued, SelfSign has nobody issue it.
	Leaf     func(*x509.Certificate)
	SelfSign bool
	// CA, CTLog, Log and TSA are instances that play a part instead of the one that signs.
	CA, CTLog, Log, TSA *Authority
	// Change changes the bundle in the end.
	Change func(*Bundle)
}

// Bundle is a Sigstore bundle, version 0.3.
type Bundle struct {
	MediaType            string `json:"mediaType"`
	VerificationMaterial struct {
		Certificate               *RawBytes      `json:"certificate,omitempty"`
		PublicKey                 map[string]any `json:"publicKey,omitempty"`
		X509CertificateChain      map[string]any `json:"x509CertificateChain,omitempty"`
		TLogEntries               []*TLogEntry   `json:"tlogEntries,omitempty"`
		TimestampVerificationData *Timestamps    `json:"timestampVerificationData,omitempty"`
	} `json:"verificationMaterial"`
	DSSEEnvelope     *Envelope      `json:"dsseEnvelope,omitempty"`
	MessageSignature map[string]any `json:"messageSignature,omitempty"`
}

// Timestamps are answers of timestamp authorities.
type Timestamps struct {
	RFC3161Timestamps []SignedTimestamp `json:"rfc3161Timestamps"`
}

// SignedTimestamp is an answer as RFC 3161 describes it.
type SignedTimestamp struct {
	SignedTimestamp []byte `json:"signedTimestamp"`
}

// Envelope is a DSSE envelope.
type Envelope struct {
	Payload     []byte       `json:"payload"`
	PayloadType string       `json:"payloadType"`
	Signatures  []Signatures `json:"signatures"`
}

// Signatures is one signature of an envelope.
type Signatures struct {
	Sig []byte `json:"sig"`
}

// Statement is what cosign 3 signs of an image whose manifest has a SHA-256, in hexadecimal.
func Statement(sha256 string) []byte {
	return []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + sha256 +
		`"},"annotations":{}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`)
}

// JSON returns the document.
func (b *Bundle) JSON() []byte { return encode(b) }

// Sign returns the JSON of [Authority.Bundle].
func (a *Authority) Sign(s Signature) []byte {
	a.t.Helper()
	return a.Bundle(s).JSON()
}

// Bundle signs.
func (a *Authority) Bundle(s Signature) *Bundle {
	a.t.Helper()
	if s.At.IsZero() {
		s.At = time.Now()
	}
	if s.PayloadType == "" {
		s.PayloadType = "application/vnd.in-toto+json"
	}
	or := func(other *Authority) *Authority {
		if other != nil {
			return other
		}
		return a
	}
	key := newKey(a.t)
	cert := must(or(s.CA).leaf(key.Public(), key, s, or(s.CTLog).ct))(a.t)
	sig := must(sign(key, pae(s.PayloadType, s.Payload)))(a.t)

	b := &Bundle{MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json"}
	b.VerificationMaterial.Certificate = &RawBytes{cert}
	b.DSSEEnvelope = &Envelope{Payload: s.Payload, PayloadType: s.PayloadType, Signatures: []Signatures{{sig}}}
	if !s.NoLog {
		e := must(or(s.Log).log(s.Rekor2, b.DSSEEnvelope, cert, s.At))(a.t)
		if s.NoPromise {
			e.InclusionPromise = nil
		}
		if s.NoProof {
			e.InclusionProof = nil
		}
		b.VerificationMaterial.TLogEntries = []*TLogEntry{e}
	}
	if (s.Rekor2 || s.Timestamp) && !s.NoTimestamp {
		or(s.TSA).Stamp(b, s.At)
	}
	if s.Change != nil {
		s.Change(b)
	}
	return b
}

// Stamp asks the timestamp authority about the signature in a bundle.
func (a *Authority) Stamp(b *Bundle, at time.Time) {
	a.t.Helper()
	token := must(a.stamp(hash(b.DSSEEnvelope.Signatures[0].Sig), at))(a.t)
	b.VerificationMaterial.TimestampVerificationData = &Timestamps{[]SignedTimestamp{{token}}}
}

// leaf certifies a key, which the caller has for self-signing only.
func (a *Authority) leaf(
	public crypto.PublicKey, own *ecdsa.PrivateKey, s Signature, ct *ecdsa.PrivateKey,
) ([]byte, error) {
	utf8, err := asn1.MarshalWithParams(s.Issuer, "utf8")
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		NotBefore: s.At.Add(-time.Minute), NotAfter: s.At.Add(9 * time.Minute),
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(s.Issuer)},
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: utf8},
		},
	}
	if strings.Contains(s.Identity, "://") {
		u, err := url.Parse(s.Identity)
		if err != nil {
			return nil, err
		}
		template.URIs = []*url.URL{u}
	} else {
		template.EmailAddresses = []string{s.Identity}
	}
	if s.Leaf != nil {
		s.Leaf(template)
	}
	issuer := a.intermediate
	if s.SelfSign {
		issuer = &certified{template, own}
	}
	der, err := a.issue(public, issuer, template)
	if err != nil || s.NoSCT {
		return der, err
	}
	preliminary, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	list, err := certificateTimestamp(ct, a.intermediate.RawSubjectPublicKeyInfo, preliminary.RawTBSCertificate, s.At)
	if err != nil {
		return nil, err
	}
	value, err := asn1.Marshal(list)
	if err != nil {
		return nil, err
	}
	template.ExtraExtensions = append(template.ExtraExtensions,
		pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: value})
	return a.issue(public, issuer, template)
}

// log adds a signature to one of the two logs.
func (a *Authority) log(rekor2 bool, e *Envelope, cert []byte, at time.Time) (*TLogEntry, error) {
	sig := e.Signatures[0].Sig
	if rekor2 {
		return a.logs[1].add("hashedrekord", "0.0.2", body2(hash(pae(e.PayloadType, e.Payload)), sig, cert), at)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return a.logs[0].add("dsse", "0.0.1", body1(encode(e), e.Payload, sig, block), at)
}

// stamp answers as a timestamp authority.
func (a *Authority) stamp(sum []byte, at time.Time) ([]byte, error) {
	t := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum, Time: at,
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
	}
	return t.CreateResponseWithOpts(a.stamper.Certificate, a.stamper.key, crypto.SHA256)
}
