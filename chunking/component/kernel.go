package component

import (
	"cmp"
	"path"
	"regexp"
	"strings"
)

// unownedKernel is the component of kernels that no package owns.
const unownedKernel = "sys/kernel"

// moduleDirs have a directory for each kernel release.
var moduleDirs = []string{"/usr/lib/modules/", "/lib/modules/"}

// moduleRelease returns the kernel release of a path below the modules.
func moduleRelease(p string) (release string, ok bool) {
	for _, dir := range moduleDirs {
		if rest, below := strings.CutPrefix(p, dir); below {
			release, _, ok = strings.Cut(rest, "/")
			return release, ok && release != ""
		}
	}
	return "", false
}

// kernels returns the owner of each kernel by release: the component with the most files in the kernel's directory of
// modules. Other components may add modules there.
func (d *detection) kernels() map[string]int32 {
	files := map[string]map[int32]int{} // release → component → number
	for _, dir := range moduleDirs {
		for i := range d.x.Below(dir) {
			c := &d.claims[i]
			release, ok := moduleRelease(d.entries.At(i).Path())
			if !ok || c.Component < 0 || d.detector(i) == detectorSystem {
				continue
			}
			if files[release] == nil {
				files[release] = map[int32]int{}
			}
			files[release][c.Component]++
		}
	}
	owners := make(map[string]int32, len(files))
	for release, count := range files {
		best := int32(-1)
		for c, n := range count {
			if best < 0 || cmp.Or(cmp.Compare(n, count[best]), cmp.Compare(d.list[best].ID, d.list[c].ID)) > 0 {
				best = c
			}
		}
		owners[release] = best
	}
	return owners
}

// maxKernels bounds the releases that are searched for in a name.
const maxKernels = 64

// bootFile matches files in /boot that belong to a kernel, except the initial RAM disk.
var bootFile = regexp.MustCompile(`^\.?(vmlinu[xz]|[bz]?Image|kernel|System\.map|config|symvers|sysctl\.conf|dtb)`)

// kernelPart assigns unowned files below a kernel's modules, such as those that depmod writes, and the kernel's unowned
// files in /boot to the owner of the kernel.
func (g *generator) kernelPart(i int, p string) bool {
	release, ok := moduleRelease(p)
	if !ok {
		if release, ok = g.bootRelease(p); !ok {
			return false
		}
	}
	reason := "part of the kernel"
	if release != "" {
		reason += " " + release
	}
	if c, ok := g.kernels[release]; ok {
		g.claims[i] = Claim{Component: c, Reason: g.reason(detectorSystem, reason)}
	} else {
		g.claim(i, unownedKernel, detectorSystem, reason)
	}
	return true
}

// bootRelease returns the kernel release of a file in /boot: the one in its name, or else the only one in the tree. It
// may be empty.
func (g *generator) bootRelease(p string) (release string, ok bool) {
	var dir, rest string
	for _, dir = range []string{"/boot/", "/usr/lib/ostree-boot/"} {
		if rest, ok = strings.CutPrefix(p, dir); ok {
			break
		}
	}
	top, _, _ := strings.Cut(rest, "/")
	if !ok || !bootFile.MatchString(top) {
		return "", false
	}
	if len(g.kernels) > maxKernels {
		return "", true
	}
	for r := range g.kernels {
		named := strings.Contains(path.Base(p), r) || strings.Contains(top, r)
		if named && cmp.Or(cmp.Compare(len(r), len(release)), cmp.Compare(r, release)) > 0 {
			release = r
		}
	}
	if release == "" && len(g.kernels) == 1 {
		for r := range g.kernels {
			release = r
		}
	}
	return release, true
}
