package sysroot

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Deployment is a commit that is checked out as the root directory of a bootable system.
type Deployment struct {
	// Index is the position in the list, which `ostree admin undeploy` and `pin` take.
	Index int
	// Stateroot is the name of the directory with the state that its deployments share, such as /var.
	Stateroot string
	Commit    object.Checksum
	// Serial tells deployments of one commit apart.
	Serial int
	// Dir is the directory of the deployment, relative to the sysroot.
	Dir string
	// BootChecksum is that of the kernel and what belongs to it. Deployments with the same one share their files in /boot.
	BootChecksum object.Checksum
	// BootSerial tells deployments with one kernel apart. It is -1 for a staged deployment.
	BootSerial int
	// Title is that of the boot menu. It is empty for a staged deployment, as are Kernel and Initramfs.
	Title string
	// Kernel and Initramfs are paths on the boot filesystem.
	Kernel, Initramfs string
	// OverlayInitramfs are the paths of further ones.
	OverlayInitramfs []string
	// KernelArgs are the kernel arguments without those that libostree sets, such as ostree=. For a staged deployment
	// they are nil if it takes those of the deployment that its /etc is merged with.
	KernelArgs []string
	// Origin is nil if there is no origin file.
	Origin *Origin
	// Booted is whether the host runs from it.
	Booted bool
	// Staged is whether it gets its boot loader entry only when the host shuts down.
	Staged bool
	// Locked is whether a staged deployment is held back from that.
	Locked bool
}

// Name is the name of the directory, COMMIT.SERIAL, by which ostree's messages call the deployment.
func (d *Deployment) Name() string { return deployName(d.Commit, d.Serial) }

func deployName(c object.Checksum, serial int) string { return fmt.Sprintf("%s.%d", c, serial) }

// Pinned reports whether the deployment is kept until it is unpinned.
func (d *Deployment) Pinned() bool { return d.Origin != nil && d.Origin.Pinned }

// Deployments are the deployments of a sysroot in libostree's order: a staged one first, then as in the boot menu, the
// default first.
type Deployments []*Deployment

// Booted returns the deployment that the host runs from, or nil.
func (l Deployments) Booted() *Deployment {
	return l.find(func(d *Deployment) bool { return d.Booted })
}

// Staged returns the staged deployment, or nil.
func (l Deployments) Staged() *Deployment {
	return l.find(func(d *Deployment) bool { return d.Staged })
}

func (l Deployments) find(is func(*Deployment) bool) *Deployment {
	if i := slices.IndexFunc(l, is); i >= 0 {
		return l[i]
	}
	return nil
}

// Around returns the first deployment of a stateroot before the booted one, which is booted next, and the first after
// it, which is the one to go back to. Either may be nil. If none of the stateroot is booted, all count as before it.
func (l Deployments) Around(stateroot string) (pending, rollback *Deployment) {
	passed := false
	for _, d := range l {
		switch {
		case d.Stateroot != stateroot:
		case d.Booted:
			passed = true
		case !passed && pending == nil:
			pending = d
		case passed && rollback == nil:
			rollback = d
		}
	}
	return pending, rollback
}

// Merge returns the deployment whose /etc and kernel arguments a new deployment of a stateroot takes over, or nil: the
// booted one if it is of that stateroot, and else the first one.
func (l Deployments) Merge(stateroot string) *Deployment {
	if d := l.Booted(); d != nil && d.Stateroot == stateroot {
		return d
	}
	return l.find(func(d *Deployment) bool { return d.Stateroot == stateroot })
}

// Deployments reads the deployments.
func (s *Sysroot) Deployments() (Deployments, error) {
	booted, isBooted, err := s.host.booted()
	if err != nil {
		return nil, fmt.Errorf("asking whether the host runs from a deployment: %w", err)
	}
	entries, err := s.entries()
	if err != nil {
		return nil, fmt.Errorf("reading the boot loader entries: %w", err)
	}
	var list Deployments
	for _, e := range entries {
		d, id, err := s.deployment(e)
		if err != nil {
			return nil, fmt.Errorf("reading the deployment of %s: %w", e.name, err)
		}
		d.Booted = isBooted && id == booted && list.Booted() == nil
		list = append(list, d)
	}
	// Only the booted sysroot has a staged deployment.
	if list.Booted() != nil {
		staged, err := s.staged()
		if err != nil {
			return nil, fmt.Errorf("reading the staged deployment: %w", err)
		}
		if staged != nil {
			list = slices.Insert(list, 0, staged)
		}
	}
	for i, d := range list {
		d.Index = i
	}
	return list, nil
}

// The patterns of libostree's names. The number of a deployment is that of a C int.
var (
	bootLinkPattern   = regexp.MustCompile(`^/ostree/boot\.([01])/([^/]+)/([0-9a-f]{64})/([0-9]{1,9})$`)
	deployNamePattern = regexp.MustCompile(`^([0-9a-f]{64})\.([0-9]{1,9})$`)
)

// deployment returns the deployment of a boot loader entry and the identity of its directory.
func (s *Sysroot) deployment(e *entry) (*Deployment, fileID, error) {
	link, ok := e.bootLink()
	if !ok {
		return nil, fileID{}, fmt.Errorf("%w: there is no kernel argument ostree=", ErrInvalid)
	}
	m := bootLinkPattern.FindStringSubmatch(link)
	if m == nil || checkName(m[2]) != nil {
		return nil, fileID{}, fmt.Errorf("%w: ostree=%s is not /ostree/boot.N/STATEROOT/CHECKSUM/SERIAL", ErrInvalid, link)
	}
	d := &Deployment{Stateroot: m[2], Title: e.keys["title"]}
	var err error
	if d.BootChecksum, err = object.ParseChecksum(m[3]); err != nil {
		return nil, fileID{}, err
	}
	if d.BootSerial, err = strconv.Atoi(m[4]); err != nil {
		return nil, fileID{}, err
	}
	if d.Kernel, err = e.bootFile("linux"); err != nil {
		return nil, fileID{}, err
	}
	if d.Initramfs, err = e.bootFile("initrd"); err != nil {
		return nil, fileID{}, err
	}
	d.OverlayInitramfs = e.overlays
	d.KernelArgs = withoutOSTree(e.kernelArgs())
	target, err := s.root.Readlink(strings.TrimPrefix(link, "/"))
	if err != nil {
		return nil, fileID{}, err
	}
	id, err := s.locate(d, path.Base(target))
	if err != nil {
		return nil, fileID{}, err
	}
	if want := path.Join("../../../deploy", d.Stateroot, "deploy", d.Name()); target != want {
		return nil, fileID{}, fmt.Errorf("%w: %s points to %q, not to %s", ErrInvalid, link, target, want)
	}
	return d, id, nil
}

// locate sets what follows from the stateroot and the name of a deployment's directory, and returns its identity.
func (s *Sysroot) locate(d *Deployment, name string) (fileID, error) {
	m := deployNamePattern.FindStringSubmatch(name)
	if m == nil {
		return fileID{}, fmt.Errorf("%w: a deployment is called %q, not CHECKSUM.SERIAL", ErrInvalid, name)
	}
	var err error
	if d.Commit, err = object.ParseChecksum(m[1]); err != nil {
		return fileID{}, err
	}
	if d.Serial, err = strconv.Atoi(m[2]); err != nil {
		return fileID{}, err
	}
	d.Dir = path.Join("ostree/deploy", d.Stateroot, "deploy", d.Name())
	info, err := s.root.Lstat(d.Dir)
	if err != nil {
		return fileID{}, err
	}
	if !info.IsDir() {
		return fileID{}, fmt.Errorf("%w: %s is not a directory", ErrInvalid, d.Dir)
	}
	d.Origin, err = s.readOrigin(d.Dir)
	return idOf(info), err
}

// withoutOSTree removes the arguments that libostree sets for each deployment: ostree=, and init= where there is no
// initramfs.
func withoutOSTree(args []string) []string {
	return slices.DeleteFunc(args, func(a string) bool {
		return strings.HasPrefix(a, ostreeArg) || strings.HasPrefix(a, "init=/ostree/boot.")
	})
}
