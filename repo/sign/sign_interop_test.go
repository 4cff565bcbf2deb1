//go:build interop

package sign_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// run runs a program with some input and returns its standard output. It must succeed.
func run(t testing.TB, input []byte, program string, args ...string) []byte {
	t.Helper()
	out, err := try(t, input, program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return out
}

func try(t testing.TB, input []byte, program string, args ...string) ([]byte, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, args...)
	var stdout, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), &stdout, &stderr
	c.Env = append(os.Environ(), "OSTREE_DUMMY_SIGN_ENABLED=1", "LC_ALL=C")
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, &stderr)
	}
	return stdout.Bytes(), nil
}

// gnupg is a directory of GnuPG. Its path is short, because it has a socket.
type gnupg string

func newGnuPG(t testing.TB) gnupg {
	t.Helper()
	dir, err := os.MkdirTemp("", "gpg")
	must(t, err)
	t.Cleanup(func() {
		stop := exec.CommandContext(context.Background(), "gpgconf", "--homedir", dir, "--kill", "all")
		if out, err := stop.CombinedOutput(); err != nil {
			t.Errorf("gpgconf: %v: %s", err, out)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return gnupg(dir)
}

// gpg runs gpg.
func (h gnupg) gpg(t testing.TB, input []byte, args ...string) []byte {
	t.Helper()
	return run(t, input, "gpg", append([]string{"--homedir", string(h), "--batch", "--quiet", "--yes", "--no-tty",
		"--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
}

// past are options with which gpg believes that it is the first of May.
var past = []string{"--faked-system-time", "20260501T120000", "--ignore-time-conflict"}

// key makes a key and returns its fingerprint.
func (h gnupg) key(t testing.TB, name string, args ...string) string {
	t.Helper()
	h.gpg(t, nil, append(args, "--quick-gen-key", name, "ed25519", "sign", "never")...)
	return h.fingerprint(t, name)
}

func (h gnupg) fingerprint(t testing.TB, name string) string {
	t.Helper()
	for line := range strings.Lines(string(h.gpg(t, nil, "--with-colons", "--list-keys", name))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			return f[9]
		}
	}
	t.Fatalf("%s has no fingerprint", name)
	return ""
}

// signature signs the commit as data.
func (h gnupg) signature(t testing.TB, commit []byte, key string, args ...string) []byte {
	t.Helper()
	return h.gpg(t, commit, append(args, "--detach-sign", "-u", key)...)
}

// peers are two repositories, of which the second one has a remote with a keyring, and a commit in the first.
type peers struct {
	from, to string
	id       object.Checksum
	commit   []byte
	keyring  string
}

func newPeers(t testing.TB) *peers {
	t.Helper()
	r, id := exampleCommit(t)
	p := &peers{from: r.Path(), to: filepath.Join(t.TempDir(), "to"), id: id}
	var err error
	p.commit, err = sign.Commit(t.Context(), r, id)
	must(t, err)
	run(t, nil, "ostree", "init", "--repo="+p.to, "--mode=bare-user-only")
	run(t, nil, "ostree", "remote", "add", "--repo="+p.to, "os", "file://"+p.from)
	p.keyring = filepath.Join(p.to, "os.trustedkeys.gpg")
	return p
}

// signed gives the commit signatures.
func (p *peers) signed(t testing.TB, metadata []byte) {
	t.Helper()
	r, err := repo.Open(p.from)
	must(t, err)
	must(t, r.UpdateDetachedMetadata(t.Context(), p.id, func([]byte) ([]byte, error) { return metadata, nil }))
	must(t, r.Close())
}

// libostree returns why libostree refuses the commit.
func (p *peers) libostree(t testing.TB) error {
	t.Helper()
	must(t, os.RemoveAll(filepath.Join(p.to, "objects", p.id.String()[:2])))
	_, err := try(t, nil, "ostree", "pull-local", "--repo="+p.to, "--remote=os", "--gpg-verify", p.from, p.id.String())
	return err
}

// ours returns why this package refuses the commit.
func (p *peers) ours(t testing.TB) error {
	t.Helper()
	from, err := repo.Open(p.from)
	must(t, err)
	defer from.Close()
	to, err := repo.Open(p.to)
	must(t, err)
	defer to.Close()
	v, err := sign.ForRemote(to, "os", sign.Options{Root: t.TempDir(), Demand: sign.GPGKind})
	must(t, err)
	_, err = v.VerifyCommit(t.Context(), from, p.id)
	return err
}

// TestInterop_LibostreeAgreesAboutGPGSignatures gives the same commits, signatures and keyrings to both.
func TestInterop_LibostreeAgreesAboutGPGSignatures(t *testing.T) {
	p := newPeers(t)
	h := newGnuPG(t)
	quick := func(name, algorithm, usage string, args ...string) string {
		h.gpg(t, nil, append(args, "--quick-gen-key", name, algorithm, usage, "never")...)
		return h.fingerprint(t, name)
	}
	alice, bob := h.key(t, "alice"), h.key(t, "bob")
	old := h.key(t, "old", past...)
	expired := h.key(t, "expired", past...)
	expiredSig := h.signature(t, p.commit, expired, past...)
	h.gpg(t, nil, append(past, "--quick-set-expire", expired, "2026-05-03")...)
	extended := h.key(t, "extended", past...)
	h.gpg(t, nil, append(past, "--quick-set-expire", extended, "2026-05-03")...)
	h.gpg(t, nil, "--quick-set-expire", extended, "never")
	revoked := h.key(t, "revoked")
	revokedSig := h.signature(t, p.commit, revoked)
	h.revoke(t, revoked, revoked)
	appointing := h.key(t, "appointing")
	appointingSig := h.signature(t, p.commit, appointing)
	h.edit(t, appointing, "addrevoker", bob, "y", "save")
	onlyAppointed := h.gpg(t, nil, "--export", appointing)
	h.revoke(t, appointing, bob)
	withSubkey := quick("withsubkey", "ed25519", "cert")
	h.gpg(t, nil, "--quick-add-key", withSubkey, "ed25519", "sign", "never")
	subkeySig := h.signature(t, p.commit, withSubkey)
	beforeRevocation := h.gpg(t, nil, "--export", withSubkey)
	h.edit(t, withSubkey, "key 1", "revkey", "y", "0", "", "y", "save")
	rsa, ecdsa := quick("rsa", "rsa2048", "sign"), quick("ecdsa", "nistp256", "sign")
	brainpool, dsa := quick("brainpool", "brainpoolP256r1", "sign"), quick("dsa", "dsa2048", "sign")
	weak := quick("weak", "rsa1024", "sign")
	all := h.gpg(t, nil, "--export")

	good := h.signature(t, p.commit, alice)
	for _, c := range []struct {
		what      string
		sigs      [][]byte
		keys      []byte
		err       error
		libostree bool // accepts it
	}{
		{"good", [][]byte{good}, all, nil, true},
		{"RSA", [][]byte{h.signature(t, p.commit, rsa)}, all, nil, true},
		{"ECDSA", [][]byte{h.signature(t, p.commit, ecdsa)}, all, nil, true},
		{"Brainpool", [][]byte{h.signature(t, p.commit, brainpool)}, all, nil, true},
		{"DSA", [][]byte{h.signature(t, p.commit, dsa)}, all, nil, true},
		{"SHA-512", [][]byte{h.signature(t, p.commit, rsa, "--digest-algo", "SHA512")}, all, nil, true},
		{"two", [][]byte{good, h.signature(t, p.commit, bob)}, all, nil, true},
		{"two in one element", [][]byte{h.signature(t, p.commit, bob, "-u", alice)}, all, nil, true},
		{"by an unknown key, and good", [][]byte{h.signature(t, p.commit, bob), good}, h.gpg(t, nil, "--export", alice), nil,
			true},
		{"years old", [][]byte{h.signature(t, p.commit, old, past...)}, all, nil, true},
		{"by a key that was extended", [][]byte{h.signature(t, p.commit, extended)}, all, nil, true},
		{"by a subkey", [][]byte{subkeySig}, beforeRevocation, nil, true},
		{"by a key with an appointed revoker", [][]byte{appointingSig}, append(onlyAppointed, h.gpg(t, nil, "--export",
			bob)...), nil, true},

		{"none", nil, all, sign.ErrUnsigned, false},
		{"garbage", [][]byte{[]byte("garbage")}, all, sign.ErrBadSignature, false},
		{"another commit", [][]byte{h.signature(t, []byte("another"), alice)}, all, sign.ErrBadSignature, false},
		{"one bit changed", [][]byte{flipped(good, 3)}, all, sign.ErrBadSignature, false},
		{"no keys", [][]byte{good}, nil, sign.ErrNoKey, false},
		{"another key", [][]byte{good}, h.gpg(t, nil, "--export", bob), sign.ErrNoKey, false},
		{"expired key", [][]byte{expiredSig}, all, sign.ErrExpiredKey, false},
		{"revoked key", [][]byte{revokedSig}, all, sign.ErrRevokedKey, false},
		{"revoked by another key", [][]byte{appointingSig}, all, sign.ErrRevokedKey, false},
		{"revoked subkey", [][]byte{subkeySig}, all, sign.ErrRevokedKey, false},
		{"expired signature", [][]byte{h.signature(t, p.commit, old, append(past, "--default-sig-expire", "2026-05-03")...)},
			all, sign.ErrExpiredSignature, false},
		{"MD5", [][]byte{h.signature(t, p.commit, rsa, "--allow-weak-digest-algos", "--digest-algo", "MD5")}, all,
			sign.ErrBadSignature, false},

		{"armored keys", [][]byte{good}, h.gpg(t, nil, "--armor", "--export", alice), nil, false},
		{"SHA-1", [][]byte{h.signature(t, p.commit, rsa, "--digest-algo", "SHA1")}, all, sign.ErrWeak, true},
		{"RSA with 1024 bits", [][]byte{h.signature(t, p.commit, weak)}, all, sign.ErrWeak, true},
		{"a signature of a text", [][]byte{h.signature(t, p.commit, alice, "--textmode")}, all, sign.ErrBadSignature, true},
		{"from the future", [][]byte{h.signature(t, p.commit, alice, "--faked-system-time", "20400101T000000")}, all,
			sign.ErrExpiredSignature, true},
		{"revoked by another key that is not there", [][]byte{appointingSig}, h.gpg(t, nil, "--export", appointing),
			sign.ErrRevokedKey, true},
	} {
		must(t, os.WriteFile(p.keyring, c.keys, 0o644))
		p.signed(t, with(t, gvariant.Dict{}, gpgsigs, c.sigs...).Encode())
		if err := p.ours(t); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
		if err := p.libostree(t); (err == nil) != c.libostree {
			t.Errorf("%s: libostree says %v", c.what, err)
		}
	}
}

// edit gives answers to the questions of gpg --edit-key.
func (h gnupg) edit(t testing.TB, key string, answers ...string) {
	t.Helper()
	run(t, []byte(strings.Join(answers, "\n")+"\n"), "gpg", "--homedir", string(h), "--quiet", "--no-tty", "--command-fd",
		"0", "--pinentry-mode", "loopback", "--passphrase", "", "--edit-key", key)
}

// revoke revokes a key by another one that may do so, or by itself.
func (h gnupg) revoke(t testing.TB, key, by string) {
	t.Helper()
	command, answers := "--gen-revoke", "y\n0\n\ny\n"
	if by != key {
		command, answers = "--desig-revoke", "y\ny\n0\n\ny\n"
	}
	certificate := run(t, []byte(answers), "gpg", "--homedir", string(h), "--quiet", "--no-tty", "--command-fd", "0",
		"--pinentry-mode", "loopback", "--passphrase", "", "--armor", command, key)
	h.gpg(t, certificate, "--import")
}

func TestInterop_OSTreeAndGPGAcceptItsGPGSignatures(t *testing.T) {
	p := newPeers(t)
	h := newGnuPG(t)
	alice := h.key(t, "alice")
	must(t, os.WriteFile(p.keyring, h.gpg(t, nil, "--export", alice), 0o644))
	r, err := repo.Open(p.from)
	must(t, err)
	defer r.Close()
	for range 2 { // The second time, the signature is replaced.
		must(t, sign.SignCommit(t.Context(), r, p.id, sign.GPGSigner("alice", string(h))))
	}
	must(t, p.libostree(t))
	shown := run(t, nil, "ostree", "show", "--repo="+p.to, "--gpg-verify-remote=os", p.id.String())
	if !bytes.Contains(shown, []byte("Found 1 signature")) ||
		!bytes.Contains(shown, []byte(`Good signature from "alice`)) {
		t.Errorf("ostree show says %s", shown)
	}
	d, err := repo.LoadDetachedMetadata(t.Context(), r, p.id)
	must(t, err)
	element := must1(must1(must1(lookup(d, gpgsigs)).Index(0)).ByteArray())
	dir := t.TempDir()
	h.gpg(t, nil, "--verify", write(t, dir+"/sig", element), write(t, dir+"/commit", p.commit))

	if err := sign.SignCommit(t.Context(), r, p.id, sign.GPGSigner("nobody", string(h))); err == nil {
		t.Error("a key that does not exist signs")
	}
	removed, err := sign.RemoveFromCommit(t.Context(), r, p.id, sign.Keys{Engine: sign.GPG, Keys: []string{"alice"}},
		string(h), sign.Options{})
	if removed != 1 || err != nil {
		t.Errorf("removed %d signatures, %v", removed, err)
	}
}

func lookup(d gvariant.Dict, key string) (gvariant.Value, error) {
	v, ok := d.Lookup(key)
	if !ok {
		return v, errors.New("it is not there")
	}
	return v, nil
}

func TestInterop_SignaturesOfOSTreeAreVerifiedAndKept(t *testing.T) {
	p := newPeers(t)
	h := newGnuPG(t)
	alice, id := h.key(t, "alice"), p.id.String()
	run(t, nil, "ostree", "gpg-sign", "--repo="+p.from, "--gpg-homedir="+string(h), id, alice)
	run(t, nil, "ostree", "sign", "--repo="+p.from, "--sign-type=dummy", id, "mykey")
	run(t, h.gpg(t, nil, "--export", alice), "ostree", "remote", "gpg-import", "--repo="+p.to, "--stdin", "os")
	must(t, p.ours(t))
	r, err := repo.Open(p.from)
	must(t, err)
	defer r.Close()
	opts := sign.Options{Root: t.TempDir(), Getenv: func(string) string { return "1" }}
	dummy := must1(sign.ForKeys(sign.Keys{Engine: sign.Dummy, Keys: []string{"mykey"}}, opts))
	byGPG := must1(sign.ForGPG(t.Context(), r, []string{"alice"}, string(h), opts))
	ed := edPair()
	must(t, sign.SignCommit(t.Context(), r, p.id, signerOf(t, ed), must1(sign.NewSigner(sign.Dummy, "second", opts))))
	for what, v := range map[string]*sign.Verifier{"dummy": dummy, "gpg": byGPG} {
		if _, err := v.VerifyCommit(t.Context(), r, p.id); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, key := range []string{"mykey", "second"} {
		run(t, nil, "ostree", "sign", "--repo="+p.from, "--sign-type=dummy", "--verify", id, key)
	}
	must(t, p.libostree(t))
	run(t, nil, "ostree", "fsck", "--repo="+p.from)
	write(t, filepath.Join(p.from, "alice.gpg"), h.gpg(t, nil, "--export", alice)) // with the keys here ostree deletes
	out := run(t, nil, "ostree", "gpg-sign", "--repo="+p.from, "--gpg-homedir="+string(h), "--delete", id, alice)
	if string(out) != "Signatures deleted: 1\n" {
		t.Errorf("ostree gpg-sign --delete says %s", out)
	}
	if _, err := byGPG.VerifyCommit(t.Context(), r, p.id); !errors.Is(err, sign.ErrUnsigned) {
		t.Errorf("after that: %v", err)
	}
	if _, err := dummy.VerifyCommit(t.Context(), r, p.id); err != nil {
		t.Errorf("the other signature: %v", err)
	}
}

func TestInterop_OpenSSLAndSPKISignatures(t *testing.T) {
	dir := t.TempDir()
	data := write(t, filepath.Join(dir, "commit"), commit)
	opts := newSystem(t).options()
	for name, args := range map[string][]string{
		"ed25519": {"-algorithm", "ed25519"}, "rsa": {"-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:3072"},
		"p256": {"-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"p384": {"-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"},
	} {
		secret, public := filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".pub")
		run(t, nil, "openssl", append([]string{"genpkey", "-out", secret}, args...)...)
		run(t, nil, "openssl", "pkey", "-in", secret, "-pubout", "-out", public)
		digest := []string{"-rawin"}
		if name != "ed25519" {
			digest = append(digest, "-digest", "sha256")
		}
		// Made by this package, verified by openssl.
		signers, err := sign.SignersFromFile(sign.SPKI, secret, opts)
		must(t, err)
		metadata, err := sign.Sign(t.Context(), commit, nil, signers...)
		must(t, err)
		sig := must1(must1(must1(lookup(must1(gvariant.ParseDict(metadata)), "ostree.sign.spki")).Index(0)).ByteArray())
		file := write(t, filepath.Join(dir, name+".sig"), sig)
		run(t, nil, "openssl", append([]string{"pkeyutl", "-verify", "-pubin", "-inkey", public, "-in", data, "-sigfile",
			file}, digest...)...)
		// The reverse.
		made := run(t, nil, "openssl", append([]string{"pkeyutl", "-sign", "-inkey", secret, "-in", data}, digest...)...)
		v, err := sign.ForKeys(sign.Keys{Engine: sign.SPKI, File: public}, opts)
		must(t, err)
		if _, err := v.Verify(commit, detached(t, "ostree.sign.spki", made)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := v.Verify([]byte("another"), detached(t, "ostree.sign.spki", made)); !errors.Is(err,
			sign.ErrBadSignature) {
			t.Errorf("%s: of another commit: %v", name, err)
		}
	}
}

// TestInterop_TheClockOfGPGIsPast checks what the tests above rely on.
func TestInterop_TheClockOfGPGIsPast(t *testing.T) {
	if now := time.Now(); now.Before(time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)) {
		t.Fatalf("it is %s, and the keys of these tests expire in May 2026", now)
	}
}
