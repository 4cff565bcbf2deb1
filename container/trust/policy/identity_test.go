//go:build containers_image_openpgp

package policy_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

// authority issues certificates, as Fulcio does.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string // the certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	k := newPair(t).private
	now := time.Now()
	a := authority{key: k, file: filepath.Join(t.TempDir(), "ca.pem")}
	a.certificate = issue(t, nil, k, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	write(t, a.file, pemOf(a.certificate))
	return a
}

func issue(t *testing.T, by *authority, k *ecdsa.PrivateKey, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := template, k
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, k.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// identity is what a certificate says of who signs.
type identity struct {
	email, hostname, issuer string
	// oldIssuer is the issuer in the older extension.
	oldIssuer string
	from, to  time.Time
	usage     x509.ExtKeyUsage
}

// certify returns a certificate of an identity with a new key.
func (a authority) certify(t *testing.T, id identity) (*x509.Certificate, pair) {
	t.Helper()
	k := newPair(t)
	c := &x509.Certificate{NotBefore: id.from, NotAfter: id.to, ExtKeyUsage: []x509.ExtKeyUsage{id.usage}}
	if id.email != "" {
		c.EmailAddresses = []string{id.email}
	}
	if id.hostname != "" {
		c.DNSNames = []string{id.hostname}
	}
	if id.issuer != "" {
		value, err := asn1.MarshalWithParams(id.issuer, "utf8")
		if err != nil {
			t.Fatal(err)
		}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: value}}
	}
	if id.oldIssuer != "" {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{
			Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(id.oldIssuer),
		})
	}
	return issue(t, &a, k.private, c), k
}

// record adds what a log of Rekor's first version says about a signature: its promise of an entry.
func record(t *testing.T, log pair, l layer, certificate string, at time.Time) layer {
	t.Helper()
	sum := sha256.Sum256(l.payload)
	body, err := json.Marshal(object{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": object{
		"data": object{"hash": object{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}},
		"signature": object{"content": l.annotations[signatureAnnotation],
			"publicKey": object{"content": base64.StdEncoding.EncodeToString([]byte(certificate))}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	entry := object{"body": body, "integratedTime": at.Unix(), "logIndex": 1, "logID": strings.Repeat("0", 64)}
	canonical, err := json.Marshal(entry) // keys are sorted, and nothing needs an escape
	if err != nil {
		t.Fatal(err)
	}
	sum = sha256.Sum256(canonical)
	promise, err := ecdsa.SignASN1(rand.Reader, log.private, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := json.Marshal(object{"SignedEntryTimestamp": promise, "Payload": entry})
	if err != nil {
		t.Fatal(err)
	}
	return l.with(logAnnotation, string(bundle))
}

// with returns an attachment with one more annotation, or with another value of it.
func (l layer) with(key, value string) layer {
	annotations := map[string]string{key: value}
	for k, v := range l.annotations {
		if k != key {
			annotations[k] = v
		}
	}
	l.annotations = annotations
	return l
}

func TestIdentitiesThatFulcioCertifies(t *testing.T) {
	r := registry(t)
	ca, other := newAuthority(t), newAuthority(t)
	log, otherLog := newPair(t), newPair(t)
	doc := publish(t, r, repository, "1", "")
	signed := payload(t, name, doc.Digest)
	// The certificate expired long ago, and the log says that the signature was made while it was valid.
	then := time.Now().Add(-1000 * time.Hour)
	right := identity{email: "build@example.com", issuer: "https://issuer.example", from: then.Add(-time.Minute),
		to: then.Add(9 * time.Minute), usage: x509.ExtKeyUsageCodeSigning}
	requirement := func(ca authority, log pair) object {
		return object{"type": policyjson.SigstoreSigned, "rekorPublicKeyPath": log.file, "signedIdentity": anyTag,
			"fulcio": object{"caPath": ca.file, "oidcIssuer": right.issuer, "subjectEmail": right.email}}
	}
	sign := func(id identity, at time.Time, change ...func(layer, pair) layer) layer {
		c, k := ca.certify(t, id)
		l := record(t, log, k.sign(t, signed), pemOf(c), at).with(certificateOfTheLeaf, pemOf(c))
		for _, f := range change {
			l = f(l, k)
		}
		return l
	}
	as := func(f func(*identity)) identity { id := right; f(&id); return id }
	for _, c := range []struct {
		name   string
		layer  layer
		req    object
		accept bool
	}{
		{"the right one", sign(right, then), requirement(ca, log), true},
		{"with the chain", sign(right, then).with(chainAnnotation, pemOf(ca.certificate)), requirement(ca, log), true},
		{"another address", sign(as(func(i *identity) { i.email = "evil@example.com" }), then), requirement(ca, log), false},
		{"another issuer", sign(as(func(i *identity) { i.issuer = "https://issuer.example.evil" }), then), requirement(ca,
			log), false},
		{"no issuer", sign(as(func(i *identity) { i.issuer = "" }), then), requirement(ca, log), false},
		{"the issuer in both extensions", sign(as(func(i *identity) { i.oldIssuer = i.issuer }), then), requirement(ca, log),
			true},
		{"the issuer in the older extension", sign(as(func(i *identity) { i.oldIssuer, i.issuer = i.issuer, "" }), then),
			requirement(ca, log), true},
		{"two issuers", sign(as(func(i *identity) { i.oldIssuer = "https://issuer.example.evil" }), then),
			requirement(ca, log), false},
		{"a chain that is something else", sign(right, then).with(chainAnnotation, "chain"), requirement(ca, log), false},
		{"a chain with a key", sign(right, then).with(chainAnnotation, string(log.pem)), requirement(ca, log), false},
		{"two certificates", sign(right, then, func(l layer, _ pair) layer {
			return l.with(certificateOfTheLeaf, l.annotations[certificateOfTheLeaf]+pemOf(ca.certificate))
		}), requirement(ca, log), false},
		{"what the log says twice", sign(right, then, func(l layer, _ pair) layer {
			return l.with(logAnnotation, l.annotations[logAnnotation]+l.annotations[logAnnotation])
		}), requirement(ca, log), false},
		{"another time than the log says", sign(right, then, func(l layer, _ pair) layer {
			return l.with(logAnnotation, strings.Replace(l.annotations[logAnnotation], `"logIndex":1`, `"logIndex":2`, 1))
		}), requirement(ca, log), false},
		{"a name of a host", sign(as(func(i *identity) { i.email, i.hostname = "", right.email[6:] }), then),
			requirement(ca, log), false},
		{"a certificate for servers", sign(as(func(i *identity) { i.usage = x509.ExtKeyUsageServerAuth }), then),
			requirement(ca, log),
			false},
		{"before the certificate", sign(right, then.Add(-time.Hour)), requirement(ca, log), false},
		{"after the certificate", sign(right, then.Add(time.Hour)), requirement(ca, log), false},
		{"another authority", sign(right, then), requirement(other, log), false},
		{"another log", sign(right, then), requirement(ca, otherLog), false},
		{"not in a log", sign(right, then, func(l layer, _ pair) layer { delete(l.annotations, logAnnotation); return l }),
			requirement(ca, log), false},
		{"the entry of another signature", sign(right, then, func(l layer, _ pair) layer {
			return l.with(logAnnotation, sign(right, then).annotations[logAnnotation])
		}), requirement(ca, log), false},
		{"another signature than that of the entry", sign(right, then, func(l layer, k pair) layer {
			return l.with(signatureAnnotation, k.sign(t, signed).annotations[signatureAnnotation])
		}), requirement(ca, log), false},
		{"another certificate than that of the entry", sign(right, then, func(l layer, _ pair) layer {
			c, _ := ca.certify(t, right)
			return l.with(certificateOfTheLeaf, pemOf(c))
		}), requirement(ca, log), false},
		{"no certificate", sign(right, then, func(l layer, _ pair) layer { return l.with(certificateOfTheLeaf, "") }),
			requirement(ca, log), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			attach(t, r, repository, doc.Digest, c.layer)
			s, err := evaluate(t, docker(name+":1"), rule(t, c.req), doc)
			if (err == nil) != c.accept {
				t.Fatalf("accept has to be %v: %v", c.accept, err)
			}
			if err != nil {
				_ = refusal(t, err)
			} else if s.Signer != right.email || s.Issuer != right.issuer || s.Kind != oci.SignedAttachment {
				t.Errorf("the signature is %+v", s)
			}
		})
	}
}

func TestKeysWhoseSignaturesMustBeInALog(t *testing.T) {
	r := registry(t)
	k, log := newPair(t), newPair(t)
	doc := publish(t, r, repository, "1", "")
	l := k.sign(t, payload(t, name, doc.Digest))
	q := by(anyTag, newPair(t), k)
	q["rekorPublicKeyPath"] = log.file
	for _, c := range []struct {
		name   string
		layer  layer
		accept bool
	}{
		{"recorded", record(t, log, l, string(k.pem), time.Now()), true},
		{"not recorded", l, false},
		{"recorded in another log", record(t, newPair(t), l, string(k.pem), time.Now()), false},
	} {
		attach(t, r, repository, doc.Digest, c.layer)
		s, err := evaluate(t, docker(name+":1"), rule(t, q), doc)
		if (err == nil) != c.accept || (err == nil && !strings.Contains(s.Signer, k.file)) {
			t.Errorf("%s: got %+v, %v", c.name, s, err)
		}
	}
}

func TestCertificatesOfAnAuthorityOfOnesOwn(t *testing.T) {
	r := registry(t)
	ca, other := newAuthority(t), newAuthority(t)
	doc := publish(t, r, repository, "1", "")
	signed := payload(t, name, doc.Digest)
	now := time.Now()
	right := identity{email: "build@example.com", hostname: "build.example", from: now.Add(-time.Hour),
		to:    now.Add(time.Hour),
		usage: x509.ExtKeyUsageCodeSigning}
	requirement := func(ca authority, email, hostname string) object {
		pki := object{"caRootsPath": ca.file}
		if email != "" {
			pki["subjectEmail"] = email
		}
		if hostname != "" {
			pki["subjectHostname"] = hostname
		}
		return object{"type": policyjson.SigstoreSigned, "signedIdentity": anyTag, "pki": pki}
	}
	sign := func(id identity) layer {
		c, k := ca.certify(t, id)
		return k.sign(t, signed).with(certificateOfTheLeaf, pemOf(c))
	}
	expired := right
	expired.from, expired.to = now.Add(-2*time.Hour), now.Add(-time.Hour)
	early := right
	early.from, early.to = now.Add(time.Hour), now.Add(2*time.Hour)
	for _, c := range []struct {
		name   string
		layer  layer
		req    object
		signer string
		says   string
	}{
		{"the address", sign(right), requirement(ca, right.email, ""), right.email, ""},
		{"the host", sign(right), requirement(ca, "", right.hostname), right.hostname, ""},
		{"both", sign(right), requirement(ca, right.email, right.hostname), right.email + ", " + right.hostname, ""},
		{"another address", sign(right), requirement(ca, "other@example.com", right.hostname), "", "email"},
		{"another host", sign(right), requirement(ca, right.email, "other.example"), "", "hostname"},
		{"another authority", sign(right), requirement(other, right.email, ""), "", "unknown authority"},
		{"expired", sign(expired), requirement(ca, right.email, ""), "", "certificate has expired"},
		{"not yet valid", sign(early), requirement(ca, right.email, ""), "", "not yet valid"},
	} {
		attach(t, r, repository, doc.Digest, c.layer)
		s, err := evaluate(t, docker(name+":1"), rule(t, c.req), doc)
		if (err == nil) != (c.signer != "") || s.Signer != c.signer {
			t.Errorf("%s: got %+v, %v", c.name, s, err)
		}
		if err == nil && s.Issuer != "CN=authority" {
			t.Errorf("%s: the issuer is %q", c.name, s.Issuer)
		}
		if err != nil && !strings.Contains(refusal(t, err).Error(), c.says) {
			t.Errorf("%s: got %v, and it has to say %q", c.name, err, c.says)
		}
	}
}

func TestIntermediateAuthorities(t *testing.T) {
	r := registry(t)
	root := newAuthority(t)
	now := time.Now()
	middle := authority{key: newPair(t).private, file: filepath.Join(t.TempDir(), "middle.pem")}
	middle.certificate = issue(t, &root, middle.key, &x509.Certificate{
		Subject: pkix.Name{CommonName: "middle"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	write(t, middle.file, pemOf(middle.certificate))
	doc := publish(t, r, repository, "1", "")
	c, k := middle.certify(t, identity{email: "a@b.example", from: now.Add(-time.Hour), to: now.Add(time.Hour),
		usage: x509.ExtKeyUsageCodeSigning})
	attach(t, r, repository, doc.Digest, k.sign(t, payload(t, name, doc.Digest)).with(certificateOfTheLeaf, pemOf(c)))
	for path, accept := range map[string]bool{middle.file: true, "": false} {
		pki := object{"caRootsPath": root.file, "subjectEmail": "a@b.example"}
		if path != "" {
			pki["caIntermediatesPath"] = path
		}
		q := object{"type": policyjson.SigstoreSigned, "signedIdentity": anyTag, "pki": pki}
		if s, err := evaluate(t, docker(name+":1"), rule(t, q), doc); (err == nil) != accept {
			t.Errorf("intermediates %q: got %+v, %v", path, s, err)
		}
	}
}

// TestWhatAnIdentitySignsIsAccepted signs as the command line does, with an authority and a log on loopback.
func TestWhatAnIdentitySignsIsAccepted(t *testing.T) {
	r := registry(t)
	ca, other := testca.New(t), testca.New(t)
	doc := publish(t, r, repository, "1", "")
	signed := payload(t, name, doc.Digest)
	const email, issuer = "me@example.com", "https://accounts.example"
	signAt := func(a *testca.Authority) layer {
		s := a.Serve(t)
		pool := x509.NewCertPool()
		pool.AddCert(s.Certificate())
		signature, annotations, err := keyless.SignPayload(t.Context(), signed, keyless.SignOptions{
			Token: s.IdentityToken(email, issuer), Config: a.SigningConfig(s.URL), TLS: &tls.Config{RootCAs: pool},
		})
		if err != nil {
			t.Fatal(err)
		}
		l := layer{payload: signed, annotations: annotations}
		return l.with(signatureAnnotation, base64.StdEncoding.EncodeToString(signature))
	}
	requirement := func(root, log *testca.Authority, email string) object {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "ca.pem"), string(root.RootPEM()))
		write(t, filepath.Join(dir, "log.pub"), string(log.LogKeyPEM()))
		return object{"type": policyjson.SigstoreSigned, "rekorPublicKeyPath": filepath.Join(dir, "log.pub"),
			"signedIdentity": anyTag, "fulcio": object{"caPath": filepath.Join(dir, "ca.pem"), "oidcIssuer": issuer,
				"subjectEmail": email}}
	}
	made := signAt(ca)
	for _, c := range []struct {
		name   string
		layer  layer
		req    object
		accept bool
	}{
		{"as it was made", made, requirement(ca, ca, email), true},
		{"for another address", made, requirement(ca, ca, "other@example.com"), false},
		{"of another authority", made, requirement(other, ca, email), false},
		{"of another log", made, requirement(ca, other, email), false},
		{"without the chain", made.with(chainAnnotation, ""), requirement(ca, ca, email), false},
		{"with the log's entry of another signature", made.with(logAnnotation, signAt(ca).annotations[logAnnotation]),
			requirement(ca, ca, email), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			attach(t, r, repository, doc.Digest, c.layer)
			s, err := evaluate(t, docker(name+":1"), rule(t, c.req), doc)
			if (err == nil) != c.accept {
				t.Fatalf("accept has to be %v: %v", c.accept, err)
			}
			if err == nil && (s.Signer != email || s.Issuer != issuer || s.Kind != oci.SignedAttachment) {
				t.Errorf("the signature is %+v", s)
			}
		})
	}
}
