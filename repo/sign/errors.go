package sign

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers branch on. They are returned wrapped. An error about several signatures wraps one for each.
var (
	// ErrUnsigned says that a commit has no signature of a kind that is demanded.
	ErrUnsigned = errors.New("no signatures found")
	// ErrBadSignature says that a signature is malformed, or is not one of this commit by a key that is known.
	ErrBadSignature = errors.New("bad signature")
	// ErrNoKey says that the key of a signature is not among those of the remote, or that there are no keys at all.
	ErrNoKey = errors.New("public key not found")
	// ErrExpiredSignature says that a signature is no longer valid, or not yet.
	ErrExpiredSignature = errors.New("signature expired")
	// ErrExpiredKey says that the key of a signature is no longer valid, or not yet.
	ErrExpiredKey = errors.New("key expired")
	// ErrRevokedKey says that the key of a signature was revoked.
	ErrRevokedKey = errors.New("key revoked")
	// ErrWeak says that a signature is made with an algorithm or a key that is too weak.
	ErrWeak = errors.New("too weak")
	// ErrNoRemote says that there is no remote of a name.
	ErrNoRemote = errors.New("not found")
	// ErrNotConfigured says that a remote's configuration demands no signature, so that nothing could be verified.
	ErrNotConfigured = errors.New("nothing to verify")
	// ErrConfig says that the configuration of a remote, a key or a file of keys is invalid.
	ErrConfig = errors.New("invalid configuration of signatures")
)

// SignatureError says why one signature does not count.
type SignatureError struct {
	// Engine is the engine of the signature.
	Engine string
	// Signer is the key of the signature as in [Signature], or as much of it as is known.
	Signer string
	// Err wraps one of the errors of this package.
	Err error
}

// Error implements error. The message has libostree's words where it has some.
func (e *SignatureError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *SignatureError) Unwrap() error { return e.Err }

// shownErrors is how many signatures a message speaks of.
const shownErrors = 3

// refusal is the error about a commit of which no signature counts.
type refusal struct {
	what   string
	causes []error
	hint   string
}

func (e *refusal) Error() string {
	var said []string
	for _, c := range e.causes {
		if text := c.Error(); len(said) == 0 || said[len(said)-1] != text {
			said = append(said, text)
		}
	}
	if n := len(said); n > shownErrors {
		said = append(said[:shownErrors], fmt.Sprintf("and %d more", n-shownErrors))
	}
	text := e.what + strings.Join(said, "; ")
	if e.hint != "" {
		text += ": " + e.hint
	}
	return text
}

// Unwrap returns why each signature does not count.
func (e *refusal) Unwrap() []error { return e.causes }

// worded is an error with a text of its own that wraps another one without its text.
type worded struct {
	text string
	err  error
}

func (e *worded) Error() string { return e.text }
func (e *worded) Unwrap() error { return e.err }

// wordedf returns an error that wraps err and has the given text.
func wordedf(err error, format string, args ...any) error {
	return &worded{fmt.Sprintf(format, args...), err}
}
