package keyless

import (
	"errors"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// maxTrustedRoot bounds the size of a trusted root in bytes. That of the public good instance has some 7 KiB.
const maxTrustedRoot = 1 << 20

// Options say what an instance of Sigstore lacks. The zero value is for the public good instance, and for any that has
// all parts.
type Options struct {
	// NoSCT is for an instance without logs of certificates: nobody can notice certificates that its authority issued
	// by mistake or under pressure. The trusted root must not have any such log.
	NoSCT bool
	// NoLog is for an instance without transparency logs: nobody can notice signatures that the signer does not know
	// of. The trusted root must not have any such log, and must have a timestamp authority.
	NoLog bool
}

// A Verifier judges bundles by a trusted root. It may be used by several goroutines.
type Verifier struct {
	root    root.TrustedMaterial
	options Options
	// whole is the library's verifier, which has the last word.
	whole *verify.Verifier
}

// New returns a verifier for the content of a trusted_root.json, of an instance that has all parts. Errors wrap
// [ErrTrustedRoot].
func New(trustedRoot []byte) (*Verifier, error) { return NewWith(trustedRoot, Options{}) }

// NewWith is like [New], for an instance that lacks something.
func NewWith(trustedRoot []byte, o Options) (*Verifier, error) {
	r, err := parseRoot(trustedRoot)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrustedRoot, err)
	}
	return newVerifier(r, o)
}

func parseRoot(data []byte) (*root.TrustedRoot, error) {
	if len(data) > maxTrustedRoot {
		return nil, fmt.Errorf("it has more than %s", sizes.Format(maxTrustedRoot))
	}
	if err := jsonkeys.Check(data, nil); err != nil {
		return nil, err
	}
	return root.NewTrustedRootFromJSON(data)
}

func newVerifier(r root.TrustedMaterial, o Options) (*Verifier, error) {
	var lacks error
	cts, logs, stampers := len(r.CTLogs()), len(r.RekorLogs()), len(r.TimestampingAuthorities())
	switch {
	case len(r.FulcioCertificateAuthorities()) == 0:
		lacks = errors.New("it has no certificate authority")
	case cts == 0 && !o.NoSCT:
		lacks = errors.New("it has no log of certificates")
	case cts > 0 && o.NoSCT:
		lacks = errors.New("it has a log of certificates, so that certificates must be in it")
	case logs == 0 && !o.NoLog:
		lacks = errors.New("it has no transparency log")
	case logs > 0 && o.NoLog:
		lacks = errors.New("it has a transparency log, so that signatures must be in it")
	case logs == 0 && stampers == 0:
		lacks = errors.New("it has neither a transparency log nor a timestamp authority: nobody could vouch for times")
	}
	if lacks != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrustedRoot, lacks)
	}
	demands := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if !o.NoSCT {
		demands = append(demands, verify.WithSignedCertificateTimestamps(1))
	}
	if !o.NoLog {
		demands = append(demands, verify.WithTransparencyLog(1))
	}
	whole, err := verify.NewVerifier(r, demands...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrustedRoot, err)
	}
	return &Verifier{r, o, whole}, nil
}
