package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Limits on what is read.
const (
	maxFile  = 4 << 20
	maxFiles = 1000
	// maxLinks is how many symbolic links a path may have, as in Linux.
	maxLinks = 40
)

// A Host says which files are meant.
type Host struct {
	// Root is the directory that will be the root of the host; if it is empty, that is the root of this machine.
	Root string
	// User means the files of one user instead of those of the host. It cannot be combined with Root.
	User bool
	// UID is the number of the user who runs the program.
	UID int
	// Env looks up variables of the environment, as [os.Getenv] does: HOME, XDG_CONFIG_HOME, CONTAINERS_POLICY_JSON.
	Env func(string) string

	// top is the root of this machine; tests set it.
	top string
}

// layout are the paths of the files on the host, and the means to read them.
type layout struct {
	root *os.Root
	// prefix is put before paths that are shown.
	prefix string

	// policy is the file to write, and policyBases are those that count if it does not exist, in this order.
	policy      string
	policyBases []string
	// shadows are files that count instead of policy for some programs.
	shadows []string
	// keys is the directory for keys.
	keys string
	// registries are the directories with sections, the most important first: a file hides those of the same name in
	// later ones. Files are changed in those of ours, and made in the last of them.
	registries, ours []string
	// rules is the directory of trust.d, and userRules one that counts before it, or empty.
	rules, userRules string
	// roots is where the file with the authorities of identities may be.
	roots []string
}

// open finds the files.
func (h Host) open() (*layout, error) {
	const etc, usr = "/etc/containers", "/usr/share/containers"
	if h.User && h.Root != "" {
		return nil, fmt.Errorf("%w: files of a user are not below another root", ErrOptions)
	}
	config, err := h.config()
	if err != nil {
		return nil, err
	}
	l := &layout{}
	name := h.Root
	if name == "" {
		name = cmp.Or(h.top, "/")
	} else {
		l.prefix = strings.TrimRight(name, "/")
	}
	own := path.Join(config, "containers")
	var system []string
	for _, dir := range []string{etc, usr} {
		if h.UID == 0 || h.Root != "" {
			system = append(system, dir+"/registries.rootful.d")
		} else {
			system = append(system, dir+"/registries.rootless.d/"+strconv.Itoa(h.UID), dir+"/registries.rootless.d")
		}
		system = append(system, dir+"/registries.d")
	}
	l.registries = append([]string{own + "/registries.d"}, system...)
	if h.User {
		l.policy = own + "/policy.json"
		l.policyBases = []string{etc + "/policy.json", usr + "/policy.json"}
		l.keys = own
		l.ours = []string{own + "/registries.d"}
		l.rules = config + "/ostree-ext/trust.d"
		l.roots = []string{config + "/ostree-ext/trusted_root.json", "/etc/ostree-ext/trusted_root.json"}
	} else {
		l.policy, l.policyBases = etc+"/policy.json", []string{usr + "/policy.json"}
		l.shadows = []string{own + "/policy.json"}
		l.keys = "/etc/pki/containers"
		l.ours = slices.DeleteFunc(slices.Clone(l.registries), func(dir string) bool { return strings.HasPrefix(dir, usr) })
		l.rules, l.userRules = "/etc/ostree-ext/trust.d", config+"/ostree-ext/trust.d"
		l.roots = []string{"/etc/ostree-ext/trusted_root.json"}
	}
	if l.root, err = os.OpenRoot(name); err != nil {
		return nil, err
	}
	return l, nil
}

// config returns the directory with the configuration of the user.
func (h Host) config() (string, error) {
	if h.Root != "" {
		return "/root/.config", nil
	}
	dir := h.Env("XDG_CONFIG_HOME")
	if home := h.Env("HOME"); dir == "" && home != "" {
		dir = path.Join(home, ".config")
	}
	if path.IsAbs(dir) {
		return path.Clean(dir), nil
	}
	if h.User {
		return "", fmt.Errorf("%w: neither $XDG_CONFIG_HOME nor $HOME is the absolute path of a directory", ErrOptions)
	}
	return "/root/.config", nil
}

func (l *layout) Close() error { return l.root.Close() }

// show returns a path for people, who see the host from outside.
func (l *layout) show(name string) string { return l.prefix + name }

// resolve returns the path below the root, without symbolic links, to which a path on the host leads. What does not
// exist is left as it is.
func (l *layout) resolve(name string) (string, error) {
	at, rest := ".", strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at) // of ".", that is "."
			continue
		}
		next := path.Join(at, part)
		fi, err := l.root.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			if slices.Contains(rest, "..") {
				return "", fmt.Errorf("%s: a symbolic link leads through %s, which does not exist", l.show(name), next)
			}
			return path.Join(append([]string{next}, rest...)...), nil
		}
		if err != nil {
			return "", err
		}
		if fi.Mode().Type() != fs.ModeSymlink {
			if !fi.IsDir() && len(rest) > 0 {
				return "", fmt.Errorf("%s: /%s is not a directory", l.show(name), next)
			}
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: there are more than %d symbolic links", l.show(name), maxLinks)
		}
		target, err := l.root.Readlink(next)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			at = "."
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

// read returns the content of a file. A file that does not exist has none, and there is no error.
func (l *layout) read(name string) (data []byte, exists bool, err error) {
	at, err := l.resolve(name)
	if err != nil {
		return nil, false, err
	}
	fi, err := l.root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if !fi.Mode().IsRegular() {
		return nil, false, fmt.Errorf("%s is not a regular file", l.show(name))
	}
	f, err := l.root.Open(at)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, false, err
	}
	if len(data) > maxFile {
		return nil, false, fmt.Errorf("%s has more than %s", l.show(name), sizes.Format(maxFile))
	}
	return data, true, nil
}

// exists reports whether there is something that a path leads to.
func (l *layout) exists(name string) bool {
	at, err := l.resolve(name)
	if err != nil {
		return false
	}
	_, err = l.root.Lstat(at)
	return err == nil
}

// list returns the names of the *.yaml files in a directory, which need not exist.
func (l *layout) list(dir string) ([]string, error) {
	at, err := l.resolve(dir)
	if err != nil {
		return nil, err
	}
	f, err := l.root.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxFiles + 1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("%s has more than %d files", l.show(dir), maxFiles)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".yaml") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
