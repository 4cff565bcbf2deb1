package sign

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Signature is a good signature of a commit.
type Signature struct {
	// Engine is [GPG], [Ed25519], [SPKI] or [Dummy].
	Engine string
	// Signer names the key: for GPG the fingerprint of the primary key and the main user id, otherwise the kind of the
	// key and the SHA-256 of its bytes in hexadecimal digits.
	Signer string
}

// Kinds is a set of kinds of signatures.
type Kinds uint8

// The kinds of signatures.
const (
	// GPGKind are GPG signatures.
	GPGKind Kinds = 1 << iota
	// SignAPIKind are those of the other engines, of which one suffices.
	SignAPIKind
)

// Options are the options of verifiers. The zero value is right for the system that runs.
type Options struct {
	// Demand are the kinds of signatures that must be there, whatever a remote's gpg-verify and sign-verify say. If it is
	// 0, the configuration decides.
	Demand Kinds
	// Root is the directory in which etc/ostree and usr/share/ostree are. "" is /.
	Root string
	// Now returns the time at which keys and signatures must be valid. Nil is [time.Now].
	Now func() time.Time
	// Getenv looks up OSTREE_GPG_HOME and OSTREE_DUMMY_SIGN_ENABLED. Nil is [os.Getenv].
	Getenv func(string) string
}

// in returns a path below the root.
func (o *Options) in(path string) string { return filepath.Join("/", o.Root, path) }

// systemDirs are the directories with the system's keys, in the order in which they are read.
func (o *Options) systemDirs() []string {
	return []string{o.in("etc/ostree"), o.in("usr/share/ostree")}
}

func (o *Options) getenv(name string) string {
	if o.Getenv == nil {
		return os.Getenv(name)
	}
	return o.Getenv(name)
}

func (o *Options) clock() func() time.Time {
	if o.Now == nil {
		return time.Now
	}
	return o.Now
}

// Verifier judges commits by their signatures. It is safe for concurrent use. Keys are those that there were when it
// was made.
type Verifier struct {
	gpg     *gpgVerifier // nil if no GPG signature is demanded
	engines []*keySet    // none if no other signature is demanded
	wanted  string       // which signatures the engines would accept, for messages
}

// Verify returns the good signatures of a commit, given the bytes of the commit object and of its detached metadata,
// which are nil if there are none. If a kind of signature that is demanded has no good one, it returns an error that
// wraps the reason for each signature.
func (v *Verifier) Verify(commit, detached []byte) ([]Signature, error) {
	if v.gpg == nil && len(v.engines) == 0 {
		return nil, ErrNotConfigured
	}
	if detached == nil {
		return nil, wordedf(ErrUnsigned, "Can't verify commit without detached metadata: it is not signed")
	}
	if len(commit) > object.MaxMetadataSize {
		return nil, fmt.Errorf("%w: a commit of %d bytes is larger than %d", ErrBadSignature, len(commit),
			object.MaxMetadataSize)
	}
	signed, err := parseMetadata(detached)
	if err != nil {
		return nil, err
	}
	var good []Signature
	if v.gpg != nil {
		if good, err = v.gpg.verify(commit, signed); err != nil {
			return nil, err
		}
	}
	if len(v.engines) > 0 {
		more, err := v.verifyEngines(commit, signed)
		if err != nil {
			return nil, fmt.Errorf("Can't verify commit: %w", err) //nolint:staticcheck // libostree's text
		}
		good = append(good, more...)
	}
	return good, nil
}

// verifyEngines returns the good signatures of all engines. One is enough.
func (v *Verifier) verifyEngines(commit []byte, signed metadata) (good []Signature, err error) {
	r := &refusal{}
	for _, keys := range v.engines {
		key := keys.engine.key()
		if !signed.has(key) {
			continue
		}
		list, err := signed.list(key)
		if err != nil {
			r.causes = append(r.causes, wordedf(err, "%s: no signatures found: %v", keys.engine.name, err))
			continue
		}
		more, err := keys.verify(commit, list)
		if good = append(good, more...); err != nil {
			r.causes = append(r.causes, err)
		}
	}
	switch {
	case len(good) > 0:
		return good, nil
	case len(r.causes) == 0:
		return nil, wordedf(ErrUnsigned, "No signatures found: %s", v.wanted)
	}
	return nil, r
}

// Keys names the public keys of one engine.
type Keys struct {
	// Engine is one of [Engines], or [GPG].
	Engine string
	// Keys are keys in base64. Of GPG they are fingerprints, or ends of them with at least 16 digits.
	Keys []string
	// File is a file with keys, or empty.
	File string
	// Dir is the directory with the files trusted.ENGINE and revoked.ENGINE, and with the directories trusted.ENGINE.d and
	// revoked.ENGINE.d, which is used if neither Keys nor File are set. "" are those of the system. The revoked keys in it
	// always count.
	Dir string
}

// ForKeys returns a verifier that demands a signature by one of the given keys. For keys of GPG see [ForGPG]. Errors
// wrap [ErrConfig], except those about reading files.
func ForKeys(k Keys, opts Options) (*Verifier, error) {
	e, err := findEngine(k.Engine, opts.getenv)
	if err != nil {
		return nil, err
	}
	set := &keySet{engine: e}
	for _, text := range k.Keys {
		if err := set.add([]byte(text)); err != nil {
			return nil, fmt.Errorf("%w: %s: key %.80q: %w", ErrConfig, e.name, text, err)
		}
	}
	if k.File != "" {
		if err := set.addFile(k.File, true); err != nil {
			return nil, err
		}
	}
	dirs := opts.systemDirs()
	if k.Dir != "" {
		dirs = []string{k.Dir}
	}
	if err := set.addDirs(dirs, len(k.Keys) == 0 && k.File == ""); err != nil {
		return nil, err
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("%w: signature: %s: no keys loaded: there are none in %s", ErrConfig, e.name,
			strings.Join(set.places, ", "))
	}
	return &Verifier{engines: []*keySet{set}, wanted: "one of type " + e.name + " is needed"}, nil
}

// addDirs adds the revoked keys of directories and, if trusted is set, the others.
func (s *keySet) addDirs(dirs []string, trusted bool) error {
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, s.addRevoked(dir))
		if trusted {
			errs = append(errs, s.addTrusted(dir))
		}
	}
	return errors.Join(errs...)
}
