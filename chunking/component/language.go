package component

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Limits on the metadata of language packages.
const (
	maxRecordFile = 32 << 20
	maxManifest   = 4 << 20
	maxGoBinary   = 64 << 20
	// smallPackage is the size in bytes below which the packages of a language share a component.
	smallPackage = 1 << 20
)

// languages claims unowned files that the package managers of programming languages installed. Packages come before
// single files, so a program in a package belongs to the package.
func (d *detection) languages(ctx context.Context, opts Options) error {
	for _, find := range []struct {
		claim func(ctx context.Context, i int, e rootfs.Entry) error
		owned bool // also look at files that have an owner: the package may have been updated in place
		links bool // also look at symlinks: the list of a package may be one
	}{
		{d.toolchain, false, false}, {d.condaPackage, false, true}, {d.pythonPackage, false, true},
		{d.rubyPackage, false, false}, {d.composerPackages, false, true}, {d.rPackage, false, true},
		{d.nodePackage, true, false}, {d.dotnetInstallation, false, false}, {d.dotnetProgram, false, true},
		{d.singleFile, false, false},
	} {
		for i, e := range d.entries.All() {
			if d.claims[i].Component >= 0 && !find.owned || !e.IsRegular() && !(find.links && e.IsSymlink()) {
				continue
			}
			// A malformed file is just another file of that name.
			err := find.claim(ctx, i, e)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, repo.ErrTooManySymlinks) {
				err = pkgdb.Broken("%s is a symlink that does not lead to a file", e.Path())
			}
			switch {
			case errors.Is(err, pkgdb.ErrBroken):
				err = d.listFault(err, opts)
			case errors.Is(err, pkgdb.ErrTooLarge):
				return d.fault(err, opts)
			}
			if err != nil && !errors.Is(err, errNotUnderstood) && !errors.Is(err, repo.ErrTooLarge) {
				return err
			}
			if err := d.walkedTooFar(); err != nil {
				return d.fault(err, opts)
			}
		}
	}
	return nil
}

// maxListFaults is the number of broken lists of language packages that cause a warning each.
const maxListFaults = 20

// listFault is [detection.fault] for a list of a language package. It ignores faults beyond maxListFaults.
func (d *detection) listFault(err error, opts Options) error {
	if d.listFaults++; d.listFaults > maxListFaults && !opts.Strict {
		return nil
	}
	return d.fault(err, opts)
}

// errNotUnderstood says that a file does not have the content that its name suggests. The file is not claimed.
var errNotUnderstood = errors.New("not understood")

// claimPath claims a file by its path. It follows symlinks in the parent directories.
func (d *detection) claimPath(p, id, detector, reason string) {
	if c, ok := d.x.Canonical(p); ok {
		if i, ok := d.x.Find(c); ok {
			d.claim(i, id, detector, reason)
		}
	}
}

// unownedBelow reports whether a directory has an unowned file below it.
func (d *detection) unownedBelow(dir string) bool {
	for i := range d.below(dir) {
		if d.claims[i].Component < 0 && !d.entries.At(i).IsDir() {
			return true
		}
	}
	return false
}

func (d *detection) claimBelow(dir, id, detector, reason string) {
	for i := range d.below(dir) {
		d.claim(i, id, detector, reason)
	}
}

// sizeBelow returns the size of all files below a directory.
func (d *detection) sizeBelow(dir string) (size int64) {
	for i := range d.below(dir) {
		size += d.entries.At(i).Size
	}
	return size
}

// toolchains are unpacked as a whole. A directory with all of these files is a toolchain.
var toolchains = []struct {
	files              []string // relative to the directory; the first one is searched for
	language, detector string
}{
	{[]string{"VERSION", "bin/go", "src/runtime/runtime.go"}, "go", "go"},
	{[]string{"release", "bin/java", "lib/modules"}, "java", "jar"},
	{[]string{"lib/rustlib/components", "bin/rustc"}, "rust", "rust"},
}

// toolchain claims a toolchain that was unpacked into its own directory.
func (d *detection) toolchain(_ context.Context, _ int, e rootfs.Entry) error {
	for _, t := range toolchains {
		if e.Name != path.Base(t.files[0]) {
			continue
		}
		home, ok := strings.CutSuffix(e.Path(), "/"+t.files[0])
		if !ok || home == "" || home == "/usr" || home == "/usr/local" {
			continue
		}
		all := !slices.ContainsFunc(t.files[1:], func(name string) bool {
			_, found := d.x.Find(home + "/" + name)
			return !found
		})
		if id, ok := languageID(t.language, pathID(path.Base(home))); ok && all {
			d.claimBelow(home, id, t.detector, "tools in "+home)
		}
	}
	return nil
}

// languageID returns the ID of a language package. It reports whether the name is valid in an ID.
func languageID(language, name string) (string, bool) {
	return language + "/" + name, validName(name)
}

// gemName splits the full name of a gem: the name, the version and, if the gem has compiled parts, the platform.
var gemName = regexp.MustCompile(`^(.+?)-([0-9]+(?:\.[0-9A-Za-z]+)*)(?:-[A-Za-z][0-9A-Za-z_.-]*)?$`)

// rubyPackage claims a Ruby package by its specification.
func (d *detection) rubyPackage(_ context.Context, i int, e rootfs.Entry) error {
	full, ok := strings.CutSuffix(e.Name, ".gemspec")
	home, ok2 := strings.CutSuffix(e.Dir, "/specifications")
	if !ok || !ok2 {
		return nil
	}
	name := full
	if m := gemName.FindStringSubmatch(full); m != nil {
		name = m[1]
	}
	id, ok := languageID("gem", name)
	if !ok {
		return errNotUnderstood
	}
	reason := "Ruby gem " + name
	d.claim(i, id, "ruby", reason)
	d.claimPath(home+"/cache/"+full+".gem", id, "ruby", reason)
	for _, sub := range []string{"gems", "doc", "build_info"} {
		d.claimBelow(path.Join(home, sub, full), id, "ruby", reason)
	}
	d.claimPath(home+"/build_info/"+full+".info", id, "ruby", reason)
	// extensions/PLATFORM/ABI/NAME
	for _, platform := range d.directories(home + "/extensions") {
		for _, abi := range d.directories(platform) {
			d.claimBelow(abi+"/"+full, id, "ruby", reason)
		}
	}
	return nil
}

// maxDirectories bounds the directories that are searched for each package.
const maxDirectories = 16

// directories returns the subdirectories of a directory, without walking them.
func (d *detection) directories(dir string) (list []string) {
	prefix := dir + "/"
	for next := prefix; len(list) < maxDirectories; {
		i, _ := d.x.Find(next)
		if i >= d.entries.Len() {
			break
		}
		e := d.entries.At(i)
		p := e.Path()
		if !strings.HasPrefix(p, prefix) {
			break
		}
		child, _, nested := strings.Cut(p[len(prefix):], "/")
		if nested {
			next = prefix + child + string(rune('/'+1)) // skip everything below it
			continue
		}
		if e.IsDir() {
			list = append(list, p)
		}
		next = p + "\x00"
	}
	return list
}

// nodeStores are directories of node_modules where package managers keep each package once, with symlinks to it from
// the places that use it. A package is at STORE/NAME@VERSION/node_modules/NAME.
var nodeStores = []string{".pnpm", ".store"}

// nodePackage claims a package at the top of a tree of node_modules, with the packages inside it. Small packages share
// a component.
func (d *detection) nodePackage(ctx context.Context, _ int, e rootfs.Entry) error {
	before, rest, ok := strings.Cut(e.Dir, "/node_modules/")
	if !ok || e.Name != "package.json" {
		return nil
	}
	parts := strings.Split(rest, "/")
	if len(parts) > 3 && slices.Contains(nodeStores, parts[0]) && parts[2] == "node_modules" {
		before, parts = before+"/node_modules/"+strings.Join(parts[:2], "/"), parts[3:]
	}
	depth := 1
	if strings.HasPrefix(parts[0], "@") {
		depth = 2
	}
	if len(parts) != depth {
		return errNotUnderstood // inside another package
	}
	name := strings.Join(parts, "/")
	home := before + "/node_modules/" + name
	if !d.unownedBelow(home) {
		return nil
	}
	data, err := d.x.ReadFile(ctx, e.Path(), maxManifest)
	if err != nil {
		return err
	}
	if err := d.listed(len(data)); err != nil {
		return err
	}
	if !json.Valid(data) {
		return errNotUnderstood
	}
	reason := "Node package " + name
	if d.sizeBelow(home) < smallPackage {
		name = "small"
	}
	id, ok := languageID("node", name)
	if !ok {
		return errNotUnderstood
	}
	d.claimBelow(home, id, "node", reason)
	return nil
}

// singleFile claims archives and programs that identify themselves.
func (d *detection) singleFile(ctx context.Context, i int, e rootfs.Entry) error {
	switch {
	case strings.HasSuffix(e.Name, ".jar"), strings.HasSuffix(e.Name, ".war"):
		d.jar(i, e)
	case e.Mode&0o111 != 0 && e.Size >= smallPackage && e.Size <= maxGoBinary:
		return d.goBinary(ctx, i, e.Size)
	}
	return nil
}

// jar claims a Java archive by the name of its artifact. Small archives share a component.
func (d *detection) jar(i int, e rootfs.Entry) {
	name := pathID(strings.TrimSuffix(e.Name, path.Ext(e.Name)))
	if e.Size < smallPackage {
		name = "small"
	}
	if id, ok := languageID("java", name); ok {
		d.claim(i, id, "jar", "Java archive "+e.Name)
	}
}

// goBinary claims a program by the path of its Go module.
func (d *detection) goBinary(ctx context.Context, i int, size int64) error {
	r, err := d.tree.Open(ctx, i)
	if err != nil {
		return err
	}
	defer r.Close()
	var magic [4]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil || string(magic[:]) != "\x7fELF" {
		return err
	}
	// Content that supports random access need not be read as a whole.
	at, ok := r.(io.ReaderAt)
	if !ok {
		data := make([]byte, size)
		copy(data, magic[:])
		if _, err := io.ReadFull(r, data[len(magic):]); err != nil {
			return err
		}
		at = bytes.NewReader(data)
	}
	program, err := goProgram(at)
	if err != nil {
		return err
	}
	if id, ok := languageID("go", program); ok {
		d.claim(i, id, "go", "Go program "+program)
	}
	return nil
}

// unnamedProgram is the path of a program that was built from files instead of a package.
const unnamedProgram = "command-line-arguments"

// goProgram returns the path of the package that a program was built from.
func goProgram(r io.ReaderAt) (program string, err error) {
	// The parsers of object files in the standard library are not meant for hostile input and may panic.
	defer func() {
		if recover() != nil {
			err = errNotUnderstood
		}
	}()
	info, err := buildinfo.Read(r)
	if err != nil || info.Path == "" || info.Path == unnamedProgram {
		return "", errNotUnderstood
	}
	return info.Path, nil
}
