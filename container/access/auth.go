package access

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
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

// authFiles returns the files with credentials, in the order of the package comment. If a file is named, by the options
// or the environment, it must exist and is the only one returned. Other files that cannot be looked at are left out,
// with a warning.
func (h host) authFiles(o Options) (keychain, error) {
	if err := o.Check(); err != nil {
		return keychain{}, err
	}
	if o.Anonymous {
		return keychain{}, nil
	}
	asked, by := o.AuthFile, "--authfile"
	if asked == "" {
		by = "REGISTRY_AUTH_FILE"
		asked = h.env(by)
	}
	if asked != "" {
		st, err := os.Stat(asked)
		if err != nil {
			return keychain{}, fmt.Errorf("credentials: %s: %w", by, err)
		}
		if st.IsDir() {
			return keychain{}, fmt.Errorf("credentials: %s: %s is a directory", by, asked)
		}
		if st.Mode().Type() == fs.ModeNamedPipe {
			return keychain{}, fmt.Errorf("credentials: %s is a pipe, and they are read more than once: name a file", asked)
		}
		return keychain{files: []string{asked}}, nil
	}
	k := keychain{forgive: func(err error) {
		if o.Warn != nil {
			o.Warn(fmt.Sprintf("a file with credentials is ignored, because it cannot be used: %v", err))
		}
	}}
	// As in ostree, only the first of its own files counts.
	k.files = k.existing(h.ostreeFiles())
	k.files = append(k.files[:min(1, len(k.files))], k.existing(h.toolFiles())...)
	return k, nil
}

func (k keychain) existing(names []string) []string {
	var files []string
	for _, f := range names {
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
		} else if !errors.Is(err, fs.ErrNotExist) {
			k.forgive(err)
		}
	}
	return files
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

// keychain is a list of credential files. The first file with credentials for a registry is used, and later ones are
// not read.
type keychain struct {
	files []string
	// forgive is called for a file that cannot be read, or whose helper program fails. If nil, because the file was
	// named, it is an error.
	forgive func(error)
}

// Keychain returns the credentials for registries.
func (o Options) Keychain() (authn.Keychain, error) {
	if c := o.Credentials; c != nil && !o.Anonymous {
		return fixedCredentials(*c), nil
	}
	return thisHost().authFiles(o)
}

func readAuthFile(name string) (*configfile.ConfigFile, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	c, err := config.LoadFromReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("credentials: %s: %w", name, jsonplace.Explain(data, err))
	}
	return c, nil
}

// credentials returns the credentials for a repository, or nil if there are none.
func credentials(keys authn.Keychain, repository string) (*Credentials, error) {
	repo, err := name.NewRepository(repository)
	if err != nil {
		return nil, fmt.Errorf("image name %s: %w", repository, err)
	}
	found, err := keys.Resolve(repo)
	if err != nil || found == authn.Anonymous {
		return nil, err
	}
	c, err := found.Authorization()
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", repository, err)
	}
	return &Credentials{
		Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
	}, nil
}

// Resolve implements [authn.Keychain]. Credentials for a repository or a namespace are preferred to those of its
// registry.
func (k keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	found, _, err := k.find(target)
	return found, err
}

// find returns the credentials for a repository, and where they were found.
func (k keychain) find(target authn.Resource) (authn.Authenticator, Login, error) {
	login := Login{Repository: target.String()}
	for _, file := range k.files {
		f, err := readAuthFile(file)
		var c types.AuthConfig
		var helper string
		if err == nil {
			login.Asked = append(login.Asked, file)
			if c, helper, err = lookUp(f, target); err != nil {
				// The helper program that the file names is not installed, or failed.
				err = fmt.Errorf("credentials for %s in %s: %w", target, file, err)
			}
		}
		if err != nil && k.forgive != nil {
			k.forgive(err)
			continue
		}
		if err != nil {
			return nil, login, err
		}
		if !empty(c) {
			login.User, login.From, login.Helper = c.Username, file, helper
			return authn.FromConfig(authn.AuthConfig{
				Username: c.Username, Password: c.Password, Auth: c.Auth,
				IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
			}), login, nil
		}
	}
	login.Anonymous = true
	return authn.Anonymous, login, nil
}

// find returns the credentials for a repository, and where they were found.
func (o Options) find(repository string) (authn.Authenticator, Login, error) {
	login := Login{Repository: repository}
	repo, err := name.NewRepository(repository)
	if err != nil {
		return nil, login, fmt.Errorf("image name %s: %w", repository, err)
	}
	keys, err := o.Keychain()
	if err != nil {
		return nil, login, err
	}
	if k, ok := keys.(keychain); ok {
		found, login, err := k.find(repo)
		login.Repository = repository
		return found, login, err
	}
	found, err := keys.Resolve(repo)
	login.User = o.Credentials.Username
	return found, login, err
}

// fixedCredentials is a keychain that returns the same credentials for every registry.
type fixedCredentials Credentials

// Resolve implements [authn.Keychain].
func (c fixedCredentials) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig{
		Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
	}), nil
}

// lookUp returns the credentials from one file or from the helper program that it names, and the name of the helper if
// it gave them. A helper that is named for the registry comes first, as with podman, and one for all registries last.
// It does not use the library's own look-up, which would return the credentials of one namespace for another.
func lookUp(file *configfile.ConfigFile, target authn.Resource) (c types.AuthConfig, helper string, err error) {
	registry := target.RegistryStr()
	own := file.CredentialHelpers[registry]
	if own != "" {
		if c, err = file.GetAuthConfig(registry); err != nil || !empty(c) {
			return c, helperPrefix + own, err
		}
	}
	for _, key := range lookupKeys(target) {
		// "docker login" leaves an empty entry if a helper keeps the credentials.
		if c, ok := file.AuthConfigs[key]; ok && !empty(c) {
			return c, "", nil
		}
	}
	for key, c := range file.AuthConfigs {
		if !empty(c) && isAddress(key, registry) {
			return c, "", nil
		}
	}
	if own != "" || file.CredentialsStore == "" {
		return types.AuthConfig{}, "", nil
	}
	c, err = file.GetAuthConfig(registry)
	return c, helperPrefix + file.CredentialsStore, err
}

// isAddress reports whether a name in a file is the registry's address, as old versions of docker wrote it.
func isAddress(key, registry string) bool {
	u, err := url.Parse(key)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host == registry &&
		slices.Contains([]string{"", "v1", "v2"}, strings.Trim(u.Path, "/"))
}

// helperPrefix begins the names of helper programs.
const helperPrefix = "docker-credential-"

// empty reports whether an entry has no credentials.
func empty(c types.AuthConfig) bool {
	c.ServerAddress = ""
	return c == types.AuthConfig{}
}

// lookupKeys returns the names under which credentials for a repository may be found, best first.
func lookupKeys(target authn.Resource) []string {
	registry := target.RegistryStr()
	names := []string{registry}
	if registry == name.DefaultRegistry {
		names = []string{"docker.io", registry}
	}
	var keys []string
	for path := strings.TrimPrefix(target.String(), registry); path != ""; path = path[:strings.LastIndexByte(path, '/')] {
		for _, n := range names {
			keys = append(keys, n+path)
		}
	}
	keys = append(keys, names...)
	if registry == name.DefaultRegistry {
		keys = append(keys, authn.DefaultAuthKey)
	}
	return keys
}
