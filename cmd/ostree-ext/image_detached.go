package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

func newImageDetachedCommand(a *app) *cobra.Command {
	var from, to string
	var registry access.Options
	var signing signFlags
	var signImage imageSignFlags
	c := &cobra.Command{
		Use:   "replace-detached-metadata --src=IMGREF --dest=DESTINATION [FILE]",
		Short: "Copy the image of a commit with other detached metadata, such as signatures",
		Long: `Copies the image of a commit. In the copy, the detached metadata of the commit are those in the file, a
GVariant of the type a{sv} as in an OSTree repository, or none without a file. Only the layer with the
commit is made again; its compression stays. All other layers, labels and annotations are kept.

With --sign-from-file or --gpg-sign, new signatures are added to the metadata in the file. Without a file
they are added to those in the image, and an older signature by the same key is replaced. Source and
destination may be the same image.`,
		Example: `  ostree-ext container image replace-detached-metadata --src=docker://registry.example/os:build \
      --dest=docker://registry.example/os:signed signatures.commitmeta
  ostree-ext container image replace-detached-metadata --sign-from-file=secret.key \
      --src=docker://registry.example/os:signed --dest=docker://registry.example/os:signed`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(signing.check(cmd.Flags()), a.checkFetch(cmd.Flags(), &registry, from, to)); err != nil {
				return err
			}
			src, err := parseImageReference("--src", from)
			if err != nil {
				return err
			}
			dest, err := parseDestination("--dest", to)
			if err != nil {
				return err
			}
			if err := a.checkOutputs(cmd.Flags(), dest, ""); err != nil {
				return err
			}
			signer, err := signImage.signer(cmd.Context(), a, dest, nil, registry)
			if err != nil {
				return err
			}
			var detached []byte
			if len(args) > 0 {
				if detached, err = readDetached(args[0]); err != nil {
					return err
				}
			}
			signers, err := signing.signers()
			if err != nil {
				return err
			}
			show := a.newProgress()
			opts := store.DetachedOptions{Progress: show.event}
			if len(signers) > 0 {
				opts.Change = func(ctx context.Context, commit, old []byte) ([]byte, error) {
					if len(args) > 0 {
						old = detached
					}
					return sign.Sign(ctx, commit, old, signers...)
				}
			}
			opts.Source.Registry, opts.Dest.Registry, opts.Dest.Stdout = registry, registry, a.out
			d, err := store.ReplaceDetached(cmd.Context(), src, dest, detached, opts)
			show.stop()
			if err != nil {
				return err
			}
			if _, err := a.signPushed(cmd.Context(), signer, d); err != nil {
				return err
			}
			if a.isStdout(dest) {
				fmt.Fprintf(a.err, "Pushed: %s\n", d)
				return nil
			}
			return a.printf("Pushed: %s\n", d)
		},
	}
	c.Flags().StringVar(&from, "src", "", "the image to copy, an `IMGREF`")
	c.Flags().StringVar(&to, "dest", "", "where to write it, an `IMGREF`")
	signImage.add(c.Flags())
	fetchFlags(a, c.Flags(), &registry)
	signing.add(c.Flags())
	required(c, "src", "dest")
	return c
}

// readDetached reads the detached metadata of a commit.
func readDetached(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, object.MaxMetadataSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > object.MaxMetadataSize {
		return nil, fmt.Errorf("%s has more than %s, the limit on metadata", name, sizes.Format(object.MaxMetadataSize))
	}
	return data, nil
}
