package main

import (
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

func newContainerCommand(a *app) *cobra.Command {
	return group("container", "Commits as container images",
		newEncapsulateCommand(a), newBuildCommand(a), newUnencapsulateCommand(a), newVerifyCommand(a), newSignCommand(a),
		newInfoCommand(a), newCompareCommand(a), newContainerCommitCommand(a), newImageCommand(a), newTrustCommand(a))
}

// fetchFlags adds the options of every command that reads an image.
func fetchFlags(a *app, fs *pflag.FlagSet, o *access.Options) {
	authFileFlag(a, fs, o)
	fs.BoolVar(&o.Anonymous, "auth-anonymous", false, "use no credentials, even if some are configured")
	fs.StringVar(&o.CertDir, "cert-dir", "", "`DIR` with certificates and keys for the registry")
	insecureFlag(fs, o)
}

// trustFlags adds the options of commands that ask for signatures, or can. A command with a repository sets it in the
// result, for references to its remotes.
func trustFlags(fs *pflag.FlagSet, o *source.Options) *door {
	d := &door{fetch: o}
	fs.StringVar(&d.policy, "policy", "", "`FILE` with the rules about signatures (default: $CONTAINERS_POLICY_JSON, "+
		"else the policy.json of the user, of /etc/containers or of /usr/share/containers)")
	o.Admission = d.admit
	return d
}

// door decides which images come in.
type door struct {
	fetch  *source.Options
	policy string
	// require is set if references that ask for nothing are treated as if they asked for signatures.
	require bool
	repo    *repo.Repo
}

func (d *door) admit(ref imgref.OstreeImageReference) (source.Gate, error) {
	return d.open().Admit(ref)
}

func (d *door) open() *trust.Door {
	return trust.New(trust.Options{Registry: d.fetch.Registry, Policy: d.policy, Repo: d.repo, Require: d.require})
}

// verifyFlag adds the option of commands that build on images.
func (d *door) verifyFlag(fs *pflag.FlagSet, what string) {
	fs.BoolVar(&d.require, "verify", false, "refuse "+what+", unless they are signed as the rules about signatures say")
}

func authFileFlag(a *app, fs *pflag.FlagSet, o *access.Options) {
	fs.StringVar(&o.AuthFile, "authfile", "", "`FILE` with credentials for the registry "+
		"(default: $REGISTRY_AUTH_FILE, else those of ostree, podman and docker, in this order)")
	var said sync.Map
	o.Warn = func(message string) {
		if _, again := said.LoadOrStore(message, true); !again {
			a.warn(message)
		}
	}
}

func insecureFlag(fs *pflag.FlagSet, o *access.Options) {
	fs.BoolVar(&o.InsecureSkipTLSVerify, "insecure-skip-tls-verification", false,
		"accept any certificate, and use plain HTTP if HTTPS is not answered")
}
