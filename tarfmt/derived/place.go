package derived

import (
	"path"
	"strings"
)

// Root says what a host does with the directories of a tree that are neither /usr nor /etc.
type Root struct {
	// Other keeps all of them, such as /opt. Hosts do so if the root is writable or an overlay; otherwise such files
	// would be hidden, and are left out.
	Other bool
	// FactoryVar moves /var to /usr/share/factory/var. Deployments by libostree before 2024.3 ignore /var.
	FactoryVar bool
}

const (
	repoPath    = "/sysroot/ostree/repo"
	objectsPath = repoPath + "/objects/"
)

// place returns where a path of a layer belongs in a commit. Both are absolute and clean. If the path is left out,
// keep is false and to is the name under which that is counted.
func (r Root) place(p string) (to string, keep bool) {
	first, rest, below := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	switch first {
	case "", "usr":
		return p, true
	case "etc":
		return "/usr" + p, true
	case "var":
		if r.FactoryVar {
			return "/usr/share/factory" + p, true
		}
		return p, true
	case "run", "tmp", "proc", "sys", "dev":
		if !below {
			return p, true
		}
		name, _, _ := strings.Cut(rest, "/")
		return name, false
	}
	if p == repoPath || strings.HasPrefix(p, repoPath+"/") || !r.Other {
		return first, false
	}
	return p, true
}

// beside returns the path of a file with a name in the directory of p.
func beside(p, name string) string { return path.Join(path.Dir(p), name) }
