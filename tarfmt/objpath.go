package tarfmt

import (
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// objectKind is the kind of an object, by the extension of its file.
type objectKind string

const (
	kindFile       objectKind = "file"
	kindCommit     objectKind = "commit"
	kindCommitMeta objectKind = "commitmeta"
	kindDirTree    objectKind = "dirtree"
	kindDirMeta    objectKind = "dirmeta"
	// Xattr bodies and references to them, in version 1.
	kindXattrs     objectKind = "file-xattrs"
	kindXattrsLink objectKind = "file-xattrs-link"
	// References to xattr bodies in version 0, which has the bodies outside objects/.
	kindXattrsV0 objectKind = "xattrs"
)

// name returns the kind as upstream's messages have it.
func (k objectKind) name() string {
	switch k {
	case kindFile:
		return "File"
	case kindCommit:
		return "Commit"
	case kindCommitMeta:
		return "CommitMeta"
	case kindDirTree:
		return "DirTree"
	case kindDirMeta:
		return "DirMeta"
	}
	return string(k)
}

// repoPath returns the part of an entry's path after sysroot/ostree/repo/. Paths are compared by components. A path
// with a leading "./" or "/" does not match, and its entry is ignored.
func repoPath(name string) (rest string, ok bool) {
	const prefix = "sysroot/ostree/repo/"
	if rest, ok = strings.CutPrefix(name, prefix); ok {
		return rest, trimSlashes(rest) != ""
	}
	for want := range strings.SplitSeq(prefix[:len(prefix)-1], "/") {
		var got string
		got, name, _ = strings.Cut(name, "/")
		if got != want {
			return "", false
		}
		name = trimSlashes(name)
	}
	return name, name != ""
}

// trimSlashes removes leading slashes and "." components.
func trimSlashes(s string) string {
	for {
		switch {
		case s == ".":
			return ""
		case strings.HasPrefix(s, "/"):
			s = s[1:]
		case strings.HasPrefix(s, "./"):
			s = s[2:]
		default:
			return s
		}
	}
}

// lastComponents returns the last component of a path and the one before it; either may be empty.
func lastComponents(p string) (parent, name string) {
	p = trimTrailing(p)
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	name = p[i+1:]
	p = trimTrailing(p[:i])
	return p[strings.LastIndexByte(p, '/')+1:], name
}

func trimTrailing(s string) string {
	for {
		switch {
		case strings.HasSuffix(s, "/"):
			s = s[:len(s)-1]
		case strings.HasSuffix(s, "/."):
			s = s[:len(s)-2]
		default:
			return s
		}
	}
}

// parseObjectPath parses the checksum and kind from the last two components of an object's path.
func parseObjectPath(p string) (object.Checksum, objectKind, error) {
	parent, name := lastComponents(p)
	if len(parent) != 2 || !isASCII(parent) {
		return object.Checksum{}, "", invalidf("Invalid checksum parent %s", shown(parent))
	}
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || name == ".." {
		return object.Checksum{}, "", invalidf("Invalid objpath %s", shown(p))
	}
	c, err := parseShardedChecksum(parent, name[:dot])
	return c, objectKind(name[dot+1:]), err
}

// parseLinkTarget parses the checksum from the target of a link to an xattr body. Only the last two components count,
// without the extension.
func parseLinkTarget(target string) (object.Checksum, error) {
	c, _, err := parseObjectPath(target)
	return c, err
}

func parseShardedChecksum(parent, stem string) (object.Checksum, error) {
	for strings.HasSuffix(stem, ".file") {
		stem = strings.TrimSuffix(stem, ".file")
	}
	if len(stem) != 62 || !isASCII(stem) {
		return object.Checksum{}, invalidf("Invalid checksum part %s", shown(stem))
	}
	return parseChecksum(parent + stem)
}

func parseChecksum(s string) (object.Checksum, error) {
	c, err := object.ParseChecksum(s)
	switch {
	case err != nil && len(s) != 64:
		return c, invalidf("Invalid sha256 checksum (len) %s", shown(s))
	case err != nil:
		return c, invalidf("Invalid sha256 checksum %s", shown(s))
	}
	return c, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// shown shortens and escapes text from a stream for a message.
func shown(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '�'
		}
		return r
	}, s)
}

// mapEtc converts a path in a commit, relative to the root and without "./", to the path in a layer.
func mapEtc(p string) string {
	if p == "usr/etc" || strings.HasPrefix(p, "usr/etc/") {
		return p[len("usr/"):]
	}
	return p
}
