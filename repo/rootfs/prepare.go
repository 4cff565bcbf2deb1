package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// PrepareOptions say how a root filesystem becomes the tree of an OSTree commit.
type PrepareOptions struct {
	// DropVar empties /var. Otherwise its content is kept: libostree since 2024.3 copies it into the stateroot's /var
	// once, when that is made. Older versions ignore it.
	DropVar bool
	// Label, if not nil, returns the SELinux label to store for a path instead of the one in the tree, or "" for none.
	Label func(path string, mode uint32) (string, error)
	// DropLabels leaves labels out if Label is nil.
	DropLabels bool
}

// Dropped is a path that a commit does not keep.
type Dropped struct {
	Path, Reason string
	// RunTime says that the path exists at run time only, so that nothing is lost.
	RunTime bool
}

// LossesFirst returns a list in another order: what exists at run time only comes last. Those who show only the
// beginning of a list show what is lost.
func LossesFirst(list []Dropped) []Dropped {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Dropped) int {
		switch {
		case a.RunTime == b.RunTime:
			return 0
		case b.RunTime:
			return -1
		}
		return 1
	})
	return list
}

// ErrTwoEtc says that a tree has content in /etc and in /usr/etc.
var ErrTwoEtc = errors.New("there are files both in /etc and in /usr/etc, which is where /etc goes: remove one of them")

// prepared is a view of a tree with other paths.
type prepared struct {
	Tree
	entries *List
	inner   []uint32 // index in the inner tree; added entries have no content
}

// Entries implements [Tree].
func (p *prepared) Entries() *List { return p.entries }

// Open implements [Tree].
func (p *prepared) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	return p.Tree.Open(ctx, int(p.inner[index]))
}

// emptied are the directories whose content exists only at run time.
var emptied = []string{"/run", "/tmp", "/proc", "/sys", "/dev"}

// Prepare returns a view of a root filesystem in the form in which an operating system is committed. It moves /etc to
// /usr/etc, empties /run, /tmp, /proc, /sys and /dev, and adds /sysroot and the symlink /ostree. Kernels and initial
// RAM disks that are only in /boot move to /usr/lib/modules/RELEASE, and /boot is emptied. Xattrs with build directives
// are removed. It also returns the paths that are not kept, sorted.
func Prepare(tree Tree, opts PrepareOptions) (Tree, []Dropped, error) {
	p := &preparation{opts: opts, x: NewIndex(tree), entries: tree.Entries(), moved: map[string]bool{},
		headers: map[headerKey]preparedHeader{}}
	p.out = newBuilder(p.entries.Len()+added, p.entries.names)
	p.inner = make([]uint32, 0, p.entries.Len()+added)
	if err := p.checkEtc(); err != nil {
		return nil, nil, err
	}
	for i, e := range p.entries.All() {
		if err := p.entry(i, e); err != nil {
			return nil, nil, err
		}
	}
	if err := p.layout(); err != nil {
		return nil, nil, err
	}
	view := p.finish(tree)
	return view, p.dropped, checkNames(view.entries)
}

// ErrNotUTF8 is wrapped by the error about names and targets of symlinks that no commit can hold.
var ErrNotUTF8 = errors.New("a commit cannot hold these: rename or remove them")

// maxNamed is how many paths an error names.
const maxNamed = 20

// checkNames reports all names and targets of symlinks that no commit can hold: those that are not UTF-8.
func checkNames(entries *List) error {
	var bad []string
	n := 0
	for _, e := range entries.All() {
		switch {
		case e.Name != "" && object.ValidateName(e.Name) != nil:
			bad = append(bad, fmt.Sprintf("%q", e.Path()))
		case e.IsSymlink() && !utf8.ValidString(e.Target):
			bad = append(bad, fmt.Sprintf("%q, a symlink to %q", e.Path(), e.Target))
		default:
			continue
		}
		if n++; n > maxNamed {
			bad = bad[:maxNamed]
		}
	}
	switch {
	case n == 0:
		return nil
	case n > maxNamed:
		return fmt.Errorf("%w: %s and %d more", ErrNotUTF8, strings.Join(bad, "; "), n-maxNamed)
	}
	return fmt.Errorf("%w: %s", ErrNotUTF8, strings.Join(bad, "; "))
}

type preparation struct {
	opts     PrepareOptions
	entries  *List
	x        *Index
	out      *Builder
	inner    []uint32        // in the order of adding
	moved    map[string]bool // new paths of kernels and initial RAM disks
	headers  map[headerKey]preparedHeader
	emptyEtc string // the one of two that has no content, or empty
	dropped  []Dropped
}

// checkEtc refuses a tree with content in both /etc and /usr/etc. If only one has content, the other is left out.
func (p *preparation) checkEtc() error {
	files := func(dir string) bool {
		for range p.x.Below(dir) {
			return true
		}
		return false
	}
	_, one := p.x.Find("/etc")
	_, other := p.x.Find("/usr/etc")
	switch {
	case !one || !other:
	case !files("/usr/etc"):
		p.emptyEtc = "/usr/etc"
	case !files("/etc"):
		p.emptyEtc = "/etc"
	default:
		return ErrTwoEtc
	}
	return nil
}

func below(name, dir string) bool {
	return len(name) > len(dir) && name[len(dir)] == '/' && strings.HasPrefix(name, dir)
}

func (p *preparation) drop(name, reason string) {
	p.dropped = append(p.dropped, Dropped{Path: name, Reason: reason})
}

// kept reports whether a commit keeps an entry, and if not, why.
func kept(e Entry) bool { return e.IsDir() || e.IsRegular() || e.IsSymlink() }

// entry decides about one entry of the inner tree.
func (p *preparation) entry(i int, e Entry) error {
	name := e.Path()
	for _, dir := range emptied {
		if below(name, dir) {
			p.dropped = append(p.dropped, Dropped{Path: name, Reason: "exists at run time only", RunTime: true})
			return nil
		}
	}
	switch {
	case below(name, "/sysroot"):
		p.drop(name, "the system's own repository stands there")
		return nil
	case name == "/ostree" || below(name, "/ostree"):
		if !e.IsSymlink() {
			p.drop(name, "replaced by the symlink to sysroot/ostree")
		}
		return nil
	case p.opts.DropVar && below(name, "/var"):
		p.drop(name, "/var is to be empty")
		return nil
	case below(name, "/boot"):
		return p.boot(i, e, name)
	}
	if !kept(e) {
		p.drop(name, "a special file")
		return nil
	}
	if name == "/etc" && !e.IsDir() {
		return errors.New("/etc is not a directory: remove it, or make it a directory with the system's configuration")
	}
	if name == p.emptyEtc {
		return nil
	}
	switch {
	case name == "/etc":
		e.Dir = "/usr"
	case below(name, "/etc"):
		e.Dir = "/usr" + e.Dir
	}
	return p.add(i, e)
}

// boot moves kernels and initial RAM disks to where libostree looks for them.
func (p *preparation) boot(i int, e Entry, name string) error {
	for _, kind := range []struct{ prefix, suffix, to string }{
		{"vmlinuz-", "", "vmlinuz"}, {"initrd.img-", "", "initramfs.img"}, {"initramfs-", ".img", "initramfs.img"},
	} {
		release, ok := strings.CutPrefix(e.Name, kind.prefix)
		if release, ok2 := strings.CutSuffix(release, kind.suffix); ok && ok2 && e.IsRegular() {
			dir := "/usr/lib/modules/" + release
			to := dir + "/" + kind.to
			j, found := p.x.Find(dir)
			if _, there := p.x.Find(to); found && p.x.Entry(j).IsDir() && !there {
				if p.moved[to] {
					return fmt.Errorf("two files of /boot would become %s: remove the one that is not to be booted", to)
				}
				p.moved[to] = true
				e.Dir, e.Name = dir, kind.to
				return p.addNamed(i, e)
			}
		}
	}
	p.drop(name, "/boot is written when the system is deployed")
	return nil
}

// add adds an entry of the inner tree to the result under its own name.
func (p *preparation) add(i int, e Entry) error {
	return p.put(i, p.entries.places[i].name, e)
}

// addNamed adds an entry to the result under another name.
func (p *preparation) addNamed(i int, e Entry) error {
	name, err := p.out.list.names.add(e.Name)
	if err != nil {
		return err
	}
	return p.put(i, name, e)
}

func (p *preparation) put(i int, name uint32, e Entry) error {
	key := headerKey{header: e.FileHeader}
	if p.opts.Label != nil {
		var err error
		if key.label, err = p.opts.Label(e.Path(), e.Mode); err != nil {
			return fmt.Errorf("%s: SELinux label: %w", e.Path(), err)
		}
	}
	h, ok := p.headers[key]
	if !ok {
		header := *e.FileHeader
		header.Xattrs = p.xattrs(&header, key.label)
		h.changed = len(header.Xattrs) != len(e.Xattrs) || p.opts.Label != nil
		h.id = p.out.header(&header, e.Device)
		p.headers[key] = h
	}
	if h.changed {
		e.Object = object.Checksum{}
	}
	p.out.put(name, h.id, &e)
	p.inner = append(p.inner, uint32(i))
	return nil
}

// headerKey is what the header of a prepared entry depends on.
type headerKey struct {
	header *object.FileHeader
	label  string
}

// preparedHeader is a header of the new list, and whether it differs from the old one.
type preparedHeader struct {
	id      uint32
	changed bool
}

// xattrs returns the xattrs that a commit keeps.
func (p *preparation) xattrs(h *object.FileHeader, label string) object.Xattrs {
	var list []object.Xattr
	for _, x := range h.Xattrs {
		switch {
		case x.Name == "user.component", x.Name == "user.update-interval":
		case strings.HasPrefix(x.Name, "user.overlay."), strings.HasPrefix(x.Name, "trusted.overlay."):
		case x.Name == selinux && (p.opts.Label != nil || p.opts.DropLabels):
		default:
			list = append(list, x)
		}
	}
	if label != "" {
		list = append(list, object.Xattr{Name: selinux, Value: append([]byte(label), 0)})
	}
	return object.NewXattrs(list)
}

const selinux = "security.selinux"

// added is the most entries that layout adds.
const added = 3

// layout adds the directories and symlinks that every system has.
func (p *preparation) layout() error {
	for _, name := range []string{"usr", "sysroot"} {
		if i, ok := p.x.Find("/" + name); ok && kept(p.entries.At(i)) {
			continue
		}
		if err := p.addNamed(0, Entry{Dir: "/", Name: name,
			FileHeader: &object.FileHeader{Mode: object.ModeDir | 0o755}}); err != nil {
			return err
		}
	}
	return p.addNamed(0, Entry{Dir: "/", Name: "ostree",
		FileHeader: &object.FileHeader{Mode: object.ModeSymlink | 0o777, Target: "sysroot/ostree"}})
}

// finish makes the view and finds the links again: added entries are not links, and links whose labels differ are not
// one file any more.
func (p *preparation) finish(tree Tree) *prepared {
	slices.SortFunc(p.dropped, func(a, b Dropped) int { return strings.Compare(a.Path, b.Path) })
	order := p.out.sort()
	view := &prepared{Tree: tree, entries: p.out.done(), inner: reorder(p.inner, order)}
	view.entries.link(func(a, b int) int {
		return cmp.Or(
			cmp.Compare(p.entries.links.of(int(view.inner[a])), p.entries.links.of(int(view.inner[b]))),
			cmp.Compare(view.entries.places[a].header, view.entries.places[b].header),
		)
	})
	return view
}
