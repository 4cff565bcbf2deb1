package bundle

import (
	"slices"
	"strconv"
)

// VerifyKeys returns the key that signed the statement. The hint in the bundle does not decide which keys are tried.
// The error is [ErrIdentity] if the bundle has a certificate, and a [*BadSignatureError] if none of the keys signed it.
func (b *Bundle) VerifyKeys(keys []Key) (Key, error) {
	if len(keys) == 0 {
		return Key{}, ErrNoKeys
	}
	if b.Certificate != nil {
		return Key{}, ErrIdentity
	}
	message := encodePAE(payloadType, b.payload)
	for _, k := range keys {
		if signed(k, message, b.signature) {
			return k, nil
		}
	}
	return Key{}, &BadSignatureError{Keys: slices.Clone(keys), Hint: b.Hint}
}

// encodePAE returns what a DSSE envelope signs: its pre-authentication encoding.
func encodePAE(payloadType string, payload []byte) []byte {
	pae := []byte("DSSEv1 ")
	pae = strconv.AppendInt(pae, int64(len(payloadType)), 10)
	pae = append(append(pae, ' '), payloadType...)
	pae = strconv.AppendInt(append(pae, ' '), int64(len(payload)), 10)
	return append(append(pae, ' '), payload...)
}
