package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// repoSignFlags are the values of the options of repo sign.
type repoSignFlags struct {
	repo           string
	remove, verify bool
	keys           sign.Keys
	gpg            []string
	gpgDirectory   string
	// byKey is whether keys of the engine are meant, and byGPG whether those of GPG are.
	byKey, byGPG bool
}

func newRepoSignCommand(a *app) *cobra.Command {
	var f repoSignFlags
	c := &cobra.Command{
		Use:   "sign --repo=REPO REV [KEY]...",
		Short: "Sign a commit, or verify or delete its signatures",
		Long: `Signs a commit. The signatures become part of its detached metadata, beside those that are there; the
commit and its checksum stay. An older signature by the same key is replaced.

A secret KEY of type ed25519 is the base64 of 64 bytes, as 'ostree sign' takes it, and one of type spki
the base64 of a key in DER. Others can see arguments, so put secret keys into a file: --keys-file has one
key in each line or, for spki, PEM blocks as openssl writes them. A KEY of type gpg is the id of a key,
with which gpg signs; --gpg-sign names one in addition to keys of another type.

With --verify it prints the good signatures, and fails if there is none. KEY and --keys-file are public
keys then. Without any, they are those of the system: the files trusted.TYPE and trusted.TYPE.d in
/etc/ostree and /usr/share/ostree. For gpg they are those in the repository, in the system's keyrings, or
in --gpg-homedir, and KEY says which of them count.

With --delete it deletes signatures by the public keys, or all of the type if there are none.`,
		Example: `  ostree-ext repo sign --repo=repo --keys-file=secret.key exampleos/x86_64/stable
  ostree-ext repo sign --repo=repo --verify --keys-file=public.key exampleos/x86_64/stable
  ostree-ext repo sign --repo=repo --delete exampleos/x86_64/stable`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.read(cmd.Flags(), args[1:]); err != nil {
				return err
			}
			return withRepo(f.repo, func(r *repo.Repo) error {
				rev, err := r.ResolveRev(args[0])
				if err != nil {
					return err
				}
				switch {
				case f.verify:
					return a.verifySignatures(cmd.Context(), r, rev, &f)
				case f.remove:
					return a.deleteSignatures(cmd.Context(), r, rev, &f)
				}
				signers, err := f.signers()
				if err != nil {
					return err
				}
				return sign.SignCommit(cmd.Context(), r, rev, signers...)
			})
		},
	}
	repoFlag(c, &f.repo)
	fs := c.Flags()
	fs.BoolVarP(&f.remove, "delete", "d", false, "delete signatures")
	fs.BoolVarP(&f.verify, "verify", "v", false, "verify the commit")
	fs.StringVarP(&f.keys.Engine, "sign-type", "s", sign.Ed25519, "`NAME` of the type of the keys: ed25519, spki or gpg")
	fs.StringVar(&f.keys.File, "keys-file", "", "`FILE` with keys")
	fs.StringVar(&f.keys.Dir, "keys-dir", "", "`DIR` with trusted and revoked keys, in place of those of the system")
	addGPGFlags(fs, &f.gpg, &f.gpgDirectory)
	c.MarkFlagsMutuallyExclusive("delete", "verify")
	return c
}

// read sorts the keys that arguments and options name, and checks that they go together.
func (f *repoSignFlags) read(fs *pflag.FlagSet, keys []string) error {
	switch {
	case f.keys.Engine == sign.GPG && (f.keys.File != "" || f.keys.Dir != ""):
		return usagef("--keys-file and --keys-dir are not for keys of gpg: put them into a keyring")
	case f.keys.Dir != "" && !f.verify && !f.remove:
		return usagef("--keys-dir has public keys: it is for --verify and --delete")
	case f.keys.Engine == sign.GPG:
		f.gpg = append(keys, f.gpg...)
	default:
		f.keys.Keys = keys
	}
	for _, named := range [][2]string{{"keys-file", f.keys.File}, {"keys-dir", f.keys.Dir}} {
		if named[1] == "" {
			continue
		}
		if _, err := os.Stat(named[1]); err != nil {
			return fmt.Errorf("--%s: %w", named[0], err)
		}
	}
	f.byKey = len(f.keys.Keys) > 0 || f.keys.File != "" || f.keys.Dir != ""
	f.byGPG = len(f.gpg) > 0 || f.verify && f.gpgDirectory != ""
	if !f.byKey && !f.byGPG {
		if !f.verify && !f.remove {
			return usagef("name a key to sign with: KEY, --keys-file or --gpg-sign")
		}
		f.byGPG = f.keys.Engine == sign.GPG
		f.byKey = !f.byGPG
	}
	if f.gpgDirectory != "" && !f.byGPG {
		return usagef("--gpg-homedir is for --gpg-sign: name a key")
	}
	if fs.Changed("sign-type") && f.keys.Engine != sign.GPG && f.verify {
		f.byKey = true
	}
	return nil
}

// signers returns those that sign.
func (f *repoSignFlags) signers() (signers []*sign.Signer, err error) {
	if f.keys.File != "" {
		if signers, err = sign.SignersFromFile(f.keys.Engine, f.keys.File, sign.Options{}); err != nil {
			return nil, fmt.Errorf("--keys-file: %w", err)
		}
	}
	for _, key := range f.keys.Keys {
		s, err := sign.NewSigner(f.keys.Engine, key, sign.Options{})
		if err != nil {
			return nil, err
		}
		signers = append(signers, s)
	}
	for _, id := range f.gpg {
		signers = append(signers, sign.GPGSigner(id, f.gpgDirectory))
	}
	return signers, nil
}

// verifySignatures prints the good signatures of a commit. Of each kind that is asked for there must be one.
func (a *app) verifySignatures(ctx context.Context, r *repo.Repo, rev object.Checksum, f *repoSignFlags) error {
	var verifiers []*sign.Verifier
	if f.byKey {
		v, err := sign.ForKeys(f.keys, sign.Options{})
		if err != nil {
			return err
		}
		verifiers = append(verifiers, v)
	}
	if f.byGPG {
		v, err := sign.ForGPG(ctx, r, f.gpg, f.gpgDirectory, sign.Options{})
		if err != nil {
			return err
		}
		verifiers = append(verifiers, v)
	}
	var good []sign.Signature
	for _, v := range verifiers {
		list, err := v.VerifyCommit(ctx, r, rev)
		if err != nil {
			return err
		}
		good = append(good, list...)
	}
	for _, s := range good {
		if err := a.printf("%s: Signature verified successfully with key '%s'\n", s.Engine, s.Signer); err != nil {
			return err
		}
	}
	return nil
}

// deleteSignatures deletes signatures of a commit and prints how many.
func (a *app) deleteSignatures(ctx context.Context, r *repo.Repo, rev object.Checksum, f *repoSignFlags) error {
	deleted := 0
	if f.byKey {
		n, err := sign.RemoveFromCommit(ctx, r, rev, f.keys, "", sign.Options{})
		if err != nil {
			return err
		}
		deleted += n
	}
	if f.byGPG {
		n, err := sign.RemoveFromCommit(ctx, r, rev, sign.Keys{Engine: sign.GPG, Keys: f.gpg}, f.gpgDirectory, sign.Options{})
		if err != nil {
			return err
		}
		deleted += n
	}
	return a.printf("Signatures deleted: %d\n", deleted)
}
