package component

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// store is a place where a package manager keeps each package in a directory or file of its own. The path has the name
// of the package, and parts that change with the version.
type store struct {
	system, what string
	// part is a substring of all paths in the store. It is looked for before the slower match with path.
	part string
	path *regexp.Regexp // the first group is the name
}

// derivation matches a name in a path of Nix or Guix: the hash, the name, and the version with the output. The version
// begins at the first hyphen that is not followed by a letter.
const derivation = `[0-9a-df-np-sv-z]{32}-([^/]+?)(?:-[^A-Za-z/][^/]*)?(?:\.drv)?(?:/|$)`

var stores = []store{
	{"nix", "Nix", "/nix/store/", regexp.MustCompile(`^/nix/store/` + derivation)},
	{"guix", "Guix", "/gnu/store/", regexp.MustCompile(`^/gnu/store/` + derivation)},
	{"brew", "Homebrew", "/Cellar/", regexp.MustCompile(`^.*?/Cellar/([^/]+)/.`)},
	{"brew", "Homebrew", "/Caskroom/", regexp.MustCompile(`^.*?/Caskroom/([^/]+)/.`)},
	{"snap", "snap", "/snap", regexp.MustCompile(`^(?:/var/lib/snapd)?/snap/([^/]+)/(?:x?[0-9]+/|current$)`)},
	{"snap", "snap", "/snaps/", regexp.MustCompile(`^/var/lib/snapd/(?:seed/)?snaps/([^/]+)_x?[0-9]+\.snap$`)},
	{
		"snap", "snap", "/current", // in the data of a package
		regexp.MustCompile(`^/(?:var|root|var/roothome|(?:var/)?home/[^/]+)/snap/([^/]+)/current$`),
	},
	{
		"snap", "snap", "snap-", // the units that mount it
		regexp.MustCompile(`^/etc/systemd/system/(?:[^/]+\.wants/)?(?:var-lib-snapd-)?snap-([^/]+)-x?[0-9]+\.mount$`),
	},
	{
		"snap", "snap", "snap", // its services and its confinement
		regexp.MustCompile(`^/(?:etc/systemd/system/(?:[^/]+\.wants/)?|etc/udev/rules\.d/70-|` +
			`var/lib/snapd/(?:apparmor/profiles|seccomp/bpf|cookie)/)snap(?:-update-ns|-confine)?\.([^/.]+)(?:\.|$)`),
	},
	{
		"flatpak", "Flatpak", "/flatpak/",
		regexp.MustCompile(`^(?:/var/lib|/usr/share|.+/\.local/share)/flatpak/(?:app|runtime)/([^/]+)/`),
	},
	{"nuget", "NuGet", "/tools/.store/", regexp.MustCompile(`^.*?/tools/\.store/([^/]+)/[0-9][^/]*/`)},
	{"nuget", "NuGet", "/.nuget/packages/", regexp.MustCompile(`^.*?/\.nuget/packages/([^/]+)/[0-9][^/]*/`)},
}

// storedPackages claims the files in the stores of package managers, and the links into them. A link belongs to the
// package that it leads to, even if it leads to a directory of it or to a version that is not in the tree: its target
// changes with the package.
func (d *detection) storedPackages(context.Context, Options) error {
	for i, e := range d.entries.All() {
		if d.claims[i].Component >= 0 || e.IsDir() {
			continue
		}
		link := ""
		s, name := storeOf(shipped(e.Path()))
		if s == nil && e.IsSymlink() {
			target := e.Target
			if !strings.HasPrefix(target, "/") {
				target = e.Dir + "/" + target
			}
			link = "a link to the "
			s, name = storeOf(shipped(path.Clean(target)) + "/")
		}
		if s == nil {
			continue
		}
		if id, ok := languageID(s.system, word(name)); ok {
			d.claim(i, id, s.system, link+s.what+" package "+name)
		}
	}
	return nil
}

// storeOf returns the store that has a path, and the name of the package there. The store is nil if there is none. The
// path of a directory may end in a slash.
func storeOf(p string) (*store, string) {
	for i := range stores {
		s := &stores[i]
		if !strings.Contains(p, s.part) {
			continue
		}
		if m := s.path.FindStringSubmatch(p); m != nil {
			return s, strings.ReplaceAll(m[1], `\x2d`, "-") // as systemd escapes a hyphen in a path
		}
	}
	return nil, ""
}

// condaPackage claims the files of a conda package. conda records each package in a JSON file, with paths relative to
// the environment. The error wraps [pkgdb.ErrBroken] if the record is not valid.
func (d *detection) condaPackage(ctx context.Context, i int, e rootfs.Entry) error {
	if e.Name == "index.json" && path.Base(e.Dir) == "info" {
		return d.condaCached(ctx, e)
	}
	home, ok := strings.CutSuffix(e.Dir, "/conda-meta")
	if !ok || path.Ext(e.Name) != ".json" {
		return nil
	}
	data, err := d.readList(ctx, "conda", e.Path(), maxRecordFile)
	if err != nil {
		return err
	}
	var meta struct {
		Name  string
		Files json.RawMessage // an array, decoded piece by piece since it may be long
	}
	if err := decode(e.Path(), data, &meta); err != nil {
		return fmt.Errorf("conda: %w", err)
	}
	id, ok := languageID("conda", meta.Name)
	if !ok {
		return pkgdb.Broken("conda: %s: the package name %.100q is not valid", e.Path(), meta.Name)
	}
	reason := "conda package " + meta.Name
	d.claim(i, id, "conda", reason)
	dec := json.NewDecoder(bytes.NewReader(meta.Files))
	if start, _ := dec.Token(); start != json.Delim('[') {
		return pkgdb.Broken("conda: %s has no list of files", e.Path())
	}
	for dec.More() {
		var file string
		if err := dec.Decode(&file); err != nil {
			return fmt.Errorf("conda: %s: %w: in the list of files: %w", e.Path(), pkgdb.ErrBroken, err)
		}
		if err := d.listed(len(file)); err != nil {
			return err
		}
		d.claimPath(home+"/"+file, id, "conda", reason)
	}
	return nil
}

// condaCached claims a package in a cache of conda: pkgs/NAME-VERSION-BUILD, and the archive beside it that it was
// unpacked from. The files of environments are often links to those in the cache.
func (d *detection) condaCached(ctx context.Context, e rootfs.Entry) error {
	home := path.Dir(e.Dir)
	if path.Base(path.Dir(home)) != "pkgs" {
		return nil
	}
	data, err := d.readList(ctx, "conda", e.Path(), maxManifest)
	if err != nil {
		return err
	}
	var meta struct{ Name string }
	if err := decode(e.Path(), data, &meta); err != nil {
		return fmt.Errorf("conda: %w", err)
	}
	id, ok := languageID("conda", meta.Name)
	if !ok || !strings.HasPrefix(path.Base(home), meta.Name+"-") {
		return errNotUnderstood
	}
	reason := "conda package " + meta.Name + ", as it was unpacked"
	d.claimBelow(home, id, "conda", reason)
	for _, ext := range []string{".conda", ".tar.bz2"} {
		d.claimPath(home+ext, id, "conda", reason)
	}
	return nil
}
