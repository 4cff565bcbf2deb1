package sign

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// GPG is the engine of OpenPGP signatures. The others are those of [Engines].
const GPG = "gpg"

// gpgKey is the key of detached metadata with GPG signatures.
const gpgKey = "ostree.gpgsigs"

// minKeyBits is the size of the smallest RSA or DSA key whose signatures count, in bits. Those of other algorithms are
// large enough.
const minKeyBits = 2047

// weakHashes are the hashes that can be made to collide. gpg accepts SHA-1, which no gpg since 2014 uses by itself.
var weakHashes = []crypto.Hash{crypto.MD5, crypto.SHA1, crypto.RIPEMD160}

// gpgVerifier judges GPG signatures.
type gpgVerifier struct {
	ring keyring
	// places are the files and directories that the keys are from, and hint is what to do if a key is missing.
	places []string
	hint   string
	// only are fingerprints or key ids of the keys that count, or none for all.
	only []string
	now  func() time.Time
}

// verify returns the good signatures of a commit. If there is none, it returns an error.
func (v *gpgVerifier) verify(commit []byte, signed metadata) ([]Signature, error) {
	list, err := signed.list(gpgKey)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, wordedf(ErrUnsigned, "GPG verification enabled, but no signatures found "+
			"(use gpg-verify=false in remote config to disable)")
	}
	var good []Signature
	r := &refusal{what: "no good GPG signature: "}
	refuse := func(signer string, err error) {
		r.causes = append(r.causes, &SignatureError{Engine: GPG, Signer: signer, Err: err})
	}
	left := maxSignatures
	for _, element := range list {
		for sig, err := range parsedSignatures(element) {
			signer := ""
			if left--; left < 0 {
				err = errTooMany
			}
			if err == nil {
				signer, err = v.judge(commit, sig)
			}
			if err != nil {
				refuse(signer, err)
			} else if s := (Signature{Engine: GPG, Signer: signer}); !slices.Contains(good, s) {
				good = append(good, s)
			}
			if left < 0 {
				return nil, r
			}
		}
	}
	if len(good) > 0 {
		return good, nil
	}
	if errors.Is(r, ErrNoKey) {
		r.hint = v.missing()
	}
	return nil, r
}

// missing says where keys were looked for, and what to do.
func (v *gpgVerifier) missing() string {
	var b strings.Builder
	places := strings.Join(v.places, ", ")
	if len(v.ring.certs) == 0 {
		fmt.Fprintf(&b, "there are no keys in %s", places)
	} else {
		fmt.Fprintf(&b, "there are only other keys in %s", places)
	}
	for _, err := range v.ring.broken {
		fmt.Fprintf(&b, " (%v)", err)
	}
	return b.String() + ": " + v.hint
}

// parsedSignatures yields the signatures in an element of the list, and an error for whatever else is in it.
func parsedSignatures(element []byte) func(func(*packet.Signature, error) bool) {
	bad := func(err error) error { return fmt.Errorf("%w: %w", ErrBadSignature, err) }
	return func(yield func(*packet.Signature, error) bool) {
		r := packet.NewOpaqueReader(bytes.NewReader(element))
		for n := 0; ; n++ {
			p, err := r.Next()
			if errors.Is(err, io.EOF) {
				if n == 0 {
					yield(nil, bad(errors.New("it is empty")))
				}
				return
			}
			if err != nil {
				yield(nil, bad(err))
				return
			}
			var sig *packet.Signature
			if p.Tag != tagSignature {
				err = fmt.Errorf("an OpenPGP packet of type %d", p.Tag)
			} else {
				sig, err = parsePacket[*packet.Signature](p)
			}
			if err != nil {
				sig, err = nil, bad(err)
			}
			if !yield(sig, err) {
				return
			}
		}
	}
}

// judge returns who made a signature, as far as that is known, and why it does not count.
func (v *gpgVerifier) judge(commit []byte, sig *packet.Signature) (signer string, err error) {
	made := fmt.Sprintf("Signature made %s using key ID %s", day(sig.CreationTime), issuer(sig))
	keys := v.ring.find(sig)
	if len(keys) == 0 {
		return issuer(sig), wordedf(ErrNoKey, "%s: Can't check signature: public key not found", made)
	}
	for _, key := range keys {
		signer = signerOf(key, v.now())
		if err = verifyBinary(commit, key.key, sig); err == nil {
			if err = v.acceptable(key, sig); err != nil {
				err = fmt.Errorf("%s by %s: %w", made, signer, err)
			}
			return signer, err
		}
	}
	return signer, fmt.Errorf("%s: BAD signature from %q (Primary key ID %016X): %w", made,
		keys[0].cert.self(v.now()).name, keys[0].cert.primary.KeyId, err)
}

// issuer returns the fingerprint or the id of the key that a signature says it is by.
func issuer(sig *packet.Signature) string {
	switch {
	case len(sig.IssuerFingerprint) >= 20:
		return fmt.Sprintf("%X", sig.IssuerFingerprint)
	case sig.IssuerKeyId != nil:
		return fmt.Sprintf("%016X", *sig.IssuerKeyId)
	}
	return "unknown"
}

// signerOf names a key: the fingerprint of its primary key and the user id.
func signerOf(key signingKey, now time.Time) string {
	return strings.TrimSpace(fingerprint(key.cert.primary) + " " + key.cert.self(now).name)
}

// verifyBinary verifies a signature over data as they are.
func verifyBinary(data []byte, key *packet.PublicKey, sig *packet.Signature) error {
	if sig.SigType != packet.SigTypeBinary {
		return fmt.Errorf("%w: it is of type %#02x, not a signature of data", ErrBadSignature, uint8(sig.SigType))
	}
	h, err := sig.PrepareVerify()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	h.Write(data)
	if err := key.VerifySignature(h, sig); err != nil {
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	return nil
}

// acceptable returns why a signature that is mathematically right does not count.
func (v *gpgVerifier) acceptable(key signingKey, sig *packet.Signature) error {
	now := v.now()
	if weak(sig) {
		return fmt.Errorf("%w: the hash of the signature is %s: sign again with another", ErrWeak, sig.Hash)
	}
	switch key.key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoDSA:
		if bits, err := key.key.BitLength(); err != nil || bits < minKeyBits {
			return fmt.Errorf("%w: the key has only %d bits", ErrWeak, bits)
		}
	}
	if err := v.ring.check(key, now); err != nil {
		return err
	}
	if !v.wanted(key) {
		return fmt.Errorf("%w: it is not one of the keys that were asked for", ErrNoKey)
	}
	switch {
	case slices.ContainsFunc(sig.Notations, critical):
		return fmt.Errorf("%w: it has a critical notation that is not known", ErrBadSignature)
	case sig.CreationTime.Before(key.key.CreationTime):
		return fmt.Errorf("%w: it is older than its key", ErrBadSignature)
	case sig.CreationTime.After(now):
		return fmt.Errorf("%w: it is from the future: is the clock right?", ErrExpiredSignature)
	case sig.SigExpired(now):
		end := sig.CreationTime.Add(time.Duration(*sig.SigLifetimeSecs) * time.Second)
		return wordedf(ErrExpiredSignature, "Signature expired %s", day(end))
	}
	return nil
}

// wanted reports whether the key is among those that count.
func (v *gpgVerifier) wanted(key signingKey) bool {
	return len(v.only) == 0 || slices.ContainsFunc(v.only, func(id string) bool {
		return matchesID(fingerprint(key.key), id) || matchesID(fingerprint(key.cert.primary), id)
	})
}

// weak reports whether the hash of a signature is too weak.
func weak(sig *packet.Signature) bool { return slices.Contains(weakHashes, sig.Hash) }

// matchesID reports whether a fingerprint is meant by a key id, which is its end.
func matchesID(fingerprint, id string) bool {
	return isKeyID(id) && strings.HasSuffix(strings.ToUpper(fingerprint), keyID(id))
}

// isKeyID reports whether a text is the id or the fingerprint of a key. Short ids, of 8 digits, can be forged.
func isKeyID(id string) bool {
	id = keyID(id)
	return len(id) >= 16 && strings.Trim(id, "0123456789ABCDEF") == ""
}

// keyID returns an id without the prefix that some programs print.
func keyID(id string) string { return strings.TrimPrefix(strings.ToUpper(id), "0X") }
