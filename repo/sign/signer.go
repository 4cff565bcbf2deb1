package sign

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// gpgProgram is the program that signs with GPG, because only its agent has the secret keys, and gpgPackage the package
// that has it.
const (
	gpgProgram = "gpg"
	gpgPackage = "gnupg"
)

// Signer signs commits with one key.
type Signer struct {
	key  string // of detached metadata
	sign func(ctx context.Context, commit []byte) ([]byte, error)
	// same reports whether an old signature is by the key that made a new one.
	same func(commit, made, old []byte) bool
}

// NewSigner returns the signer for a secret key: for ed25519 the base64 of 64 bytes, the seed and the public key; for
// spki the base64 of a key in DER, in any form that OpenSSL writes. Signatures depend on the key and the commit alone.
// Errors wrap [ErrConfig].
func NewSigner(engineName, key string, opts Options) (*Signer, error) {
	e, err := findEngine(engineName, opts.getenv)
	if err != nil {
		return nil, err
	}
	return e.signer([]byte(key))
}

func (e *engine) signer(text []byte) (*Signer, error) {
	key, err := e.secret(text)
	if err != nil {
		return nil, fmt.Errorf("%w: secret key of type %s: %w", ErrConfig, e.name, err)
	}
	return &Signer{
		key:  e.key(),
		sign: func(_ context.Context, commit []byte) ([]byte, error) { return key.sign(commit) },
		same: func(commit, _, old []byte) bool { return key.public.verify(commit, old) },
	}, nil
}

// SignersFromFile returns signers for the secret keys in a file, which has one in each line, or, for spki, PEM blocks.
// All must be valid, and there must be one. Errors wrap [ErrConfig].
func SignersFromFile(engineName, file string, opts Options) ([]*Signer, error) {
	e, err := findEngine(engineName, opts.getenv)
	if err != nil {
		return nil, err
	}
	data, err := readFile(file, true)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	keys, err := e.split(data, pemSecret)
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("there is no secret key of type %s in it", e.name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, file, err)
	}
	signers := make([]*Signer, len(keys))
	for i, key := range keys {
		if signers[i], err = e.signer(key); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return signers, nil
}

// GPGSigner returns a signer that runs gpg with the key of an id, a fingerprint or a user id. home is the directory of
// GnuPG, or empty for the user's. If gpg is not installed, signing fails with an error that wraps a
// [*hosttool.MissingError].
func GPGSigner(id, home string) *Signer {
	return &Signer{
		key:  gpgKey,
		sign: func(ctx context.Context, commit []byte) ([]byte, error) { return gpgSign(ctx, id, home, commit) },
		same: func(_, made, old []byte) bool { return issuers(old) != "" && issuers(old) == issuers(made) },
	}
}

func gpgSign(ctx context.Context, id, home string, commit []byte) ([]byte, error) {
	program, err := hosttool.Find(gpgProgram, gpgPackage)
	if err != nil {
		return nil, err
	}
	args := []string{"--detach-sign", "--batch", "--no-armor", "--no-textmode", "--local-user=" + id}
	if home != "" {
		args = append(args, "--homedir="+home)
	}
	made, err := hosttool.RunInput(ctx, commit, program, args...)
	if err != nil {
		return nil, fmt.Errorf("signing with GPG key %s: %w", id, err)
	}
	for sig, err := range parsedSignatures(made) {
		if err != nil {
			return nil, fmt.Errorf("signing with GPG key %s: what gpg wrote is a %w", id, err)
		}
		if weak(sig) {
			return nil, fmt.Errorf("signing with GPG key %s: %w: the hash is %s: see digest-algo in gpg.conf", id, ErrWeak,
				sig.Hash)
		}
	}
	return made, nil
}

// issuers names the keys that the signatures in an element say they are by. It is empty if one cannot be parsed.
func issuers(element []byte) string {
	var names []string
	for sig, err := range parsedSignatures(element) {
		if err != nil {
			return ""
		}
		names = append(names, issuer(sig))
	}
	return strings.Join(names, " ")
}

// made is a new signature.
type made struct {
	by  *Signer
	sig []byte
}

// makeSignatures signs a commit with several keys.
func makeSignatures(ctx context.Context, commit []byte, signers []*Signer) ([]made, error) {
	list := make([]made, 0, len(signers))
	for _, s := range signers {
		sig, err := s.sign(ctx, commit)
		if err != nil {
			return nil, err
		}
		list = append(list, made{s, sig})
	}
	return list, nil
}

// addSignatures adds signatures to detached metadata, which may be nil.
func addSignatures(commit, detached []byte, list []made) ([]byte, error) {
	m, err := parseMetadata(detached)
	if err != nil {
		return nil, err
	}
	for _, new := range list {
		if v, ok := m.dict.Lookup(new.by.key); ok && !m.has(new.by.key) {
			return nil, fmt.Errorf("%s in the detached metadata is of type %s, not a list of signatures", new.by.key, v.Type())
		}
		old, err := m.list(new.by.key)
		if err != nil {
			return nil, err
		}
		list := added(old, new.sig, func(sig []byte) bool { return new.by.same(commit, new.sig, sig) })
		if len(list) > maxSignatures {
			return nil, fmt.Errorf("%s: %w: delete some first", new.by.key, errTooMany)
		}
		if m, err = m.with(new.by.key, list); err != nil {
			return nil, err
		}
	}
	return m.encode()
}

// Sign returns detached metadata of a commit with new signatures. Everything else in them stays, except an older
// signature by the same key, which the new one replaces. commit is the bytes of the commit object, and detached its
// detached metadata, which may be nil.
func Sign(ctx context.Context, commit, detached []byte, signers ...*Signer) ([]byte, error) {
	list, err := makeSignatures(ctx, commit, signers)
	if err != nil {
		return nil, err
	}
	return addSignatures(commit, detached, list)
}

// SignCommit signs a commit in a repository, as [Sign] does. Nothing is written if one of the signers fails. Signatures
// that others add at the same time stay.
func SignCommit(ctx context.Context, r *repo.Repo, id object.Checksum, signers ...*Signer) error {
	commit, err := Commit(ctx, r, id)
	if err != nil {
		return err
	}
	list, err := makeSignatures(ctx, commit, signers)
	if err != nil {
		return fmt.Errorf("commit %s: %w", id, err)
	}
	return r.UpdateDetachedMetadata(ctx, id, func(old []byte) ([]byte, error) { return addSignatures(commit, old, list) })
}

// Commit returns the bytes of a commit object, whose hash it checks.
func Commit(ctx context.Context, src repo.Source, id object.Checksum) ([]byte, error) {
	name := object.Name{Checksum: id, Type: object.TypeCommit}
	data, err := src.Metadata(ctx, name)
	if err != nil {
		return nil, err
	}
	if actual := object.HashMetadata(data); actual != id {
		return nil, &object.CorruptError{Name: name, Actual: actual}
	}
	return data, nil
}

// VerifyCommit is [Verifier.Verify] for a commit of a source.
func (v *Verifier) VerifyCommit(ctx context.Context, src repo.Source, id object.Checksum) ([]Signature, error) {
	commit, err := Commit(ctx, src, id)
	if err != nil {
		return nil, err
	}
	detached, err := src.Metadata(ctx, object.Name{Checksum: id, Type: object.TypeCommitMeta})
	if err != nil && !errors.Is(err, repo.ErrObjectNotFound) {
		return nil, err
	}
	good, err := v.Verify(commit, detached)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", id, err)
	}
	return good, nil
}
