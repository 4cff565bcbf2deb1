package sign_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// The testdata was made with GnuPG 2.2.40: keys and their signatures of the commit of these tests. Bob signs with a
// subkey. Eve's key is in no keyring.

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	must(t, err)
	return data
}

// edPublic and edSecret are the key pair of a seed of ones.
const (
	edPublic = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
	edSecret = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQGKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXA=="
)

// fuzzed returns verifiers of a remote: one that demands GPG, and one that demands another signature.
func fuzzed(t testing.TB) (gpg, other *sign.Verifier) {
	t.Helper()
	s := newSystem(t).set(t, gpgRemote, "gpgkeypath="+write(t, t.TempDir()+"/bob", read(t, "bob.asc")),
		"verification-ed25519-key="+edPublic).file(t, "ostree/repo/os.trustedkeys.gpg", read(t, "alice.gpg"))
	opts := s.options()
	opts.Demand = sign.GPGKind
	gpg, err := sign.ForRemote(s.open(t), "os", opts)
	must(t, err)
	opts.Demand = sign.SignAPIKind
	other, err = sign.ForRemote(s.open(t), "os", opts)
	must(t, err)
	return gpg, other
}

// FuzzDetachedMetadata checks that no detached metadata make another commit a signed one, and that a signature that is
// added to them is found.
func FuzzDetachedMetadata(f *testing.F) {
	signer, err := sign.NewSigner(sign.Ed25519, edSecret, sign.Options{})
	must(f, err)
	byEd, err := sign.Sign(f.Context(), commit, nil, signer)
	must(f, err)
	for _, file := range testfiles.Read(f, "testdata/*.sig") {
		f.Add(detached(f, gpgsigs, file.Data), commit)
		f.Add(with(f, must1(gvariant.ParseDict(byEd)), gpgsigs, file.Data, nil, []byte("x")).Encode(), commit)
	}
	f.Add(byEd, commit)
	f.Add([]byte{}, []byte{})
	f.Add(gvariant.Dict{}.Set(gpgsigs, gvariant.Strings([]string{"x"})).Encode(), commit)
	gpg, other := fuzzed(f)
	f.Fuzz(func(t *testing.T, metadata, data []byte) {
		for _, v := range []*sign.Verifier{gpg, other} {
			list, err := v.Verify(data, metadata)
			if (err == nil) != (len(list) > 0) {
				t.Errorf("%v and %v", list, err)
			}
			if err == nil && !bytes.Equal(data, commit) {
				t.Errorf("%q is signed: %v", data, list)
			}
		}
		again, err := sign.Sign(t.Context(), commit, metadata, signer)
		if err != nil {
			return
		}
		if _, err := other.Verify(commit, again); err != nil {
			t.Errorf("after signing: %v", err)
		}
	})
}

// FuzzGPGSignature checks that no element of the list of GPG signatures makes another commit a signed one, or Eve one
// of the signers.
func FuzzGPGSignature(f *testing.F) {
	for _, file := range testfiles.Read(f, "testdata/*.sig") {
		f.Add(file.Data, commit)
		f.Add(append(bytes.Clone(file.Data), file.Data...), []byte("another"))
	}
	gpg, _ := fuzzed(f)
	f.Fuzz(func(t *testing.T, element, data []byte) {
		list, err := gpg.Verify(data, detached(t, gpgsigs, element))
		if err == nil && (!bytes.Equal(data, commit) || strings.Contains(signers(list), "Eve")) {
			t.Errorf("%q is signed: %v", data, list)
		}
	})
}

// FuzzKeyring checks that a keyring makes only those keys known that are in it.
func FuzzKeyring(f *testing.F) {
	var all []byte
	for _, file := range testfiles.Read(f, "testdata/*.gpg") {
		if !strings.Contains(file.Name, "eve") {
			f.Add(file.Data)
			all = append(all, file.Data...)
		}
	}
	f.Add(all)
	f.Add(read(f, "bob.asc"))
	f.Add(append(read(f, "bob.asc"), read(f, "alice.rev.asc")...))
	metadata, eve := detached(f, gpgsigs, read(f, "eve.sig")), read(f, "eve.gpg")
	eveKey := eve[bytes.Index(eve, []byte{1, 7, 0x40}):][:35] // the point of the public key
	s := newSystem(f).set(f, gpgRemote)
	r := s.open(f)
	f.Fuzz(func(t *testing.T, keys []byte) {
		s.file(t, "ostree/repo/os.trustedkeys.gpg", keys)
		v, err := sign.ForRemote(r, "os", s.options())
		must(t, err)
		if list, err := v.Verify(commit, metadata); err == nil && !bytes.Contains(keys, eveKey) &&
			!bytes.Contains(keys, []byte("-----BEGIN")) {
			t.Errorf("Eve is trusted: %v", list)
		}
	})
}

// FuzzKeyFile checks that a file of keys gives only keys that are in it, and no panic.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(edPublic+"\n"), byte(0))
	f.Add([]byte("# comment\n\n"+edSecret), byte(0))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAtLfByvCqpR2m9ZOBkbVPLSueZCRvdECI+yAZ3CK+jNU=\n"+
		"-----END PUBLIC KEY-----\n"), byte(1))
	f.Add([]byte("MC4CAQAwBQYDK2VwBCIEIBNflCI9Plfa7QQNxaqS174cuNrvs0mIyE+u/r2E6zxr"), byte(1))
	f.Add(read(f, "bob.asc"), byte(1))
	signer, err := sign.NewSigner(sign.Ed25519, edSecret, sign.Options{})
	must(f, err)
	metadata, err := sign.Sign(f.Context(), commit, nil, signer)
	must(f, err)
	name := filepath.Join(f.TempDir(), "keys")
	opts := newSystem(f).options()
	f.Fuzz(func(t *testing.T, data []byte, kind byte) {
		engine := sign.Engines()[int(kind)%2]
		write(t, name, data)
		if list, err := sign.SignersFromFile(engine, name, opts); (err == nil) != (len(list) > 0) {
			t.Errorf("%d signers and %v", len(list), err)
		}
		v, err := sign.ForKeys(sign.Keys{Engine: engine, File: name}, opts)
		if err != nil {
			return
		}
		plain := bytes.ReplaceAll(data, []byte("\r"), nil) // which base64 may have anywhere
		if _, err := v.Verify(commit, metadata); err == nil && !bytes.Contains(plain, []byte(edPublic[:40])) {
			t.Errorf("the signature is by none of the keys in %q", data)
		}
	})
}
