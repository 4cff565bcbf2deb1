package sign_test

import (
	"bytes"
	"crypto"
	_ "crypto/sha1"
	_ "crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// commit is what is signed in most tests. Its content does not matter.
var commit = []byte("the bytes of a commit")

// Keys are made at birth, and signatures judged at today.
var (
	birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	today = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
)

const hour = uint32(3600)

// at returns a configuration of the OpenPGP library with another time.
func at(t time.Time) *packet.Config {
	salted := false
	return &packet.Config{
		Time: func() time.Time { return t }, Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256,
		NonDeterministicSignaturesViaNotation: &salted,
	}
}

// gpgKey makes a key of the given name. change may change how.
func gpgKey(t testing.TB, name string, change ...func(*packet.Config)) *openpgp.Entity {
	t.Helper()
	config := at(birth)
	for _, c := range change {
		c(config)
	}
	e, err := openpgp.NewEntity(name, "", name+"@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// public returns a keyring with keys.
func public(t testing.TB, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, e := range keys {
		if err := e.Serialize(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// gpgSign signs data, at noon of birth. change may change the signature before it is made.
func gpgSign(t testing.TB, key *packet.PrivateKey, data []byte, change ...func(*packet.Signature)) []byte {
	t.Helper()
	sig := &packet.Signature{
		Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PubKeyAlgo, Hash: crypto.SHA256,
		CreationTime: birth.Add(12 * time.Hour),
		IssuerKeyId:  &key.KeyId, IssuerKeyVersion: 4, IssuerFingerprint: key.Fingerprint,
	}
	for _, c := range change {
		c(sig)
	}
	h := sig.Hash.New()
	h.Write(data)
	if err := sig.Sign(h, key, at(sig.CreationTime)); err != nil {
		t.Fatal(err)
	}
	return serialized(t, sig)
}

func serialized(t testing.TB, sig *packet.Signature) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := sig.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// detached returns detached metadata with signatures of one engine, and with something else.
func detached(t testing.TB, key string, signatures ...[]byte) []byte {
	t.Helper()
	return with(t, gvariant.Dict{}.Set("note", gvariant.String("kept")), key, signatures...).Encode()
}

// with adds a list of signatures to metadata.
func with(t testing.TB, d gvariant.Dict, key string, signatures ...[]byte) gvariant.Dict {
	t.Helper()
	values := make([]gvariant.Value, len(signatures))
	for i, s := range signatures {
		values[i] = gvariant.ByteArray(s)
	}
	v, err := gvariant.Array("ay", values...)
	if err != nil {
		t.Fatal(err)
	}
	return d.Set(key, v)
}

// write writes a file and the directories above it.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// system is a system with a repository.
type system struct {
	root string // of the system
	repo string // its repository
	env  map[string]string
}

// newSystem returns a system that has nothing but an empty repository at root/ostree/repo.
func newSystem(t testing.TB) *system {
	t.Helper()
	root := t.TempDir()
	s := &system{root: root, repo: filepath.Join(root, "ostree/repo"), env: map[string]string{}}
	if err := os.MkdirAll(filepath.Dir(s.repo), 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Init(s.repo, repo.ModeBareUserOnly)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// set adds lines to the configuration of the repository.
func (s *system) set(t testing.TB, lines ...string) *system {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.repo, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(f, strings.Join(lines, "\n")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// file writes a file at a path below the root.
func (s *system) file(t testing.TB, path string, data []byte) *system {
	t.Helper()
	write(t, filepath.Join(s.root, path), data)
	return s
}

// options are those of the system, today.
func (s *system) options() sign.Options {
	return sign.Options{
		Root: s.root, Now: func() time.Time { return today }, Getenv: func(name string) string { return s.env[name] },
	}
}

// open opens the repository.
func (s *system) open(t testing.TB) *repo.Repo {
	t.Helper()
	r, err := repo.Open(s.repo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// verify verifies the commit as one of the remote os.
func (s *system) verify(t testing.TB, metadata []byte) ([]sign.Signature, error) {
	t.Helper()
	v, err := sign.ForRemote(s.open(t), "os", s.options())
	if err != nil {
		return nil, err
	}
	return v.Verify(commit, metadata)
}

// signers returns the names of the keys, in order.
func signers(list []sign.Signature) string {
	var names []string
	for _, s := range list {
		names = append(names, s.Engine+" "+s.Signer)
	}
	slices.Sort(names)
	return strings.Join(names, "; ")
}
