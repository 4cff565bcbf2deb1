package keyless_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

// trusting returns a configuration for connections to a server.
func trusting(s *testca.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{RootCAs: pool}
}

func TestWhatIsSignedIsAccepted(t *testing.T) {
	t.Parallel()
	a := testca.New(t)
	s := a.Serve(t)
	v := verifier(t, a.Root())
	for name, config := range map[string][]byte{
		"Rekor 1": a.SigningConfig(s.URL), "Rekor 2": a.SigningConfigRekor2(s.URL, true),
	} {
		for _, id := range []keyless.Identity{byMain, byMail} {
			t.Run(name+" by "+id.String(), func(t *testing.T) {
				t.Parallel()
				bundle, err := keyless.Sign(t.Context(), image, keyless.SignOptions{
					Token: s.IdentityToken(id.Identity, id.Issuer), Config: config, Verifier: v.Verifier, TLS: trusting(s),
				})
				if err != nil {
					t.Fatal(err)
				}
				found, err := v.Verify(bundle, image, []keyless.Identity{id})
				if err != nil || found.Identity != id.Identity || time.Since(found.At).Abs() > time.Minute {
					t.Errorf("got %+v, %v", found, err)
				}
				// It is what cosign 3 makes.
				var b testca.Bundle
				if err := json.Unmarshal(bundle, &b); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(b.DSSEEnvelope.Payload, testca.Statement(image.Encoded())) ||
					b.DSSEEnvelope.PayloadType != "application/vnd.in-toto+json" ||
					b.MediaType != "application/vnd.dev.sigstore.bundle.v0.3+json" || b.VerificationMaterial.Certificate == nil {
					t.Errorf("got %s", bundle)
				}
				refused(t, v, bundle, keyless.ErrIdentity, keyless.Identity{Issuer: id.Issuer, Identity: "another"})
			})
		}
	}
}

func TestAttachmentsNeedALogThatPromises(t *testing.T) {
	t.Parallel()
	a := testca.New(t)
	s := a.Serve(t)
	_, _, err := keyless.SignPayload(t.Context(), []byte("{}"), keyless.SignOptions{
		Token: s.IdentityToken(byMail.Identity, byMail.Issuer), Config: a.SigningConfigRekor2(s.URL, true), TLS: trusting(s),
	})
	if !errors.Is(err, keyless.ErrNoPromise) || !strings.Contains(err.Error(), "--sign-format=bundle") {
		t.Errorf("got %v", err)
	}
}

func TestTheStatementIsThatOfCosign(t *testing.T) {
	t.Parallel()
	const blob = "069d9dec6c08d61d6be5459d06a2c12169b0cf8ce660cf91bfd346e9b5abb239" // a bundle by cosign 3.1.3
	text, err := os.ReadFile(filepath.Join(fixtures.Dir(t, "sigstore"), "blobs", "sha256", blob))
	if err != nil {
		t.Fatal(err)
	}
	var b testca.Bundle
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	var s struct {
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(b.DSSEEnvelope.Payload, &s); err != nil || len(s.Subject) != 1 {
		t.Fatalf("%v: %s", err, b.DSSEEnvelope.Payload)
	}
	if want := testca.Statement(s.Subject[0].Digest["sha256"]); !bytes.Equal(b.DSSEEnvelope.Payload, want) {
		t.Errorf("it is %s, and not %s", b.DSSEEnvelope.Payload, want)
	}
}

func TestSigningFailsPlainly(t *testing.T) {
	t.Parallel()
	a := testca.New(t)
	other := verifier(t, testca.New(t).Root())
	refuse := func(prefix, text string) func(*testca.Server, *keyless.SignOptions) {
		return func(s *testca.Server, _ *keyless.SignOptions) { s.Fail(prefix, http.StatusBadRequest, text, 1) }
	}
	for _, tt := range []struct {
		name   string
		change func(*testca.Server, *keyless.SignOptions)
		want   string
	}{
		{"without a token", func(_ *testca.Server, o *keyless.SignOptions) { o.Token = "" }, "not a JSON Web Token"},
		{"with a token that is none", func(_ *testca.Server, o *keyless.SignOptions) { o.Token = "a.b.c" },
			"not a JSON Web Token"},
		{"with a huge token", func(_ *testca.Server, o *keyless.SignOptions) { o.Token = strings.Repeat("a", 1<<20) },
			"more than"},
		{"with a token that has expired", func(_ *testca.Server, o *keyless.SignOptions) {
			o.Token = token(t, time.Now().Add(-time.Minute))
		}, "expired at"},
		{"with a token that the authority does not believe", func(_ *testca.Server, o *keyless.SignOptions) {
			o.Token = token(t, time.Now().Add(time.Minute))
		}, "error processing the identity token"},
		{"without a configuration", func(_ *testca.Server, o *keyless.SignOptions) { o.Config = nil }, "there is none"},
		{"with a configuration that is none", func(_ *testca.Server, o *keyless.SignOptions) { o.Config = []byte("{}") },
			"media type"},
		{"with a key twice in the configuration", func(_ *testca.Server, o *keyless.SignOptions) {
			o.Config = bytes.Replace(o.Config, []byte("{"), []byte(`{"caUrls":[],`), 1)
		}, "caUrls"},
		{"with a huge configuration", func(_ *testca.Server, o *keyless.SignOptions) {
			o.Config = append(o.Config, make([]byte, 1<<20)...)
		}, "more than"},
		{"at an authority without HTTPS", func(_ *testca.Server, o *keyless.SignOptions) {
			o.Config = bytes.ReplaceAll(o.Config, []byte("https://"), []byte("http://"))
		}, "not a URL of HTTPS"},
		{"with Rekor 2 and no timestamp authority", func(s *testca.Server, o *keyless.SignOptions) {
			o.Config = a.SigningConfigRekor2(s.URL, false)
		}, "no timestamp authority"},
		{"when the authority refuses", refuse("/fulcio", "no certificates today"), "no certificates today"},
		{"when Rekor 1 refuses", refuse("/rekor1", "the log is frozen"), "the log is frozen"},
		{"when Rekor 2 refuses", func(s *testca.Server, o *keyless.SignOptions) {
			o.Config = a.SigningConfigRekor2(s.URL, true)
			s.Fail("/rekor2", http.StatusBadRequest, "the log is frozen", 1)
		}, "the log is frozen"},
		{"when the timestamp authority refuses", func(s *testca.Server, o *keyless.SignOptions) {
			o.Config = a.SigningConfigRekor2(s.URL, true)
			s.Fail("/tsa", http.StatusBadRequest, "the clock stands still", 1)
		}, "the clock stands still"},
		{"when the authority stays busy", func(s *testca.Server, _ *keyless.SignOptions) {
			s.Fail("/fulcio", http.StatusServiceUnavailable, "too many signers", 100)
		}, "503 Service Unavailable: too many signers"},
		{"when the log answers something else", func(s *testca.Server, _ *keyless.SignOptions) {
			s.Fail("/rekor1", http.StatusCreated, `{"id":{"body":"e30=","logIndex":1}}`, 1)
		}, "no entry with a proof and a promise"},
		{"when the log answers no JSON", func(s *testca.Server, _ *keyless.SignOptions) {
			s.Fail("/rekor1", http.StatusCreated, `created`, 1)
		}, "invalid character"},
		{"when the services are not those of the trusted root", func(_ *testca.Server, o *keyless.SignOptions) {
			o.Verifier = other.Verifier
		}, "do not fit the trusted root"},
		{"when the server is not trusted", func(_ *testca.Server, o *keyless.SignOptions) {
			o.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		}, "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := a.Serve(t)
			o := keyless.SignOptions{Token: s.IdentityToken(workflow, github), Config: a.SigningConfig(s.URL), TLS: trusting(s)}
			tt.change(s, &o)
			bundle, err := keyless.Sign(t.Context(), image, o)
			if err == nil || bundle != nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %s, %v", bundle, err)
			}
			if o.Token != "" && strings.Contains(err.Error(), o.Token) {
				t.Errorf("the error has the token: %v", err)
			}
		})
	}
}

// token returns an identity token that nobody has issued.
func token(t *testing.T, expires time.Time) string {
	t.Helper()
	claims := fmt.Sprintf(`{"iss":%q,"sub":"me","aud":"sigstore","exp":%d}`, github, expires.Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmVk"
}

func TestSigningAsksABusyServiceAgain(t *testing.T) {
	t.Parallel()
	a := testca.New(t)
	s := a.Serve(t)
	v := verifier(t, a.Root())
	for _, part := range []string{"/fulcio", "/rekor1"} {
		s.Fail(part, http.StatusServiceUnavailable, "busy", 2)
	}
	if _, err := keyless.Sign(t.Context(), image, keyless.SignOptions{
		Token: s.IdentityToken(workflow, github), Config: a.SigningConfig(s.URL), Verifier: v.Verifier, TLS: trusting(s),
	}); err != nil {
		t.Error(err)
	}
}

func TestSigningCanBeInterrupted(t *testing.T) {
	t.Parallel()
	a := testca.New(t)
	s := a.Serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keyless.Sign(ctx, image, keyless.SignOptions{
		Token: s.IdentityToken(workflow, github), Config: a.SigningConfig(s.URL), TLS: trusting(s),
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestTheTokenOfAJob(t *testing.T) {
	t.Parallel()
	s := testca.New(t).Serve(t)
	want := s.IdentityToken(workflow, github)
	good := token(t, time.Now().Add(time.Minute))
	request := func(url, bearer string) map[string]string {
		return map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": bearer}
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		want string
		err  string
	}{
		{"in GitHub Actions", request(s.URL+"/token?api-version=2.0", "request"), want, ""},
		{"in GitLab CI", map[string]string{"SIGSTORE_ID_TOKEN": good + "\n"}, good, ""},
		{"in GitHub Actions, with a token of its own", map[string]string{"SIGSTORE_ID_TOKEN": good,
			"ACTIONS_ID_TOKEN_REQUEST_URL": "https://nowhere.invalid", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request"}, good, ""},
		{"with a token that has expired", map[string]string{"SIGSTORE_ID_TOKEN": token(t, time.Now().Add(-time.Minute))},
			"", "SIGSTORE_ID_TOKEN: the identity token expired"},
		{"with a token that is none", map[string]string{"SIGSTORE_ID_TOKEN": "secret"}, "", "not a JSON Web Token"},
		{"when GitHub refuses", request(s.URL+"/token?api-version=2.0", "another"), "", "400 Bad Request"},
		{"without HTTPS", request("http://127.0.0.1/token", "request"), "", "HTTPS"},
		{"without the permission", request("", ""), "", keyless.ErrNoToken.Error()},
		{"on a machine", nil, "", keyless.ErrNoToken.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := keyless.AmbientToken(t.Context(), func(name string) string { return tt.env[name] }, s.Client())
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %q, %v", got, err)
			}
			for _, secret := range []string{"secret", "another", tt.env["SIGSTORE_ID_TOKEN"]} {
				if err != nil && secret != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("the error has a secret: %v", err)
				}
			}
			if len(tt.env) == 0 && !errors.Is(err, keyless.ErrNoToken) {
				t.Errorf("got %v", err)
			}
		})
	}
}
