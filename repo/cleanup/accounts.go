package cleanup

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// fields is the number of fields of a line, as in passwd(5) and group(5).
var fields = map[string]int{Passwd: 7, Group: 4}

// inEtc are the accounts that stay in /etc. The root user is needed where nothing but files is asked, and hosts add
// administrators to these groups.
var inEtc = map[string][]string{Passwd: {"root"}, Group: {"root", "wheel", "sudo"}}

// roots are the lines of the root user where a tree has none.
var roots = map[string]string{Passwd: "root:x:0:0:root:/root:/bin/bash", Group: "root:x:0:"}

// accounts adds the accounts of a file in /etc to that in /usr/lib, and takes them out of /etc if the system finds them
// in /usr/lib.
func (c *cleaner) accounts(ctx context.Context, name string) error {
	at := c.config(name)
	i, ok := c.x.Find(at)
	if !ok || !c.x.Entry(i).IsRegular() {
		return nil
	}
	own, err := c.read(ctx, at)
	if err != nil {
		return err
	}
	lib := usrLib + "/" + name
	shipped, err := c.read(ctx, lib)
	if err != nil {
		return err
	}
	m := merge(name, lines(own), lines(shipped))
	found, err := c.findsAccounts(ctx, name)
	if err != nil {
		return err
	}
	if stays := text(m.etc); found && stays != string(own) {
		c.put(at, c.headerAt(at), []byte(stays))
	} else if len(m.added) == 0 {
		return nil
	}
	if len(m.added) > 0 {
		c.put(lib, c.headerAt(lib), []byte(text(m.lib)))
	}
	c.items[name], c.text[name] = m.moved, m.describe(name, found)
	if len(m.moved) == 0 {
		c.items[name] = []string{"root"}
	}
	return nil
}

// headerAt returns the header for another content of a regular file, or of a new one.
func (c *cleaner) headerAt(p string) *object.FileHeader {
	i, ok := c.x.Find(p)
	if !ok || !c.x.Entry(i).IsRegular() {
		return &object.FileHeader{Mode: object.ModeRegular | 0o644}
	}
	h := *c.x.Entry(i).FileHeader
	h.Xattrs = slices.DeleteFunc(slices.Clone(h.Xattrs), func(x object.Xattr) bool {
		return x.Name == "security.ima" || x.Name == "security.evm" // they sign the content
	})
	return &h
}

// findsAccounts reports whether the system looks for accounts in /usr/lib: whether nsswitch.conf(5) names altfiles.
func (c *cleaner) findsAccounts(ctx context.Context, name string) (bool, error) {
	data, err := c.read(ctx, c.config("nsswitch.conf"))
	if err != nil {
		return false, err
	}
	for _, line := range lines(data) {
		line, _, _ = strings.Cut(line, "#")
		database, services, _ := strings.Cut(line, ":")
		if strings.TrimSpace(database) == name {
			return slices.Contains(strings.Fields(services), "altfiles"), nil
		}
	}
	return false, nil
}

// merged are the lines of two files of accounts after a merge.
type merged struct {
	etc, lib []string
	// moved are the accounts that /etc had, added those of them that are new or different in /usr/lib.
	moved, added []string
}

// merge merges accounts. Those of /etc win, because the container had them: files are looked up there first.
func merge(name string, own, shipped []string) (m merged) {
	account := func(line string) string {
		parts := strings.Split(line, ":")
		if len(parts) != fields[name] || strings.HasPrefix(line, "#") || strings.ContainsAny(line[:1], "+-") {
			return ""
		}
		return parts[0]
	}
	m.lib = slices.Clone(shipped)
	at := map[string]int{}
	for i, line := range m.lib {
		if a := account(line); a != "" {
			at[a] = i
		}
	}
	root := false
	for _, line := range own {
		a := account(line)
		if a == "" || slices.Contains(inEtc[name], a) {
			root = root || a == "root"
			m.etc = append(m.etc, line)
			continue
		}
		m.moved = append(m.moved, a)
		switch i, ok := at[a]; {
		case !ok:
			at[a] = len(m.lib)
			m.lib, m.added = append(m.lib, line), append(m.added, a)
		case m.lib[i] != line:
			m.lib[i] = line
			m.added = append(m.added, a)
		}
	}
	if !root {
		m.etc = slices.Insert(m.etc, 0, roots[name])
	}
	return m
}

// describe says what became of the accounts.
func (m *merged) describe(name string, found bool) string {
	file := usrLib + "/" + name
	switch {
	case len(m.moved) == 0:
		return fmt.Sprintf("%s/%s has no root account: it is added", etc, name)
	case !found:
		return fmt.Sprintf("added to %s: %s; all stay in %s/%s too, because nsswitch.conf does not name altfiles for %s: "+
			"install nss-altfiles and name it, so that updates can change them", file, few(m.added), etc, name, name)
	case len(m.added) == 0:
		return fmt.Sprintf("taken out of %s/%s, as %s has them: %s", etc, name, file, few(m.moved))
	}
	return fmt.Sprintf("moved from %s/%s to %s: %s", etc, name, file, few(m.moved))
}

// lines returns the lines of a file that are not empty.
func lines(data []byte) []string {
	return slices.DeleteFunc(strings.Split(string(data), "\n"), func(s string) bool { return s == "" })
}

func text(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}
