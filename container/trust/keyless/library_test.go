package keyless

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"

	"github.com/ostree-ext/ostree-ext-go/container/trust/statement"
)

// publicGood reads a file of the public good instance.
func publicGood(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "public-good", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The bundles are from the public good instance. They are of an earlier version and not signatures of images, but
// everything else about them is as it must be.
func TestBundlesOfThePublicGoodInstance(t *testing.T) {
	t.Parallel()
	v, err := New(publicGood(t, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Found{
		"workflow.json": {
			Identity: "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main",
			Issuer:   "https://token.actions.githubusercontent.com", At: time.Unix(1692374735, 0).UTC(),
			Log: "https://rekor.sigstore.dev", LogIndex: 31821305,
		},
		"person.json": {
			Identity: "brian@dehamer.com", Issuer: "https://github.com/login/oauth", At: time.Unix(1668034836, 0).UTC(),
			Log: "https://rekor.sigstore.dev", LogIndex: 6800908,
		},
	} {
		text := publicGood(t, name)
		b := new(bundle.Bundle)
		if err := b.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		if found, err := v.judge(b); err != nil || found != want {
			t.Errorf("%s: got %+v, %v; want %+v", name, found, err, want)
		}
		id := Identity{Issuer: want.Issuer, Identity: want.Identity}
		if _, err := v.Verify(text, digest.FromString(""), []Identity{id}); !errors.Is(err, ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// noCT is the library's instance in memory, whose certificates have no SCT.
type noCT struct{ *ca.VirtualSigstore }

func (noCT) CTLogs() map[string]*root.TransparencyLog { return nil }

func TestTheInstanceOfTheLibrary(t *testing.T) {
	t.Parallel()
	virtual, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	v, err := newVerifier(noCT{virtual}, Options{NoSCT: true})
	if err != nil {
		t.Fatal(err)
	}
	strict, err := newVerifier(virtual, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const mail, issuer = "release@exampleos.example", "https://accounts.google.com"
	payload := statement.New(digest.FromString("image"))
	for name, sign := range map[string]func(string, string, []byte) (*ca.TestEntity, error){
		"Rekor 1": virtual.Attest, "Rekor 2": virtual.AttestHashedRekordV2,
	} {
		entity, err := sign(mail, issuer, payload)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := v.judge(entity); err != nil || found.Identity != mail || found.Issuer != issuer {
			t.Errorf("%s: got %+v, %v", name, found, err)
		}
		if _, err := strict.judge(entity); !errors.Is(err, ErrNoSCT) {
			t.Errorf("%s: without SCT: %v", name, err)
		}
		other, err := ca.NewVirtualSigstore()
		if err != nil {
			t.Fatal(err)
		}
		stranger, err := newVerifier(noCT{other}, Options{NoSCT: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stranger.judge(entity); !errors.Is(err, ErrNoLogEntry) {
			t.Errorf("%s: another instance: %v", name, err)
		}
	}
}
