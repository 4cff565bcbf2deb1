package keyless

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/ostree-ext/ostree-ext-go/container/trust/statement"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// MaxBundle bounds the size of a bundle in bytes. Those of cosign have some 10 KiB.
const MaxBundle = 1 << 20

// mediaTypes are the spellings of version 0.3. Earlier versions carried their own chains of certificates.
var mediaTypes = []string{
	"application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3",
}

// Found is what a good bundle proves.
type Found struct {
	// Identity and Issuer are those in the certificate.
	Identity, Issuer string
	// At is when the signature was made, at the latest. A log or a timestamp authority vouches for it.
	At time.Time
	// Log is the address of a transparency log, and LogIndex the number of the entry in it. Log is empty if there is no
	// log (see [Options]).
	Log      string
	LogIndex int64
}

// Verify judges a bundle: whether one of the allowed identities has signed the image with a digest. The package comment
// says what is demanded. An error about the bundle wraps one of the reasons, such as [ErrIdentity]; an error about the
// allowed identities wraps [ErrAllowed].
func (v *Verifier) Verify(data []byte, subject digest.Digest, allowed []Identity) (Found, error) {
	who, err := compile(allowed)
	if err != nil {
		return Found{}, err
	}
	if err := subject.Validate(); err != nil || subject.Algorithm() != digest.SHA256 {
		return Found{}, fmt.Errorf("%w: the digest %q is not SHA-256, which signatures are of", ErrDigest, subject)
	}
	b, err := parse(data)
	if err != nil {
		return Found{}, err
	}
	if err := checkStatement(b.GetDsseEnvelope().GetPayload(), subject); err != nil {
		return Found{}, err
	}
	found, err := v.judge(b)
	if err != nil {
		return Found{}, err
	}
	if err := who.check(found.Issuer, found.Identity); err != nil {
		return Found{}, err
	}
	if err := v.lastWord(b, subject, found); err != nil {
		return Found{}, err
	}
	return found, nil
}

// checkStatement checks that a payload says that the image with a digest was signed.
func checkStatement(payload []byte, subject digest.Digest) error {
	err := statement.Check(payload, subject)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, statement.ErrAttestation):
		return because(ErrPredicate, err)
	case errors.Is(err, statement.ErrOtherSubject):
		return because(ErrDigest, err)
	}
	return because(ErrBundle, err)
}

// parse reads a bundle of the one kind that is judged.
func parse(data []byte) (*bundle.Bundle, error) {
	fail := func(err error) (*bundle.Bundle, error) { return nil, because(ErrBundle, err) }
	if len(data) > MaxBundle {
		return fail(fmt.Errorf("it has more than %s", sizes.Format(MaxBundle)))
	}
	if err := jsonkeys.Check(data, nil); err != nil {
		return fail(err)
	}
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(data); err != nil {
		return fail(err)
	}
	material, envelope := b.GetVerificationMaterial(), b.GetDsseEnvelope()
	switch {
	case !slices.Contains(mediaTypes, b.GetMediaType()):
		return fail(fmt.Errorf("the media type %.200q is not %s", b.GetMediaType(), mediaTypes[0]))
	case material.GetPublicKey() != nil:
		return fail(errors.New("it is signed with a key, and names no identity"))
	case material.GetCertificate() == nil:
		return fail(errors.New("it has a chain of certificates instead of one"))
	case envelope == nil:
		return fail(errors.New("it is a signature of a file and has no statement"))
	case envelope.GetPayloadType() != statement.PayloadType:
		return fail(fmt.Errorf("the payload type %.200q is not %s", envelope.GetPayloadType(),
			statement.PayloadType))
	case len(envelope.GetSignatures()) != 1:
		return fail(fmt.Errorf("it has %d signatures instead of one", len(envelope.GetSignatures())))
	}
	return b, nil
}

// judge checks everything about a bundle that its statement and the allowed identities do not matter for. It takes the
// steps of the library's verifier one by one, to know which of them fails.
func (v *Verifier) judge(e verify.SignedEntity) (Found, error) {
	material, err := e.VerificationContent()
	if err != nil {
		return Found{}, because(ErrBundle, err)
	}
	content, err := e.SignatureContent()
	if err != nil {
		return Found{}, because(ErrBundle, err)
	}
	cert := material.Certificate()
	if err := verify.VerifySignature(content, material, v.root); err != nil {
		return Found{}, because(ErrSignature, err)
	}
	issuer, identity, err := whom(cert)
	if err != nil {
		return Found{}, because(ErrIdentity, err)
	}
	entries, err := v.entries(e, cert, content.Signature())
	if err != nil {
		return Found{}, err
	}
	times, err := v.times(e, entries)
	if err != nil {
		return Found{}, err
	}
	if err := v.checkCertificate(cert, times); err != nil {
		return Found{}, err
	}
	found := Found{Identity: identity, Issuer: issuer, At: slices.MinFunc(times, time.Time.Compare).UTC()}
	if len(entries) > 0 {
		found.Log, found.LogIndex = entries[0].log.BaseURL, entries[0].LogIndex()
	}
	return found, nil
}

// entry is an entry of a log of the trusted root.
type entry struct {
	*tlog.Entry
	log *root.TransparencyLog
	// at is the time that the log vouches for, or zero.
	at time.Time
}

// alone is a bundle with one of its entries.
type alone struct {
	verify.SignedEntity
	entry *tlog.Entry
}

func (a alone) TlogEntries() ([]*tlog.Entry, error) { return []*tlog.Entry{a.entry}, nil }

// entries returns the entries of logs that the trusted root names. There must be one, and all must be good; entries of
// other logs count for nothing.
func (v *Verifier) entries(e verify.SignedEntity, cert *x509.Certificate, signature []byte) ([]entry, error) {
	if v.options.NoLog {
		return nil, nil
	}
	all, err := e.TlogEntries()
	if err != nil {
		return nil, because(ErrLogEntry, err)
	}
	var known []entry
	for _, one := range all {
		log := v.root.RekorLogs()[hex.EncodeToString([]byte(one.LogKeyID()))]
		if log == nil {
			continue
		}
		if err := tlog.ValidateEntry(one); err != nil {
			return nil, because(ErrLogEntry, err)
		}
		// The library compares these too, but not for each kind of entry by the same means.
		logged, ok := one.PublicKey().(*x509.Certificate)
		if !ok || !bytes.Equal(one.Signature(), signature) || !logged.Equal(cert) {
			return nil, fmt.Errorf("%w: it is about another signature or certificate", ErrLogEntry)
		}
		if one.HasInclusionPromise() {
			if err := tlog.VerifySET(one, v.root.RekorLogs()); err != nil {
				return nil, because(ErrLogEntry, err)
			}
			if t := one.IntegratedTime(); t.Before(cert.NotBefore) || t.After(cert.NotAfter) {
				return nil, outsideTime(cert, t)
			}
		}
		times, err := verify.VerifyTlogEntry(alone{e, one}, v.root, 1, true)
		if err != nil {
			return nil, because(ErrLogEntry, err)
		}
		found := entry{Entry: one, log: log}
		if len(times) > 0 {
			found.at = times[0].Time
		}
		known = append(known, found)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("%w (of %d entries, none is by a log that it names)", ErrNoLogEntry, len(all))
	}
	return known, nil
}

// times returns the times that logs and timestamp authorities vouch for. There must be one.
func (v *Verifier) times(e verify.SignedEntity, entries []entry) ([]time.Time, error) {
	stamps, failed, err := verify.VerifySignedTimestamp(e, v.root)
	if err != nil {
		return nil, because(ErrNoTime, err)
	}
	var times []time.Time
	for _, s := range stamps {
		times = append(times, s.Time)
	}
	for _, l := range entries {
		if !l.at.IsZero() {
			times = append(times, l.at)
		}
	}
	if len(times) == 0 {
		return nil, because(ErrNoTime, errors.Join(failed...))
	}
	// The library asks whether the key of a log was valid only where the log vouches for a time.
	for _, l := range entries {
		for _, t := range times {
			if t.Before(l.log.ValidityPeriodStart) || !l.log.ValidityPeriodEnd.IsZero() && t.After(l.log.ValidityPeriodEnd) {
				return nil, fmt.Errorf("%w: the key of %s was not valid at %s", ErrLogEntry, l.log.BaseURL, stamp(t))
			}
		}
	}
	return times, nil
}

// checkCertificate checks that a certificate was valid at all times, who issued it, and that it was recorded.
func (v *Verifier) checkCertificate(cert *x509.Certificate, times []time.Time) error {
	var chains [][]*x509.Certificate
	for _, t := range times {
		var err error
		if chains, err = verify.VerifyLeafCertificate(t, cert, v.root); err == nil {
			continue
		}
		if t.Before(cert.NotBefore) || t.After(cert.NotAfter) {
			if _, err := verify.VerifyLeafCertificate(cert.NotBefore, cert, v.root); err == nil {
				return outsideTime(cert, t)
			}
		}
		return fmt.Errorf("%w, as of %s (its issuer is %q)", ErrChain, stamp(t), cert.Issuer)
	}
	if v.options.NoSCT {
		return nil
	}
	if err := verify.VerifySignedCertificateTimestamp(chains, 1, v.root); err != nil {
		return because(ErrNoSCT, err)
	}
	return nil
}

func outsideTime(cert *x509.Certificate, t time.Time) error {
	return fmt.Errorf("%w: that was at %s, and it was valid from %s to %s", ErrOutsideTime,
		stamp(t), stamp(cert.NotBefore), stamp(cert.NotAfter))
}

// because returns an error about a bundle with details. The library's errors, some of which have several lines, are
// only text here: nobody could tell them apart.
func because(reason, err error) error {
	if err == nil {
		return reason
	}
	return fmt.Errorf("%w: %s", reason, plain(err))
}

// plain returns the text of an error of the library on one line, shortened.
func plain(err error) string {
	return fmt.Sprintf("%.500s", strings.Join(strings.Fields(err.Error()), " "))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// lastWord has the library judge the bundle as a whole, so that a step that it adds in another version is not missed
// here. It must agree about who signed what.
func (v *Verifier) lastWord(b *bundle.Bundle, subject digest.Digest, found Found) error {
	sum, err := hex.DecodeString(subject.Encoded())
	if err != nil {
		return because(ErrDigest, err)
	}
	id, err := verify.NewShortCertificateIdentity(found.Issuer, "", found.Identity, "")
	if err != nil {
		return because(ErrIdentity, err)
	}
	policy := verify.NewPolicy(verify.WithArtifactDigest("sha256", sum), verify.WithCertificateIdentity(id))
	if _, err := v.whole.Verify(b, policy); err != nil {
		return because(ErrBundle, err)
	}
	return nil
}
