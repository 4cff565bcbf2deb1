// Package testca is a Sigstore instance for tests: an authority that certifies identities, the log of its certificates,
// two transparency logs (as Rekor 1 and Rekor 2 keep them) and a timestamp authority. It signs in memory, with every
// mistake a test asks for, and it serves the same on loopback for programs that sign. It has no code in common with
// what verifies: its documents are written from their specifications.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"sync/atomic"
	"testing"
	"time"
)

// Authority is an instance. Its methods end the test if they fail.
type Authority struct {
	t testing.TB
	// began is when the certificates and keys of the instance began to be valid, long before now.
	began time.Time

	root, intermediate, stamper *certified
	ct                          *ecdsa.PrivateKey
	logs                        [2]*tlog
	serial                      atomic.Int64
}

// certified is a certificate with its private key.
type certified struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// lifetime is how long the certificates and keys of an instance are valid, half of it before the test.
const lifetime = 2 * 365 * 24 * time.Hour

// New makes an instance with new keys.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, began: time.Now().Add(-lifetime / 2).Truncate(time.Second), ct: newKey(t)}
	a.root = a.certify(nil, newKey(t), &x509.Certificate{
		Subject: pkix.Name{CommonName: "test root"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.intermediate = a.certify(a.root, newKey(t), &x509.Certificate{
		Subject: pkix.Name{CommonName: "test intermediate"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	})
	// RFC 3161 wants the usage of a timestamp authority to be critical.
	usage := must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}))(t)
	a.stamper = a.certify(a.root, newKey(t), &x509.Certificate{
		Subject: pkix.Name{CommonName: "test timestamps"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	})
	for i := range a.logs {
		a.logs[i] = newLog(t, i+1)
	}
	return a
}

// must returns a function that returns the value, or ends the test if there is an error.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
}

// certify makes a certificate that is valid as long as the instance. Without an issuer it is self-signed.
func (a *Authority) certify(issuer *certified, key *ecdsa.PrivateKey, template *x509.Certificate) *certified {
	a.t.Helper()
	template.NotBefore, template.NotAfter = a.began, a.began.Add(lifetime)
	if issuer == nil {
		issuer = &certified{template, key}
	}
	der := must(a.issue(key.Public(), issuer, template))(a.t)
	return &certified{must(x509.ParseCertificate(der))(a.t), key}
}

// issue makes a certificate of a public key. The template may be used again.
func (a *Authority) issue(key crypto.PublicKey, issuer *certified, template *x509.Certificate) ([]byte, error) {
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(a.serial.Add(1))
	}
	template.BasicConstraintsValid = true
	return x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key, issuer.key)
}

// sign returns an ECDSA signature of the SHA-256 of data.
func sign(key *ecdsa.PrivateKey, data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return ecdsa.SignASN1(rand.Reader, key, sum[:])
}

// keyID is the identifier of a log: the SHA-256 of its public key.
func keyID(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err) // a key of P-256 can always be written
	}
	sum := sha256.Sum256(der)
	return sum[:]
}

// Root is a trusted_root.json. Tests may change what [Authority.Root] returns.
type Root struct {
	MediaType              string     `json:"mediaType"`
	TLogs                  []RootLog  `json:"tlogs,omitempty"`
	CertificateAuthorities []RootAuth `json:"certificateAuthorities,omitempty"`
	CTLogs                 []RootLog  `json:"ctlogs,omitempty"`
	TimestampAuthorities   []RootAuth `json:"timestampAuthorities,omitempty"`
}

// RootLog is a log in a trusted root.
type RootLog struct {
	BaseURL       string `json:"baseUrl"`
	HashAlgorithm string `json:"hashAlgorithm"`
	PublicKey     struct {
		RawBytes   []byte `json:"rawBytes"`
		KeyDetails string `json:"keyDetails"`
		ValidFor   Period `json:"validFor"`
	} `json:"publicKey"`
	LogID struct {
		KeyID []byte `json:"keyId"`
	} `json:"logId"`
}

// RootAuth is an authority in a trusted root. The root comes last in its chain.
type RootAuth struct {
	URI       string `json:"uri"`
	CertChain struct {
		Certificates []RawBytes `json:"certificates"`
	} `json:"certChain"`
	ValidFor Period `json:"validFor"`
}

// Period is a time of validity. End may be nil.
type Period struct {
	Start time.Time  `json:"start"`
	End   *time.Time `json:"end,omitempty"`
}

// RawBytes is a certificate in DER.
type RawBytes struct {
	RawBytes []byte `json:"rawBytes"`
}

// Root returns the trusted root of the instance.
func (a *Authority) Root() *Root {
	root := &Root{MediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}
	for _, l := range a.logs {
		root.TLogs = append(root.TLogs, a.rootLog(l.url, l.key))
	}
	root.CTLogs = []RootLog{a.rootLog("https://ct.example", a.ct)}
	root.CertificateAuthorities = []RootAuth{a.rootAuth("https://fulcio.example", a.intermediate, a.root)}
	root.TimestampAuthorities = []RootAuth{a.rootAuth("https://timestamp.example", a.stamper, a.root)}
	return root
}

func (a *Authority) rootLog(url string, key *ecdsa.PrivateKey) RootLog {
	l := RootLog{BaseURL: url, HashAlgorithm: "SHA2_256"}
	l.PublicKey.RawBytes = must(x509.MarshalPKIXPublicKey(key.Public()))(a.t)
	l.PublicKey.KeyDetails = "PKIX_ECDSA_P256_SHA_256"
	l.PublicKey.ValidFor.Start = a.began
	l.LogID.KeyID = keyID(key)
	return l
}

func (a *Authority) rootAuth(uri string, chain ...*certified) RootAuth {
	auth := RootAuth{URI: uri, ValidFor: Period{Start: a.began}}
	for _, c := range chain {
		auth.CertChain.Certificates = append(auth.CertChain.Certificates, RawBytes{c.Raw})
	}
	return auth
}

// JSON returns the document.
func (r *Root) JSON() []byte { return encode(r) }

// encode returns JSON of a value that always can be written.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// RootPEM returns the certificate of the authority at the top, as the caPath of a policy.json wants it.
func (a *Authority) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})
}

// LogKeyPEM returns the key of Rekor 1, as the rekorPublicKeyPath of a policy.json wants it.
func (a *Authority) LogKeyPEM() []byte {
	a.t.Helper()
	der := must(x509.MarshalPKIXPublicKey(a.logs[0].key.Public()))(a.t)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
