package cleanup

import (
	"fmt"
	"slices"
	"strings"
)

// edits returns what was changed.
func (c *cleaner) edits() []Edit {
	var list []Edit
	for _, kind := range []struct{ name, one, many string }{
		{Passwd, "", ""},
		{Group, "", ""},
		{Backups, "a lock file, backup or mark of a container is left out", "%d lock files, backups or marks of a " +
			"container are left out"},
		{UsrEtc, "1 file of /usr/etc is merged into /etc", "%d files of /usr/etc are merged into /etc"},
		{VarLib, "1 file of /var/lib is in /usr/lib", "%d files of /var/lib are in /usr/lib"},
		{VarLibKept, "1 file is left out, because a directory has its place", "%d files are left out, because " +
			"directories have their places"},
		{Factory, "1 file of /var is in " + factory, "%d files of /var are in " + factory},
		{Tmpfiles, "hosts create 1 path of /var when they boot: " + tmpfilesPath,
			"hosts create %d paths of /var when they boot: " + tmpfilesPath},
		{BuildID, "1 link of " + buildID + " is left out", "%d links of " + buildID + " are left out"},
		{RPMBase, "1 file of " + rpmBase + " is now that of " + rpmDB,
			"%d files of " + rpmBase + " are now those of " + rpmDB},
	} {
		items := c.items[kind.name]
		if len(items) == 0 {
			continue
		}
		slices.Sort(items)
		text := c.text[kind.name]
		switch {
		case text != "":
		case len(items) == 1:
			text = kind.one
		default:
			text = fmt.Sprintf(kind.many, len(items))
		}
		if kind.name == Backups || kind.name == VarLibKept {
			text += ": " + few(items)
		}
		switch n := c.replaced[kind.name]; {
		case n == 0, kind.name == RPMBase:
		case n == 1:
			text += ", one of them in place of another"
		default:
			text += fmt.Sprintf(", %d of them in place of others", n)
		}
		list = append(list, Edit{Name: kind.name, Text: text, Items: items})
	}
	return list
}

// few lists the first names of several.
func few(names []string) string {
	const shown = 10
	if n := len(names) - shown; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), n)
	}
	return strings.Join(names, ", ")
}
