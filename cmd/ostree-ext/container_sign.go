package main

import (
	"context"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/signer"
)

func newSignCommand(a *app) *cobra.Command {
	var f imageSignFlags
	var registry access.Options
	var names []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "sign (--sign-by-sigstore-private-key=FILE | --sign-identity-token=FILE) IMGREF",
		Short: "Sign an image in a registry",
		Long: `Signs an image that is in a registry, by its digest: the one in IMGREF, or the one that the tag is at
now. The image is not changed. Of an index, the index and everything that it lists is signed.

The signatures are written beside the image. An attachment, at the tag sha256-DIGEST.sig, is what
skopeo, podman, bootc and rpm-ostree look for. It names the image with its tag, so hosts can demand
the tag that they asked for. A bundle is what cosign 3 looks for. Signatures of others stay, and
signing again with the same key changes nothing.

The private key is one of "cosign generate-key-pair" or "skopeo generate-sigstore-key", or an ECDSA,
Ed25519 or RSA key of openssl that is not encrypted. Without a key, an identity token signs a bundle:
a certificate authority makes it a certificate, and a public log records both, for ever. --signing-config
says where they are; "container trust update" writes such a file.`,
		Example: `  ostree-ext container sign --sign-by-sigstore-private-key=cosign.key docker://registry.example/os:latest
  ostree-ext container sign --sign-by-sigstore-private-key=cosign.key --sign-format=attachment --json \
      docker://registry.example/os:latest`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkFetch(cmd.Flags(), &registry, args...); err != nil {
				return err
			}
			ref, err := parseImageReference("<IMGREF>", args[0])
			if err != nil {
				return err
			}
			if err := f.check(); err != nil {
				return err
			}
			if !f.wanted() {
				return usagef("missing --%s or --%s", signKeyFlag, signTokenFlag)
			}
			s, err := f.signer(cmd.Context(), a, ref, names, registry)
			if err != nil {
				return err
			}
			return a.signNow(cmd.Context(), s, asJSON)
		},
	}
	f.add(c.Flags())
	c.Flags().StringArrayVar(&names, "additional-tag", nil, "`NAME` that the image has too, a tag in the same "+
		"repository, for which hosts may ask")
	fetchFlags(a, c.Flags(), &registry)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// signedImage is the result of container sign.
type signedImage struct {
	Image      string          `json:"image"`
	Digest     digest.Digest   `json:"digest"`
	Signatures []signature     `json:"signatures"`
	Absent     []digest.Digest `json:"absent,omitempty"`
}

func (a *app) signNow(ctx context.Context, s *imageSigner, asJSON bool) error {
	r, err := signer.Sign(ctx, s.ref, "", s.opts)
	if err != nil {
		return err
	}
	list := signatures(r)
	if asJSON {
		return a.printJSON(signedImage{Image: s.ref.String(), Digest: r.Digest, Signatures: list, Absent: r.Absent})
	}
	a.warnAbsent(r)
	for _, line := range list {
		if err := a.printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}
