package signer

import (
	"crypto"
	"time"

	"github.com/opencontainers/go-digest"
)

// WithPause returns options with another time before looking at what was written.
func WithPause(o Options, d time.Duration) Options {
	o.pause = d
	return o
}

// SignedNames returns the references that attachments name.
func SignedNames(image string, d digest.Digest, more ...string) ([]string, error) {
	n, err := newNames(image, d, more)
	if err != nil {
		return nil, err
	}
	return n.signed, nil
}

// SignMessage and VerifyMessage are those of attachments.
var (
	SignMessage   func(crypto.Signer, []byte) ([]byte, error) = signMessage
	VerifyMessage func(crypto.PublicKey, []byte, []byte) bool = verifyMessage
)
