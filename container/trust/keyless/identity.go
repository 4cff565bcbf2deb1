package keyless

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Identity says who may have signed.
type Identity struct {
	// Issuer is the URL of the OpenID Connect provider, which is compared exactly.
	Issuer string
	// Identity is what the provider calls the signer, compared exactly: an e-mail address, or a URI such as
	// https://github.com/OWNER/REPO/.github/workflows/FILE@REF.
	Identity string
	// Expression stands instead of Identity. It is a regular expression of Go (RE2), of at most 1000 bytes, that the
	// whole of the identity must match: it is anchored at both ends here, whether or not it has anchors of its own. A
	// dot matches any character, so write \. for a dot. An expression that would accept strangers is refused: one that
	// matches anything, any address, any URI, or the workflows of anybody at github.com or gitlab.com.
	Expression string
}

// String names the identity for people.
func (id Identity) String() string {
	if id.Identity != "" {
		return fmt.Sprintf("%s of %s", id.Identity, id.Issuer)
	}
	return fmt.Sprintf("an identity like %s of %s", id.Expression, id.Issuer)
}

// Check reports an identity that names nobody or everybody. Errors wrap [ErrAllowed].
func (id Identity) Check() error {
	_, err := id.matcher()
	return err
}

// maxExpression bounds the length of an expression in bytes.
const maxExpression = 1000

// strangers are identities that nobody has. An expression that matches one of them would match those of anybody.
var strangers = []string{
	"nobody-1d2f8a",
	"nobody-1d2f8a@nowhere-77c3.invalid",
	"https://nowhere-77c3.invalid/nobody-1d2f8a",
	"https://github.com/nobody-1d2f8a/nothing-90e4/.github/workflows/nothing-90e4.yml@refs/heads/nothing-90e4",
	"https://gitlab.com/nobody-1d2f8a/nothing-90e4//.gitlab-ci.yml@refs/heads/nothing-90e4",
}

// matcher returns what decides about the identity in a certificate.
func (id Identity) matcher() (func(string) bool, error) {
	fail := func(err error) (func(string) bool, error) { return nil, fmt.Errorf("%w: %w", ErrAllowed, err) }
	switch {
	case id.Issuer == "":
		return fail(errors.New("it has no issuer: name the provider's URL"))
	case (id.Identity == "") == (id.Expression == ""):
		return fail(errors.New("either an exact identity or an expression is needed"))
	case id.Identity != "":
		return func(s string) bool { return s == id.Identity }, nil
	case len(id.Expression) > maxExpression:
		return fail(fmt.Errorf("the expression is longer than %d bytes", maxExpression))
	}
	// The expression must be one by itself: "a)|(?:b" would leave the group that anchors it.
	if _, err := regexp.Compile(id.Expression); err != nil {
		return fail(err)
	}
	whole, err := regexp.Compile(`\A(?:` + id.Expression + `)\z`)
	if err != nil {
		return fail(err)
	}
	for _, s := range strangers {
		if whole.MatchString(s) {
			return fail(fmt.Errorf("the expression %s accepts anybody, for instance %s: write out whom you mean",
				id.Expression, s))
		}
	}
	return whole.MatchString, nil
}

// allowed decides about identities.
type allowed []allowedIdentity

type allowedIdentity struct {
	issuer  string
	matches func(string) bool
	name    string
}

func compile(list []Identity) (allowed, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrAllowed)
	}
	var all allowed
	for _, id := range list {
		matches, err := id.matcher()
		if err != nil {
			return nil, err
		}
		all = append(all, allowedIdentity{id.Issuer, matches, id.String()})
	}
	return all, nil
}

// check returns an error unless the identity is one of the allowed.
func (a allowed) check(issuer, identity string) error {
	var names []string
	known := false
	for _, id := range a {
		if id.issuer == issuer && id.matches(identity) {
			return nil
		}
		known = known || id.issuer == issuer
		names = append(names, id.name)
	}
	reason := ErrIdentity
	if !known {
		reason = ErrIssuer
	}
	return fmt.Errorf("%w: it was %q of %q; allowed is %s", reason, identity, issuer, strings.Join(names, " or "))
}
