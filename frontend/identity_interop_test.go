//go:build interop

package frontend_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

// TestInterop_ImagesThatAnIdentitySignedAreBuiltFrom signs as the command line does, with an authority and a log on
// loopback.
func TestInterop_ImagesThatAnIdentitySignedAreBuiltFrom(t *testing.T) {
	const email, issuer = "me@example.com", "https://accounts.example"
	ca, other := testca.New(t), testca.New(t)
	s := ca.Serve(t)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	image := pushText(t, "verify/identity", "signed by an identity")
	ref, err := name.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	attachBy(t, ref, image, func(payload []byte) ([]byte, map[string]string, error) {
		return keyless.SignPayload(t.Context(), payload, keyless.SignOptions{
			Token: s.IdentityToken(email, issuer), Config: ca.SigningConfig(s.URL), TLS: &tls.Config{RootCAs: pool},
		})
	})
	requirement := func(root, log *testca.Authority, email string) string {
		return fmt.Sprintf(`{"type":"sigstoreSigned","signedIdentity":{"type":"matchRepository"},`+
			`"rekorPublicKeyData":%q,"fulcio":{"caData":%q,"oidcIssuer":%q,"subjectEmail":%q}}`,
			base64.StdEncoding.EncodeToString(log.LogKeyPEM()), base64.StdEncoding.EncodeToString(root.RootPEM()), issuer,
			email)
	}
	for _, tt := range []struct {
		name, policy string
		says         []string // nothing if the build works
	}{
		{"the identity", policyOf(requirement(ca, ca, email)), nil},
		{"another identity", policyOf(requirement(ca, ca, "you@example.com")),
			[]string{"the certificate of a signature: it is for another email address"}},
		{"another authority", policyOf(requirement(other, ca, email)), []string{"unknown authority"}},
		{"another log", policyOf(requirement(ca, other, email)), []string{"none of the logs has recorded it"}},
		{"a key", policyOf(byKey1), []string{"a signature is not by sha256:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := trusting(t, request{file: syntax("single-layer") + "FROM " + image + "\n", name: "identity"}, tt.policy)
			if len(tt.says) > 0 {
				refusedBuild(t, env.daemon, r, tt.says...)
				return
			}
			env.daemon.build(t, r)
		})
	}
}
