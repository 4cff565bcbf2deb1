package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// signFlags are the options of commands that sign the commit in an image.
type signFlags struct {
	engine       string
	files, gpg   []string
	gpgDirectory string
}

func (f *signFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.files, "sign-from-file", nil, "sign the commit with the secret keys in `FILE`")
	fs.StringVar(&f.engine, "sign-type", sign.Ed25519, "`NAME` of the type of these keys: ed25519 or spki")
	addGPGFlags(fs, &f.gpg, &f.gpgDirectory)
}

// addGPGFlags adds the options for signing with GPG.
func addGPGFlags(fs *pflag.FlagSet, keys *[]string, home *string) {
	fs.StringArrayVar(keys, "gpg-sign", nil, "sign the commit with the GPG key `KEYID`, by running gpg")
	fs.StringVar(home, "gpg-homedir", "", "`DIR` of GnuPG (default: that of the user)")
}

// check returns a usage error if an option has no effect.
func (f *signFlags) check(fs *pflag.FlagSet) error {
	if fs.Changed("sign-type") && len(f.files) == 0 {
		return usagef("--sign-type is the type of the keys in --sign-from-file: name a file")
	}
	if f.gpgDirectory != "" && len(f.gpg) == 0 {
		return usagef("--gpg-homedir is for --gpg-sign: name a key")
	}
	return nil
}

// signers returns those that the options name.
func (f *signFlags) signers() (signers []*sign.Signer, err error) {
	for _, file := range f.files {
		list, err := sign.SignersFromFile(f.engine, file, sign.Options{})
		if err != nil {
			return nil, fmt.Errorf("--sign-from-file: %w", err)
		}
		signers = append(signers, list...)
	}
	for _, key := range f.gpg {
		signers = append(signers, sign.GPGSigner(key, f.gpgDirectory))
	}
	return signers, nil
}

// signed returns a view of a repository in which a commit has the signatures that the options ask for.
func (f *signFlags) signed(ctx context.Context, r *repo.Repo, commit object.Checksum) (repo.Source, error) {
	signers, err := f.signers()
	if err != nil || len(signers) == 0 {
		return r, err
	}
	return signedBy(ctx, r, commit, signers)
}

// signedBy returns a view of a source in which a commit has signatures of signers, too.
func signedBy(
	ctx context.Context, src repo.Source, commit object.Checksum, signers []*sign.Signer,
) (repo.Source, error) {
	data, err := sign.Commit(ctx, src, commit)
	if err != nil {
		return nil, err
	}
	old, err := src.Metadata(ctx, object.Name{Checksum: commit, Type: object.TypeCommitMeta})
	if err != nil && !errors.Is(err, repo.ErrObjectNotFound) {
		return nil, err
	}
	detached, err := sign.Sign(ctx, data, old, signers...)
	if err != nil {
		return nil, fmt.Errorf("signing commit %s: %w", commit, err)
	}
	return repo.WithDetachedMetadata(src, commit, detached), nil
}

// verifyFlags are the options of commands that demand signatures of commits.
type verifyFlags struct{ gpg, sign bool }

func (f *verifyFlags) add(fs *pflag.FlagSet) {
	fs.BoolVar(&f.gpg, "gpg-verify", false, "demand a good GPG signature of each commit")
	fs.BoolVar(&f.sign, "sign-verify", false, "demand a good signature of another type, such as ed25519, of each commit")
}

// kinds are the kinds of signatures that are demanded.
func (f *verifyFlags) kinds() (k sign.Kinds) {
	if f.gpg {
		k |= sign.GPGKind
	}
	if f.sign {
		k |= sign.SignAPIKind
	}
	return k
}

// verifier returns the verifier for commits of a remote, or of none.
func (f *verifyFlags) verifier(r *repo.Repo, remote string) (*sign.Verifier, error) {
	opts := sign.Options{Demand: f.kinds()}
	if remote == "" {
		return sign.ForLocal(r, opts)
	}
	return sign.ForRemote(r, remote, opts)
}

// verifies returns the function that accepts commits which a verifier finds signed.
func verifies(v *sign.Verifier) func(context.Context, object.Checksum, []byte, []byte) error {
	return func(_ context.Context, _ object.Checksum, data, detached []byte) error {
		_, err := v.Verify(data, detached)
		return err
	}
}

// fsck makes a check verify signatures. With a remote, only commits that its refs lead to are verified.
func (f *verifyFlags) fsck(ctx context.Context, r *repo.Repo, remote string, opts *repo.FsckOptions) error {
	if f.kinds() == 0 {
		return nil
	}
	v, err := f.verifier(r, remote)
	if err != nil {
		return err
	}
	verify := verifies(v)
	if opts.Verify = verify; remote == "" {
		return nil
	}
	of, err := commitsOf(ctx, r, remote)
	if err != nil {
		return err
	}
	opts.Verify = func(ctx context.Context, c object.Checksum, data, detached []byte) error {
		if !of[c] {
			return nil
		}
		return verify(ctx, c, data, detached)
	}
	return nil
}

// commitsOf returns the commits that the refs of a remote lead to, as far as they are there.
func commitsOf(ctx context.Context, r *repo.Repo, remote string) (map[object.Checksum]bool, error) {
	refs, err := r.Refs("")
	if err != nil {
		return nil, err
	}
	of := map[object.Checksum]bool{}
	for _, ref := range refs {
		name, _, err := repo.ParseRefspec(ref.Name)
		if err != nil || name != remote {
			continue
		}
		for c := ref.Commit; !c.IsZero() && !of[c]; {
			of[c] = true
			commit, err := repo.LoadCommit(ctx, r, c)
			if errors.Is(err, repo.ErrObjectNotFound) {
				break
			}
			if err != nil {
				return nil, err
			}
			c = commit.Parent
		}
	}
	return of, nil
}
