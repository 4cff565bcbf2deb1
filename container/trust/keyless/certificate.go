package keyless

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// The extensions of Fulcio's certificates that name the issuer, see
// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md, and that with the names of the subject.
var (
	oidIssuer   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1} // the text itself
	oidIssuerV2 = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8} // a DER string
	oidNames    = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// whom returns the issuer and the identity that a certificate names. It must name exactly one of each, so that no two
// readers can choose differently.
func whom(cert *x509.Certificate) (issuer, identity string, err error) {
	for _, e := range cert.Extensions {
		text := ""
		switch {
		case e.Id.Equal(oidIssuer):
			text = string(e.Value)
		case e.Id.Equal(oidIssuerV2):
			if rest, err := asn1.Unmarshal(e.Value, &text); err != nil || len(rest) > 0 {
				return "", "", errors.New("the issuer in the certificate is not a DER string")
			}
		case e.Id.Equal(oidNames):
			var names []asn1.RawValue
			if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 || len(names) != 1 {
				return "", "", errors.New("the certificate does not have exactly one name")
			}
			continue
		default:
			continue
		}
		if issuer != "" && text != issuer {
			return "", "", fmt.Errorf("the certificate names two issuers, %q and %q", issuer, text)
		}
		issuer = text
	}
	switch {
	case issuer == "":
		return "", "", errors.New("the certificate names no issuer")
	case len(cert.URIs) == 1:
		return issuer, cert.URIs[0].String(), nil
	case len(cert.EmailAddresses) == 1:
		return issuer, cert.EmailAddresses[0], nil
	}
	return "", "", errors.New("the certificate names neither an e-mail address nor a URI")
}
