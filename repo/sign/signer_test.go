package sign_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(s, "\n", ""))
	must(t, err)
	return data
}

// TestUpstream_PreSignedCommit verifies the commit that is in libostree's tests, which libsodium signed.
func TestUpstream_PreSignedCommit(t *testing.T) {
	t.Parallel()
	commit := unhex(t, `
6f73747265652e7265662d62696e64696e6700000000000074657374726566000800617313254f6c64207369676e65642063
6f6d6d6974000000000000000000000000005ee2721c598fd5d700ee4e3ef20c6e1152470f6a75d8ccdf68c629ef742257db
f5c2e7f2446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488683938262626`)
	metadata := unhex(t, `
6f73747265652e7369676e2e656432353531390000000000f992da7af0e3ac58020ac0c492a4e59abb11e712054c3141203f
6d304b0cdf7ebd55b20e33fbced44edd3909c6d15b14ab17738aea77c0d65ce13d4ae009ab0d4000616179145e`)
	const id = "c446da06d994d2e993fa508bd40eae1e392bdc101d02ac3783e0cf7633866b3c"
	if got := object.HashMetadata(commit).String(); got != id {
		t.Fatalf("the commit is %s", got)
	}
	v, err := sign.ForKeys(sign.Keys{
		Engine: sign.Ed25519, Keys: []string{"45yzbkuEok0lLabxzdAHWUDSMZgYfxU40sN+LMfYHVA="},
	}, newSystem(t).options())
	must(t, err)
	if list, err := v.Verify(commit, metadata); err != nil || len(list) != 1 {
		t.Errorf("got %v, %v", list, err)
	}
	for i := range commit {
		if list, err := v.Verify(flipped(commit, i+1), metadata); !errors.Is(err, sign.ErrBadSignature) {
			t.Fatalf("with a bit of byte %d changed: %v, %v", len(commit)-1-i, list, err)
		}
	}
}

func TestADummySignatureIsTheKeyItself(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	if _, err := sign.NewSigner(sign.Dummy, "mykey", s.options()); !errors.Is(err, sign.ErrConfig) {
		t.Errorf("without the variable: %v", err)
	}
	s.env["OSTREE_DUMMY_SIGN_ENABLED"] = "1"
	signer, err := sign.NewSigner(sign.Dummy, "mykey", s.options())
	must(t, err)
	got, err := sign.Sign(t.Context(), commit, nil, signer)
	must(t, err)
	want := "6f73747265652e7369676e2e64756d6d7900" + "000000000000" + "6d796b6579" + "0500616179" + "1223"
	if hex.EncodeToString(got) != want {
		t.Errorf("got %x, want %s", got, want)
	}
	s.set(t, gpgRemote, "gpg-verify=false", "sign-verify=dummy", "verification-dummy-key=mykey")
	if list, err := s.verify(t, got); err != nil || signers(list) != "dummy dummy mykey" {
		t.Errorf("got %v, %v", list, err)
	}
	s.env["OSTREE_DUMMY_SIGN_ENABLED"] = "yes"
	if _, err := s.verify(t, got); !errors.Is(err, sign.ErrConfig) {
		t.Errorf("with another value of the variable: %v", err)
	}
}

func TestSignaturesAreAddedAndReplacedAndNothingElseChanges(t *testing.T) {
	t.Parallel()
	for name, k := range ours() {
		one, other := signerOf(t, k), signerOf(t, theirs()[name])
		before := gvariant.Dict{}.Set("z", gvariant.String("first")).
			Set("ostree.sign.nosuch", gvariant.Bool(true)).Set("a", gvariant.Uint32(1))
		first, err := sign.Sign(t.Context(), commit, before.Encode(), other)
		must(t, err)
		both, err := sign.Sign(t.Context(), commit, first, one)
		must(t, err)
		if !bytes.HasPrefix(both, first[:20]) {
			t.Errorf("%s: the order of the keys has changed", name)
		}
		again, err := sign.Sign(t.Context(), commit, both, one, other, one)
		must(t, err)
		if !bytes.Equal(both, again) {
			t.Errorf("%s: signing again changed the metadata from %x to %x", name, both, again)
		}
		d, err := gvariant.ParseDict(both)
		must(t, err)
		for _, e := range before {
			if v, ok := d.Lookup(e.Key); !ok || !bytes.Equal(v.Data(), e.Value.Data()) {
				t.Errorf("%s: %s is %s", name, e.Key, v)
			}
		}
		if v, _ := d.Lookup("ostree.sign." + k.engine); v.Len() != 2 {
			t.Errorf("%s: %d signatures", name, v.Len())
		}
	}
}

func signerOf(t testing.TB, k pair) *sign.Signer {
	t.Helper()
	s, err := sign.NewSigner(k.engine, k.secret, sign.Options{})
	must(t, err)
	return s
}

// TestSecretKeysInEveryForm checks the forms in which OpenSSL and ostree write secret keys.
func TestSecretKeysInEveryForm(t *testing.T) {
	t.Parallel()
	all := ours()
	ed := all["ed25519"]
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	sec1, err := x509.MarshalECPrivateKey(p256)
	must(t, err)
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	params := block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	foreign := append(must1(hex.DecodeString(strings.Repeat("01", 32))), make([]byte, 32)...)
	for _, c := range []struct {
		what, engine, file string
		keys               int
		says               string
	}{
		{"a line", sign.Ed25519, ed.secret + "\n", 1, ""},
		{"lines", sign.Ed25519, "# mine\n" + ed.secret + "\n\n" + edPair().secret, 2, ""},
		{"PKCS 8", sign.SPKI, string(all["spki rsa"].secretPEM), 1, ""},
		{"two PKCS 8", sign.SPKI, string(all["spki rsa"].secretPEM) + string(all["spki ed25519"].secretPEM), 2, ""},
		{"SEC 1, with parameters", sign.SPKI, params + block("EC PRIVATE KEY", sec1), 1, ""},
		{"base64", sign.SPKI, encode(sec1), 1, ""},

		{"nothing", sign.Ed25519, "", 0, "there is no secret key of type ed25519"},
		{"a public key", sign.Ed25519, ed.public, 0, "32 bytes, not the 64 of a secret key"},
		{"a public half of another key", sign.Ed25519, encode(foreign), 0, "does not belong"},
		{"one bad of two", sign.Ed25519, ed.secret + "\nnonsense", 0, "6 bytes"},
		{"a public key in PEM", sign.SPKI, string(all["spki rsa"].publicPEM), 0, "there is no secret key"},
		{"a public key in base64", sign.SPKI, all["spki rsa"].public, 0, "not a secret key"},
		{"with a passphrase", sign.SPKI, block("ENCRYPTED PRIVATE KEY", sec1), 0, "openssl pkey"},
		{"another engine", "gpg", ed.secret, 0, "not implemented"},
	} {
		file := write(t, filepath.Join(t.TempDir(), "key"), []byte(c.file))
		signers, err := sign.SignersFromFile(c.engine, file, newSystem(t).options())
		if c.says != "" {
			if !errors.Is(err, sign.ErrConfig) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want that it says %q", c.what, err, c.says)
			}
			continue
		}
		if err != nil || len(signers) != c.keys {
			t.Errorf("%s: %d signers, %v", c.what, len(signers), err)
			continue
		}
		if _, err := sign.Sign(t.Context(), commit, nil, signers...); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// exampleCommit returns a repository with a commit.
func exampleCommit(t testing.TB) (*repo.Repo, object.Checksum) {
	t.Helper()
	r := repotest.Init(t, repo.ModeBareUserOnly)
	return r, repotest.Commit(t, r, repotest.Release(1), "os")
}

func TestASignedCommitKeepsItsIDAndIsVerifiedInTheRepository(t *testing.T) {
	t.Parallel()
	r, id := exampleCommit(t)
	all := ours()
	ed, rsa := all["ed25519"], all["spki rsa"]
	opts := newSystem(t).options()
	verifier := func(k sign.Keys) *sign.Verifier { return must1(sign.ForKeys(k, opts)) }
	byEd := verifier(sign.Keys{Engine: sign.Ed25519, Keys: []string{ed.public}})
	byFile := verifier(sign.Keys{Engine: sign.SPKI, File: write(t, t.TempDir()+"/key", rsa.publicPEM)})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "trusted.ed25519.d/a"), []byte(ed.public))
	byDir := verifier(sign.Keys{Engine: sign.Ed25519, Dir: dir})
	for _, v := range []*sign.Verifier{byEd, byFile, byDir} {
		if _, err := v.VerifyCommit(t.Context(), r, id); !errors.Is(err, sign.ErrUnsigned) {
			t.Errorf("before: %v", err)
		}
	}
	must(t, sign.SignCommit(t.Context(), r, id, signerOf(t, ed), signerOf(t, rsa)))
	for _, v := range []*sign.Verifier{byEd, byFile, byDir} {
		if list, err := v.VerifyCommit(t.Context(), r, id); err != nil || len(list) != 1 {
			t.Errorf("after: %v, %v", list, err)
		}
	}
	if _, err := r.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
		t.Error(err)
	}
	write(t, filepath.Join(dir, "revoked.ed25519"), []byte(ed.public))
	if _, err := verifier(sign.Keys{Engine: sign.Ed25519, Dir: dir}).VerifyCommit(t.Context(), r, id); !errors.Is(err,
		sign.ErrRevokedKey) {
		t.Errorf("with a revoked key: %v", err)
	}
	removed, err := sign.RemoveFromCommit(t.Context(), r, id, sign.Keys{
		Engine: sign.Ed25519, Keys: []string{edPair().public},
	}, "", opts)
	if removed != 0 || err != nil {
		t.Errorf("removed %d signatures of another key, %v", removed, err)
	}
	removed, err = sign.RemoveFromCommit(t.Context(), r, id, sign.Keys{
		Engine: sign.Ed25519, Keys: []string{ed.public},
	}, "", opts)
	if removed != 1 || err != nil {
		t.Errorf("removed %d signatures, %v", removed, err)
	}
	if _, err := byEd.VerifyCommit(t.Context(), r, id); !errors.Is(err, sign.ErrUnsigned) {
		t.Errorf("after removing it: %v", err)
	}
	if _, err := byFile.VerifyCommit(t.Context(), r, id); err != nil {
		t.Errorf("the other signature: %v", err)
	}
	if removed, err = sign.RemoveFromCommit(t.Context(), r, id, sign.Keys{Engine: sign.SPKI}, "", opts); removed != 1 {
		t.Errorf("removed %d signatures, %v", removed, err)
	}
	if d, err := repo.LoadDetachedMetadata(t.Context(), r, id); len(d) > 0 || err != nil {
		t.Errorf("left over: %v, %v", d, err)
	}
}

func TestSeveralMaySignACommitAtOnce(t *testing.T) {
	t.Parallel()
	r, id := exampleCommit(t)
	var keys []string
	var g errgroup.Group
	for range 8 {
		k := edPair()
		keys = append(keys, k.public)
		own, err := repo.Open(r.Path()) // as another process does
		must(t, err)
		defer own.Close()
		g.Go(func() error { return sign.SignCommit(t.Context(), own, id, signerOf(t, k)) })
	}
	must(t, g.Wait())
	v := must1(sign.ForKeys(sign.Keys{Engine: sign.Ed25519, Keys: keys}, newSystem(t).options()))
	if list, err := v.VerifyCommit(t.Context(), r, id); len(list) != len(keys) {
		t.Errorf("%d signatures, %v", len(list), err)
	}
}

func TestNothingIsWrittenIfSigningFails(t *testing.T) {
	t.Parallel()
	r, id := exampleCommit(t)
	ed := signerOf(t, edPair())
	read := func() []byte {
		data, err := r.Metadata(t.Context(), object.Name{Checksum: id, Type: object.TypeCommitMeta})
		if err != nil && !errors.Is(err, repo.ErrObjectNotFound) {
			t.Fatal(err)
		}
		return data
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sign.SignCommit(cancelled, r, id, ed, sign.GPGSigner("nobody", t.TempDir())); err == nil || read() != nil {
		t.Errorf("with a signer that fails: %v, %x", err, read())
	}
	if err := sign.SignCommit(t.Context(), r, object.Checksum{1}, ed); !errors.Is(err, repo.ErrObjectNotFound) {
		t.Errorf("a commit that is not there: %v", err)
	}
	for what, metadata := range map[string][]byte{
		"not a list": gvariant.Dict{}.Set("ostree.sign.ed25519", gvariant.String("x")).Encode(),
		"damaged":    []byte("garbage"),
	} {
		if _, err := sign.Sign(t.Context(), commit, metadata, ed); err == nil {
			t.Errorf("%s: there is no error", what)
		}
	}
	path := filepath.Join(r.Path(), "objects", id.String()[:2], id.String()[2:]+".commit")
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, flipped(data, 1), 0o644))
	if err := sign.SignCommit(t.Context(), r, id, ed); !errors.Is(err, object.ErrCorrupt) || read() != nil {
		t.Errorf("a damaged commit: %v, %x", err, read())
	}
}

func TestLocalCommitsAreVerifiedWithTheKeysOfRepositoryAndSystem(t *testing.T) {
	t.Parallel()
	alice, bob, ed := gpgKey(t, "alice"), gpgKey(t, "bob"), edPair()
	gpgSig := gpgSign(t, alice.PrivateKey, commit)
	metadata := with(t, must1(gvariant.ParseDict(signed(t, ed))), gpgsigs, gpgSig).Encode()
	for _, c := range []struct {
		what   string
		demand sign.Kinds
		files  map[string][]byte
		err    error
	}{
		{"a keyring of any remote", sign.GPGKind, map[string][]byte{"ostree/repo/x.trustedkeys.gpg": public(t, alice)}, nil},
		{"any keyring in the repository", sign.GPGKind, map[string][]byte{"ostree/repo/x.gpg": public(t, alice)}, nil},
		{"the global keyring besides", sign.GPGKind, map[string][]byte{
			"ostree/repo/x.gpg": public(t, bob), "usr/share/ostree/trusted.gpg.d/a.gpg": public(t, alice),
		}, nil},
		{"another key", sign.GPGKind, map[string][]byte{"ostree/repo/x.gpg": public(t, bob)}, sign.ErrNoKey},
		{"none", sign.GPGKind, nil, sign.ErrNoKey},
		{"key of the system", sign.SignAPIKind, map[string][]byte{"etc/ostree/trusted.ed25519": []byte(ed.public)}, nil},
		{"no key of the system", sign.SignAPIKind, nil, sign.ErrNoKey},
		{"both", sign.GPGKind | sign.SignAPIKind, map[string][]byte{
			"ostree/repo/x.gpg": public(t, alice), "etc/ostree/trusted.ed25519": []byte(ed.public),
		}, nil},
		{"one of both", sign.GPGKind | sign.SignAPIKind, map[string][]byte{"ostree/repo/x.gpg": public(t, alice)},
			sign.ErrNoKey},
		{"nothing is demanded", 0, nil, sign.ErrNotConfigured},
	} {
		s := newSystem(t)
		for file, data := range c.files {
			s.file(t, file, data)
		}
		opts := s.options()
		opts.Demand = c.demand
		v, err := sign.ForLocal(s.open(t), opts)
		must(t, err)
		if _, err := v.Verify(commit, metadata); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
	}
}

func TestGPGSignaturesMayBeRestrictedToSomeKeys(t *testing.T) {
	t.Parallel()
	alice, bob := gpgKey(t, "alice"), gpgKey(t, "bob")
	metadata := detached(t, gpgsigs, gpgSign(t, alice.PrivateKey, commit))
	s := newSystem(t).file(t, "ostree/repo/x.gpg", public(t, alice, bob))
	full, other := alice.PrimaryKey.KeyIdString(), bob.PrimaryKey.KeyIdString()
	for _, c := range []struct {
		only []string
		err  error
	}{
		{nil, nil}, {[]string{full}, nil}, {[]string{"0x" + strings.ToLower(full)}, nil}, {[]string{other, full}, nil},
		{[]string{other}, sign.ErrNoKey},
	} {
		v, err := sign.ForGPG(t.Context(), s.open(t), c.only, "", s.options())
		must(t, err)
		if _, err := v.Verify(commit, metadata); !errors.Is(err, c.err) {
			t.Errorf("only %q: %v, want %v", c.only, err, c.err)
		}
	}
}
