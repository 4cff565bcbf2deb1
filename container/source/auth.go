package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// authSearch is where credentials are looked for.
type authSearch struct {
	env  func(string) string
	root bool   // whether the user is root
	home string // of another user
	// top is put before the directories of the system.
	top string
}

func hostAuth() authSearch {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return authSearch{env: os.Getenv, root: os.Geteuid() == 0, home: home}
}

// find returns the file with credentials, or nothing for anonymous access. A file that was asked for by name must
// exist.
func (s authSearch) find(opts Options) (string, error) {
	if opts.Anonymous {
		return "", nil
	}
	asked := opts.AuthFile
	if asked == "" {
		asked = s.env("REGISTRY_AUTH_FILE")
	}
	if asked != "" {
		if _, err := os.Stat(asked); err != nil {
			return "", fmt.Errorf("credentials: %w", err)
		}
		return asked, nil
	}
	for _, dir := range s.dirs() {
		name := filepath.Join(dir, "ostree", "auth.json")
		if _, err := os.Stat(name); err == nil {
			return name, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("credentials: %w", err)
		}
	}
	return "", nil
}

func (s authSearch) dirs() []string {
	if s.root {
		return []string{s.top + "/run", s.top + "/etc", s.top + "/usr/lib"}
	}
	var dirs []string
	if d := s.env("XDG_RUNTIME_DIR"); d != "" {
		dirs = append(dirs, d)
	}
	if d := s.env("XDG_CONFIG_HOME"); d != "" {
		return append(dirs, d)
	}
	if s.home != "" {
		dirs = append(dirs, filepath.Join(s.home, ".config"))
	}
	return dirs
}
