package sign

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// signingKey is a key of a certificate that a signature names.
type signingKey struct {
	cert *certificate
	key  *packet.PublicKey
	sub  *subkey // nil if it is the primary key
}

// find returns the keys that a signature may be by. If it has a fingerprint that is not known, its key id counts. That
// is usually there too, and a signature by another key with that id is a bad one.
func (k *keyring) find(sig *packet.Signature) []signingKey {
	keys := k.matching(sig.CheckKeyIdOrFingerprint)
	if len(keys) == 0 && sig.IssuerKeyId != nil {
		keys = k.matching(func(p *packet.PublicKey) bool { return p.KeyId == *sig.IssuerKeyId })
	}
	return keys
}

func (k *keyring) matching(is func(*packet.PublicKey) bool) (keys []signingKey) {
	for _, c := range k.sorted() {
		if is(c.primary) {
			keys = append(keys, signingKey{c, c.primary, nil})
		}
		for _, s := range c.subkeys {
			if is(s.key) {
				keys = append(keys, signingKey{c, s.key, s})
			}
		}
	}
	return keys
}

// sorted returns the certificates in the order of their fingerprints.
func (k *keyring) sorted() []*certificate {
	list := make([]*certificate, 0, len(k.certs))
	for _, c := range k.certs {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *certificate) int {
		return bytes.Compare(a.primary.Fingerprint, b.primary.Fingerprint)
	})
	return list
}

// check returns why the key may not sign at a time: it is revoked, expired, not meant for signing, or not bound to its
// certificate. The rules are gpg's: a key that is revoked or expired now is so for all its signatures.
func (k *keyring) check(s signingKey, now time.Time) error {
	c := s.cert
	if err := k.revoked(c); err != nil {
		return err
	}
	if err := expired(c.primary, 0, now); err != nil {
		return err
	}
	self := c.self(now)
	if !self.valid {
		return fmt.Errorf("%w: the key has no valid self-signature", ErrBadSignature)
	}
	if err := expired(c.primary, self.lifetime, now); err != nil {
		return err
	}
	if s.sub != nil {
		return c.checkSubkey(s.sub, now)
	}
	if self.flags != nil && !self.flags.FlagSign {
		return fmt.Errorf("%w: the key is not for signing", ErrBadSignature)
	}
	return nil
}

// expired returns an error if a key is not valid at a time, given its lifetime in seconds, where 0 is without end.
func expired(key *packet.PublicKey, lifetime uint32, now time.Time) error {
	if key.CreationTime.After(now) {
		return fmt.Errorf("%w: the key is from %s, in the future: is the clock right?", ErrExpiredKey, day(key.CreationTime))
	}
	if end := key.CreationTime.Add(time.Duration(lifetime) * time.Second); lifetime > 0 && !end.After(now) {
		return wordedf(ErrExpiredKey, "Key expired %s", day(end))
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

// usable reports whether a self-signature may be relied on: it has not expired, and has nothing that must be understood
// and is not.
func usable(sig *packet.Signature, now time.Time) bool {
	return sig != nil && !sig.SigExpired(now) && !slices.ContainsFunc(sig.Notations, critical)
}

func critical(n *packet.Notation) bool { return n.IsCritical }

// selfState is what the self-signatures of a certificate say about its primary key.
type selfState struct {
	valid    bool
	lifetime uint32            // in seconds, or 0
	flags    *packet.Signature // the one whose key flags count, or nil
	name     string            // the main user id
}

// self evaluates the self-signatures. As with gpg, one over the key itself precedes those over user ids, of which the
// newest counts.
func (c *certificate) self(now time.Time) (state selfState) {
	var direct *packet.Signature
	for _, s := range c.sigs {
		if usable(s.sig, now) && s.sig.SigType == packet.SigTypeDirectSignature && newer(s.sig, direct) &&
			s.sig.CheckKeyIdOrFingerprint(c.primary) && c.primary.VerifyDirectKeySignature(s.sig) == nil {
			direct = s.sig
		}
	}
	var sigs []*packet.Signature
	var named *packet.Signature
	for _, u := range c.users {
		sig := u.newest(c.primary, now)
		if sig == nil {
			continue
		}
		state.valid = true
		if sig.SigType == packet.SigTypeCertificationRevocation {
			continue
		}
		sigs = append(sigs, sig)
		if named == nil || isMain(sig) && !isMain(named) || isMain(sig) == isMain(named) && newer(sig, named) {
			state.name, named = u.name, sig
		}
	}
	slices.SortStableFunc(sigs, func(a, b *packet.Signature) int { return b.CreationTime.Compare(a.CreationTime) })
	if direct != nil {
		state.valid = true
		sigs = slices.Insert(sigs, 0, direct)
	}
	for _, sig := range sigs {
		if sig.KeyLifetimeSecs != nil && state.lifetime == 0 {
			state.lifetime = *sig.KeyLifetimeSecs
		}
		if sig.FlagsValid && state.flags == nil {
			state.flags = sig
		}
	}
	return state
}

func newer(a, b *packet.Signature) bool { return b == nil || a.CreationTime.After(b.CreationTime) }

func isMain(sig *packet.Signature) bool { return sig.IsPrimaryId != nil && *sig.IsPrimaryId }

// newest returns the newest self-signature over the user id, which may revoke it, or nil.
func (u *userID) newest(primary *packet.PublicKey, now time.Time) (sig *packet.Signature) {
	for _, s := range u.sigs {
		if !usable(s.sig, now) || !newer(s.sig, sig) || !s.sig.CheckKeyIdOrFingerprint(primary) {
			continue
		}
		switch s.sig.SigType {
		case packet.SigTypeGenericCert, packet.SigTypePersonaCert, packet.SigTypeCasualCert, packet.SigTypePositiveCert,
			packet.SigTypeCertificationRevocation:
			if primary.VerifyUserIdSignature(u.name, primary, s.sig) == nil {
				sig = s.sig
			}
		}
	}
	return sig
}

// checkSubkey returns why a subkey of a valid certificate may not sign.
func (c *certificate) checkSubkey(s *subkey, now time.Time) error {
	var binding *packet.Signature
	for _, b := range s.sigs {
		class, ok := b.class()
		if !ok || class == packet.SigTypeSubkeyRevocation {
			if b.sig == nil {
				return fmt.Errorf("%w: it has a revocation that cannot be checked", ErrRevokedKey)
			}
			if c.primary.VerifySubkeyRevocationSignature(b.sig, s.key) == nil {
				return revokedBy(b.sig)
			}
		}
		if class == packet.SigTypeSubkeyBinding && usable(b.sig, now) && newer(b.sig, binding) &&
			c.primary.VerifyKeySignature(s.key, b.sig) == nil {
			binding = b.sig
		}
	}
	switch {
	case binding == nil:
		return fmt.Errorf("%w: the subkey is not bound to its key", ErrBadSignature)
	case !binding.FlagSign || binding.EmbeddedSignature == nil || !usable(binding.EmbeddedSignature, now):
		return fmt.Errorf("%w: the subkey is not for signing", ErrBadSignature)
	case binding.KeyLifetimeSecs != nil:
		return expired(s.key, *binding.KeyLifetimeSecs, now)
	}
	return expired(s.key, 0, now)
}

func revokedBy(sig *packet.Signature) error {
	if sig.RevocationReasonText != "" {
		return wordedf(ErrRevokedKey, "Key revoked %s (%s)", day(sig.CreationTime), sig.RevocationReasonText)
	}
	return wordedf(ErrRevokedKey, "Key revoked %s", day(sig.CreationTime))
}

// revoked returns an error if the primary key is revoked, by itself or by a key that it appointed for that. A
// revocation that cannot be checked counts.
func (k *keyring) revoked(c *certificate) error {
	for _, s := range slices.Concat(c.sigs, k.loose) {
		class, ok := s.class()
		if ok && class != packet.SigTypeKeyRevocation {
			continue
		}
		if s.sig == nil {
			return fmt.Errorf("%w: it has a revocation that cannot be checked", ErrRevokedKey)
		}
		if s.sig.CheckKeyIdOrFingerprint(c.primary) {
			if c.primary.VerifyRevocationSignature(s.sig) == nil {
				return revokedBy(s.sig)
			}
			continue
		}
		if slices.Contains(c.sigs, s) && k.revokedByOther(c, s.sig) {
			return revokedBy(s.sig)
		}
	}
	return nil
}

// revokedByOther reports whether a revocation is by a key that the certificate appointed. If that key is not there, the
// revocation counts.
func (k *keyring) revokedByOther(c *certificate, sig *packet.Signature) bool {
	return slices.ContainsFunc(c.revokers(), func(revoker []byte) bool {
		if !sig.CheckKeyIdOrFingerprintExplicit(revoker, binary.BigEndian.Uint64(revoker[len(revoker)-8:])) {
			return false
		}
		other := k.certs[fmt.Sprintf("%X", revoker)]
		return other == nil || verifyRevocation(c.primary, other.primary, sig) == nil
	})
}

// verifyRevocation verifies the revocation of one key by another.
func verifyRevocation(key, by *packet.PublicKey, sig *packet.Signature) error {
	h, err := sig.PrepareVerify()
	if err != nil {
		return err
	}
	if err := key.SerializeForHash(h); err != nil {
		return err
	}
	return by.VerifySignature(h, sig)
}

// revocationKey is the type of the subpacket that appoints a key for revocations: RFC 4880, section 5.2.3.15.
const revocationKey = 12

// revokers returns the fingerprints of the keys that may revoke the certificate.
func (c *certificate) revokers() (fingerprints [][]byte) {
	for _, s := range c.sigs {
		if class, _ := s.class(); class != packet.SigTypeDirectSignature ||
			s.sig != nil && c.primary.VerifyDirectKeySignature(s.sig) != nil {
			continue
		}
		for typ, content := range hashedSubpackets(s.body) {
			if typ == revocationKey && len(content) == 22 && content[0]&0x80 != 0 {
				fingerprints = append(fingerprints, content[2:])
			}
		}
	}
	return fingerprints
}

// hashedSubpackets yields the type and the content of each hashed subpacket of a signature of version 4.
func hashedSubpackets(body []byte) func(func(byte, []byte) bool) {
	return func(yield func(byte, []byte) bool) {
		if len(body) < 6 || body[0] != 4 {
			return
		}
		area := body[6:]
		if n := int(binary.BigEndian.Uint16(body[4:])); n <= len(area) {
			area = area[:n]
		}
		for len(area) > 0 {
			n, head, err := subpacketLength(area)
			if err != nil || n == 0 || n > len(area)-head {
				return
			}
			packet := area[head : head+n]
			if !yield(packet[0]&0x7f, packet[1:]) {
				return
			}
			area = area[head+n:]
		}
	}
}

var errShort = errors.New("too short")

// subpacketLength returns the length of a subpacket, and that of its length.
func subpacketLength(b []byte) (n, head int, err error) {
	switch {
	case b[0] < 192:
		return int(b[0]), 1, nil
	case b[0] < 255 && len(b) > 1:
		return int(b[0]-192)<<8 + int(b[1]) + 192, 2, nil
	case b[0] == 255 && len(b) > 4:
		return int(binary.BigEndian.Uint32(b[1:]) & 0x7fffffff), 5, nil
	}
	return 0, 0, errShort
}
