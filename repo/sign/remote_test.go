package sign_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// pair is a key pair of an engine, as configurations have it.
type pair struct {
	engine, public, secret string
	publicPEM, secretPEM   []byte
}

// ours and theirs have a key pair of each kind.
var ours, theirs = sync.OnceValue(pairs), sync.OnceValue(pairs)

// pairs makes a key pair of each kind.
func pairs() map[string]pair {
	all := map[string]pair{"ed25519": edPair()}
	public, secret := must2(ed25519.GenerateKey(rand.Reader))
	p256 := must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p521 := must1(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	rsa2048 := must1(rsa.GenerateKey(rand.Reader, 2048))
	for name, key := range map[string]struct{ public, secret any }{
		"spki ed25519": {public, secret}, "spki p256": {&p256.PublicKey, p256}, "spki p521": {&p521.PublicKey, p521},
		"spki rsa": {&rsa2048.PublicKey, rsa2048},
	} {
		der, private := must1(x509.MarshalPKIXPublicKey(key.public)), must1(x509.MarshalPKCS8PrivateKey(key.secret))
		all[name] = pair{
			sign.SPKI, encode(der), encode(private), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
			pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		}
	}
	return all
}

// edPair makes a key pair of the engine ed25519.
func edPair() pair {
	public, secret := must2(ed25519.GenerateKey(rand.Reader))
	return pair{engine: sign.Ed25519, public: encode(public), secret: encode(secret)}
}

func must2[S, T any](v S, w T, err error) (S, T) {
	if err != nil {
		panic(err)
	}
	return v, w
}

func encode(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// signed returns detached metadata with a signature by each of the key pairs.
func signed(t testing.TB, keys ...pair) []byte {
	t.Helper()
	metadata := gvariant.Dict{}.Set("note", gvariant.String("kept")).Encode()
	for _, k := range keys {
		s, err := sign.NewSigner(k.engine, k.secret, sign.Options{})
		must(t, err)
		metadata, err = sign.Sign(t.Context(), commit, metadata, s)
		must(t, err)
	}
	return metadata
}

func TestEveryKindOfKeySignsAndIsVerified(t *testing.T) {
	t.Parallel()
	others := theirs()
	for name, k := range ours() {
		other := others[name]
		for _, c := range []struct {
			what   string
			lines  []string
			system map[string]string
			err    error
		}{
			{"inline", []string{"verification-" + k.engine + "-key=" + k.public}, nil, nil},
			{"another key", []string{"verification-" + k.engine + "-key=" + other.public}, nil, sign.ErrBadSignature},
			{"a file of lines",
				[]string{"verification-" + k.engine + "-file=ROOT/key"},
				map[string]string{"key": "# ours\n\nnonsense\n" + other.public + "\n  " + k.public + "\r\n"}, nil},
			{"a file with another key", []string{"verification-" + k.engine + "-file=ROOT/key"},
				map[string]string{"key": other.public}, sign.ErrBadSignature},
			{"another key inline, and a file", []string{"verification-" + k.engine + "-file=ROOT/key",
				"verification-" + k.engine + "-key=" + other.public}, map[string]string{"key": k.public}, nil},
		} {
			for _, demand := range []string{"true", "1", k.engine, "ed25519;spki;"} {
				s := newSystem(t).set(t, gpgRemote, "gpg-verify=false", "sign-verify="+demand)
				for _, line := range c.lines {
					s.set(t, strings.ReplaceAll(line, "ROOT", s.root))
				}
				for file, text := range c.system {
					s.file(t, file, []byte(text))
				}
				if strings.Contains(demand, ";") {
					missing := map[string]string{sign.Ed25519: sign.SPKI, sign.SPKI: sign.Ed25519}[k.engine]
					s.set(t, "verification-"+missing+"-key="+map[string]pair{
						sign.SPKI: others["spki p256"], sign.Ed25519: others["ed25519"],
					}[missing].public)
				}
				list, err := s.verify(t, signed(t, k))
				if !errors.Is(err, c.err) || err == nil && (len(list) != 1 || list[0].Engine != k.engine) {
					t.Errorf("%s, %s, sign-verify=%s: %v, %v; want %v", name, c.what, demand, list, err, c.err)
				}
			}
		}
	}
}

func TestKeysOfTheSystemCountUnlessTheRemoteHasItsOwn(t *testing.T) {
	t.Parallel()
	all, others := ours(), theirs()
	k, other, pemKey := all["ed25519"], others["ed25519"], all["spki p256"]
	for _, c := range []struct {
		what  string
		key   pair
		lines []string
		files map[string]string
		err   error
	}{
		{"etc", k, nil, map[string]string{"etc/ostree/trusted.ed25519": k.public}, nil},
		{"a directory in etc", k, nil, map[string]string{"etc/ostree/trusted.ed25519.d/any": k.public}, nil},
		{"usr", k, nil, map[string]string{"usr/share/ostree/trusted.ed25519": k.public}, nil},
		{"one of several", k, nil, map[string]string{
			"etc/ostree/trusted.ed25519":               other.public,
			"usr/share/ostree/trusted.ed25519.d/b.key": k.public,
		}, nil},
		{"a file that has none is skipped", k, nil, map[string]string{
			"etc/ostree/trusted.ed25519":     "nonsense",
			"etc/ostree/trusted.ed25519.d/a": k.public,
		}, nil},
		{"PEM", pemKey, nil, map[string]string{"etc/ostree/trusted.spki": string(pemKey.publicPEM)}, nil},
		{"none", k, nil, nil, sign.ErrNoKey},
		{"those of another engine", k, nil, map[string]string{"etc/ostree/trusted.spki": k.public}, sign.ErrNoKey},
		{"the remote has its own", k, []string{"verification-ed25519-key=" + other.public},
			map[string]string{"etc/ostree/trusted.ed25519": k.public}, sign.ErrBadSignature},
		{"revoked", k, nil, map[string]string{
			"etc/ostree/trusted.ed25519": k.public, "etc/ostree/revoked.ed25519": k.public,
		}, sign.ErrRevokedKey},
		{"revoked elsewhere", k, nil, map[string]string{
			"usr/share/ostree/trusted.ed25519": k.public, "etc/ostree/revoked.ed25519.d/x": "# lost\n" + k.public,
		}, sign.ErrRevokedKey},
		{"revoked, and the key of the remote", k, []string{"verification-ed25519-key=" + k.public},
			map[string]string{"usr/share/ostree/revoked.ed25519": k.public}, sign.ErrRevokedKey},
		{"revoked in PEM", pemKey, nil, map[string]string{
			"etc/ostree/trusted.spki": string(pemKey.publicPEM), "etc/ostree/revoked.spki": string(pemKey.publicPEM),
		}, sign.ErrRevokedKey},
		{"another is revoked", k, nil, map[string]string{
			"etc/ostree/trusted.ed25519": k.public, "etc/ostree/revoked.ed25519": other.public,
		}, nil},
		{"the list of revoked keys is damaged", k, nil, map[string]string{
			"etc/ostree/trusted.ed25519": k.public, "etc/ostree/revoked.ed25519": other.public[:20],
		}, sign.ErrConfig},
	} {
		s := newSystem(t).set(t, append([]string{gpgRemote, "gpg-verify=false", "sign-verify=true"}, c.lines...)...)
		for file, text := range c.files {
			s.file(t, file, []byte(text))
		}
		if _, err := s.verify(t, signed(t, c.key)); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
	}
}

func TestOneSignatureOfSeveralIsEnough(t *testing.T) {
	t.Parallel()
	all, others := ours(), theirs()
	ed, spki := all["ed25519"], all["spki p256"]
	s := newSystem(t).set(t, gpgRemote, "gpg-verify=false", "sign-verify=true", "verification-ed25519-key="+ed.public,
		"verification-spki-key="+spki.public)
	for _, c := range []struct {
		what     string
		metadata []byte
		engines  string
		err      error
	}{
		{"both", signed(t, ed, spki), "ed25519 spki", nil},
		{"one engine", signed(t, spki), "spki", nil},
		{"another key of the same engine", signed(t, others["ed25519"], ed), "ed25519", nil},
		{"another key of the other engine", signed(t, others["ed25519"], spki), "spki", nil},
		{"other keys", signed(t, others["ed25519"], others["spki p256"]), "", sign.ErrBadSignature},
		{"none", signed(t), "", sign.ErrUnsigned},
		{"nothing at all", []byte{}, "", sign.ErrUnsigned},
		{"no metadata", nil, "", sign.ErrUnsigned},
		{"lists without elements", detached(t, "ostree.sign.ed25519"), "", sign.ErrUnsigned},
		{"a text in place of a list", gvariant.Dict{}.Set("ostree.sign.ed25519", gvariant.String("x")).Encode(), "",
			sign.ErrUnsigned},
		{"too short", detached(t, "ostree.sign.ed25519", make([]byte, 63)), "", sign.ErrBadSignature},
		{"too long", detached(t, "ostree.sign.ed25519", make([]byte, 65)), "", sign.ErrBadSignature},
		{"garbage", detached(t, "ostree.sign.spki", []byte("garbage"), nil), "", sign.ErrBadSignature},
		{"not a dictionary", []byte("garbage"), "", sign.ErrBadSignature},
		{"thousands", detached(t, "ostree.sign.ed25519", make([][]byte, 5000)...), "", sign.ErrBadSignature},
	} {
		list, err := s.verify(t, c.metadata)
		var engines []string
		for _, sig := range list {
			engines = append(engines, sig.Engine)
		}
		if !errors.Is(err, c.err) || strings.Join(engines, " ") != c.engines {
			t.Errorf("%s: %v, %v; want %q, %v", c.what, list, err, c.engines, c.err)
		}
	}
	if _, err := s.verify(t, signed(t, ed)); err != nil {
		t.Error(err)
	}
	v, err := sign.ForRemote(s.open(t), "os", s.options())
	must(t, err)
	if list, err := v.Verify([]byte("another commit"), signed(t, ed, spki)); !errors.Is(err, sign.ErrBadSignature) {
		t.Errorf("signatures of another commit: %v, %v", list, err)
	}
}

// TestGPGAndTheSignAPIMustBothPass checks all combinations of what is demanded and what is there.
func TestGPGAndTheSignAPIMustBothPass(t *testing.T) {
	t.Parallel()
	alice, ed := gpgKey(t, "alice"), edPair()
	gpgSig := gpgSign(t, alice.PrivateKey, commit)
	withBoth := with(t, must1(gvariant.ParseDict(signed(t, ed))), gpgsigs, gpgSig).Encode()
	metadata := map[string][]byte{"none": signed(t), "gpg": detached(t, gpgsigs, gpgSig), "ed": signed(t, ed),
		"both": withBoth}
	for _, c := range []struct {
		gpg, sign string
		demand    sign.Kinds
		accepted  string
	}{
		{"true", "false", 0, "gpg both"}, {"1", "0", 0, "gpg both"}, {"", "", 0, "gpg both"},
		{"false", "true", 0, "ed both"}, {"false", "ed25519", 0, "ed both"},
		{"true", "true", 0, "both"}, {"", "ed25519", 0, "both"},
		{"false", "false", sign.GPGKind, "gpg both"}, {"false", "false", sign.SignAPIKind, "ed both"},
		{"false", "", sign.GPGKind | sign.SignAPIKind, "both"},
		{"true", "true", sign.GPGKind, "gpg both"}, {"true", "ed25519", sign.SignAPIKind, "ed both"},
	} {
		s := newSystem(t).set(t, gpgRemote, "verification-ed25519-key="+ed.public).
			file(t, "ostree/repo/os.trustedkeys.gpg", public(t, alice))
		for key, value := range map[string]string{"gpg-verify": c.gpg, "sign-verify": c.sign} {
			if value != "" {
				s.set(t, key+"="+value)
			}
		}
		opts := s.options()
		opts.Demand = c.demand
		v, err := sign.ForRemote(s.open(t), "os", opts)
		if err != nil {
			t.Errorf("gpg-verify=%s, sign-verify=%s: %v", c.gpg, c.sign, err)
			continue
		}
		for what, data := range metadata {
			_, err := v.Verify(commit, data)
			if accepted := strings.Contains(" "+c.accepted+" ", " "+what+" "); accepted != (err == nil) {
				t.Errorf("gpg-verify=%s, sign-verify=%s, demand %d: signed by %s: %v", c.gpg, c.sign, c.demand, what, err)
			}
		}
	}
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAConfigurationThatDemandsNothingOrIsWrongIsRefused(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	weakDER, err := x509.MarshalPKIXPublicKey(&weak.PublicKey)
	must(t, err)
	for _, c := range []struct {
		lines string
		err   error
		says  string
	}{
		{"gpg-verify=false", sign.ErrNotConfigured, "Cannot verify commit for remote os; GPG verification disabled, and no " +
			"signapi verifiers configured"},
		{"gpg-verify=0\nsign-verify=false", sign.ErrNotConfigured, "set gpg-verify or sign-verify"},
		{"gpg-verify=false\nsign-verify=", sign.ErrNotConfigured, "config"},
		{"gpg-verify=maybe", sign.ErrConfig, "neither true nor false"},
		{"sign-verify=ed25519", sign.ErrConfig, "No keys found for required signapi type ed25519"},
		{"sign-verify=nosuch", sign.ErrConfig, "Requested signature type is not implemented"},
		{"sign-verify=ed25519,spki", sign.ErrConfig, "Requested signature type is not implemented"},
		{"sign-verify=dummy\nverification-dummy-key=x", sign.ErrConfig, "only for ostree testing"},
		{"sign-verify=ed25519\nverification-ed25519-key=AAAA", sign.ErrConfig, "3 bytes, not the 32 of a public key"},
		{"sign-verify=ed25519\nverification-ed25519-key=!", sign.ErrConfig, "not base64"},
		{"sign-verify=true\nverification-spki-key=AAAA", sign.ErrConfig, "Failed loading 'spki' keys"},
		{"sign-verify=true\nverification-spki-key=" + encode(weakDER), sign.ErrWeak, "1024 bits"},
		{"sign-verify=ed25519\nverification-ed25519-file=/nosuch", os.ErrNotExist, "/nosuch"},
		{"sign-verify=ed25519\nverification-ed25519-file=/dev/null", sign.ErrConfig, "not a regular file"},
		{"sign-verify=ed25519\nverification-ed25519-file=ROOT/empty", sign.ErrConfig,
			"signature: ed25519: no valid keys in file"},
		{"gpgkeypath=/nosuch", os.ErrNotExist, "gpgkeypath"},
		{"gpgkeypath=/a;/b,/c", sign.ErrConfig, "both semicolons and commas"},
	} {
		s := newSystem(t)
		s.set(t, gpgRemote, strings.ReplaceAll(c.lines, "ROOT", s.root)).file(t, "empty", nil)
		_, err := sign.ForRemote(s.open(t), "os", s.options())
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v that says %q", c.lines, err, c.err, c.says)
		}
	}
}

func TestARemoteIsFoundInTheRepositoryInTheSystemAndInParents(t *testing.T) {
	t.Parallel()
	alice, bob := gpgKey(t, "alice"), gpgKey(t, "bob")
	sections := func(lines string) []byte { return []byte(gpgRemote + "\n" + lines + "\n") }
	metadata := detached(t, gpgsigs, gpgSign(t, alice.PrivateKey, commit))
	const own, etc = "ostree/repo/os.trustedkeys.gpg", "etc/ostree/remotes.d/os.trustedkeys.gpg"
	const global, conf = "usr/share/ostree/trusted.gpg.d/a.gpg", "etc/ostree/remotes.d/a.conf"
	alices, bobs := public(t, alice), public(t, bob)
	for _, c := range []struct {
		what   string
		config string // of the repository
		files  map[string][]byte
		moved  bool // the repository is not the system's
		err    error
	}{
		{"config and keyring", gpgRemote, map[string][]byte{own: alices}, false, nil},
		{"config and global keyring", gpgRemote, map[string][]byte{global: alices}, false, nil},
		{"the keyring precedes the global one", gpgRemote, map[string][]byte{own: bobs, global: alices}, false,
			sign.ErrNoKey},
		{"other files of the global one", gpgRemote, map[string][]byte{
			"usr/share/ostree/trusted.gpg.d/trustdb.gpg": alices, "usr/share/ostree/trusted.gpg.d/secring.gpg": alices,
			"usr/share/ostree/trusted.gpg.d/alice.asc": alices,
		}, false, sign.ErrNoKey},
		{"gpgkeypath besides the keyring", gpgRemote + "\ngpgkeypath=ROOT/keys", map[string][]byte{
			own: bobs, "keys/any": alices,
		}, false, nil},
		{"gpgkeypath besides the global keyring", gpgRemote + "\ngpgkeypath=ROOT/keys;ROOT/b", map[string][]byte{
			global: alices, "keys/any": nil, "b": bobs,
		}, false, nil},
		{"remotes.d", "", map[string][]byte{conf: sections(""), own: alices}, false, nil},
		{"remotes.d and a keyring there", "", map[string][]byte{conf: sections(""), etc: alices}, false, nil},
		{"the repository's keyring precedes that of remotes.d", "", map[string][]byte{
			conf: sections(""), own: bobs, etc: alices,
		}, false, sign.ErrNoKey},
		{"remotes.d demands nothing", "", map[string][]byte{conf: sections("gpg-verify=false"), own: alices}, false,
			sign.ErrNotConfigured},
		{"remotes.d is not for other repositories", "", map[string][]byte{conf: sections(""), own: alices}, true,
			sign.ErrNoRemote},
		{"not a configuration", "", map[string][]byte{"etc/ostree/remotes.d/a": sections(""), own: alices}, false,
			sign.ErrNoRemote},
		{"config and remotes.d", gpgRemote, map[string][]byte{conf: sections(""), own: alices}, false, sign.ErrConfig},
		{"twice in remotes.d", "", map[string][]byte{
			conf: sections(""), "etc/ostree/remotes.d/b.conf": sections(""), own: alices,
		}, false, sign.ErrConfig},
		{"a damaged file in remotes.d", gpgRemote, map[string][]byte{conf: []byte("os"), own: alices}, false,
			sign.ErrConfig},
		{"nowhere", "", map[string][]byte{own: alices}, false, sign.ErrNoRemote},
	} {
		s := newSystem(t)
		s.set(t, strings.ReplaceAll(c.config, "ROOT", s.root))
		for file, data := range c.files {
			s.file(t, file, data)
		}
		if c.moved {
			to := filepath.Join(s.root, "other")
			must(t, os.Rename(s.repo, to))
			s.repo = to
		}
		if _, err := s.verify(t, metadata); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
	}
}

func TestTheEnvironmentNamesTheGlobalKeyrings(t *testing.T) {
	t.Parallel()
	alice := gpgKey(t, "alice")
	metadata := detached(t, gpgsigs, gpgSign(t, alice.PrivateKey, commit))
	s := newSystem(t).set(t, gpgRemote)
	s.env["OSTREE_GPG_HOME"] = filepath.Dir(write(t, filepath.Join(t.TempDir(), "a.gpg"), public(t, alice)))
	if _, err := s.verify(t, metadata); err != nil {
		t.Error(err)
	}
	s.env["OSTREE_GPG_HOME"] = t.TempDir()
	s.file(t, "usr/share/ostree/trusted.gpg.d/a.gpg", public(t, alice))
	if _, err := s.verify(t, metadata); !errors.Is(err, sign.ErrNoKey) {
		t.Errorf("%v, want that there is no key", err)
	}
}

func TestAParentRepositoryCompletesARemote(t *testing.T) {
	t.Parallel()
	alice := gpgKey(t, "alice")
	metadata := detached(t, gpgsigs, gpgSign(t, alice.PrivateKey, commit))
	for _, c := range []struct {
		what, own, parents string
		err                error
	}{
		{"only the parent has it", "", gpgRemote, nil},
		{"the repository has it, and the parent the keyring", gpgRemote, gpgRemote, nil},
		{"the parent's value counts", gpgRemote, gpgRemote + "\ngpg-verify=false", sign.ErrNotConfigured},
		{"the repository's value precedes it", gpgRemote + "\ngpg-verify=true", gpgRemote + "\ngpg-verify=false", nil},
	} {
		parent := newSystem(t).set(t, c.parents).file(t, "ostree/repo/os.trustedkeys.gpg", public(t, alice))
		s := newSystem(t).set(t, "parent="+parent.repo, c.own)
		if _, err := s.verify(t, metadata); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
	}
}

func TestNamesOfRemotesAreNotPaths(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	for _, name := range []string{"", "..", "../os", "a/b", "-x", "a b", "os\n"} {
		if _, err := sign.ForRemote(s.open(t), name, s.options()); !errors.Is(err, sign.ErrConfig) {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := sign.ForRemote(s.open(t), "nope", s.options())
	if !errors.Is(err, sign.ErrNoRemote) || !strings.HasPrefix(err.Error(), `Remote "nope" not found`) {
		t.Errorf("got %v", err)
	}
}

// TestAKeyringThatCannotBeReadIsNamed checks that the message about a missing key says which files are broken.
func TestAKeyringThatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	alice := gpgKey(t, "alice")
	metadata := detached(t, gpgsigs, gpgSign(t, alice.PrivateKey, commit))
	unsupported := gpgKey(t, "elgamal")
	broken := public(t, unsupported)
	broken[2+5] = byte(packet.PubKeyAlgoElGamal)
	keybox := append([]byte{0, 0, 0, 32, 1, 1, 0, 2}, "KBXf\x00\x00\x00\x00"...)
	for what, c := range map[string]struct {
		data []byte
		says string
	}{
		"a text":                   {[]byte("key"), "there is no OpenPGP public key in it"},
		"a keybox":                 {keybox, "gpg --export"},
		"a key of an unknown kind": {broken, "a key that cannot be used"},
		"damaged":                  {append(public(t, gpgKey(t, "bob")), "more"...), "damaged"},
		"armor without end": {[]byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA"),
			"there is no OpenPGP public key in it"},
	} {
		s := newSystem(t).set(t, gpgRemote).file(t, "ostree/repo/os.trustedkeys.gpg", c.data)
		if _, err := s.verify(t, metadata); !errors.Is(err, sign.ErrNoKey) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want that it says %q", what, err, c.says)
		}
	}
}

// TestTheDocumentedRemoteIsUnderstood checks the example of a configuration in docs/signatures.md.
func TestTheDocumentedRemoteIsUnderstood(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/signatures.md")
	must(t, err)
	_, example, ok := strings.Cut(string(doc), "    [remote \"exampleos\"]\n")
	example, _, end := strings.Cut(example, "\n\n")
	if !ok || !end {
		t.Fatal("the example is not there")
	}
	s := newSystem(t)
	s.set(t, gpgRemote, strings.ReplaceAll(strings.ReplaceAll(example, "    ", ""), "=/etc/", "="+s.root+"/etc/"))
	all := ours()
	s.file(t, "etc/ostree/exampleos.pem", all["spki p256"].publicPEM)
	seed := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	for what, k := range map[string]pair{
		"spki": all["spki p256"], "ed25519": {engine: sign.Ed25519, secret: encode(seed)},
	} {
		if _, err := s.verify(t, signed(t, k)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.verify(t, signed(t, theirs()["spki p256"])); !errors.Is(err, sign.ErrBadSignature) {
		t.Errorf("another key: %v", err)
	}
}
