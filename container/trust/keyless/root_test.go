package keyless_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

func TestAuthoritiesAndKeysCountOnlyWhileTheyAreValid(t *testing.T) {
	t.Parallel()
	a := testca.New(t)
	then := time.Now().Add(-100 * 24 * time.Hour)
	dayBefore, dayAfter := then.Add(-24*time.Hour), then.Add(24*time.Hour)
	rekor1, rekor2 := signed(), signed()
	rekor1.At, rekor2.At, rekor2.Rekor2 = then, then, true
	for _, tt := range []struct {
		name   string
		s      testca.Signature
		change func(*testca.Root)
		want   error
	}{
		{"everything valid", rekor1, func(r *testca.Root) {}, nil},
		{"everything valid, Rekor 2", rekor2, func(r *testca.Root) {}, nil},
		{"what was replaced since", rekor1, func(r *testca.Root) {
			r.TLogs[0].PublicKey.ValidFor.End = &dayAfter
			r.CTLogs[0].PublicKey.ValidFor.End = &dayAfter
			r.CertificateAuthorities[0].ValidFor.End = &dayAfter
		}, nil},
		{"what was replaced since, Rekor 2", rekor2, func(r *testca.Root) {
			r.TLogs[1].PublicKey.ValidFor.End = &dayAfter
			r.TimestampAuthorities[0].ValidFor.End = &dayAfter
		}, nil},
		{"the log's key had expired", rekor1, func(r *testca.Root) { r.TLogs[0].PublicKey.ValidFor.End = &dayBefore },
			keyless.ErrLogEntry},
		{"the log's key came later", rekor1, func(r *testca.Root) { r.TLogs[0].PublicKey.ValidFor.Start = dayAfter },
			keyless.ErrLogEntry},
		{"the key of Rekor 2 had expired", rekor2, func(r *testca.Root) {
			r.TLogs[1].PublicKey.ValidFor.End = &dayBefore
		}, keyless.ErrLogEntry},
		{"the key of Rekor 2 came later", rekor2, func(r *testca.Root) {
			r.TLogs[1].PublicKey.ValidFor.Start = dayAfter
		}, keyless.ErrLogEntry},
		{"the timestamp authority had expired", rekor2, func(r *testca.Root) {
			r.TimestampAuthorities[0].ValidFor.End = &dayBefore
		}, keyless.ErrNoTime},
		{"the timestamp authority came later", rekor2, func(r *testca.Root) {
			r.TimestampAuthorities[0].ValidFor.Start = dayAfter
		}, keyless.ErrNoTime},
		{"no timestamp authority", rekor2, func(r *testca.Root) { r.TimestampAuthorities = nil }, keyless.ErrNoTime},
		{"the certificate authority had expired", rekor1, func(r *testca.Root) {
			r.CertificateAuthorities[0].ValidFor.End = &dayBefore
		}, keyless.ErrChain},
		{"the certificate authority came later", rekor1, func(r *testca.Root) {
			r.CertificateAuthorities[0].ValidFor.Start = dayAfter
		}, keyless.ErrChain},
		{"the log of certificates had expired", rekor1, func(r *testca.Root) {
			r.CTLogs[0].PublicKey.ValidFor.End = &dayBefore
		}, keyless.ErrNoSCT},
		{"the log of certificates came later", rekor1, func(r *testca.Root) {
			r.CTLogs[0].PublicKey.ValidFor.Start = dayAfter
		}, keyless.ErrNoSCT},
		{"Rekor 2 under another name", rekor2, func(r *testca.Root) { r.TLogs[1].BaseURL = "https://other.example" },
			keyless.ErrLogEntry},
		{"the intermediate certificate is missing", rekor1, func(r *testca.Root) {
			chain := &r.CertificateAuthorities[0].CertChain
			chain.Certificates = chain.Certificates[1:]
		}, keyless.ErrChain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := a.Root()
			tt.change(root)
			v := verifier(t, root)
			if tt.want != nil {
				refused(t, v, a.Sign(tt.s), tt.want, byMain)
			} else if _, err := v.Verify(a.Sign(tt.s), image, []keyless.Identity{byMain}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatAnInstanceLacksMustBeSaid(t *testing.T) {
	t.Parallel()
	a := testca.New(t)
	none := func(*testca.Root) {}
	noCT := func(r *testca.Root) { r.CTLogs = nil }
	noLogs := func(r *testca.Root) { r.TLogs = nil }
	for _, tt := range []struct {
		name    string
		change  func(*testca.Root)
		options keyless.Options
		alter   func(*testca.Signature)
		want    bool
	}{
		{"no SCT", noCT, keyless.Options{NoSCT: true}, func(s *testca.Signature) { s.NoSCT = true }, true},
		{"no SCT, not said", noCT, keyless.Options{}, nil, false},
		{"no SCT said, and a log", none, keyless.Options{NoSCT: true}, nil, false},
		{"no log", noLogs, keyless.Options{NoLog: true},
			func(s *testca.Signature) { s.NoLog, s.Timestamp = true, true }, true},
		{"no log, not said", noLogs, keyless.Options{}, nil, false},
		{"no log said, and one there", none, keyless.Options{NoLog: true}, nil, false},
		{"no log and nobody to vouch for times", func(r *testca.Root) { r.TLogs, r.TimestampAuthorities = nil, nil },
			keyless.Options{NoLog: true}, nil, false},
		{"no authority", func(r *testca.Root) { r.CertificateAuthorities = nil }, keyless.Options{}, nil, false},
		{"another media type", func(r *testca.Root) { r.MediaType += "2" }, keyless.Options{}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := a.Root()
			tt.change(root)
			v, err := keyless.NewWith(root.JSON(), tt.options)
			if !tt.want {
				if !errors.Is(err, keyless.ErrTrustedRoot) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := signed()
			tt.alter(&s)
			found, err := v.Verify(a.Sign(s), image, []keyless.Identity{byMain})
			if err != nil || s.NoLog != (found.Log == "") {
				t.Errorf("got %+v, %v", found, err)
			}
			s.NoTimestamp, s.NoPromise = true, true
			if _, err := v.Verify(a.Sign(s), image, []keyless.Identity{byMain}); !errors.Is(err, keyless.ErrNoTime) {
				t.Errorf("without anybody who vouches for the time: %v", err)
			}
		})
	}
}

func TestTrustedRootsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	good := string(testca.New(t).Root().JSON())
	for name, text := range map[string]string{
		"nothing":        "",
		"no JSON":        "trust",
		"a key twice":    strings.Replace(good, "{", `{"tlogs":[],`, 1),
		"another case":   strings.Replace(good, `"tlogs"`, `"TLogs"`, 1),
		"an unknown key": strings.Replace(good, "{", `{"more":1,`, 1),
		"too large":      good + strings.Repeat(" ", 1<<20),
		"a wrong key":    strings.Replace(good, `"rawBytes":"M`, `"rawBytes":"A`, 1),
	} {
		if _, err := keyless.New([]byte(text)); !errors.Is(err, keyless.ErrTrustedRoot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
