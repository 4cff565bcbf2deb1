package alpm

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// DefaultDBPath is where pacman keeps its state unless its configuration says otherwise.
const DefaultDBPath = "/var/lib/pacman"

// moved are the directories to which builders of commits move pacman's state.
var moved = []string{"/usr/lib/sysimage/lib/pacman", "/usr/lib/sysimage/pacman"}

// Limits on the configuration.
const (
	maxConfig = 1 << 20 // bytes of a file
	maxDepth  = 10      // of included files, as in pacman
	maxFiles  = 200
)

// Homes returns the directories where pacman's state may be, in the order of their priority. The values of DBPath in
// the section [options] of the configuration come first, in their order, since pacman uses the first one. The usual
// places follow. The faults are about parts of the configuration that cannot be read.
func Homes(ctx context.Context, x *rootfs.Index) (homes []string, faults []error, err error) {
	c := &config{x: x}
	for _, name := range []string{"/etc/pacman.conf", "/usr/etc/pacman.conf"} {
		if _, err := x.Resolve(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := c.read(ctx, name, 0); err != nil {
			return nil, nil, err
		}
		break
	}
	for _, home := range append(append(c.homes, DefaultDBPath), moved...) {
		// Commits may keep the initial content of /var in the factory.
		for _, home := range []string{home, path.Join("/usr/share/factory", home)} {
			if !slices.Contains(homes, home) {
				homes = append(homes, home)
			}
		}
	}
	return homes, c.faults, nil
}

// ConfigPaths returns the paths of the configuration that [Homes] reads, unless it includes files of other directories.
func ConfigPaths() []string {
	return []string{"/etc/pacman.conf", "/usr/etc/pacman.conf", "/etc/pacman.d", "/usr/etc/pacman.d"}
}

// Paths returns the paths at which [Read] looks, given what [Homes] returned.
func Paths(homes []string) []string {
	paths := ConfigPaths()
	for _, home := range homes {
		paths = append(paths, path.Join(home, "local"))
	}
	return paths
}

// config is the state of reading a configuration.
type config struct {
	x       *rootfs.Index
	section string // also applies in included files, and after them
	homes   []string
	files   int
	faults  []error
}

// read reads a file and those that it includes.
func (c *config) read(ctx context.Context, name string, depth int) error {
	if c.files++; c.files > maxFiles || depth > maxDepth {
		return nil // pacman also ignores files that are nested too deeply
	}
	data, err := c.x.ReadFile(ctx, name, maxConfig)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case pkgdb.IsFault(err):
		c.faults = append(c.faults, err)
		return nil
	case err != nil:
		return err
	}
	for line := range bytes.Lines(data) {
		line := strings.TrimSpace(string(line))
		if strings.HasPrefix(line, "[") {
			c.section = line
		}
		key, value, ok := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "DBPath":
			if ok && c.section == "[options]" && value != "" && len(value) < 4096 && len(c.homes) < maxFiles {
				c.homes = append(c.homes, path.Join("/", value))
			}
		case "Include":
			for _, included := range c.glob(value) {
				if err := c.read(ctx, included, depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// glob returns the files that match a pattern. Only the last element may have wildcards, which suffices for every known
// configuration. In a commit /etc is below /usr.
func (c *config) glob(pattern string) (names []string) {
	dir, base := path.Split(path.Join("/", pattern))
	for _, dir := range []string{dir, "/usr" + dir} {
		i, err := c.x.Resolve(dir)
		if err != nil || !c.x.Entry(i).IsDir() {
			continue
		}
		for i := range c.x.Children(c.x.Entry(i).Path()) {
			if ok, err := path.Match(base, c.x.Entry(i).Name); ok && err == nil && len(names) < maxFiles {
				names = append(names, path.Join(dir, c.x.Entry(i).Name))
			}
		}
		if len(names) > 0 {
			return names
		}
	}
	return nil
}
