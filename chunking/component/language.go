package component

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Limits on what is read of language packages.
const (
	maxRecordFile = 32 << 20
	maxManifest   = 4 << 20
	maxGoBinary   = 64 << 20
	// smallPackage is the size in bytes below which the packages of a language share a component.
	smallPackage = 1 << 20
)

// languages claims what the package managers of programming languages installed and no package of the system owns.
func (d *detection) languages(ctx context.Context, opts Options) error {
	for i := range d.entries {
		e := &d.entries[i]
		if d.claims[i].Component >= 0 || e.IsDir() {
			continue
		}
		var err error
		switch dir, base := path.Split(e.Path); {
		case base == "RECORD" && strings.HasSuffix(dir, ".dist-info/"):
			err = d.pythonRecord(ctx, e.Path)
		case base == "installed-files.txt" && strings.HasSuffix(dir, ".egg-info/"):
			err = d.pythonEgg(ctx, e.Path)
		case strings.HasSuffix(base, ".gemspec") && strings.HasSuffix(dir, "/specifications/"):
			d.gem(e.Path)
		case base == "package.json" && strings.Contains(dir, "/node_modules/"):
			err = d.nodePackage(ctx, e.Path)
		case strings.HasSuffix(base, ".jar"), strings.HasSuffix(base, ".war"):
			d.jar(i)
		case e.IsRegular() && e.Mode&0o111 != 0 && e.Size >= smallPackage && e.Size <= maxGoBinary:
			err = d.goBinary(ctx, i)
		}
		// What cannot be understood is somebody's own file of that name.
		if err != nil && !errors.Is(err, errNotUnderstood) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, rootfs.ErrTooLarge) {
			return err
		}
	}
	return nil
}

var errNotUnderstood = errors.New("not understood")

// claimPath claims a file by its path, with symlinks above it followed.
func (d *detection) claimPath(p, id, detector, reason string) {
	if c, ok := d.x.Canonical(p); ok {
		if i, ok := d.x.Find(c); ok {
			d.claim(i, id, detector, reason)
		}
	}
}

func (d *detection) claimBelow(dir, id, detector, reason string) {
	for i := range d.x.Below(dir) {
		d.claim(i, id, detector, reason)
	}
}

// sizeBelow is the size of all files below a directory.
func (d *detection) sizeBelow(dir string) (size int64) {
	for i := range d.x.Below(dir) {
		size += d.entries[i].Size
	}
	return size
}

// separators are alike in names of Python packages (PEP 503).
var separators = regexp.MustCompile(`[-_.]+`)

// languageID is the ID of a language package, or none for a name that cannot be one.
func languageID(language, name string) (string, bool) {
	return language + "/" + name, validName(name)
}

func pythonID(dir, suffix string) (id, name string, ok bool) {
	name, _, _ = strings.Cut(strings.TrimSuffix(path.Base(dir), suffix), "-")
	name = strings.ToLower(separators.ReplaceAllString(name, "-"))
	id, ok = languageID("python", name)
	return id, name, ok
}

// pythonRecord claims what a wheel installed: the paths of its RECORD are relative to the directory of packages.
func (d *detection) pythonRecord(ctx context.Context, p string) error {
	dir := path.Dir(p)
	id, name, ok := pythonID(dir, ".dist-info")
	if !ok {
		return errNotUnderstood
	}
	data, err := d.x.ReadFile(ctx, p, maxRecordFile)
	if err != nil {
		return err
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	for {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return errNotUnderstood
		}
		file := row[0]
		if !strings.HasPrefix(file, "/") {
			file = path.Join(path.Dir(dir), file)
		}
		d.claimPath(file, id, "python", "Python package "+name)
	}
	d.claimBelow(dir, id, "python", "Python package "+name)
	return nil
}

// pythonEgg claims what an older installer wrote: the paths are relative to the list.
func (d *detection) pythonEgg(ctx context.Context, p string) error {
	dir := path.Dir(p)
	id, name, ok := pythonID(dir, ".egg-info")
	if !ok {
		return errNotUnderstood
	}
	data, err := d.x.ReadFile(ctx, p, maxRecordFile)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		d.claimPath(path.Join(dir, strings.TrimSpace(line)), id, "python", "Python package "+name)
	}
	d.claimBelow(dir, id, "python", "Python package "+name)
	return nil
}

// gem claims a package of Ruby by its specification.
func (d *detection) gem(p string) {
	full := strings.TrimSuffix(path.Base(p), ".gemspec")
	name := full
	if i := strings.LastIndexByte(full, '-'); i > 0 && i+1 < len(full) && isDigit(full[i+1]) {
		name = full[:i]
	}
	id, ok := languageID("gem", name)
	if !ok {
		return
	}
	reason := "Ruby gem " + name
	home := path.Dir(path.Dir(p))
	d.claimPath(p, id, "ruby", reason)
	d.claimPath(path.Join(home, "cache", full+".gem"), id, "ruby", reason)
	for _, dir := range []string{"gems", "doc", "build_info"} {
		d.claimBelow(path.Join(home, dir, full), id, "ruby", reason)
	}
	for i := range d.x.Below(path.Join(home, "extensions")) {
		if strings.Contains(d.entries[i].Path, "/"+full+"/") {
			d.claim(i, id, "ruby", reason)
		}
	}
}

// nodePackage claims a package at the top of a tree of node_modules, with those inside it. Small ones share a component.
func (d *detection) nodePackage(ctx context.Context, p string) error {
	before, rest, _ := strings.Cut(p, "/node_modules/")
	parts := strings.Split(rest, "/")
	depth := 1
	if strings.HasPrefix(parts[0], "@") {
		depth = 2
	}
	if len(parts) != depth+1 {
		return errNotUnderstood // inside another package
	}
	name := strings.Join(parts[:depth], "/")
	dir := before + "/node_modules/" + name
	data, err := d.x.ReadFile(ctx, p, maxManifest)
	if err != nil {
		return err
	}
	if !json.Valid(data) {
		return errNotUnderstood
	}
	reason := "Node package " + name
	if d.sizeBelow(dir) < smallPackage {
		name = "small"
	}
	id, ok := languageID("node", name)
	if !ok {
		return errNotUnderstood
	}
	d.claimBelow(dir, id, "node", reason)
	return nil
}

// jar claims an archive of Java by the name of its artifact. Small ones share a component.
func (d *detection) jar(i int) {
	base := path.Base(d.entries[i].Path)
	name := pathID(strings.TrimSuffix(base, path.Ext(base)))
	if d.entries[i].Size < smallPackage {
		name = "small"
	}
	if id, ok := languageID("java", name); ok {
		d.claim(i, id, "jar", "Java archive "+base)
	}
}

// goBinary claims a program by the path of its Go module.
func (d *detection) goBinary(ctx context.Context, i int) error {
	r, err := d.tree.Open(ctx, i)
	if err != nil {
		return err
	}
	defer r.Close()
	var magic [4]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil || string(magic[:]) != "\x7fELF" {
		return err
	}
	data := make([]byte, d.entries[i].Size)
	copy(data, magic[:])
	if _, err := io.ReadFull(r, data[len(magic):]); err != nil {
		return err
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil || info.Path == "" {
		return errNotUnderstood
	}
	if id, ok := languageID("go", info.Path); ok {
		d.claim(i, id, "go", "Go program "+info.Path)
	}
	return nil
}
