package upload

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ostree-ext/ostree-ext-go/container/access"
)

// A Connection leads to a repository of a registry that knows who the user is. It is never one to a mirror.
type Connection struct {
	// Repository is the repository. It tells whether the registry is reached over plain HTTP.
	Repository name.Repository
	// Transport adds to each request what the registry needs to know the user.
	Transport http.RoundTripper

	inner *access.Transport
}

// Connect logs in to push to the repository of an image. The image's name may have a tag. Some registries allow to take
// blobs from other repositories only if those are named: scopes are more rights to ask for. The caller closes the
// connection.
func Connect(ctx context.Context, image string, opts access.Options, scopes ...string) (*Connection, error) {
	keys, err := opts.Keychain()
	if err != nil {
		return nil, err
	}
	t, err := opts.Transport(ctx, image)
	if err != nil {
		return nil, err
	}
	c := &Connection{inner: t}
	if err := c.logIn(ctx, image, keys, scopes); err != nil {
		t.Close()
		return nil, err
	}
	return c, nil
}

func (c *Connection) logIn(ctx context.Context, image string, keys authn.Keychain, scopes []string) error {
	var parse []name.Option
	if c.inner.Plain() {
		parse = append(parse, name.Insecure)
	}
	ref, err := name.ParseReference(image, parse...)
	if err != nil {
		return fmt.Errorf("image name %s: %w", image, err)
	}
	c.Repository = ref.Context()
	user, err := authn.Resolve(ctx, keys, c.Repository)
	if err != nil {
		return err
	}
	// The scope to push comes first, since some registries look at no other.
	all := []string{c.Repository.Scope(transport.PushScope)}
	for _, s := range scopes {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	agent := transport.NewUserAgent(c.inner, access.UserAgent)
	var first http.RoundTripper
	err = Retry(ctx, func() (err error) {
		first, err = transport.NewWithContext(ctx, c.Repository.Registry, user, agent, all)
		return access.Explain(err)
	})
	if err != nil {
		return err
	}
	logIn := func(ctx context.Context, challenges []string) (http.RoundTripper, error) {
		ask := &asking{RoundTripper: agent, plain: c.inner.Plain(), challenges: challenges}
		return transport.NewWithContext(ctx, c.Repository.Registry, user, ask, all)
	}
	// The library adds nothing to a transport of its own type.
	both := &challenged{host: c.Repository.RegistryStr(), before: first, logIn: logIn}
	c.Transport, err = transport.FromToken(c.Repository.Registry, authn.Anonymous, both, &transport.Challenge{}, nil)
	return err
}

// Close closes idle connections.
func (c *Connection) Close() { c.inner.Close() }
