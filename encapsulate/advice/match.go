package advice

import (
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// matcher finds the rule of a file by its path. Entries come sorted, so that what was found out about a directory
// serves for all its files.
type matcher struct {
	rules []Rule
	named map[string]int
	// below has the rule of each directory, and homes of those in a home, without the slash at the end.
	below, homes map[string]int
	// inside has the patterns of names by their directory, and homeNames those of names in a home.
	inside    map[string][]pattern
	homeNames []pattern

	dir      string // the last one
	seen     bool
	rule     int // of all its files, or -1
	patterns []pattern
}

type pattern struct {
	name string
	rule int
}

func newMatcher() *matcher {
	m := &matcher{
		rules: Rules(), named: map[string]int{}, below: map[string]int{}, homes: map[string]int{},
		inside: map[string][]pattern{},
	}
	for i, r := range m.rules {
		m.named[r.Name] = i
		for _, d := range r.dirs {
			if rest, ok := strings.CutPrefix(d, "~/"); ok {
				m.homes[strings.TrimSuffix(rest, "/")] = i
				continue
			}
			m.below[strings.TrimSuffix(d, "/")] = i
		}
		for _, f := range r.files {
			dir, name := path.Split(f)
			if dir == "~/" {
				m.homeNames = append(m.homeNames, pattern{name, i})
				continue
			}
			dir = path.Clean(dir)
			m.inside[dir] = append(m.inside[dir], pattern{name, i})
		}
	}
	return m
}

// match returns the rule of a regular file, or -1.
func (m *matcher) match(e rootfs.Entry) int {
	if !m.seen || e.Dir != m.dir {
		m.enter(e.Dir)
	}
	for _, p := range m.patterns {
		if ok, err := path.Match(p.name, e.Name); ok && err == nil {
			return p.rule
		}
	}
	switch {
	case m.rule >= 0:
	case e.Name == "icon-theme.cache":
		return m.named["icon-cache"]
	case path.Ext(e.Name) == ".gem" && path.Base(e.Dir) == "cache",
		strings.Contains(e.Dir+"/", "/node_modules/.cache/"):
		return m.named["build-cache"]
	}
	return m.rule
}

// enter finds what goes for all files of a directory.
func (m *matcher) enter(dir string) {
	m.dir, m.seen, m.rule = dir, true, -1
	at := shipped(dir)
	m.patterns = m.inside[at]
	home, rest := splitHome(at)
	if home && rest == "" {
		m.patterns = append(m.patterns[:len(m.patterns):len(m.patterns)], m.homeNames...)
	}
	// The state of debconf is below /var/cache, and dpkg needs it.
	if at == "/var/cache/debconf" {
		return
	}
	for p := at; p != "/"; p = path.Dir(p) {
		if i, ok := m.below[p]; ok {
			m.rule = i
			return
		}
	}
	if !home {
		return
	}
	for p := rest; p != "" && p != "."; p = path.Dir(p) {
		if i, ok := m.homes[p]; ok {
			m.rule = i
			return
		}
	}
}

// splitHome reports whether a directory is a home or below one, and returns its path there.
func splitHome(dir string) (ok bool, rest string) {
	for _, home := range []string{"/root", "/var/roothome"} {
		if rest, ok := strings.CutPrefix(dir+"/", home+"/"); ok {
			return true, strings.TrimSuffix(rest, "/")
		}
	}
	for _, homes := range []string{"/home/", "/var/home/"} {
		if rest, ok := strings.CutPrefix(dir, homes); ok {
			_, rest, _ = strings.Cut(rest, "/")
			return true, rest
		}
	}
	return false, ""
}

// shipped returns the path in the system of a directory of a commit. Commits have /etc in /usr/etc, and may have /var
// in /usr/share/factory/var.
func shipped(dir string) string {
	dir = strings.TrimPrefix(dir, "/usr/share/factory")
	if dir == "/usr/etc" || strings.HasPrefix(dir, "/usr/etc/") {
		return dir[len("/usr"):]
	}
	if dir == "" {
		return "/"
	}
	return dir
}

// journals are the ends of the names of files that a database leaves beside it while it is open.
var journals = []string{"-wal", "-shm", "-journal"}

// isJournal reports whether a name is that of the journal of a database with the name main.
func isJournal(name string) (main string, ok bool) {
	for _, end := range journals {
		if main, ok := strings.CutSuffix(name, end); ok && main != "" {
			return main, true
		}
	}
	return "", false
}

// isInitramfs reports whether a path is that of an initial RAM disk.
func isInitramfs(dir, name string) bool {
	if !strings.HasPrefix(name, "initrd") && !strings.HasPrefix(name, "initramfs") || path.Ext(name) == ".ko" {
		return false
	}
	for _, d := range []string{"/boot", "/usr/lib/modules", "/lib/modules", "/usr/lib/ostree-boot"} {
		if dir == d || strings.HasPrefix(dir, d+"/") {
			return true
		}
	}
	return false
}
