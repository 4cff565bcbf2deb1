package dest

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
)

// writeRegistry pushes an image. The library sends the manifest last.
func writeRegistry(ctx context.Context, img v1.Image, ref string, opts access.Options) (digest.Digest, error) {
	keys, err := opts.Keychain()
	if err != nil {
		return "", err
	}
	transport, err := opts.Transport(ctx, ref)
	if err != nil {
		return "", err
	}
	defer transport.Close()
	var parse []name.Option
	if transport.Plain() {
		parse = append(parse, name.Insecure)
	}
	tag, err := name.NewTag(ref, parse...)
	if err != nil {
		return "", fmt.Errorf("image name %s: %w", ref, err)
	}
	err = remote.Write(tag, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(keys),
		remote.WithTransport(transport), remote.WithJobs(layout.Parallelism()), remote.WithUserAgent(access.UserAgent))
	if err != nil {
		return "", err
	}
	return manifestDigest(img)
}
