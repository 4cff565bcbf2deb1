package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/setup"
)

// trustInitFlags are the options of the command.
type trustInitFlags struct {
	opts  setup.Options
	keys  []string
	user  bool
	write bool
	json  bool
}

func newTrustInitCommand(a *app) *cobra.Command {
	var f trustInitFlags
	c := &cobra.Command{
		Use:   "init (--key=FILE... | --oidc-issuer=URL --identity=ID) SCOPE",
		Short: "Say who must have signed the images of a registry",
		Long: `Shows, or with --write writes, all files that a host needs in order to ask for signatures:

  /etc/pki/containers/NAME.pub or .gpg   the public key
  /etc/containers/policy.json            who must have signed
  /etc/containers/registries.d/          where the signatures are
  /etc/ostree-ext/trust.d/NAME.yaml      which bundles of cosign 3 are good

SCOPE is HOST/PATH, which stands for all images in that repository or below it, HOST/PATH:TAG, HOST, or
*.DOMAIN. A reference to an image, which has a transport, stands for its repository.

The signer has a key, made for cosign (PEM) or for podman and skopeo (OpenPGP); of several, any is
enough. Or it has an identity, as signers in GitHub Actions have: this is a rule for ostree-ext alone,
because policy.json cannot say it. A rule for a key of cosign demands that the signature is for the
repository, whatever the tag: signatures of cosign name no tag. So whoever can write to the repository
can move a tag to another signed image. Bundles do not even name the repository. Where registries.conf
leads to another registry, registries.d needs a section for that one, too.

What the files say about other images stays. What they say about SCOPE is only replaced with --replace.
Without privileges, the files are those of the user, below ~/.config.`,
		Example: `  ostree-ext container trust init --key=cosign.pub ghcr.io/exampleos/os
  ostree-ext container trust init --key=cosign.pub --key=next.pub --root=rootfs --write ghcr.io/exampleos/os
  ostree-ext container trust init --oidc-issuer=https://token.actions.githubusercontent.com \
      --identity=https://github.com/exampleos/os/.github/workflows/build.yml@refs/heads/main \
      ostree-image-signed:docker://ghcr.io/exampleos/os:stable`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			image, err := f.options(cmd.Context(), a, args[0])
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), a, image)
		},
	}
	f.add(c.Flags())
	for _, pair := range [][2]string{
		{"key", "oidc-issuer"}, {"key", "identity"}, {"key", "identity-expression"}, {"identity", "identity-expression"},
		{"oidc-issuer", "no-bundles"}, {"oidc-issuer", "lookaside"}, {"root", "user"},
	} {
		c.MarkFlagsMutuallyExclusive(pair[0], pair[1])
	}
	return c
}

func (f *trustInitFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.keys, "key", nil, "`FILE` with the signer's public key, in PEM or of OpenPGP; may be repeated")
	fs.StringVar(&f.opts.Issuer, "oidc-issuer", "", "`URL` of the provider that vouches for the signer's identity")
	fs.StringVar(&f.opts.Identity, "identity", "", "the signer's `ID`: a URI or an e-mail address")
	fs.StringVar(&f.opts.Expression, "identity-expression", "", "a regular expression `RE` that the whole ID matches")
	fs.BoolVar(&f.opts.NoBundles, "no-bundles", false, "only accept attached signatures by the key, as podman does")
	fs.StringVar(&f.opts.Lookaside, "lookaside", "", "`URL` of the storage that has the signatures by a key of OpenPGP")
	fs.StringVar(&f.opts.Name, "name", "", "`NAME` of the new files (default: made from SCOPE)")
	fs.BoolVar(&f.opts.Replace, "replace", false, "replace other keys and rules for SCOPE")
	fs.StringVar(&f.opts.Host.Root, "root", "", "the host's root is `DIR`, such as that of an image that is being built")
	fs.BoolVar(&f.user, "user", false, "the files of the user, although this is root")
	fs.BoolVar(&f.write, "write", false, "write the files")
	fs.BoolVar(&f.json, "json", false, "print a JSON object")
}

// options completes the options. It returns the name of an image to check.
func (f *trustInitFlags) options(ctx context.Context, a *app, arg string) (image string, err error) {
	if len(f.keys) == 0 && f.opts.Issuer == "" {
		return "", usagef("name the signer: --key=FILE, or --oidc-issuer=URL with --identity=ID")
	}
	if f.opts.Issuer != "" && f.opts.Identity == "" && f.opts.Expression == "" {
		return "", usagef("an issuer alone is nobody: add --identity=ID or --identity-expression=RE")
	}
	if f.opts.Scope, image, err = parseScope(arg); err != nil {
		return "", err
	}
	for _, name := range f.keys {
		data, err := a.readFile(ctx, "key", name)
		if err != nil {
			return "", err
		}
		f.opts.Keys = append(f.opts.Keys, setup.Key{Name: name, Data: data})
	}
	f.opts.Host.UID = os.Geteuid()
	f.opts.Host.User = f.user || f.opts.Host.Root == "" && f.opts.Host.UID != 0
	f.opts.Host.Env = os.Getenv
	return image, nil
}

// hostAndPort is the beginning of a scope that looks like a transport.
var hostAndPort = regexp.MustCompile(`^[^/:]+:[0-9]+(/|$)`)

// parseScope parses an argument that is a scope or a reference.
func parseScope(arg string) (scope, image string, err error) {
	invalid := func(err error) error { return usagef("invalid value '%s' for '<SCOPE>': %w", arg, err) }
	ref, ostree := imgref.ParseOstreeImageReference(arg)
	var other error
	if ostree != nil {
		ref.Image, other = imgref.ParseImageReference(arg)
	}
	switch {
	case other != nil || hostAndPort.MatchString(arg):
		if scope, err = setup.ParseScope(arg); err != nil {
			return "", "", invalid(err)
		}
		return scope, setup.ImageIn(scope), nil
	case ref.Image.Transport != imgref.Registry:
		return "", "", invalid(errors.New("signers are for images in registries"))
	}
	if err := checkName("<SCOPE>", arg, ref.Image); err != nil {
		return "", "", err
	}
	if scope, err = setup.ScopeOf(ref.Image.Name); err != nil {
		return "", "", invalid(err)
	}
	return scope, ref.Image.Name, nil
}

// trustInitResult is what the command prints as JSON.
type trustInitResult struct {
	Scope   string       `json:"scope"`
	Files   []setup.File `json:"files"`
	Written bool         `json:"written"`
	Notes   []string     `json:"notes,omitempty"`
	// Reference names an image, and Next are commands to run then.
	Reference string   `json:"reference"`
	Next      []string `json:"next"`
}

func (f *trustInitFlags) run(ctx context.Context, a *app, image string) error {
	plan, err := setup.Make(f.opts)
	if errors.Is(err, setup.ErrOptions) || errors.Is(err, setup.ErrScope) {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	if f.write {
		if err := plan.Write(ctx); err != nil {
			return err
		}
	}
	result := trustInitResult{
		Scope: plan.Scope, Files: plan.Files, Written: f.write && plan.Changes(), Notes: plan.Notes,
		Reference: "ostree-image-signed:docker://" + image,
	}
	if plan.NeedsTrustedRoot {
		result.Next = append(result.Next, "ostree-ext container trust update")
	}
	result.Next = append(result.Next, "ostree-ext container trust check "+result.Reference)
	if f.json {
		return a.printJSON(result)
	}
	for _, note := range plan.Notes {
		a.warn(note)
	}
	return a.printf("%s", f.describe(plan, result))
}

// describe returns the result as text.
func (f *trustInitFlags) describe(plan *setup.Plan, r trustInitResult) string {
	var b strings.Builder
	verbs := map[setup.Action]string{setup.Create: "created", setup.Change: "changed", setup.Keep: "unchanged"}
	n := 0
	for _, file := range r.Files {
		if file.Action != setup.Keep {
			n++
		}
		if f.write {
			fmt.Fprintf(&b, "%s: %s\n", verbs[file.Action], file.Path)
		} else {
			b.WriteString(file.Diff)
		}
	}
	if b.Len() > 0 && !f.write {
		b.WriteString("\n")
	}
	switch {
	case !plan.Changes():
		b.WriteString("Nothing changes: all of it is there.\n")
	case !f.write:
		fmt.Fprintf(&b, "Nothing was written: repeat the command with --write to write these files (%d).\n", n)
	}
	fmt.Fprintf(&b, "The images are pulled as %s\n", r.Reference)
	for _, command := range r.Next {
		fmt.Fprintf(&b, "Then run: %s\n", command)
	}
	return b.String()
}
