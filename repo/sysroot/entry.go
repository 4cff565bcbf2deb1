package sysroot

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Limits of what is read below boot/loader. A host has two or three entries of a few hundred bytes.
const (
	maxEntries   = 1000
	maxEntrySize = 64 << 10
)

// entry is a boot loader entry: a file of lines with a key and a value.
type entry struct {
	name string // of the file
	keys map[string]string
	// overlays are the initrd lines after the first.
	overlays []string
}

// entries returns the boot loader entries of libostree, the default first.
func (s *Sysroot) entries() ([]*entry, error) {
	target, err := s.root.Readlink("boot/loader")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		target = "loader.0"
	case err != nil:
		return nil, fmt.Errorf("reading the link boot/loader: %w", err)
	case target != "loader.0" && target != "loader.1":
		return nil, fmt.Errorf("%w: boot/loader points to %q", ErrInvalid, target)
	}
	dir := path.Join("boot", target, "entries")
	names, err := s.list(dir, maxEntries)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []*entry
	for _, name := range names {
		if !strings.HasPrefix(name, "ostree-") || !strings.HasSuffix(name, ".conf") {
			continue
		}
		file := path.Join(dir, name)
		if info, err := s.root.Stat(file); err != nil {
			return nil, err
		} else if !info.Mode().IsRegular() {
			continue
		}
		data, err := s.read(file, maxEntrySize)
		if err != nil {
			return nil, err
		}
		e := parseEntry(data)
		e.name = file
		list = append(list, e)
	}
	slices.SortStableFunc(list, func(a, b *entry) int {
		return cmp.Or(compareEntries(a, b), cmp.Compare(a.name, b.name))
	})
	return list, nil
}

// list returns the names in a directory of the sysroot. More than limit are an error.
func (s *Sysroot) list(dir string, limit int) ([]string, error) {
	f, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(limit + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the directory %s: %w", dir, err)
	}
	if len(names) > limit {
		return nil, fmt.Errorf("%w: %s has more than %d files", ErrInvalid, dir, limit)
	}
	return names, nil
}

// parseEntry parses a boot loader entry as libostree does: lines that are not a key and a value are skipped, and of a
// key that is repeated the last line counts, except for initrd.
func parseEntry(data []byte) *entry {
	e := &entry{keys: map[string]string{}}
	for line := range strings.SplitSeq(string(data), "\n") {
		if line == "" || !isLetter(line[0]) {
			continue
		}
		i := strings.IndexAny(line, " \t")
		if i < 0 {
			continue
		}
		key, value := line[:i], line[i+1:]
		if _, repeated := e.keys[key]; repeated && key == "initrd" {
			e.overlays = append(e.overlays, value)
			continue
		}
		e.keys[key] = value
	}
	return e
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// kernelArgs returns the kernel arguments.
func (e *entry) kernelArgs() []string {
	return strings.FieldsFunc(e.keys["options"], func(r rune) bool { return r == ' ' })
}

// bootLink returns the value of the kernel argument ostree=.
func (e *entry) bootLink() (string, bool) {
	for _, arg := range e.kernelArgs() {
		if link, ok := strings.CutPrefix(arg, ostreeArg); ok {
			return link, true
		}
	}
	return "", false
}

// ostreeArg is the beginning of the kernel argument that names the deployment.
const ostreeArg = "ostree="

// bootFile returns the value of a key that names a file of the boot filesystem. A path that leads out is an error.
func (e *entry) bootFile(key string) (string, error) {
	name := e.keys[key]
	if name != "" && !filepath.IsLocal(strings.TrimLeft(name, "/")) {
		return "", fmt.Errorf("%w: %s: %s is %q, outside the boot filesystem", ErrInvalid, e.name, key, name)
	}
	return name, nil
}

// compareEntries sorts entries with a higher version first, and those without one last.
func compareEntries(a, b *entry) int {
	va, okA := a.keys["version"]
	vb, okB := b.keys["version"]
	switch {
	case okA && okB:
		return compareVersions(vb, va)
	case okA:
		return -1
	case okB:
		return 1
	}
	return 0
}

// compareVersions compares as strverscmp of the C library does, which libostree uses: by bytes, but runs of digits by
// their number. A run that begins with a zero is a fraction, so "01" is less than "010" and "010" is less than "09".
func compareVersions(l, r string) int {
	at := func(s string, i int) byte {
		if i < len(s) {
			return s[i]
		}
		return 0
	}
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	nonzero := func(c byte) bool { return '1' <= c && c <= '9' }
	// run is where the digits begin that end the common prefix.
	i, run, zeros := 0, 0, true
	for ; at(l, i) == at(r, i); i++ {
		if i >= len(l) && i >= len(r) {
			return 0
		}
		if c := at(l, i); !digit(c) {
			run, zeros = i+1, true
		} else if c != '0' {
			zeros = false
		}
	}
	if nonzero(at(l, run)) && nonzero(at(r, run)) {
		// The longer number is greater.
		j := i
		for ; digit(at(l, j)); j++ {
			if !digit(at(r, j)) {
				return 1
			}
		}
		if digit(at(r, j)) {
			return -1
		}
	} else if zeros && run < i && (digit(at(l, i)) || digit(at(r, i))) {
		// After zeros, digits come before everything else.
		return cmp.Compare(at(l, i)-'0', at(r, i)-'0')
	}
	return cmp.Compare(at(l, i), at(r, i))
}
