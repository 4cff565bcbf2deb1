// Package guarded tells whether others could change a file that decides what is trusted: a policy, a rule, a key. Such
// a file must belong to root or to the user of the process, and so must every directory on the way to it. Others may
// not write to them:
//
//   - Neither everybody nor a group may. The group 0, and the one with the number of the owner, which is the owner's
//     alone on most systems, may.
//   - A directory with the sticky bit, such as /tmp, may be open to everybody, since nobody can replace files of others
//     there. Then what is in it has to belong to root or the user.
//   - Of a symbolic link, the directories on both ways count, and what it leads to.
//
// Access control lists that let others write show in the bits of the group, and are refused like them.
package guarded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ErrOpen is wrapped by errors about files that others could change. See [*OpenError].
var ErrOpen = errors.New("others could change it")

// OpenError is the error for a file that others could change. It wraps [ErrOpen].
type OpenError struct {
	// File is what was asked about, and Path what is open: the file itself, or a directory on the way to it.
	File, Path string
	// Mode is that of Path.
	Mode fs.FileMode
	// Who could change it, and Mend is the command that mends it. It is empty for a directory of another user, which is
	// not mended by giving it to somebody else.
	Who, Mend string
}

// Error implements error.
func (e *OpenError) Error() string {
	what := e.File
	if e.Path != e.File {
		what += ", which is below " + e.Path + ","
	}
	mend := fmt.Sprintf("run %q", e.Mend)
	if e.Mend == "" {
		mend = "keep it in a directory that belongs to root or to you"
	}
	return fmt.Sprintf("%s decides what is trusted, and %v: %s can (mode %04o): %s", what, ErrOpen, e.Who,
		octal(e.Mode), mend)
}

// Unwrap returns [ErrOpen].
func (e *OpenError) Unwrap() error { return ErrOpen }

// octal returns a mode as chmod takes it.
func octal(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

// A Circle is who may change files: root, the user of the process, and others.
type Circle struct {
	others []uint32
}

// Ours is the circle of root and the user of the process.
func Ours() Circle { return Circle{} }

// Named returns the circle for a file that the user named, and for files that are named in it. Who names a file trusts
// its owner and those of the directories that it is in: it may be in a directory of another user, for instance that of
// a job, in which root runs. What is in a directory that is open to everybody has to belong to root or the user, since
// anybody may have put it there. The error is that of [Circle.Check] for the file.
func Named(file string) (Circle, error) {
	w := &walk{file: file, named: true}
	err := w.run()
	return w.circle, err
}

// Check returns an error if somebody outside of the circle could change the file or the directory at a path. It is an
// [*OpenError], or one of the file system. If there is nothing at the path, the error wraps [fs.ErrNotExist]; then only
// directories that everybody or a group may write to are an [*OpenError], from which others could have removed a file.
// In a directory of another user, there was none that counts.
func (c Circle) Check(path string) error {
	w := &walk{file: path, circle: c}
	return w.run()
}

// maxLinks is how many symbolic links a path may have, as in Linux.
const maxLinks = 40

// walk follows a path as the system does.
type walk struct {
	file   string
	circle Circle
	// whole is the absolute path of file.
	whole string
	// named adds owners to the circle instead of comparing them.
	named bool
	// foreign is about the first file on the way that belongs to somebody else, or nil.
	foreign error
	// open is the directory above, if everybody may put files into it, else empty.
	open string
}

func (w *walk) run() error {
	whole, err := filepath.Abs(w.file)
	if err != nil {
		return err
	}
	w.whole = whole
	at, rest := "/", parts(whole)
	if err := w.check(at); err != nil {
		return err
	}
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		fi, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if fi.Mode().Type() != fs.ModeSymlink {
			if at = next; len(rest) > 0 && !fi.IsDir() {
				return &fs.PathError{Op: "open", Path: next, Err: syscall.ENOTDIR}
			}
			if err := w.check(at); err != nil {
				return err
			}
			continue
		}
		if links++; links > maxLinks {
			return &fs.PathError{Op: "open", Path: w.file, Err: syscall.ELOOP}
		}
		if filepath.Base(at) == "fd" && strings.HasPrefix(at, "/proc/") {
			return nil // a file that whoever started the process opened
		}
		if w.open != "" {
			w.checkOwner(next, fi)
		}
		target, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(at, target)
		}
		// The directories of the target are all checked, and those of the link were.
		at, rest, w.open = "/", append(parts(target), rest...), ""
	}
	return w.foreign
}

// parts returns the names in an absolute path.
func parts(path string) []string {
	return slices.DeleteFunc(strings.Split(filepath.Clean(path), "/"), func(s string) bool { return s == "" })
}

// check checks one step of the path, which is not a symbolic link.
func (w *walk) check(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	w.checkOwner(path, fi)
	who, mend := writers(fi)
	w.open = ""
	switch {
	case who == "":
		return nil
	case fi.IsDir() && fi.Mode()&fs.ModeSticky != 0:
		w.open = path
		return nil
	}
	return w.refuse(path, fi, who, "chmod "+mend)
}

// checkOwner notes whether a file belongs to somebody outside of the circle, or adds its owner to it.
func (w *walk) checkOwner(path string, fi fs.FileInfo) {
	uid, _ := ids(fi)
	own := uint32(os.Geteuid()) //nolint:gosec // it is one
	switch {
	case uid == 0 || uid == own || isUnknown(uid):
		return
	case w.open == "" && w.named:
		w.circle.others = append(w.circle.others, uid)
		return
	case w.open == "" && slices.Contains(w.circle.others, uid), w.foreign != nil:
		return
	}
	command := fmt.Sprintf("chown %d", own)
	if fi.IsDir() {
		command = ""
	}
	w.foreign = w.refuse(path, fi, fmt.Sprintf("the user %d, to whom it belongs,", uid), command)
}

// refuse returns the error for a file that somebody could change, which a command mends.
func (w *walk) refuse(path string, fi fs.FileInfo, who, command string) error {
	if path == w.whole {
		path = w.file // as the user knows it
	}
	if command != "" {
		command += " " + path
	}
	return &OpenError{File: w.file, Path: path, Mode: fi.Mode(), Who: who, Mend: command}
}

// writers says who else than the owner may write to a file, and which mode of chmod mends it.
func writers(fi fs.FileInfo) (who, mend string) {
	uid, gid := ids(fi)
	group := fi.Mode()&0o020 != 0 && gid != 0 && gid != uid
	switch everybody := fi.Mode()&0o002 != 0; {
	case everybody && group:
		return "everybody", "go-w"
	case everybody:
		return "everybody", "o-w"
	case group:
		return fmt.Sprintf("the group %d", gid), "g-w"
	}
	return "", ""
}

// ids returns who owns a file.
func ids(fi fs.FileInfo) (uid, gid uint32) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return st.Uid, st.Gid
}
