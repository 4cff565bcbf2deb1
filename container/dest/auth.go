package dest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
)

// keychain looks credentials up in files, the first that has some for the registry wins.
type keychain []*configfile.ConfigFile

// credentials reads the files that may hold credentials: the one that is asked for, or else those of podman and docker
// that exist.
func credentials(opts Options, env func(string) string) (authn.Keychain, error) {
	if opts.Anonymous {
		return keychain{}, nil
	}
	asked := opts.AuthFile
	if asked == "" {
		asked = env("REGISTRY_AUTH_FILE")
	}
	files := []string{asked}
	if asked == "" {
		files = usualFiles(env)
	}
	var keys keychain
	for _, name := range files {
		f, err := os.Open(name)
		if asked == "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		c, err := config.LoadFromReader(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("credentials %s: %w", name, err)
		}
		keys = append(keys, c)
	}
	return keys, nil
}

// Credentials are those that [Write] uses for a registry, so that what it holds already can be read with the same ones.
// They are nil where there are none.
func Credentials(ref imgref.ImageReference, opts Options) (*source.Credentials, error) {
	if ref.Transport != imgref.Registry {
		return nil, nil
	}
	image, err := name.ParseReference(ref.Name)
	if err != nil {
		return nil, fmt.Errorf("image name %s: %w", ref.Name, err)
	}
	keys, err := credentials(opts, os.Getenv)
	if err != nil {
		return nil, err
	}
	found, err := keys.Resolve(image.Context())
	if err != nil || found == authn.Anonymous {
		return nil, err
	}
	c, err := found.Authorization()
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", ref, err)
	}
	return &source.Credentials{Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}, nil
}

func usualFiles(env func(string) string) []string {
	var files []string
	run := env("XDG_RUNTIME_DIR")
	if run == "" {
		run = filepath.Join("/run/containers", strconv.Itoa(os.Getuid()))
		files = append(files, filepath.Join(run, "auth.json"))
	} else {
		files = append(files, filepath.Join(run, "containers", "auth.json"))
	}
	home := env("HOME")
	if dir := env("XDG_CONFIG_HOME"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	} else if home != "" {
		files = append(files, filepath.Join(home, ".config", "containers", "auth.json"))
	}
	if dir := env("DOCKER_CONFIG"); dir != "" {
		return append(files, filepath.Join(dir, "config.json"))
	}
	if home != "" {
		files = append(files, filepath.Join(home, ".docker", "config.json"))
	}
	return files
}

// Resolve implements [authn.Keychain]. Credentials for a repository or a namespace go before those of its registry.
func (k keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	for _, file := range k {
		c, err := lookUp(file, target)
		if err != nil {
			return nil, fmt.Errorf("credentials for %s: %w", target, err)
		}
		c.ServerAddress = ""
		if c != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{
				Username: c.Username, Password: c.Password, Auth: c.Auth,
				IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
			}), nil
		}
	}
	return authn.Anonymous, nil
}

// lookUp asks one file, and the helper program that it names. The library's own look-up would take credentials of one
// namespace for another.
func lookUp(file *configfile.ConfigFile, target authn.Resource) (types.AuthConfig, error) {
	for _, key := range lookupKeys(target) {
		if c, ok := file.AuthConfigs[key]; ok {
			return c, nil
		}
	}
	registry := target.RegistryStr()
	if file.CredentialsStore == "" && file.CredentialHelpers[registry] == "" {
		return types.AuthConfig{}, nil
	}
	return file.GetAuthConfig(registry)
}

func lookupKeys(target authn.Resource) []string {
	var keys []string
	for key := target.String(); strings.Contains(key, "/"); key = key[:strings.LastIndexByte(key, '/')] {
		keys = append(keys, key)
	}
	registry := target.RegistryStr()
	keys = append(keys, registry)
	if registry == name.DefaultRegistry {
		keys = append(keys, "docker.io", authn.DefaultAuthKey)
	}
	return keys
}
