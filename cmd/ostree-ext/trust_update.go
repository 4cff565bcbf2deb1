package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

func newTrustUpdateCommand(a *app) *cobra.Command {
	var mirror, root, to, config string
	c := &cobra.Command{
		Use:   "update",
		Short: "Fetch the authorities and logs that signatures by identity are verified with",
		Long: `Fetches trusted_root.json, which lists the certificate authorities, logs and timestamp authorities of a
Sigstore instance, by default of the public good instance, and writes it to --output if it has changed.
It comes from a repository of The Update Framework: its files are signed, with keys that replace each
other beginning with those in the program or in --root. What was seen last is kept in the user's cache
directory, so that an older state of the repository is refused.

No other command asks such a repository. Run this one now and then, and before signing, or put a
trusted_root.json from elsewhere in its place.`,
		Example: `  ostree-ext container trust update --mirror=https://tuf.example --root=root.json \
      --output=trusted_root.json --signing-config=signing_config.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if to == "" {
				var err error
				if to, err = trustedRootFile(os.Getuid()); err != nil {
					return err
				}
			}
			opts := keyless.UpdateOptions{Mirror: mirror, SigningConfig: config != ""}
			var err error
			if opts.Root, err = a.readFile(ctx, "root", root); err != nil {
				return err
			}
			if cache, err := os.UserCacheDir(); err == nil {
				opts.CacheDir = filepath.Join(cache, "ostree-ext", "tuf")
			}
			got, err := keyless.Update(ctx, opts)
			if err != nil {
				return err
			}
			if err := a.writeUpdated(ctx, to, got.TrustedRoot); err != nil || config == "" {
				return err
			}
			return a.writeUpdated(ctx, config, got.SigningConfig)
		},
	}
	fs := c.Flags()
	fs.StringVar(&mirror, "mirror", "", "`URL` of the repository (default: "+keyless.DefaultMirror+")")
	fs.StringVar(&root, "root", "", "root.json of the repository, a `FILE` (default: that of the public good instance)")
	fs.StringVar(&to, "output", "", "`FILE` to write (default: trusted_root.json in /etc/ostree-ext as root, "+
		"else in ~/.config/ostree-ext)")
	fs.StringVar(&config, "signing-config", "", "also write the addresses for signing to this `FILE`")
	_ = c.RegisterFlagCompletionFunc("root", files) // for other commands it is a directory
	return c
}

// trustedRootFile returns where the trusted root of a user is.
func trustedRootFile(uid int) (string, error) {
	dir := "/etc"
	if uid != 0 {
		var err error
		if dir, err = os.UserConfigDir(); err != nil {
			return "", fmt.Errorf("nobody says where the file belongs, so --output must: %w", err)
		}
	}
	return filepath.Join(dir, "ostree-ext", "trusted_root.json"), nil
}

// writeUpdated writes a file unless it is there already, and says so.
func (a *app) writeUpdated(ctx context.Context, name string, data []byte) error {
	if old, err := os.ReadFile(name); err == nil && string(old) == string(data) {
		return a.printf("Unchanged: %s\n", name)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := output.WriteFile(ctx, name, data); err != nil {
		return err
	}
	return a.printf("Written: %s\n", name)
}
