package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/guarded"
)

// envFile is the variable that names the policy, if it is not empty.
const envFile = "CONTAINERS_POLICY_JSON"

// ErrNotFound is wrapped by the error of [Find] if there is no policy.
var ErrNotFound = errors.New("no policy for container images")

// host is the environment in which the files of the container tools are looked for.
type host struct {
	env  func(string) string
	home string
	// top is prepended to system directories; tests set it.
	top string
}

func thisHost() host {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return host{env: os.Getenv, home: home}
}

// Find returns the file that has the policy: the named one or, if the name is empty, the first of
//
//  1. the file that CONTAINERS_POLICY_JSON names
//  2. $XDG_CONFIG_HOME/containers/policy.json, or ~/.config/containers/policy.json without that variable
//  3. /etc/containers/policy.json
//  4. /usr/share/containers/policy.json
//
// A file that the caller or the variable names must exist. Others are passed over if they cannot be opened. If there
// is none, the error wraps [ErrNotFound].
func Find(file string) (string, error) { return thisHost().find(file) }

func (h host) find(file string) (string, error) {
	if file == "" {
		file = h.env(envFile)
	}
	if file != "" {
		if err := readable(file); err != nil {
			return "", fmt.Errorf("policy: %w", err)
		}
		return file, nil
	}
	candidates := h.candidates()
	for _, c := range candidates {
		err := readable(c)
		if err == nil {
			return c, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			// Others could have removed it, so that one counts which asks for less.
			if err := guarded.Ours().Check(c); errors.Is(err, guarded.ErrOpen) {
				return "", fmt.Errorf("policy: %w", err)
			}
		}
	}
	return "", fmt.Errorf("%w: none of %s can be read, and --policy names another", ErrNotFound,
		strings.Join(candidates, ", "))
}

// candidates returns the files of which the first that can be opened is used.
func (h host) candidates() []string {
	var files []string
	if dir := h.userConfig(); dir != "" {
		files = append(files, filepath.Join(dir, "policy.json"))
	}
	return append(files, h.top+"/etc/containers/policy.json", h.top+"/usr/share/containers/policy.json")
}

// userConfig returns the user's directory with configuration of the container tools, or "".
func (h host) userConfig() string {
	if dir := h.env("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "containers")
	}
	if h.home == "" {
		return ""
	}
	return filepath.Join(h.home, ".config", "containers")
}

// passedOver returns the files that take precedence over the policy in file, and exist, but cannot be opened, and
// those that would be used without it.
func (h host) passedOver(file string) (unreadable, shadowed []string) {
	above := true
	for _, c := range h.candidates() {
		err := readable(c)
		switch {
		case c == file:
			above = false
		case above && err != nil && !errors.Is(err, fs.ErrNotExist):
			unreadable = append(unreadable, c)
		case !above && err == nil:
			shadowed = append(shadowed, c)
		}
	}
	if above {
		return nil, nil // it was named
	}
	return unreadable, shadowed
}

// readable returns an error if a file cannot be opened for reading. Directories cannot be read.
func readable(name string) error {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if st.IsDir() {
		return &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	if !st.Mode().IsRegular() {
		return nil // opening a pipe would wait, or take what is in it
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return f.Close()
}
