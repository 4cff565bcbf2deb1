package cleanup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Edit is what one clean-up changed.
type Edit struct {
	// Name is one of the names in this package.
	Name string
	// Text says in one line what was changed.
	Text string
	// Items are the accounts, or the paths of the tree, that were changed. They are sorted.
	Items []string
}

// The names of the clean-ups.
const (
	// Passwd and Group are the accounts in /etc that were added to the file of the same name in /usr/lib.
	Passwd = "passwd"
	Group  = "group"
	// Backups are lock files and backups of accounts, and marks of a container.
	Backups = "backups"
	// UsrEtc is content of /usr/etc that was merged into /etc.
	UsrEtc = "usr-etc"
	// VarLib is content of /var/lib that is in /usr/lib.
	VarLib = "var-lib"
	// VarLibKept is content of /var/lib that is left out, because /usr/lib has a directory in its place.
	VarLibKept = "var-lib-conflicts"
	// Factory is the other content of /var, which is in /usr/share/factory/var.
	Factory = "var-factory"
	// Tmpfiles is what hosts create in /var when they boot.
	Tmpfiles = "var-tmpfiles"
	// BuildID is /usr/lib/.build-id, which every build makes anew.
	BuildID = "build-id"
	// RPMBase is the copy of the package database that rpm-ostree keeps.
	RPMBase = "rpm-base-db"
)

// Paths of the tree.
const (
	etc, usrEtc     = "/etc", "/usr/etc"
	usrLib, varLib  = "/usr/lib", "/var/lib"
	varDir, factory = "/var", "/usr/share/factory/var"
	buildID         = "/usr/lib/.build-id"
	rpmDB, rpmBase  = "/usr/share/rpm", "/usr/lib/sysimage/rpm-ostree-base-db"
)

// left are files of a running system or container that are not part of an operating system.
var left = []string{
	"/.dockerenv", etc + "/.pwd.lock", etc + "/passwd-", etc + "/group-", etc + "/shadow-", etc + "/gshadow-",
	etc + "/subuid-", etc + "/subgid-",
}

// zone is a directory whose content goes to another one.
type zone struct{ from, to, name string }

// made is a file that the result has in place of one of the tree, or besides them.
type made struct {
	header  *object.FileHeader
	content []byte
}

// cleaner makes the view.
type cleaner struct {
	x     *rootfs.Index
	view  *rootfs.ViewBuilder
	zones []zone
	files map[string]made
	// items are what the clean-ups changed, by name. text replaces the usual words, and replaced counts the files that
	// gave way to others.
	items    map[string][]string
	text     map[string]string
	replaced map[string]int
	// merged is set if /usr/etc is merged into /etc.
	merged bool
}

// Clean returns a view of a root filesystem without what is in the way of committing it, and what was changed, in the
// order of the names in this package. Files that are read, such as /etc/passwd, may have a mebibyte.
func Clean(ctx context.Context, tree rootfs.Tree) (rootfs.Tree, []Edit, error) {
	c := &cleaner{x: rootfs.NewIndex(tree), view: rootfs.NewViewBuilder(tree), files: map[string]made{},
		items: map[string][]string{}, text: map[string]string{}, replaced: map[string]int{}}
	c.plan()
	for _, name := range []string{Passwd, Group} {
		if err := c.accounts(ctx, name); err != nil {
			return nil, nil, err
		}
	}
	if err := c.tmpfiles(ctx); err != nil {
		return nil, nil, err
	}
	for i, e := range tree.Entries().All() {
		if err := c.entry(i, e); err != nil {
			return nil, nil, err
		}
	}
	if err := c.add(); err != nil {
		return nil, nil, err
	}
	return c.view.View(), c.edits(), nil
}

// plan decides which directories move.
func (c *cleaner) plan() {
	if c.isDir(etc) && c.hasContent(etc) && c.isDir(usrEtc) && c.hasContent(usrEtc) {
		c.merged = true
		c.zones = append(c.zones, zone{usrEtc, etc, UsrEtc})
	}
	if c.isDir(varLib) {
		c.zones = append(c.zones, zone{varLib, usrLib, VarLib})
	}
	if c.isDir(varDir) {
		for i := range c.x.Children(varDir) {
			if e := c.x.Entry(i); e.Path() != varLib || !e.IsDir() {
				c.zones = append(c.zones, zone{varDir, factory, Factory})
				break
			}
		}
	}
	if c.isDir(rpmDB) && c.isDir(rpmBase) && !c.sameFiles(rpmDB, rpmBase) {
		c.zones = append(c.zones, zone{rpmDB, rpmBase, RPMBase})
	}
}

func (c *cleaner) isDir(p string) bool {
	i, ok := c.x.Find(p)
	return ok && c.x.Entry(i).IsDir()
}

func (c *cleaner) hasContent(dir string) bool {
	for range c.x.Children(dir) {
		return true
	}
	return false
}

// sameFiles reports whether two directories have the same files.
func (c *cleaner) sameFiles(a, b string) bool {
	files := func(dir string) (list []string) {
		for i := range c.x.Below(dir) {
			e := c.x.Entry(i)
			file := e.Link // the same file has the same one
			if e.IsDir() {
				file = 0
			}
			list = append(list, fmt.Sprintf("%d %s", file, e.Path()[len(dir):]))
		}
		return list
	}
	return slices.Equal(files(a), files(b))
}

func below(p, dir string) bool { return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir }

func within(p, dir string) bool { return p == dir || below(p, dir) }

// dropped says by which clean-up an entry is left out of a path of the result, or "".
func dropped(e rootfs.Entry, p string) string {
	switch {
	case within(p, buildID):
		return BuildID
	case e.IsDir():
		return ""
	case below(p, usrEtc):
		p = strings.TrimPrefix(p, "/usr")
	}
	if slices.Contains(left, p) {
		return Backups
	}
	return ""
}

// moves returns the zone that a path of the tree is in, or nil.
func (c *cleaner) moves(p string) *zone {
	for i := range c.zones {
		// /var/lib precedes /var. The database is copied and not moved.
		if z := &c.zones[i]; within(p, z.from) && z.name != RPMBase {
			return z
		}
	}
	return nil
}

// entry puts an entry of the tree where it goes.
func (c *cleaner) entry(i int, e rootfs.Entry) error {
	p := e.Path()
	if c.copies(p) {
		if err := c.move(i, e, p, rpmBase+p[len(rpmDB):], RPMBase); err != nil {
			return err
		}
	}
	z := c.moves(p)
	switch {
	case p == varDir && e.IsDir(): // it stays, and is empty
		if z != nil {
			if err := c.move(i, e, p, z.to, ""); err != nil {
				return err
			}
		}
		return c.view.Put(i, p)
	case z != nil && p == z.from:
		return c.move(i, e, p, z.to, "")
	case z != nil:
		return c.move(i, e, p, z.to+p[len(z.from):], z.name)
	}
	return c.stay(i, e, p)
}

// copies reports whether a path is part of the package database that is copied.
func (c *cleaner) copies(p string) bool {
	return below(p, rpmDB) && slices.ContainsFunc(c.zones, func(z zone) bool { return z.name == RPMBase })
}

// stay puts an entry in its place, unless another one goes there.
func (c *cleaner) stay(i int, e rootfs.Entry, p string) error {
	if why := dropped(e, p); why != "" {
		if !e.IsDir() {
			c.items[why] = append(c.items[why], p)
		}
		return nil
	}
	if _, replaced := c.files[p]; replaced {
		return nil
	}
	for _, z := range c.zones {
		if !below(p, z.to) {
			continue
		}
		j, ok := c.x.Find(z.from + p[len(z.to):])
		switch {
		case z.name == RPMBase && !ok:
			c.items[RPMBase] = append(c.items[RPMBase], p)
			return nil // a file of the old database
		case ok && !c.yields(c.x.Entry(j), e, p):
			c.replaced[z.name]++
			return nil
		}
	}
	return c.view.Put(i, p)
}

// yields reports whether an entry gives way to the one that is in its place.
func (c *cleaner) yields(e, there rootfs.Entry, p string) bool {
	return there.IsDir() && (e.IsDir() || c.hasContent(p))
}

// move puts an entry under another path.
func (c *cleaner) move(i int, e rootfs.Entry, from, to, name string) error {
	if why := dropped(e, to); why != "" {
		if !e.IsDir() {
			c.items[why] = append(c.items[why], from)
		}
		return nil
	}
	if _, replaced := c.files[to]; replaced {
		return nil
	}
	if j, ok := c.x.Find(to); ok && c.yields(e, c.x.Entry(j), to) {
		if !e.IsDir() {
			c.items[VarLibKept] = append(c.items[VarLibKept], from)
		}
		return nil
	}
	if name != "" && !e.IsDir() {
		c.items[name] = append(c.items[name], from)
	}
	return c.view.Put(i, to)
}

// add adds the files that were made, and the directories that they and moved ones are in.
func (c *cleaner) add() error {
	has := map[string]bool{"/": true}
	var directory func(p string) error
	directory = func(p string) error {
		if has[p] {
			return nil
		}
		has[p] = true
		switch i, ok := c.x.Find(p); {
		case ok && c.x.Entry(i).IsDir():
			return nil
		case ok:
			return fmt.Errorf("%s is not a directory, and files are to go there: make it one", p)
		}
		for _, z := range c.zones {
			if within(p, z.to) && c.isDir(z.from+p[len(z.to):]) {
				return directory(path.Dir(p)) // it moves there
			}
		}
		if err := directory(path.Dir(p)); err != nil {
			return err
		}
		return c.view.Add(p, &object.FileHeader{Mode: object.ModeDir | 0o755}, nil)
	}
	for _, z := range c.zones {
		if err := directory(z.to); err != nil {
			return err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(c.files)) {
		if err := directory(path.Dir(p)); err != nil {
			return err
		}
		if err := c.view.Add(p, c.files[p].header, c.files[p].content); err != nil {
			return err
		}
	}
	return nil
}

// maxFile limits the size in bytes of each file that is read.
const maxFile = 1 << 20

// read reads the file that a path leads to. It returns nil if there is none.
func (c *cleaner) read(ctx context.Context, p string) ([]byte, error) {
	data, err := c.x.ReadFile(ctx, p, maxFile)
	if i, ok := c.x.Find(p); ok && errors.Is(err, fs.ErrNotExist) && below(p, usrEtc) && c.x.Entry(i).IsSymlink() {
		// On hosts the target is in /etc.
		target := c.x.Entry(i).Target
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(p)[len("/usr"):], target)
		}
		data, err = c.x.ReadFile(ctx, "/usr"+path.Clean(target), maxFile)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return data, nil
}

// config returns the path in the tree of a file that will be in /usr/etc: in /etc or in /usr/etc, whichever will be
// taken.
func (c *cleaner) config(name string) string {
	p := usrEtc + "/" + name
	if _, ok := c.x.Find(p); ok && (c.merged || !c.isDir(etc) || !c.hasContent(etc)) {
		return p
	}
	return etc + "/" + name
}

// put sets the file at a path of the result.
func (c *cleaner) put(p string, h *object.FileHeader, content []byte) {
	if c.merged && below(p, usrEtc) {
		p = p[len("/usr"):]
	}
	c.files[p] = made{h, content}
}
