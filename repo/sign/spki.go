package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
)

// The digests of SPKI signatures are OpenSSL's defaults: none for Ed25519, and SHA-256 for the others.

// minRSABits is the size of the smallest RSA key, in bits.
const minRSABits = 2048

// spkiPublic parses a SubjectPublicKeyInfo, in DER or in base64 of it.
func spkiPublic(text []byte) (publicKey, error) {
	der, err := derOf(text)
	if err != nil {
		return publicKey{}, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return publicKey{}, err
	}
	return spkiKey(key)
}

func spkiKey(key any) (publicKey, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return publicKey{}, err
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		return publicKey{keyName("spki Ed25519", der), func(commit, sig []byte) bool {
			return len(sig) == ed25519.SignatureSize && ed25519.Verify(key, commit, sig)
		}}, nil
	case *ecdsa.PublicKey:
		return publicKey{keyName("spki ECDSA", der), func(commit, sig []byte) bool {
			digest := sha256.Sum256(commit)
			return ecdsa.VerifyASN1(key, digest[:], sig)
		}}, nil
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits {
			return publicKey{}, fmt.Errorf("%w: an RSA key of %d bits: at least %d are needed", ErrWeak, n, minRSABits)
		}
		return publicKey{keyName("spki RSA", der), func(commit, sig []byte) bool {
			digest := sha256.Sum256(commit)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], sig) == nil
		}}, nil
	}
	return publicKey{}, fmt.Errorf("keys of type %T are not supported: use Ed25519, ECDSA or RSA", key)
}

// spkiSecret parses a secret key in any form that OpenSSL writes without a passphrase, in DER or in base64 of it.
func spkiSecret(text []byte) (secretKey, error) {
	der, err := derOf(text)
	if err != nil {
		return secretKey{}, err
	}
	signer, err := parsePrivate(der)
	if err != nil {
		return secretKey{}, err
	}
	public, err := spkiKey(signer.Public())
	if err != nil {
		return secretKey{}, err
	}
	return secretKey{public, func(commit []byte) ([]byte, error) {
		if _, ok := signer.(ed25519.PrivateKey); ok {
			return signer.Sign(nil, commit, crypto.Hash(0))
		}
		// Without a source of random numbers ECDSA signatures are those of RFC 6979. So they depend on the key and the
		// commit alone, as those of other keys do.
		digest := sha256.Sum256(commit)
		return signer.Sign(nil, digest[:], crypto.SHA256)
	}}, nil
}

func parsePrivate(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if key, e := x509.ParseECPrivateKey(der); e == nil {
			return key, nil
		}
		if key, e := x509.ParsePKCS1PrivateKey(der); e == nil {
			return key, nil
		}
		return nil, errors.New("not a secret key in DER without a passphrase")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("keys of type %T cannot sign", key)
	}
	return signer, nil
}

// derOf returns the DER of a key that is DER or base64 of it. DER begins with the tag of a sequence, which is "0" in
// base64, and that is not how base64 of a sequence begins.
func derOf(text []byte) ([]byte, error) {
	if len(text) > 0 && text[0] == 0x30 {
		return text, nil
	}
	return decodeBase64(text)
}
