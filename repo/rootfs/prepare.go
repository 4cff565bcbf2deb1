package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// PrepareOptions says how a root filesystem becomes that of an OSTree commit.
type PrepareOptions struct {
	// DropVar empties /var. Otherwise its content is kept: libostree since 2024.3 copies it into the stateroot's /var when
	// that is made, and never again; older ones ignore it.
	DropVar bool
	// Label returns the SELinux label of a path, or "" for none, to be stored instead of what the tree has. May be nil:
	// labels are then as they are in the tree.
	Label func(path string, mode uint32) (string, error)
	// DropLabels leaves labels out where Label is nil.
	DropLabels bool
}

// Dropped is something that a commit does not keep.
type Dropped struct {
	Path, Reason string
}

// ErrTwoEtc says that a tree has content in /etc and in /usr/etc.
var ErrTwoEtc = errors.New("there are files both in /etc and in /usr/etc, which is where /etc goes: remove one of them")

// prepared is a view of a tree with other paths.
type prepared struct {
	Tree
	entries []Entry
	inner   []int // index in the inner tree, -1 for what was added
}

// Entries implements [Tree].
func (p *prepared) Entries() []Entry { return p.entries }

// Take implements [Lender].
func (p *prepared) Take() []Entry {
	entries := p.entries
	p.entries = nil
	return entries
}

// Open implements [Tree].
func (p *prepared) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	return p.Tree.Open(ctx, p.inner[index])
}

// emptied are directories whose content exists at run time only.
var emptied = []string{"/run", "/tmp", "/proc", "/sys", "/dev"}

// Prepare returns a view of a root filesystem as an operating system is committed: /etc is /usr/etc; /run, /tmp, /proc, /sys and
// /dev are empty; there are /sysroot and the symlink /ostree; kernels and initial RAM disks that lie in /boot only are in
// /usr/lib/modules/RELEASE, and /boot is empty. Directives of the build in xattrs are gone. What is not kept is listed, sorted
// by path.
func Prepare(tree Tree, opts PrepareOptions) (Tree, []Dropped, error) {
	p := &preparation{opts: opts, out: &prepared{Tree: tree}, x: NewIndex(tree), have: map[string]bool{}}
	n := len(tree.Entries()) + added
	p.out.entries, p.out.inner = make([]Entry, 0, n), make([]int, 0, n)
	if err := p.checkEtc(); err != nil {
		return nil, nil, err
	}
	for i := range tree.Entries() {
		if err := p.entry(i, &tree.Entries()[i]); err != nil {
			return nil, nil, err
		}
	}
	if err := p.layout(); err != nil {
		return nil, nil, err
	}
	p.finish(tree)
	return p.out, p.dropped, nil
}

type preparation struct {
	opts    PrepareOptions
	out     *prepared
	x       *Index
	have    map[string]bool
	dropped []Dropped
}

// checkEtc refuses two of them.
func (p *preparation) checkEtc() error {
	files := func(dir string) bool {
		for range p.x.Below(dir) {
			return true
		}
		return false
	}
	if files("/etc") && files("/usr/etc") {
		return ErrTwoEtc
	}
	return nil
}

func below(name, dir string) bool {
	return len(name) > len(dir) && name[len(dir)] == '/' && strings.HasPrefix(name, dir)
}

func (p *preparation) drop(name, reason string) {
	p.dropped = append(p.dropped, Dropped{name, reason})
}

// entry decides about one entry of the inner tree.
func (p *preparation) entry(i int, e *Entry) error {
	for _, dir := range emptied {
		if below(e.Path, dir) {
			p.drop(e.Path, "exists at run time only")
			return nil
		}
	}
	switch {
	case below(e.Path, "/sysroot"):
		p.drop(e.Path, "the system's own repository stands there")
		return nil
	case e.Path == "/ostree" || below(e.Path, "/ostree"):
		if !e.IsSymlink() {
			p.drop(e.Path, "replaced by the symlink to sysroot/ostree")
		}
		return nil
	case p.opts.DropVar && below(e.Path, "/var"):
		p.drop(e.Path, "/var is to be empty")
		return nil
	case below(e.Path, "/boot"):
		return p.boot(i, e)
	}
	if !e.IsDir() && !e.IsRegular() && !e.IsSymlink() {
		p.drop(e.Path, "a special file")
		return nil
	}
	name := e.Path
	if name == "/usr/etc" {
		if _, both := p.x.Find("/etc"); both {
			return nil // it is empty
		}
	}
	if name == "/etc" {
		if !e.IsDir() {
			return fmt.Errorf("/etc: it is not a directory")
		}
		for range p.x.Below("/usr/etc") {
			return nil // this one is empty
		}
	}
	if name == "/etc" || below(name, "/etc") {
		name = "/usr" + name
	}
	return p.add(i, e, name)
}

// boot moves kernels and initial RAM disks to where libostree looks for them.
func (p *preparation) boot(i int, e *Entry) error {
	base := path.Base(e.Path)
	for _, kind := range []struct{ prefix, suffix, to string }{
		{"vmlinuz-", "", "vmlinuz"}, {"initrd.img-", "", "initramfs.img"}, {"initramfs-", ".img", "initramfs.img"},
	} {
		release, ok := strings.CutPrefix(base, kind.prefix)
		if release, ok2 := strings.CutSuffix(release, kind.suffix); ok && ok2 && e.IsRegular() {
			dir := "/usr/lib/modules/" + release
			j, found := p.x.Find(dir)
			if _, there := p.x.Find(dir + "/" + kind.to); found && p.x.Entry(j).IsDir() && !there {
				return p.add(i, e, dir+"/"+kind.to)
			}
		}
	}
	p.drop(e.Path, "/boot is written when the system is deployed")
	return nil
}

// add puts an entry under a name into the result.
func (p *preparation) add(i int, e *Entry, name string) error {
	if p.have[name] {
		return fmt.Errorf("%s: it would be there twice", name)
	}
	p.have[name] = true
	n := *e
	n.Path = name
	xattrs, err := p.xattrs(e, name)
	if err != nil {
		return err
	}
	if len(xattrs) != len(e.Xattrs) || p.opts.Label != nil {
		n.Object = repo.Checksum{}
	}
	n.Xattrs = xattrs
	p.out.entries = append(p.out.entries, n)
	p.out.inner = append(p.out.inner, i)
	return nil
}

// xattrs are those that a commit keeps.
func (p *preparation) xattrs(e *Entry, name string) (repo.Xattrs, error) {
	var list []repo.Xattr
	for _, x := range e.Xattrs {
		switch {
		case x.Name == "user.component", x.Name == "user.update-interval":
		case strings.HasPrefix(x.Name, "user.overlay."), strings.HasPrefix(x.Name, "trusted.overlay."):
		case x.Name == selinux && (p.opts.Label != nil || p.opts.DropLabels):
		default:
			list = append(list, x)
		}
	}
	if p.opts.Label != nil {
		label, err := p.opts.Label(name, e.Mode)
		if err != nil {
			return nil, fmt.Errorf("%s: SELinux label: %w", name, err)
		}
		if label != "" {
			list = append(list, repo.Xattr{Name: selinux, Value: append([]byte(label), 0)})
		}
	}
	return repo.NewXattrs(list), nil
}

const selinux = "security.selinux"

// added is how many entries layout adds at most.
const added = 3

// layout adds what every system has.
func (p *preparation) layout() error {
	dir := Entry{FileHeader: repo.FileHeader{Mode: repo.ModeDir | 0o755}}
	for _, name := range []string{"/usr", "/sysroot"} {
		if !p.have[name] {
			if err := p.add(-1, &dir, name); err != nil {
				return err
			}
		}
	}
	return p.add(-1, &Entry{FileHeader: repo.FileHeader{Mode: repo.ModeSymlink | 0o777, Target: "sysroot/ostree"}}, "/ostree")
}

// finish sorts the entries and finds the links anew.
func (p *preparation) finish(tree Tree) {
	order := make([]int, len(p.out.entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(p.out.entries[a].Path, p.out.entries[b].Path) })
	entries, inner := p.out.entries, p.out.inner
	permute(order, func(i, j int) {
		entries[i], entries[j] = entries[j], entries[i]
		inner[i], inner[j] = inner[j], inner[i]
	})
	linked := map[int]bool{}
	for i, e := range tree.Entries() {
		if e.Link != i {
			linked[e.Link] = true
		}
	}
	first := map[int]int{}
	for i := range entries {
		entries[i].Link = i
		if inner[i] < 0 || entries[i].IsDir() {
			continue
		}
		link := tree.Entries()[inner[i]].Link
		if !linked[link] {
			continue
		}
		// Links whose labels differ are no longer one file.
		if j, ok := first[link]; ok && slices.EqualFunc(entries[j].Xattrs, entries[i].Xattrs, func(a, b repo.Xattr) bool {
			return a.Name == b.Name && string(a.Value) == string(b.Value)
		}) {
			entries[i].Link = j
		} else if !ok {
			first[link] = i
		}
	}
	slices.SortFunc(p.dropped, func(a, b Dropped) int { return strings.Compare(a.Path, b.Path) })
}
