package main

import (
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/ima"
)

func newIMASignCommand(a *app) *cobra.Command {
	var path string
	var opts ima.Options
	c := &cobra.Command{
		Use:   "ima-sign --repo=REPO [--overwrite] REV REF ALGORITHM KEY",
		Short: "Sign the files of a commit for the kernel's integrity measurement (IMA)",
		Long: `Writes a commit again, in which each regular file has a signature in the xattr security.ima, and sets a
ref to it. The signatures are made by the program evmctl of the package ima-evm-utils, from the private
key in a file. Everything else in the commit stays as it is.`,
		Example: `  ostree-ext ima-sign --repo=repo exampleos/x86_64/stable exampleos/x86_64/signed sha256 key.pem`,
		Args:    cobra.ExactArgs(4),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := args[1]
			if err := checkRefArgument(ref); err != nil {
				return err
			}
			opts.Algorithm, opts.Key = args[2], args[3]
			return withRepo(path, func(r *repo.Repo) error {
				rev, err := r.ResolveRev(args[0])
				if err != nil {
					return err
				}
				id, err := ima.Sign(cmd.Context(), r, rev, ref, opts)
				if err != nil {
					return err
				}
				return a.printf("%s => %s\n", ref, id)
			})
		},
	}
	repoFlag(c, &path)
	c.Flags().BoolVar(&opts.Overwrite, "overwrite", false, "also sign files that have a signature")
	return c
}
