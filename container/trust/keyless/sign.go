package keyless

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/opencontainers/go-digest"
	tiles "github.com/sigstore/rekor-tiles/v2/pkg/client"
	"github.com/sigstore/rekor-tiles/v2/pkg/client/write"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ostree-ext/ostree-ext-go/container/trust/statement"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// maxConfig bounds the size of a configuration for signing in bytes.
const maxConfig = 1 << 20

// SignOptions say as whom to sign, and with whose help.
type SignOptions struct {
	// Token is an identity token whose audience is sigstore, see [AmbientToken]. It is sent to the authority alone.
	Token string
	// Config is the content of a signing_config.json, version 0.2, which names the authority, the logs and the
	// timestamp authorities. That of the public good instance comes with [Update].
	Config []byte
	// Verifier, unless it is nil, checks the bundle before it is returned, so that a service that does not work is
	// noticed now and not by those who verify.
	Verifier *Verifier
	// TLS is for connections to the services. It may be nil.
	TLS *tls.Config
}

// Sign signs the image with a digest, with a key that is made for it and thrown away, and returns the bundle as JSON.
// Its statement is the one that cosign 3 makes. The identity becomes public, in logs that nothing is ever removed from.
func Sign(ctx context.Context, subject digest.Digest, o SignOptions) ([]byte, error) {
	if err := subject.Validate(); err != nil || subject.Algorithm() != digest.SHA256 {
		return nil, fmt.Errorf("signing %q: the digest is not SHA-256", subject)
	}
	if err := checkToken(o.Token); err != nil {
		return nil, err
	}
	who, err := selectServices(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("the configuration for signing: %w", err)
	}
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	made, err := sign.Bundle(&sign.DSSEData{Data: statement.New(subject), PayloadType: statement.PayloadType}, key, *who)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("signing %s: %s", subject, plain(err))
	}
	text, err := protojson.Marshal(made)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer // protojson adds spaces, or not, by chance
	if err := json.Compact(&compact, text); err != nil {
		return nil, err
	}
	if o.Verifier != nil {
		if err := o.Verifier.verifyOwn(compact.Bytes(), subject); err != nil {
			return nil, fmt.Errorf("the services for signing do not fit the trusted root: %w", err)
		}
	}
	return compact.Bytes(), nil
}

// verifyOwn is like Verify for a bundle whose signer is known.
func (v *Verifier) verifyOwn(data []byte, subject digest.Digest) error {
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(data); err != nil {
		return because(ErrBundle, err)
	}
	found, err := v.judge(b)
	if err != nil {
		return err
	}
	_, err = v.Verify(data, subject, []Identity{{Issuer: found.Issuer, Identity: found.Identity}})
	return err
}

// newServices reads the configuration.
func newServices(ctx context.Context, o SignOptions) (*services, error) {
	if len(o.Config) == 0 {
		return nil, errors.New(`there is none: "container trust update --signing-config=FILE" gets that of the mirror`)
	}
	if len(o.Config) > maxConfig {
		return nil, fmt.Errorf("it has more than %s", sizes.Format(maxConfig))
	}
	if err := jsonkeys.Check(o.Config, nil); err != nil {
		return nil, err
	}
	config, err := root.NewSigningConfigFromJSON(o.Config)
	if err != nil {
		return nil, err
	}
	return &services{SigningConfig: config, client: newClient(ctx, o.TLS), tls: o.TLS}, nil
}

// selectServices chooses from the configuration whom to ask.
func selectServices(ctx context.Context, o SignOptions) (*sign.BundleOptions, error) {
	s, err := newServices(ctx, o)
	if err != nil {
		return nil, err
	}
	chosen := &sign.BundleOptions{
		Context: ctx, CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: o.Token},
	}
	if chosen.CertificateProvider, err = s.authority(); err != nil {
		return nil, fmt.Errorf("the certificate authority: %w", err)
	}
	if chosen.TimestampAuthorities, err = s.stampers(); err != nil {
		return nil, fmt.Errorf("the timestamp authorities: %w", err)
	}
	if chosen.TransparencyLogs, err = s.logs(len(chosen.TimestampAuthorities) > 0); err != nil {
		return nil, fmt.Errorf("the transparency logs: %w", err)
	}
	return chosen, nil
}

// selectForAttachments is like selectServices for a signature that is attached to an image. The time is that of a log
// of version 1; there is no place for timestamps.
func selectForAttachments(ctx context.Context, o SignOptions) (*sign.BundleOptions, *chained, error) {
	s, err := newServices(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	one, err := root.SelectService(s.RekorLogURLs(), []uint32{1}, time.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoPromise, err)
	}
	log := sign.NewRekor(&sign.RekorOptions{BaseURL: one.URL, Version: 1, Client: rekor1{s.client, one.URL}})
	chain := &chained{next: s.client.Transport}
	authority := *s
	authority.client = &http.Client{Transport: chain}
	chosen := &sign.BundleOptions{
		Context: ctx, CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: o.Token},
		TransparencyLogs: []sign.Transparency{log},
	}
	if chosen.CertificateProvider, err = authority.authority(); err != nil {
		return nil, nil, fmt.Errorf("the certificate authority: %w", err)
	}
	return chosen, chain, checkServices(one)
}

// services are those of a configuration.
type services struct {
	*root.SigningConfig
	client *http.Client
	tls    *tls.Config
}

func (s *services) authority() (sign.CertificateProvider, error) {
	one, err := root.SelectService(s.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, time.Now())
	if err != nil {
		return nil, err
	}
	return sign.NewFulcio(&sign.FulcioOptions{BaseURL: one.URL, Timeout: -1, Transport: s.client.Transport}),
		checkServices(one)
}

func (s *services) stampers() (chosen []*sign.TimestampAuthority, err error) {
	all := s.TimestampAuthorityURLs()
	if len(all) == 0 {
		return nil, nil
	}
	list, err := root.SelectServices(all, s.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, time.Now())
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		chosen = append(chosen, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{
			URL: one.URL, Timeout: -1, Transport: s.client.Transport,
		}))
	}
	return chosen, checkServices(list...)
}

// logs returns the logs, of which an instance with timestamp authorities may have none.
func (s *services) logs(stamped bool) (chosen []sign.Transparency, err error) {
	all := s.RekorLogURLs()
	if len(all) == 0 && stamped {
		return nil, nil
	}
	list, err := root.SelectServices(all, s.RekorLogURLsConfig(), sign.RekorAPIVersions, time.Now())
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		log := &sign.RekorOptions{BaseURL: one.URL, Version: one.MajorAPIVersion, Client: rekor1{s.client, one.URL}}
		if one.MajorAPIVersion >= 2 {
			if !stamped {
				return nil, fmt.Errorf("%s vouches for no time, and there is no timestamp authority", one.URL)
			}
			log.ClientV2, err = write.NewWriter(one.URL, tiles.WithTLSConfig(s.tls), tiles.WithTimeout(serviceTimeout))
			if err != nil {
				return nil, err
			}
		}
		chosen = append(chosen, sign.NewRekor(log))
	}
	return chosen, checkServices(list...)
}

// checkServices checks that services are asked with HTTPS, because of the identity token and of what they answer.
func checkServices(list ...root.Service) error {
	for _, s := range list {
		if u, err := url.Parse(s.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("the service %q is not a URL of HTTPS", s.URL)
		}
	}
	return nil
}
