package chunk

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// places are the usual directories of repositories, relative to the input.
var places = []string{".", "repo", "ostree/repo", "sysroot/ostree/repo"}

// findRepo finds the directory of the repository below the input. Symbolic links are resolved as on the system that the
// input is the root of.
func findRepo(in, given string) (string, error) {
	looked := places
	if given != "" {
		looked = []string{strings.TrimPrefix(given, "/")}
	}
	root, err := os.OpenRoot(in)
	if err != nil {
		return "", err
	}
	defer root.Close()
	var wrong []string
	for _, place := range looked {
		at, err := resolve(root, place)
		if err == nil {
			err = checkRepo(root, at)
		}
		if err == nil {
			return filepath.Join(in, at), nil
		}
		// A place that cannot be read does not hide a repository in another one.
		if !errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, fmt.Sprintf("%s: %v", place, err))
		}
	}
	where := strings.Join(append([]string{strings.Join(looked, ", ")}, wrong...), "; ")
	return "", fmt.Errorf("there is no OSTree repository (looked at %s): name its directory with the option repo", where)
}

// findCommit returns an error if a root filesystem does not hold a commit, as images with a commit do.
func findCommit(in, name string) error {
	commit, err := object.ParseChecksum(name)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(in)
	if err != nil {
		return err
	}
	defer root.Close()
	at, err := resolve(root, fmt.Sprintf("sysroot/ostree/repo/objects/%s/%s.commit", name[:2], name[2:]))
	if err != nil {
		return err
	}
	if fi, err := root.Lstat(at); err != nil {
		return err
	} else if !fi.Mode().IsRegular() {
		return fmt.Errorf("/%s is not a file", at)
	}
	f, err := root.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(f, object.MaxMetadataSize)); err != nil {
		return err
	}
	if commit != object.Checksum(sum.Sum(nil)) {
		return fmt.Errorf("/%s has other content", at)
	}
	return nil
}

// checkRepo returns an error if a directory is not a repository. Links in it must not leave it.
func checkRepo(root *os.Root, at string) error {
	fi, err := root.Lstat(at)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return errors.New("this is not a directory")
	}
	dir, err := root.OpenRoot(at)
	if err != nil {
		return err
	}
	defer dir.Close()
	if fi, err = dir.Stat("objects"); err != nil {
		return err
	}
	if !fi.IsDir() {
		return errors.New("objects is not a directory")
	}
	return nil
}

// maxLinks is how many symbolic links a path may have, as in Linux.
const maxLinks = 40

// resolve returns the path without symbolic links that a path leads to. The root is that of absolute paths, too, and
// ".." does not leave it.
func resolve(root *os.Root, name string) (string, error) {
	at, rest := ".", strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at) // of ".", that is "."
			continue
		}
		next := path.Join(at, part)
		fi, err := root.Lstat(next)
		if err != nil {
			return "", err
		}
		if fi.Mode().Type() != fs.ModeSymlink {
			if !fi.IsDir() && len(rest) > 0 {
				return "", fmt.Errorf("/%s is not a directory", next)
			}
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("there are more than %d symbolic links, the last one at /%s", maxLinks, next)
		}
		target, err := root.Readlink(next)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			at = "."
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}
