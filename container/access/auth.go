package access

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
)

// Order says in which files credentials are looked for if no file is named.
type Order uint8

const (
	// ReadOrder is the order of ostree, for reading: for root /run/ostree/auth.json, then /etc/ostree and /usr/lib/ostree;
	// for other users $XDG_RUNTIME_DIR/ostree, then ~/.config/ostree. Only the first file that exists is read. The files
	// of the container tools are ignored, so that a host fetches the same way whoever is logged in.
	ReadOrder Order = iota
	// WriteOrder is the order of podman and docker, for writing: $XDG_RUNTIME_DIR/containers/auth.json (or
	// /run/containers/UID/auth.json), ~/.config/containers/auth.json, then docker's config.json. The first file that has
	// credentials for the registry is used.
	WriteOrder
)

// host is the environment in which credential files are looked for.
type host struct {
	env  func(string) string
	root bool   // the user is root
	home string // home directory, used if the user is not root
	// top is prepended to system directories; tests set it.
	top string
}

func thisHost() host {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return host{env: os.Getenv, root: os.Geteuid() == 0, home: home}
}

// authFiles returns the existing files with credentials, in the given order. If a file is named, by the options or the
// environment, it must exist and is the only one returned.
func (h host) authFiles(o Options, order Order) ([]string, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Anonymous {
		return nil, nil
	}
	asked := o.AuthFile
	if asked == "" {
		asked = h.env("REGISTRY_AUTH_FILE")
	}
	if asked != "" {
		if _, err := os.Stat(asked); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		return []string{asked}, nil
	}
	usual := h.ostreeFiles
	if order == WriteOrder {
		usual = h.toolFiles
	}
	var files []string
	for _, f := range usual() {
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		if order == ReadOrder && len(files) > 0 {
			break
		}
	}
	return files, nil
}

// readFile returns the file with credentials for reading, or "" for anonymous access.
func (h host) readFile(o Options) (string, error) {
	files, err := h.authFiles(o, ReadOrder)
	if err != nil || len(files) == 0 {
		return "", err
	}
	return files[0], nil
}

func (h host) ostreeFiles() []string {
	var dirs []string
	if h.root {
		dirs = []string{h.top + "/run", h.top + "/etc", h.top + "/usr/lib"}
	} else {
		if d := h.env("XDG_RUNTIME_DIR"); d != "" {
			dirs = append(dirs, d)
		}
		if d := h.env("XDG_CONFIG_HOME"); d != "" {
			dirs = append(dirs, d)
		} else if h.home != "" {
			dirs = append(dirs, filepath.Join(h.home, ".config"))
		}
	}
	for i, d := range dirs {
		dirs[i] = filepath.Join(d, "ostree", "auth.json")
	}
	return dirs
}

func (h host) toolFiles() []string {
	var files []string
	if run := h.env("XDG_RUNTIME_DIR"); run != "" {
		files = append(files, filepath.Join(run, "containers", "auth.json"))
	} else {
		files = append(files, filepath.Join(h.top+"/run/containers", strconv.Itoa(os.Getuid()), "auth.json"))
	}
	if dir := h.env("XDG_CONFIG_HOME"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	} else if h.home != "" {
		files = append(files, filepath.Join(h.home, ".config", "containers", "auth.json"))
	}
	if dir := h.env("DOCKER_CONFIG"); dir != "" {
		return append(files, filepath.Join(dir, "config.json"))
	}
	if h.home != "" {
		files = append(files, filepath.Join(h.home, ".docker", "config.json"))
	}
	return files
}

// keychain is a list of credential files. The first file with credentials for a registry is used.
type keychain []*configfile.ConfigFile

// Keychain returns the credentials for writing to registries.
func (o Options) Keychain() (authn.Keychain, error) {
	if c := o.Credentials; c != nil && !o.Anonymous {
		return fixedCredentials(*c), nil
	}
	files, err := thisHost().authFiles(o, WriteOrder)
	if err != nil {
		return nil, err
	}
	keys := make(keychain, 0, len(files))
	for _, name := range files {
		c, err := readAuthFile(name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, c)
	}
	return keys, nil
}

func readAuthFile(name string) (*configfile.ConfigFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	c, err := config.LoadFromReader(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	return c, nil
}

// WriteCredentials returns the credentials that are used to write to the registry of ref, so that a caller can read the
// same repository with them. It returns nil if there are none.
func (o Options) WriteCredentials(ref imgref.ImageReference) (*Credentials, error) {
	if ref.Transport != imgref.Registry {
		return nil, nil
	}
	image, err := name.ParseReference(ref.Name)
	if err != nil {
		return nil, fmt.Errorf("image name %s: %w", ref.Name, err)
	}
	keys, err := o.Keychain()
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
	return &Credentials{
		Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
	}, nil
}

// Resolve implements [authn.Keychain]. Credentials for a repository or a namespace are preferred to those of its
// registry.
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

// fixedCredentials is a keychain that returns the same credentials for every registry.
type fixedCredentials Credentials

// Resolve implements [authn.Keychain].
func (c fixedCredentials) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig{
		Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
	}), nil
}

// lookUp returns the credentials from one file or from the helper program that it names. It does not use the library's
// own look-up, which would return the credentials of one namespace for another.
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
