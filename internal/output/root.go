package output

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// WriteFileIn writes a small file below a directory that the name does not leave, whatever symbolic links are there. An
// existing file is replaced in one step, and keeps its permissions. If the name is a symbolic link, the link is
// replaced. The name has forward slashes.
func WriteFileIn(root *os.Root, name string, data []byte) (err error) {
	mode := fs.FileMode(0)
	switch fi, err := root.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case fi.IsDir():
		return &fs.PathError{Op: "write", Path: name, Err: unix.EISDIR}
	case fi.Mode().IsRegular():
		mode = fi.Mode().Perm()
	}
	f, temp, err := tempIn(root, path.Dir(name))
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil && mode != 0 {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		err = errors.Join(err, root.Remove(temp))
	}
	return errors.Join(err, f.Close())
}

// tempIn makes a new file that is locked, as [Temp] does.
func tempIn(root *os.Root, dir string) (*os.File, string, error) {
	for range 100 {
		name := path.Join(dir, prefix+strconv.FormatUint(rand.Uint64(), 36))
		f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		err = lock(f)
		if fi, gone := root.Lstat(name); !errors.Is(err, unix.EWOULDBLOCK) && gone == nil {
			if open, err := f.Stat(); err == nil && os.SameFile(fi, open) {
				return f, name, nil
			}
		}
		if err := f.Close(); err != nil { // a sweep removed it before it was locked
			return nil, "", err
		}
	}
	return nil, "", errTaken
}
