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

// Order is the sequence of usual files in which credentials are looked for, unless a file is named.
type Order uint8

const (
	// ReadOrder is that of ostree, for reading: /run/ostree/auth.json, /etc/ostree and /usr/lib/ostree for root, else
	// $XDG_RUNTIME_DIR/ostree and ~/.config/ostree. The first file that exists counts alone. The files of the container
	// tools are not looked at, so that a host fetches the same way whoever happens to be logged in.
	ReadOrder Order = iota
	// WriteOrder is that of podman and docker, for writing: $XDG_RUNTIME_DIR/containers/auth.json (or that in
	// /run/containers/UID), ~/.config/containers/auth.json, and docker's config.json. The first file that has credentials
	// for the registry counts.
	WriteOrder
)

// host is the machine on which files are looked for.
type host struct {
	env  func(string) string
	root bool   // whether the user is root
	home string // of another user
	// top is put before the directories of the system.
	top string
}

func thisHost() host {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return host{env: os.Getenv, root: os.Geteuid() == 0, home: home}
}

// authFiles returns the files with credentials that exist, in the given order. A file that was asked for by name must
// exist, and is then the only one.
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

// readFile returns the file with credentials for reading, or nothing for anonymous access.
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

// keychain looks credentials up in files, the first that has some for the registry wins.
type keychain []*configfile.ConfigFile

// Keychain returns the credentials for writing to registries.
func (o Options) Keychain() (authn.Keychain, error) {
	if c := o.Credentials; c != nil && !o.Anonymous {
		return one(*c), nil
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

// WriteCredentials are those that writing to a registry takes, so that what it holds already can be read with the same
// ones. They are nil where there are none.
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

// one is a keychain with credentials that were given.
type one Credentials

// Resolve implements [authn.Keychain].
func (c one) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig{
		Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
	}), nil
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
