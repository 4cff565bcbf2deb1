package dest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/source"
)

// writeRegistry pushes an image. The library sends the manifest after everything else.
func writeRegistry(ctx context.Context, img v1.Image, ref string, opts Options) (digest.Digest, error) {
	var parse []name.Option
	transport, ok := remote.DefaultTransport.(*http.Transport)
	if !ok {
		return "", errors.New("the HTTP client was replaced")
	}
	transport = transport.Clone()
	defer transport.CloseIdleConnections()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if opts.InsecureSkipTLSVerify {
		parse = append(parse, name.Insecure)
		transport.TLSClientConfig.InsecureSkipVerify = true //nolint:gosec // asked for by the user
	}
	tag, err := name.NewTag(ref, parse...)
	if err != nil {
		return "", fmt.Errorf("image name %s: %w", ref, err)
	}
	if err := source.Certificates(transport.TLSClientConfig, opts.CertDir, tag.RegistryStr()); err != nil {
		return "", fmt.Errorf("certificates for %s: %w", tag.RegistryStr(), err)
	}
	keys, err := credentials(opts, os.Getenv)
	if err != nil {
		return "", err
	}
	err = remote.Write(tag, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(keys), remote.WithTransport(transport),
		remote.WithJobs(sideBySide()), remote.WithUserAgent("ostree-ext-go"))
	if err != nil {
		return "", err
	}
	return manifestDigest(img)
}
