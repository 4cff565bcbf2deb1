package keyless_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

func TestExpressionsMatchWholeIdentities(t *testing.T) {
	t.Parallel()
	a := testca.New(t)
	v := verifier(t, a.Root())
	const me = `https://github.com/me/`
	for _, tt := range []struct {
		expression, identity string
		want                 bool
	}{
		{me, "https://github.com/me/", true},
		{me, "https://github.com/me/x", false},
		{me, "https://evil.example/https://github.com/me/", false},
		{`https://github\.com/me/os`, "https://evil.example/?https://github.com/me/os", false},
		{`https://github\.com/me/os`, "https://github.com/me/os-evil", false},
		{`https://github\.com/me/os`, "https://github.com/me/os", true},
		{`^https://github\.com/me/os$`, "https://github.com/me/os", true},
		{`^https://github\.com/me/os`, "https://github.com/me/os-evil", false},
		{`https://github\.com/me/os$`, "https://evil.example/https://github.com/me/os", false},
		{`https://github\.com/me/os|https://github\.com/me/app`, "https://github.com/me/app", true},
		{`https://github\.com/me/os|https://github\.com/me/app`, "https://github.com/me/app-evil", false},
		{`https://github\.com/me/os|https://github\.com/me/app`, "https://evil.example/https://github.com/me/app", false},
		{`(?m)^https://github\.com/me/os$`, "https://github.com/me/os", true},
		{`(?i)https://GITHUB\.com/me/os`, "https://github.com/me/os", true},
		{`https://github\.com/me/.*@refs/tags/.*`, "https://github.com/me/os/w.yml@refs/tags/1", true},
		{`https://github\.com/me/.*@refs/tags/.*`, "https://github.com/me/os/w.yml@refs/heads/1", false},
		{`https://github\.com/me/.*`, "https://githubXcom/me/os", false},
		{`.+@exampleos\.example`, "release@exampleos.example", true},
		{`.+@exampleos\.example`, "release@exampleos.example.evil.example", false},
	} {
		s := signed()
		s.Identity = tt.identity
		_, err := v.Verify(a.Sign(s), image, []keyless.Identity{{Issuer: github, Expression: tt.expression}})
		if tt.want && err != nil || !tt.want && !errors.Is(err, keyless.ErrIdentity) {
			t.Errorf("%s, %s: %v", tt.expression, tt.identity, err)
		}
	}
}

func TestIdentitiesThatNameNobodyOrEverybodyAreRefused(t *testing.T) {
	t.Parallel()
	v := verifier(t, testca.New(t).Root())
	for _, id := range []keyless.Identity{
		{},
		{Issuer: github},
		{Identity: workflow},
		{Expression: `https://github\.com/me/.*`},
		{Issuer: github, Identity: workflow, Expression: `https://github\.com/me/.*`},
		{Issuer: github, Expression: `(`},
		{Issuer: github, Expression: `https://github\.com/me/os)|(?:https://.*`},
		{Issuer: github, Expression: `https://github\.com/me/\Qos`},
		{Issuer: github, Expression: `(?<=x)y`},
		{Issuer: github, Expression: strings.Repeat("a", 1001)},
		{Issuer: github, Expression: `.*`},
		{Issuer: github, Expression: `^.*$`},
		{Issuer: github, Expression: `.+`},
		{Issuer: github, Expression: `(.*)`},
		{Issuer: github, Expression: `[\s\S]*`},
		{Issuer: github, Expression: `https://github\.com/me/os|.*`},
		{Issuer: github, Expression: `https://.*`},
		{Issuer: github, Expression: `https?://[^@]+/.+`},
		{Issuer: github, Expression: `https://github\.com/.*`},
		{Issuer: github, Expression: `https://github\.com/[^/]+/[^/]+/\.github/workflows/.*`},
		{Issuer: github, Expression: `https://gitlab\.com/.*`},
		{Issuer: google, Expression: `.*@.*`},
	} {
		if err := id.Check(); !errors.Is(err, keyless.ErrAllowed) {
			t.Errorf("%+v: %v", id, err)
		}
		refused(t, v, nil, keyless.ErrAllowed, byMain, id)
	}
	refused(t, v, nil, keyless.ErrAllowed)
	for _, id := range []keyless.Identity{byMain, byMail, byTag,
		{Issuer: github, Expression: `https://github\.com/exampleos/[^/]+/\.github/workflows/.*`}} {
		if err := id.Check(); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
