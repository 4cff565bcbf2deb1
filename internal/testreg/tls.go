package testreg

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// NewTLS starts a registry that demands a client certificate and ends with the test. It writes the files that a client
// needs to dir, as in a directory of certs.d: ca.crt, client.cert and client.key.
func NewTLS(t testing.TB, dir string) *Registry {
	t.Helper()
	ca := newCertificate(t, nil, &x509.Certificate{IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign})
	server := newCertificate(t, &ca, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	client := newCertificate(t, &ca, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err := errors.Join(err,
		writePEM(filepath.Join(dir, "ca.crt"), "CERTIFICATE", ca.Certificate[0]),
		writePEM(filepath.Join(dir, "client.cert"), "CERTIFICATE", client.Certificate[0]),
		writePEM(filepath.Join(dir, "client.key"), "PRIVATE KEY", key),
	); err != nil {
		t.Fatal(err)
	}
	r := newRegistry()
	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	clients := x509.NewCertPool()
	clients.AddCert(ca.Leaf)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: clients,
		ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	r.Host = strings.TrimPrefix(s.URL, "https://")
	return r
}

func newCertificate(t testing.TB, issuer *tls.Certificate, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "test"}
	if issuer != nil {
		// OpenSSL takes a certificate whose issuer has the same name for self-signed.
		template.Subject.CommonName = "signed by test"
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func writePEM(name, kind string, der []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
