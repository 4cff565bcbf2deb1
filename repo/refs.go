package repo

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

const (
	refsHeads   = "refs/heads"
	refsRemotes = "refs/remotes"
	refsMirrors = "refs/mirrors"
	// maxRefFile bounds the file of a ref, which holds 64 digits and a newline, in bytes.
	maxRefFile = 256
	// maxRefPart bounds each part of a ref's name, which is a file name, in bytes.
	maxRefPart = 255
	// maxRefLength bounds the whole name, in bytes.
	maxRefLength = 2048
	// maxRefDepth bounds the depth to which directories of refs are searched.
	maxRefDepth = 256
)

// Ref is a commit with a name.
type Ref struct {
	// Name is "name" for local refs and "remote:name" for those of remotes.
	Name   string
	Commit object.Checksum
	// Alias is the name of the ref that this one is a symlink to, or empty.
	Alias string
	// Collection is set for a ref that is mirrored from another collection. [Repo.ResolveRev] does not find such refs.
	Collection string
}

// ValidateRef checks the name of a ref without a remote: parts joined by "/", each made of letters, digits, "_", "-"
// and ".", none beginning with "-" or ".". Errors wrap [ErrInvalidRef].
func ValidateRef(name string) error {
	if len(name) > maxRefLength || !utf8.ValidString(name) {
		return fmt.Errorf("%w name %.80q", ErrInvalidRef, name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if !validRefPart(part) {
			return fmt.Errorf("%w name %.80q", ErrInvalidRef, name)
		}
	}
	return nil
}

func validRefPart(part string) bool {
	if part == "" || len(part) > maxRefPart {
		return false
	}
	for i, c := range part {
		word := c == '_' || unicode.IsLetter(c) || unicode.IsNumber(c)
		if !word && (i == 0 || c != '-' && c != '.') {
			return false
		}
	}
	return true
}

// ParseRefspec splits "remote:ref" or "ref" and checks both parts. remote is empty for a local ref. Errors wrap
// [ErrInvalidRef].
func ParseRefspec(s string) (remote, ref string, err error) {
	remote, ref, found := strings.Cut(s, ":")
	if !found {
		remote, ref = "", s
	} else if !validRefPart(remote) {
		return "", "", fmt.Errorf("%w: refspec %.80q", ErrInvalidRef, s)
	}
	if err := ValidateRef(ref); err != nil {
		return "", "", err
	}
	return remote, ref, nil
}

// parseRefPath returns the file of a ref that is to be written.
func parseRefPath(refspec string) (string, error) {
	remote, ref, err := ParseRefspec(refspec)
	if err != nil {
		return "", err
	}
	if _, err := object.ParseChecksum(ref); err == nil {
		return "", fmt.Errorf("%w: rev name '%s' looks like a checksum", ErrInvalidRef, ref)
	}
	return refFile(remote, ref), nil
}

func refFile(remote, ref string) string {
	if remote == "" {
		return path.Join(refsHeads, ref)
	}
	return path.Join(refsRemotes, remote, ref)
}

// readRef reads the file of a ref. It follows aliases that stay below refs/. ok is false if there is no such ref.
func (r *Repo) readRef(file string) (c object.Checksum, ok bool, err error) {
	refs, err := r.root.OpenRoot("refs")
	if err != nil {
		return object.Checksum{}, false, ignoreMissing(err)
	}
	defer refs.Close()
	name := strings.TrimPrefix(file, "refs/")
	if info, err := refs.Stat(name); err != nil {
		return object.Checksum{}, false, ignoreNoRef(err)
	} else if info.IsDir() {
		return object.Checksum{}, false, nil
	}
	data, err := readSmallFile(refs, name, maxRefFile)
	if err != nil {
		if err := ignoreNoRef(err); err != nil {
			return object.Checksum{}, false, fmt.Errorf("ref %s: %w", file, err)
		}
		return object.Checksum{}, false, nil
	}
	c, err = object.ParseChecksum(strings.TrimRight(string(data), " \t\r\n\v\f"))
	if err != nil {
		return object.Checksum{}, false, fmt.Errorf("ref %s: %w", file, err)
	}
	return c, true, nil
}

// ignoreNoRef drops errors that say that a path does not exist, or that a part of it is a file.
func ignoreNoRef(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return nil
	}
	return err
}

// Refs returns the refs of the repository itself, sorted by name. A prefix, "name" or "remote:name", selects the ref of
// that name and those below it; "remote:" selects all refs of a remote. Only an empty prefix includes the refs that are
// mirrored from other collections.
func (r *Repo) Refs(prefix string) ([]Ref, error) {
	l := refLister{repo: r}
	if err := l.list(prefix); err != nil {
		return nil, err
	}
	slices.SortFunc(l.refs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Collection, b.Collection))
	})
	return l.refs, nil
}

// refLister collects the refs below directories.
type refLister struct {
	repo *Repo
	refs []Ref
}

func (l *refLister) list(prefix string) error {
	remote, ref, hasRemote := strings.Cut(prefix, ":")
	switch {
	case prefix == "":
		if err := l.below(refsHeads, "", "", 0); err != nil {
			return err
		}
		if err := l.eachDir(refsRemotes, func(name string) error {
			return l.below(path.Join(refsRemotes, name), name+":", "", 0)
		}); err != nil {
			return err
		}
		return l.eachDir(refsMirrors, func(name string) error {
			return l.below(path.Join(refsMirrors, name), "", name, 0)
		})
	case !hasRemote:
		if err := ValidateRef(prefix); err != nil {
			return err
		}
		return l.entry(path.Join(refsHeads, prefix), prefix, "", 0)
	case !validRefPart(remote):
		return fmt.Errorf("%w: refspec %.80q", ErrInvalidRef, prefix)
	case ref == "":
		return l.below(path.Join(refsRemotes, remote), remote+":", "", 0)
	default:
		if err := ValidateRef(ref); err != nil {
			return err
		}
		return l.entry(path.Join(refsRemotes, remote, ref), prefix, "", 0)
	}
}

// eachDir calls visit with each name in a directory. A missing directory counts as empty.
func (l *refLister) eachDir(dir string, visit func(name string) error) error {
	f, err := l.repo.root.Open(dir)
	if err != nil {
		return ignoreNoRef(err)
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if !validRefPart(name) {
			continue
		}
		if err := visit(name); err != nil {
			return err
		}
	}
	return nil
}

// below lists a directory. Names are appended to base, which ends with ":" or "/" unless it is empty.
func (l *refLister) below(dir, base, collection string, depth int) error {
	if depth > maxRefDepth {
		return fmt.Errorf("%s: more than %d directories deep", dir, maxRefDepth)
	}
	return l.eachDir(dir, func(name string) error {
		return l.entry(path.Join(dir, name), base+name, collection, depth)
	})
}

// entry lists one file or directory of refs. Directories that are symlinks are left out.
func (l *refLister) entry(file, name, collection string, depth int) error {
	info, err := l.repo.root.Lstat(file)
	if err != nil {
		return ignoreNoRef(err)
	}
	if info.IsDir() {
		return l.below(file, name+"/", collection, depth+1)
	}
	ref := Ref{Name: name, Collection: collection}
	if info.Mode()&os.ModeSymlink != 0 {
		if ref.Alias, err = l.repo.aliasTarget(file); err != nil {
			return err
		}
	} else if !info.Mode().IsRegular() {
		return nil
	}
	var ok bool
	if ref.Commit, ok, err = l.repo.readRef(file); err != nil || !ok {
		return err
	}
	l.refs = append(l.refs, ref)
	return nil
}

// aliasTarget returns the name of the ref that a symlink points to.
func (r *Repo) aliasTarget(file string) (string, error) {
	target, err := r.root.Readlink(file)
	if err != nil {
		return "", ignoreMissing(err)
	}
	full := path.Join(path.Dir(file), target)
	if ref, ok := strings.CutPrefix(full, refsHeads+"/"); ok {
		return ref, nil
	}
	if ref, ok := strings.CutPrefix(full, refsRemotes+"/"); ok {
		return strings.Replace(ref, "/", ":", 1), nil
	}
	return "", fmt.Errorf("ref %s: its symlink %.80q leads out of the refs", file, target)
}
