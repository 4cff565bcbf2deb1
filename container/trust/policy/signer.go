//go:build containers_image_openpgp

package policy

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"go.podman.io/image/v5/signature"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
)

// signer names who made a signature that was accepted: the fingerprint of a key with its file, or an identity with who
// vouches for it.
func signer(ctx context.Context, req policyjson.Requirement, keys []key, c candidate) (name, issuer string, err error) {
	switch {
	case req.Fulcio != nil:
		return req.Fulcio.Subject, req.Fulcio.Issuer, nil
	case req.PKI != nil:
		return req.PKI.Subject(), certificateIssuer(c.certificate), nil
	}
	for _, k := range keys {
		var print string
		var by bool
		if req.Type == policyjson.SignedBy {
			print, by, err = madeByKeyring(k, c)
		} else {
			print, by, err = madeByKey(ctx, req, k, c)
		}
		if err != nil {
			return "", "", err
		}
		if by {
			return fmt.Sprintf("%s (%s)", print, k), "", nil
		}
	}
	return "", "", errors.New("a signature was accepted, but by none of the keys") // the keys were replaced meanwhile
}

// madeByKey reports whether a Sigstore signature is by a key: a policy that has only that key accepts it.
func madeByKey(ctx context.Context, req policyjson.Requirement, k key, c candidate) (print string, by bool, err error) {
	policy, err := with(req.Raw, map[string]any{"keyPath": nil, "keyPaths": nil, "keyData": k.data, "keyDatas": nil})
	if err != nil || allowed(ctx, policy, c.image) != nil {
		return "", false, err
	}
	found, err := publicKey(k.data)
	if err != nil {
		return "", false, err
	}
	print, err = fingerprint(found)
	return "sha256:" + print, true, err
}

// madeByKeyring reports whether a simple signature is by a key of a keyring, and by which.
func madeByKeyring(k key, c candidate) (print string, by bool, err error) {
	mechanism, identities, err := signature.NewEphemeralGPGSigningMechanism(k.data)
	if err != nil {
		return "", false, err
	}
	defer mechanism.Close()
	_, print, err = mechanism.Verify(c.simple)
	return print, err == nil && len(identities) > 0, nil
}

// certificateIssuer returns who issued a certificate in PEM, which was verified, or "".
func certificateIssuer(text string) string {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return ""
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return ""
	}
	return c.Issuer.String()
}
