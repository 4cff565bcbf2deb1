package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/guarded"
)

// signer is somebody whose bundles are good: by keys or by an identity.
type signer struct {
	rule string
	keys []bundle.Key
	// authorities and identity are set instead of keys.
	authorities *keyless.Verifier
	identity    keyless.Identity
}

// signers returns the signers of a rule, with their keys and authorities.
func (d *Door) signers(r *rules.Rule) ([]signer, error) {
	var all []signer
	for i := range r.SignedBy {
		o := &r.SignedBy[i]
		s := signer{rule: r.String()}
		for _, file := range o.Keys() {
			var keys []bundle.Key
			err := guarded.Ours().Check(file)
			if err == nil {
				keys, err = bundle.LoadKeys(file)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r, err)
			}
			s.keys = append(s.keys, keys...)
		}
		if len(s.keys) == 0 {
			root, err := d.trustedRoot(o)
			if err == nil {
				s.authorities, err = keyless.New(root)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r, err)
			}
			s.identity = o.Who()
		}
		all = append(all, s)
	}
	return all, nil
}

// verify returns the signature if the bundle is by the signer.
func (s *signer) verify(b *bundle.Bundle, subject digest.Digest) (oci.Signature, error) {
	good := oci.Signature{Kind: oci.SignedBundle, Rule: s.rule}
	if len(s.keys) > 0 {
		key, err := b.VerifyKeys(s.keys)
		good.Signer = key.String()
		return good, err
	}
	found, err := s.authorities.Verify(b.Raw, subject, []keyless.Identity{s.identity})
	good.Signer, good.Issuer = found.Identity, found.Issuer
	return good, err
}

const maxTrustedRoot = 4 << 20

// TrustedRootFiles returns where the file with the authorities of identities is looked for, in order: in the user's
// directory, and in /etc/ostree-ext.
func TrustedRootFiles(env func(string) string) []string {
	var names []string
	for _, dir := range RuleDirs(env) {
		names = append(names, filepath.Join(filepath.Dir(dir), "trusted_root.json"))
	}
	return names
}

// trustedRoot reads the file with the authorities of an identity.
func (d *Door) trustedRoot(o *rules.Signer) ([]byte, error) {
	read := func(name string, circle guarded.Circle) ([]byte, error) {
		data, err := readSmall(name, maxTrustedRoot, circle)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities of identities: %w", err)
		}
		return data, nil
	}
	if o.TrustedRoot != "" {
		return read(o.TrustedRoot, guarded.Ours())
	}
	if name := d.opts.TrustedRoot; name != "" {
		circle, err := guarded.Named(name)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities of identities: %w", err)
		}
		return read(name, circle)
	}
	names := TrustedRootFiles(os.Getenv)
	for _, name := range names {
		if data, err := read(name, guarded.Ours()); !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return nil, fmt.Errorf("there is no file with the authorities of identities (%s): \"ostree-ext container trust "+
		"update\" fetches that of the public good instance", strings.Join(names, ", "))
}
