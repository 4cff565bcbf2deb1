package trust_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	repoobject "github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// released is a commit that may be signed, and an image of it.
type released struct {
	repo *repo.Repo
	id   repoobject.Checksum
}

// image writes an image of the commit with a list of signatures.
func (c released) image(t *testing.T, list string, signatures ...[]byte) imgref.ImageReference {
	t.Helper()
	values := make([]gvariant.Value, len(signatures))
	for i, s := range signatures {
		values[i] = gvariant.ByteArray(s)
	}
	array, err := gvariant.Array("ay", values...)
	if err != nil {
		t.Fatal(err)
	}
	src := repo.WithDetachedMetadata(c.repo, c.id, gvariant.Dict{}.Set(list, array).Encode())
	img, err := encapsulate.Build(t.Context(), src, c.id, encapsulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ref := imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir()}
	if _, err := dest.Write(t.Context(), img, ref, dest.Options{}); err != nil {
		t.Fatal(err)
	}
	return ref
}

// monthsAgo is a configuration of the OpenPGP library some months ago.
func monthsAgo(n int) *packet.Config {
	then := time.Now().AddDate(0, -n, 0)
	return &packet.Config{Time: func() time.Time { return then }, Algorithm: packet.PubKeyAlgoEdDSA}
}

// newGPGKey makes a key half a year ago, that may be valid for some seconds only.
func newGPGKey(t *testing.T, name string, seconds uint32) *openpgp.Entity {
	t.Helper()
	config := monthsAgo(6)
	config.KeyLifetimeSecs = seconds
	e, err := openpgp.NewEntity(name, "", name+"@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// gpgSignature signs data five months ago. The signature may be valid for some seconds only.
func gpgSignature(t *testing.T, e *openpgp.Entity, data []byte, seconds uint32) []byte {
	t.Helper()
	config := monthsAgo(5)
	key := e.PrivateKey
	sig := &packet.Signature{
		Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PubKeyAlgo, Hash: crypto.SHA256,
		CreationTime: config.Now(), IssuerKeyId: &key.KeyId, IssuerKeyVersion: 4, IssuerFingerprint: key.Fingerprint,
		SigLifetimeSecs: &seconds,
	}
	h := sig.Hash.New()
	h.Write(data)
	var b bytes.Buffer
	if err := errors.Join(sig.Sign(h, key, config), sig.Serialize(&b)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestNothingOfACommitThatIsNotSignedAsItsRemoteSaysIsInTheRepository has what the images of the fixtures lack: keys
// and signatures that were good once, and signatures of another commit.
func TestNothingOfACommitThatIsNotSignedAsItsRemoteSaysIsInTheRepository(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeBareUserOnly)
	one := released{r, repotest.Commit(t, r, repotest.Release(1), "one")}
	commit, err := sign.Commit(t.Context(), r, one.id)
	if err != nil {
		t.Fatal(err)
	}
	two := repotest.Commit(t, r, repotest.Release(2), "two")
	other, err := sign.Commit(t.Context(), r, two)
	if err != nil {
		t.Fatal(err)
	}
	const hour = 3600
	alice, eve := newGPGKey(t, "alice", 0), newGPGKey(t, "eve", 0)
	old, revoked := newGPGKey(t, "old", 60*24*hour), newGPGKey(t, "revoked", 0)
	if err := revoked.RevokeKey(packet.KeyCompromised, "it was lost", monthsAgo(1)); err != nil {
		t.Fatal(err)
	}
	var ring bytes.Buffer
	for _, e := range []*openpgp.Entity{alice, old, revoked} {
		if err := e.Serialize(&ring); err != nil {
			t.Fatal(err)
		}
	}
	edPublic, edPrivate, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("[remote \"gpg\"]\n[remote \"ed\"]\ngpg-verify=false\nsign-verify=ed25519\n"+
		"verification-ed25519-key=%s\n", base64.StdEncoding.EncodeToString(edPublic))

	const gpg, ed = "ostree.gpgsigs", "ostree.sign.ed25519"
	for _, c := range []struct {
		what, remote, list string
		signatures         [][]byte
		want               error // nil if the image is accepted
	}{
		{"a good signature", "gpg", gpg, [][]byte{gpgSignature(t, alice, commit, 0)}, nil},
		{"no signature", "gpg", gpg, nil, sign.ErrUnsigned},
		{"a signature under the name of another kind", "gpg", ed, [][]byte{gpgSignature(t, alice, commit, 0)},
			sign.ErrUnsigned},
		{"an unknown key", "gpg", gpg, [][]byte{gpgSignature(t, eve, commit, 0)}, sign.ErrNoKey},
		{"a signature of another commit", "gpg", gpg, [][]byte{gpgSignature(t, alice, other, 0)}, sign.ErrBadSignature},
		{"a signature of the ID", "gpg", gpg, [][]byte{gpgSignature(t, alice, []byte(one.id.String()), 0)},
			sign.ErrBadSignature},
		{"a signature that expired", "gpg", gpg, [][]byte{gpgSignature(t, alice, commit, hour)}, sign.ErrExpiredSignature},
		{"a key that expired", "gpg", gpg, [][]byte{gpgSignature(t, old, commit, 0)}, sign.ErrExpiredKey},
		{"a key that was revoked", "gpg", gpg, [][]byte{gpgSignature(t, revoked, commit, 0)}, sign.ErrRevokedKey},
		{"several that do not count", "gpg", gpg, [][]byte{gpgSignature(t, old, commit, 0),
			gpgSignature(t, revoked, commit, 0), gpgSignature(t, eve, commit, 0)}, sign.ErrRevokedKey},

		{"a good signature", "ed", ed, [][]byte{ed25519.Sign(edPrivate, commit)}, nil},
		{"no signature", "ed", ed, nil, sign.ErrUnsigned},
		{"an unknown key", "ed", ed, [][]byte{ed25519.Sign(stranger, commit)}, sign.ErrBadSignature},
		{"a signature of another commit", "ed", ed, [][]byte{ed25519.Sign(edPrivate, other)}, sign.ErrBadSignature},
		{"a good one of another kind", "ed", gpg, [][]byte{gpgSignature(t, alice, commit, 0)}, sign.ErrUnsigned},
	} {
		t.Run(c.remote+"/"+c.what, func(t *testing.T) {
			t.Parallel()
			host := trusttest.NewRepo(t)
			f, err := os.OpenFile(filepath.Join(host.Path(), "config"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteString(config)
			err = errors.Join(err, f.Close(),
				os.WriteFile(filepath.Join(host.Path(), "gpg.trustedkeys.gpg"), ring.Bytes(), 0o600))
			if err != nil {
				t.Fatal(err)
			}
			host, err = repo.Open(host.Path())
			if err != nil {
				t.Fatal(err)
			}
			defer host.Close()
			ref := imgref.OstreeImageReference{
				Signature: imgref.SignatureSource{Kind: imgref.OstreeRemote, Remote: c.remote},
				Image:     one.image(t, c.list, c.signatures...),
			}
			door := trust.New(trust.Options{Repo: host, RuleDirs: []string{}})
			if _, err := pull(t, host, ref, door); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if left := trusttest.Content(t, host); (len(left) == 0) != (c.want != nil) {
				t.Errorf("in the repository is %q", left)
			}
		})
	}
}
