package access

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"
)

// ErrPlainHTTP is wrapped by errors about requests that were refused because they would use plain HTTP. Nothing was
// sent.
var ErrPlainHTTP = errors.New("plain HTTP is not allowed: --insecure-skip-tls-verification allows it, " +
	"as does insecure = true for this host in registries.conf")

// rule says which hosts may use plain HTTP or have an invalid certificate.
type rule struct {
	// all exempts every host.
	all bool
	// hosts are exempt in registries.conf for the repository.
	hosts map[string]bool
}

// newRule applies registries.conf to a repository and its mirrors, as the library does when it reads.
func newRule(o Options, repository reference.Named) (rule, error) {
	r := rule{all: o.InsecureSkipTLSVerify, hosts: map[string]bool{}}
	conf, err := sysregistriesv2.FindRegistry(nil, repository.Name())
	if err != nil || conf == nil {
		return r, registriesError(err)
	}
	if conf.Blocked {
		return r, fmt.Errorf("registry %s is blocked in %s", conf.Prefix, sysregistriesv2.ConfigurationSourceDescription(nil))
	}
	r.hosts[reference.Domain(repository)] = conf.Insecure
	sources, err := conf.PullSourcesFromReference(repository)
	if err != nil {
		return r, registriesError(err)
	}
	for _, s := range sources {
		if s.Endpoint.Insecure {
			r.hosts[reference.Domain(s.Reference)] = true
		}
	}
	return r, nil
}

func registriesError(err error) error {
	if err != nil {
		return fmt.Errorf("registries.conf: %w", err)
	}
	return nil
}

// insecure reports whether a host is exempt.
func (r rule) insecure(host string) (bool, error) {
	if r.all || r.hosts[host] {
		return true, nil
	}
	conf, err := sysregistriesv2.FindRegistry(nil, host)
	return conf != nil && conf.Insecure, registriesError(err)
}

// check returns an error that wraps [ErrPlainHTTP] for a request that must not be made.
func (r rule) check(u *url.URL) error {
	if u.Scheme == "https" {
		return nil
	}
	if ok, err := r.insecure(u.Host); ok || err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", u.Host, ErrPlainHTTP)
}

// proxy returns the proxy for a request, or an error if the rule forbids the request. The library calls it for each
// request that it makes to read, including redirects and tokens. There is no other hook to stop one.
func (r rule) proxy(u *url.URL) (*url.URL, error) {
	if err := r.check(u); err != nil {
		return nil, err
	}
	return http.ProxyFromEnvironment(&http.Request{URL: u})
}

// refusedToken is a part of what the library for writing says about a token server that leads to plain HTTP.
const refusedToken = `realm scheme "http" not allowed`

// Explain adds [ErrPlainHTTP] to an error about a server that does not speak TLS, or a token server that leads to one.
func Explain(err error) error {
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	noTLS = noTLS || errors.Is(err, http.ErrSchemeMismatch) || err != nil && strings.Contains(err.Error(), refusedToken)
	if noTLS && !errors.Is(err, ErrPlainHTTP) {
		return fmt.Errorf("%w: %w", ErrPlainHTTP, err)
	}
	return err
}

// SystemContext returns the options that the library needs to read a repository. The name may have a tag or a digest.
func (o Options) SystemContext(repository string) (*types.SystemContext, error) {
	named, err := parseName(repository)
	if err != nil {
		return nil, err
	}
	r, err := newRule(o, named)
	if err != nil {
		return nil, err
	}
	if o.CertDir != "" {
		if err := checkCertDir(o.CertDir); err != nil {
			return nil, err
		}
	}
	sys := &types.SystemContext{DockerCertPath: o.CertDir, DockerRegistryUserAgent: UserAgent, DockerProxy: r.proxy}
	if o.InsecureSkipTLSVerify {
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
	}
	keys, err := o.Keychain()
	if err != nil {
		return nil, err
	}
	// Credentials that are empty mean anonymous access. The library would look for files if there were none.
	sys.DockerAuthConfig = &types.DockerAuthConfig{}
	c, err := credentials(keys, named.Name())
	if err != nil {
		return nil, err
	}
	if c != nil {
		sys.DockerAuthConfig = &types.DockerAuthConfig{
			Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken,
		}
		sys.DockerBearerRegistryToken = c.RegistryToken
	}
	// The library reads this file for mirrors, which do not get the credentials above.
	if k, ok := keys.(keychain); ok && len(k.files) > 0 {
		sys.AuthFilePath = k.files[0]
	}
	return sys, nil
}

// CheckName returns an error if an image in a registry cannot have a name: [host/]repository[:tag][@digest].
func CheckName(name string) error {
	_, err := parseName(name)
	return err
}

func parseName(name string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err == nil {
		return named, nil
	}
	if lower := lowerName(name); lower != name {
		if _, other := reference.ParseNormalizedNamed(lower); other == nil {
			return nil, fmt.Errorf("image name %s: names of images are in lower case, only tags may have capitals: "+
				"use %s", name, lower)
		}
	}
	return nil, fmt.Errorf("image name %s: %w", name, err)
}

// lowerName returns a name with the host and the repository in lower case. The tag and the digest stay.
func lowerName(name string) string {
	end := len(name)
	if i := strings.IndexByte(name, '@'); i >= 0 {
		end = i
	}
	if i := strings.LastIndexByte(name[:end], ':'); i > strings.LastIndexByte(name[:end], '/') {
		end = i
	}
	return strings.ToLower(name[:end]) + name[end:]
}
