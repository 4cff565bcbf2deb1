package main

import (
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/access"
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
