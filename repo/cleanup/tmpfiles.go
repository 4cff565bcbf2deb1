package cleanup

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// tmpfilesPath is the file that has hosts create what was in /var, see tmpfiles.d(5).
const tmpfilesPath = "/usr/lib/tmpfiles.d/ostree-ext-var.conf"

// tmpfiles makes the file. Its lines create each directory and symlink of /var, and copy files from the factory if the
// host has none. Without it, nothing would be there: libostree copies /var of a commit, not the factory. Content of
// /var/lib is not copied, as it is in /usr/lib. Paths that the system's own files name are left out.
func (c *cleaner) tmpfiles(ctx context.Context) error {
	if !c.isDir(varDir) {
		return nil
	}
	own, err := c.read(ctx, tmpfilesPath)
	if err != nil {
		return err
	}
	named, err := c.namedPaths(ctx)
	if err != nil {
		return err
	}
	list := lines(own)
	for i := range c.x.Below(varDir) {
		e := c.x.Entry(i)
		p := e.Path()
		line := c.tmpfile(e, p)
		if line == "" || named[p] {
			continue
		}
		list = append(list, line)
		c.items[Tmpfiles] = append(c.items[Tmpfiles], p)
	}
	if len(c.items[Tmpfiles]) > 0 {
		c.put(tmpfilesPath, c.headerAt(tmpfilesPath), []byte(text(list)))
	}
	return nil
}

// databases are directories of package managers. On hosts they are links to what the image has, so that they list what
// is installed, whatever was installed when the host was made.
var databases = []string{"/var/lib/dpkg", "/var/lib/pacman", "/var/lib/rpm"}

// tmpfile returns the line for an entry of /var, or "". No line can have a path with a line break.
func (c *cleaner) tmpfile(e rootfs.Entry, p string) string {
	switch {
	case e.IsDir() && slices.Contains(databases, p):
		return fmt.Sprintf("L %s - - - - ../..%s%s", p, usrLib, p[len(varLib):])
	case slices.ContainsFunc(databases, func(dir string) bool { return below(p, dir) }):
		return ""
	case strings.ContainsAny(p, "\r\n"):
		return ""
	case e.IsDir():
		return fmt.Sprintf("d %s %04o %d %d - -", quoted(p), e.Mode&0o7777, e.UID, e.GID)
	case e.IsSymlink():
		return fmt.Sprintf("L %s - - - - %s", quoted(p), escaped(e.Target))
	case e.IsRegular() && c.moves(p).name == Factory:
		return fmt.Sprintf("C %s %04o %d %d - -", quoted(p), e.Mode&0o7777, e.UID, e.GID)
	}
	return ""
}

// quoted writes a path so that every version of systemd reads it as it is. Older ones know no escapes but those of
// quotes and backslashes.
func quoted(p string) string {
	p = strings.ReplaceAll(p, "%", "%%")
	if !strings.ContainsAny(p, " \t\"'\\") {
		return p
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p) + `"`
}

// escaped writes the target of a symlink. It is the last field, which has no quotes, but the escapes of C.
func escaped(target string) string {
	var b strings.Builder
	for _, r := range []byte(target) {
		switch {
		case r == '%':
			b.WriteString("%%")
		case r <= ' ', r == '\\':
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteByte(r)
		}
	}
	return b.String()
}

// namedPaths returns the paths that files in tmpfiles.d name, as they are written there.
func (c *cleaner) namedPaths(ctx context.Context) (map[string]bool, error) {
	named := map[string]bool{}
	for _, dir := range []string{"/usr/lib/tmpfiles.d", etc + "/tmpfiles.d", usrEtc + "/tmpfiles.d"} {
		for i := range c.x.Children(dir) {
			e := c.x.Entry(i)
			if path.Ext(e.Name) != ".conf" || !e.IsRegular() {
				continue
			}
			data, err := c.read(ctx, e.Path())
			if err != nil {
				return nil, err
			}
			for _, line := range lines(data) {
				if p, ok := namedIn(line); ok {
					named[p] = true
				}
			}
		}
	}
	return named, nil
}

// namedIn returns the path that a line creates. A path with specifiers is not the name of one file.
func namedIn(line string) (p string, ok bool) {
	kind, rest, _ := strings.Cut(line, " ")
	if !slices.Contains(creating, strings.TrimRight(kind, "!-=~^$+")) {
		return "", false
	}
	rest = strings.TrimLeft(rest, " \t")
	if quoted, ok := strings.CutPrefix(rest, `"`); ok {
		end := 0
		for ; end < len(quoted) && quoted[end] != '"'; end++ {
			if quoted[end] == '\\' {
				end++
			}
		}
		rest = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(quoted[:min(end, len(quoted))])
	} else if i := strings.IndexAny(rest, " \t"); i >= 0 {
		rest = rest[:i]
	}
	return strings.TrimRight(strings.ReplaceAll(rest, "%%", "%"), "/"), true
}

// creating are the types of lines that create something.
var creating = []string{"f", "d", "D", "v", "q", "Q", "p", "L", "c", "b", "C"}
