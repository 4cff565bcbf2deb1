package sign_test

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

const gpgsigs = "ostree.gpgsigs"

// gpgRemote is a remote with the default configuration.
const gpgRemote = `[remote "os"]`

// name is the name of a key in the results.
func name(e *openpgp.Entity) string {
	return fmt.Sprintf("gpg %X %s", e.PrimaryKey.Fingerprint, e.PrimaryIdentity().Name)
}

// flipped returns data with one bit changed, counted from the end.
func flipped(data []byte, fromEnd int) []byte {
	out := bytes.Clone(data)
	out[len(out)-fromEnd] ^= 1
	return out
}

func TestAGPGSignatureCountsOnlyIfGPGWouldCallItGood(t *testing.T) {
	t.Parallel()
	alice, bob := gpgKey(t, "alice"), gpgKey(t, "bob")
	short := gpgKey(t, "short", func(c *packet.Config) { c.KeyLifetimeSecs = 24 * hour })
	weak := gpgKey(t, "weak", func(c *packet.Config) { c.Algorithm, c.RSABits = packet.PubKeyAlgoRSA, 1024 })
	strong := gpgKey(t, "strong", func(c *packet.Config) { c.Algorithm, c.RSABits = packet.PubKeyAlgoRSA, 2048 })
	newborn := gpgKey(t, "newborn", func(c *packet.Config) { c.Time = func() time.Time { return today.AddDate(1, 0, 0) } })
	certifier := gpgKey(t, "certifier")
	certifier.PrimaryIdentity().SelfSignature.FlagSign = false
	resign(t, certifier)
	revoked := gpgKey(t, "revoked")
	if err := revoked.RevokeKey(packet.KeySuperseded, "there is a new one", at(today.AddDate(0, -1, 0))); err != nil {
		t.Fatal(err)
	}
	keys := public(t, bob, alice, short, weak, strong, newborn, certifier, revoked)

	made := func(change func(*packet.Signature)) [][]byte {
		return [][]byte{gpgSign(t, alice.PrivateKey, commit, change)}
	}
	by := func(e *openpgp.Entity, data []byte) []byte { return gpgSign(t, e.PrivateKey, data) }
	good := by(alice, commit)
	week := 7 * 24 * hour
	both := min(name(alice), name(bob)) + "; " + max(name(alice), name(bob))
	for _, c := range []struct {
		what string
		sigs [][]byte
		good string // the signers
		err  error
	}{
		{"a good one", [][]byte{good}, name(alice), nil},
		{"a good one by an RSA key", [][]byte{by(strong, commit)}, name(strong), nil},
		{"two", [][]byte{good, by(bob, commit)}, both, nil},
		{"two in one element", [][]byte{append(bytes.Clone(good), by(bob, commit)...)}, both, nil},
		{"the same twice", [][]byte{good, good}, name(alice), nil},
		{"one by a key that nobody knows, and a good one",
			[][]byte{by(gpgKey(t, "eve"), commit), good}, name(alice), nil},
		{"garbage, and a good one", [][]byte{[]byte("garbage"), {}, good}, name(alice), nil},
		{"a good one, and garbage behind it", [][]byte{append(bytes.Clone(good), "garbage"...)}, name(alice), nil},
		{"a packet of another type, and a good one", [][]byte{append(public(t, alice), good...)}, name(alice), nil},
		{"a bad one, and a good one", [][]byte{flipped(good, 1), good}, name(alice), nil},
		{"not expired", made(func(s *packet.Signature) { s.SigLifetimeSecs = pointer(52 * week) }), name(alice), nil},

		{"none", [][]byte{}, "", sign.ErrUnsigned},
		{"an empty one", [][]byte{{}}, "", sign.ErrBadSignature},
		{"garbage", [][]byte{[]byte("garbage")}, "", sign.ErrBadSignature},
		{"zeros", [][]byte{make([]byte, 300)}, "", sign.ErrBadSignature},
		{"a key in place of one", [][]byte{public(t, alice)}, "", sign.ErrBadSignature},
		{"of another commit", [][]byte{by(alice, []byte("another"))}, "", sign.ErrBadSignature},
		{"of nothing", [][]byte{by(alice, nil)}, "", sign.ErrBadSignature},
		{"with one bit changed", [][]byte{flipped(good, 1)}, "", sign.ErrBadSignature},
		{"cut off", [][]byte{good[:len(good)-1]}, "", sign.ErrBadSignature},
		{"as text", made(func(s *packet.Signature) { s.SigType = packet.SigTypeText }), "", sign.ErrBadSignature},
		{"a certificate", made(func(s *packet.Signature) { s.SigType = packet.SigTypeGenericCert }), "",
			sign.ErrBadSignature},
		{"by a key that nobody knows", [][]byte{by(gpgKey(t, "eve"), commit)}, "", sign.ErrNoKey},
		{"by a key of the same name", [][]byte{by(gpgKey(t, "alice"), commit)}, "", sign.ErrNoKey},
		{"by one key in the name of another",
			[][]byte{bytes.ReplaceAll(good, alice.PrimaryKey.Fingerprint[12:], bob.PrimaryKey.Fingerprint[12:])}, "",
			sign.ErrBadSignature},
		{"expired", made(func(s *packet.Signature) { s.SigLifetimeSecs = pointer(week) }), "", sign.ErrExpiredSignature},
		{"from the future", made(func(s *packet.Signature) { s.CreationTime = today.Add(time.Hour) }), "",
			sign.ErrExpiredSignature},
		{"older than its key", made(func(s *packet.Signature) { s.CreationTime = birth.Add(-time.Hour) }), "",
			sign.ErrBadSignature},
		{"with a demand that is not understood", made(func(s *packet.Signature) {
			s.Notations = []*packet.Notation{{Name: "only@example.com", Value: []byte("mondays"), IsCritical: true}}
		}), "", sign.ErrBadSignature},
		{"with SHA-1", made(func(s *packet.Signature) { s.Hash = crypto.SHA1 }), "", sign.ErrWeak},
		{"by an RSA key of 1024 bits", [][]byte{by(weak, commit)}, "", sign.ErrWeak},
		{"by a key that expired later", [][]byte{by(short, commit)}, "", sign.ErrExpiredKey},
		{"by a key from the future", [][]byte{gpgSign(t, newborn.PrivateKey, commit)}, "", sign.ErrExpiredKey},
		{"by a key that was revoked later", [][]byte{by(revoked, commit)}, "", sign.ErrRevokedKey},
		{"by a key that is not for signing", [][]byte{by(certifier, commit)}, "", sign.ErrBadSignature},
	} {
		s := newSystem(t).set(t, gpgRemote).file(t, "ostree/repo/os.trustedkeys.gpg", keys)
		list, err := s.verify(t, detached(t, gpgsigs, c.sigs...))
		if !errors.Is(err, c.err) || signers(list) != c.good {
			t.Errorf("%s: signed by %q, %v; want %q, %v", c.what, signers(list), err, c.good, c.err)
		}
	}
}

func pointer[T any](v T) *T { return &v }

// resign makes the self-signatures of a key again, after a change.
func resign(t *testing.T, e *openpgp.Entity) {
	t.Helper()
	for _, id := range e.Identities {
		if err := id.SelfSignature.SignUserId(id.UserId.Id, e.PrimaryKey, e.PrivateKey, at(birth)); err != nil {
			t.Fatal(err)
		}
		id.Signatures = []*packet.Signature{id.SelfSignature}
	}
}

func TestASubkeySignsIfItAndItsKeyAreValid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what   string
		change func(t *testing.T, e *openpgp.Entity)
		err    error
	}{
		{"as it is", func(*testing.T, *openpgp.Entity) {}, nil},
		{"subkey revoked", func(t *testing.T, e *openpgp.Entity) {
			must(t, e.RevokeSubkey(&e.Subkeys[1], packet.NoReason, "", at(birth)))
		}, sign.ErrRevokedKey},
		{"key revoked", func(t *testing.T, e *openpgp.Entity) {
			must(t, e.RevokeKey(packet.KeyCompromised, "", at(birth)))
		}, sign.ErrRevokedKey},
		{"subkey expired", func(t *testing.T, e *openpgp.Entity) {
			rebind(t, e, func(s *packet.Signature) { s.KeyLifetimeSecs = pointer(24 * hour) })
		}, sign.ErrExpiredKey},
		{"key expired", func(t *testing.T, e *openpgp.Entity) {
			e.PrimaryIdentity().SelfSignature.KeyLifetimeSecs = pointer(24 * hour)
			resign(t, e)
		}, sign.ErrExpiredKey},
		{"subkey not for signing", func(t *testing.T, e *openpgp.Entity) {
			rebind(t, e, func(s *packet.Signature) { s.FlagSign, s.FlagAuthenticate = false, true })
		}, sign.ErrBadSignature},
		{"subkey of another key", func(t *testing.T, e *openpgp.Entity) {
			stolen := gpgKey(t, "thief")
			stolen.Subkeys = e.Subkeys
			*e = *stolen
		}, sign.ErrBadSignature},
		{"subkey without a signature of the key", func(_ *testing.T, e *openpgp.Entity) {
			e.Subkeys[1].Sig = e.Subkeys[0].Sig
		}, sign.ErrBadSignature},
	} {
		e := gpgKey(t, "alice")
		must(t, e.AddSigningSubkey(at(birth)))
		sig := gpgSign(t, e.Subkeys[1].PrivateKey, commit)
		c.change(t, e)
		s := newSystem(t).set(t, gpgRemote).file(t, "ostree/repo/os.trustedkeys.gpg", public(t, e))
		list, err := s.verify(t, detached(t, gpgsigs, sig))
		if !errors.Is(err, c.err) || err == nil && signers(list) != name(e) {
			t.Errorf("%s: signed by %q, %v; want %v", c.what, signers(list), err, c.err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rebind makes the signature that binds the signing subkey again, after a change.
func rebind(t *testing.T, e *openpgp.Entity, change func(*packet.Signature)) {
	t.Helper()
	sub := e.Subkeys[1]
	change(sub.Sig)
	must(t, sub.Sig.SignKey(sub.PublicKey, e.PrivateKey, at(birth)))
}

// TestCopiesOfAKeyAreOne checks that what any file says about a key counts, such as that it is revoked.
func TestCopiesOfAKeyAreOne(t *testing.T) {
	t.Parallel()
	alice := gpgKey(t, "alice")
	before := public(t, alice)
	must(t, alice.RevokeKey(packet.KeyRetired, "", at(birth)))
	after := public(t, alice)
	metadata := detached(t, gpgsigs, gpgSign(t, alice.PrivateKey, commit))
	certificate := serialized(t, alice.Revocations[0])
	other := public(t, gpgKey(t, "bob"))
	for _, c := range []struct {
		what  string
		files [][]byte
		err   error
	}{
		{"valid", [][]byte{before}, nil},
		{"with another key", [][]byte{other, before}, nil},
		{"revoked", [][]byte{after}, sign.ErrRevokedKey},
		{"the second copy is revoked", [][]byte{before, after}, sign.ErrRevokedKey},
		{"the first copy is revoked", [][]byte{after, before}, sign.ErrRevokedKey},
		{"there is a certificate of revocation", [][]byte{before, certificate}, sign.ErrRevokedKey},
		{"it comes first", [][]byte{certificate, before}, sign.ErrRevokedKey},
	} {
		s := newSystem(t).set(t, gpgRemote, "gpgkeypath="+write(t, t.TempDir()+"/0", c.files[0]))
		if len(c.files) > 1 {
			s = newSystem(t).set(t, gpgRemote, "gpgkeypath="+write(t, t.TempDir()+"/0", c.files[0])+
				","+write(t, t.TempDir()+"/1", c.files[1]))
		}
		if _, err := s.verify(t, metadata); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
	}
}

// TestAKeyThatCannotBeCheckedToTheEndIsNotUsed checks that a revocation which is damaged or of an unknown format is not
// overlooked.
func TestAKeyThatCannotBeCheckedToTheEndIsNotUsed(t *testing.T) {
	t.Parallel()
	alice := gpgKey(t, "alice")
	valid := public(t, alice)
	metadata := detached(t, gpgsigs, gpgSign(t, alice.PrivateKey, commit))
	must(t, alice.RevokeKey(packet.KeyRetired, "", at(birth)))
	revocation := serialized(t, alice.Revocations[0])
	user := bytes.Index(valid, []byte("alice <alice@")) - 2 // the packet with the user id
	between := func(extra []byte) []byte {
		return append(append(bytes.Clone(valid[:user]), extra...), valid[user:]...)
	}
	const header, hash = 2, 3 // bytes before the body; the place of the hash's number in it
	md5, version3, unknown := bytes.Clone(revocation), []byte{0x88, 4, 3, 5, 0x20, 0}, bytes.Clone(revocation)
	md5[header+hash], unknown[header] = 1, 9
	for _, c := range []struct {
		what string
		keys []byte
		err  error
	}{
		{"valid", valid, nil},
		{"revoked", between(revocation), sign.ErrRevokedKey},
		{"a revocation with a hash that is not supported", between(md5), sign.ErrRevokedKey},
		{"a revocation of version 3", between(version3), sign.ErrRevokedKey},
		{"a signature of an unknown version", between(unknown), sign.ErrRevokedKey},
		{"a revocation that is damaged", between(flipped(revocation, 1)), nil}, // as gpg: it is nobody's
		{"the keyring ends early", valid[:len(valid)-1], sign.ErrNoKey},
		{"no user id", valid[:user], sign.ErrBadSignature},
		{"the self-signature is damaged", flipped(valid, len(valid)-user-20-100), sign.ErrBadSignature},
	} {
		s := newSystem(t).set(t, gpgRemote).file(t, "ostree/repo/os.trustedkeys.gpg", c.keys)
		if _, err := s.verify(t, metadata); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
	}
}

func TestThousandsOfSignaturesAreRefused(t *testing.T) {
	t.Parallel()
	alice := gpgKey(t, "alice")
	good := gpgSign(t, alice.PrivateKey, commit)
	bad := flipped(good, 1)
	s := newSystem(t).set(t, gpgRemote).file(t, "ostree/repo/os.trustedkeys.gpg", public(t, alice))
	var elements [][]byte
	var one []byte
	for range 5000 {
		elements = append(elements, bad)
		one = append(one, bad...)
	}
	for what, sigs := range map[string][][]byte{
		"elements": append(elements, good), "packets in one element": {append(one, good...)},
	} {
		list, err := s.verify(t, detached(t, gpgsigs, sigs...))
		if !errors.Is(err, sign.ErrBadSignature) || !strings.Contains(err.Error(), "more than 100 signatures") {
			t.Errorf("%s: %v, %v", what, list, err)
		}
	}
}

// TestSignaturesOfGnuPG checks the files in testdata, which GnuPG made.
func TestSignaturesOfGnuPG(t *testing.T) {
	t.Parallel()
	alice, bob := read(t, "alice.gpg"), read(t, "bob.asc")
	for _, c := range []struct {
		sig  string
		keys []byte
		good string
		err  error
	}{
		{"alice.sig", alice, "gpg C579286D557538B50E718EA360EFD91E17195385 Alice <alice@example.com>", nil},
		{"bob.sig", bob, "gpg 2FB2C6D87E322DB14C53774BB7DAD9747DF1E193 Bob <bob@example.com>", nil},
		{"eve.sig", alice, "", sign.ErrNoKey},
		{"alice.sig", read(t, "alice.rev.asc"), "", sign.ErrNoKey},
	} {
		s := newSystem(t).set(t, gpgRemote).file(t, "ostree/repo/os.trustedkeys.gpg", c.keys)
		list, err := s.verify(t, detached(t, gpgsigs, read(t, c.sig)))
		if !errors.Is(err, c.err) || signers(list) != c.good {
			t.Errorf("%s: signed by %q, %v; want %q, %v", c.sig, signers(list), err, c.good, c.err)
		}
	}
	keys := t.TempDir()
	write(t, keys+"/alice", alice)
	write(t, keys+"/revocation", read(t, "alice.rev.asc"))
	s := newSystem(t).set(t, gpgRemote, "gpgkeypath="+keys)
	if _, err := s.verify(t, detached(t, gpgsigs, read(t, "alice.sig"))); !errors.Is(err, sign.ErrRevokedKey) {
		t.Errorf("with a certificate of revocation: %v", err)
	}
}
