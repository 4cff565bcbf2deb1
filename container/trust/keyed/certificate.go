package keyed

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// The annotations with the certificate of a signature, and with the chain above it, as cosign's specification of
// signatures says.
const (
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	chainAnnotation       = "dev.sigstore.cosign/chain"
)

// MaxFileSize limits a file with keys or certificates that a policy names, in bytes.
const MaxFileSize = 4 << 20

// maxCertificates limits the certificates beside a signature in bytes, and maxChain how many they are.
const maxCertificates, maxChain = 256 << 10, 16

// Extensions of certificates: who vouches for the identity, in two forms, and alternative names of the subject.
var (
	oidIssuer      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
	oidIssuerV2    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	oidSubjectName = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// authority is whose certificates are good, and for whom. Either fulcio or pki is set.
type authority struct {
	roots, intermediates *x509.CertPool
	fulcio               *policyjson.Fulcio
	pki                  *policyjson.PKI
}

// subject names whom a certificate must be for.
func (a *authority) subject() string {
	if a.fulcio != nil {
		return a.fulcio.Subject
	}
	return a.pki.Subject()
}

// issuer names who vouches for the subject of a certificate that was verified.
func (a *authority) issuer(leaf *x509.Certificate) string {
	if a.fulcio != nil {
		return a.fulcio.Issuer
	}
	return leaf.Issuer.String()
}

// newAuthority reads the certificates of an authority. read returns the content of a file.
func newAuthority(q *requirement, read func(file string) ([]byte, error)) (*authority, error) {
	a := &authority{fulcio: q.fulcio, pki: q.pki}
	load := func(file string, data []byte) (*x509.CertPool, error) {
		name := "certificates in the policy itself"
		if file != "" {
			var err error
			if data, err = read(file); err != nil {
				return nil, err
			}
			name = file
		}
		if len(data) > MaxFileSize {
			return nil, fmt.Errorf("%s: there are more than %s", name, sizes.Format(MaxFileSize))
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s: there is no certificate in PEM form (-----BEGIN CERTIFICATE-----)", name)
		}
		return pool, nil
	}
	var err error
	if f := a.fulcio; f != nil {
		a.roots, err = load(f.CAPath, f.CAData)
		return a, err
	}
	p := a.pki
	if a.roots, err = load(p.RootsPath, p.RootsData); err != nil {
		return nil, err
	}
	if p.IntermediatesPath != "" || p.IntermediatesData != nil {
		a.intermediates, err = load(p.IntermediatesPath, p.IntermediatesData)
	}
	return a, err
}

// verify checks that a certificate comes from the authority, is one for signing, was valid at a time, and is for the
// subject. Without a time, that is now. chain is in PEM form, or empty.
func (a *authority) verify(leaf *x509.Certificate, chain string, at time.Time) error {
	above, err := parseCertificates(chain)
	if err != nil {
		return fmt.Errorf("the chain of the certificate: %w", err)
	}
	opts := x509.VerifyOptions{
		Roots: a.roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		Intermediates: x509.NewCertPool(),
	}
	if a.intermediates != nil {
		opts.Intermediates = a.intermediates.Clone()
	}
	// The last one is a root, which has to be known.
	for i := 0; i+1 < len(above); i++ {
		opts.Intermediates.AddCert(above[i])
	}
	if a.fulcio != nil {
		// Names of kinds that the library does not know are refused below.
		leaf.UnhandledCriticalExtensions = slices.DeleteFunc(leaf.UnhandledCriticalExtensions,
			func(id asn1.ObjectIdentifier) bool { return id.Equal(oidSubjectName) })
	}
	if _, err := leaf.Verify(opts); err != nil {
		return err
	}
	return a.isFor(leaf)
}

// isFor checks whom a certificate is for.
func (a *authority) isFor(leaf *x509.Certificate) error {
	if f := a.fulcio; f != nil {
		issuer, err := issuerIn(leaf)
		switch {
		case err != nil:
			return err
		case issuer != f.Issuer:
			return fmt.Errorf("%.300q vouches for the identity, not %q", issuer, f.Issuer)
		case !slices.Contains(leaf.EmailAddresses, f.Subject):
			return fmt.Errorf("it is for another email address than %q", f.Subject)
		}
		return nil
	}
	p := a.pki
	if p.Email != "" && !slices.Contains(leaf.EmailAddresses, p.Email) {
		return fmt.Errorf("it is for another email address than %q", p.Email)
	}
	if p.Hostname != "" {
		if err := leaf.VerifyHostname(p.Hostname); err != nil {
			return fmt.Errorf("it is for another host: %w", err)
		}
	}
	return nil
}

// issuerIn returns who vouches for the identity in a certificate of Fulcio. If both extensions are there, they must
// agree.
func issuerIn(leaf *x509.Certificate) (string, error) {
	var found []string
	for _, e := range leaf.Extensions {
		switch {
		case e.Id.Equal(oidIssuer):
			found = append(found, string(e.Value))
		case e.Id.Equal(oidIssuerV2):
			var text string
			if rest, err := asn1.Unmarshal(e.Value, &text); err != nil || len(rest) > 0 {
				return "", errors.New("its issuer of the identity is not a DER string")
			}
			found = append(found, text)
		}
	}
	if len(found) == 0 {
		return "", errors.New("it does not say who vouches for the identity")
	}
	if len(slices.Compact(found)) > 1 {
		return "", errors.New("it names two issuers of the identity")
	}
	return found[0], nil
}

// parseCertificates reads certificates in PEM form.
func parseCertificates(text string) (list []*x509.Certificate, err error) {
	if len(text) > maxCertificates {
		return nil, fmt.Errorf("it has more than %s", sizes.Format(maxCertificates))
	}
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if strings.TrimSpace(string(rest)) != "" {
				return nil, errors.New("there is something else than certificates in PEM form")
			}
			return list, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %.80q: a certificate is expected", block.Type)
		}
		if len(list) == maxChain {
			return nil, fmt.Errorf("there are more than %d certificates", maxChain)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
}

// parseLeaf reads the only certificate of a signature.
func parseLeaf(text string) (*x509.Certificate, error) {
	list, err := parseCertificates(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the certificate of a signature: %w", err)
	case len(list) != 1:
		return nil, fmt.Errorf("a signature has %d certificates instead of one", len(list))
	}
	return list[0], nil
}
