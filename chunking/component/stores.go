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
	{"brew", "Homebrew", "/Cellar/", regexp.MustCompile(`^.*?/Cellar/([^/]+)/[^/]+/`)},
	{"snap", "snap", "/snap", regexp.MustCompile(`^(?:/var/lib/snapd)?/snap/([^/]+)/(?:x?[0-9]+/|current$)`)},
	{"snap", "snap", "/snaps/", regexp.MustCompile(`^/var/lib/snapd/(?:seed/)?snaps/([^/]+)_x?[0-9]+\.snap$`)},
	{
		"flatpak", "Flatpak", "/flatpak/",
		regexp.MustCompile(`^(?:/var/lib|/usr/share|.+/\.local/share)/flatpak/(?:app|runtime)/([^/]+)/`),
	},
	{"nuget", "NuGet", "/tools/.store/", regexp.MustCompile(`^.*?/tools/\.store/([^/]+)/[0-9][^/]*/`)},
	{"nuget", "NuGet", "/.nuget/packages/", regexp.MustCompile(`^.*?/\.nuget/packages/([^/]+)/[0-9][^/]*/`)},
}

// storedPackages claims the files in the stores of package managers.
func (d *detection) storedPackages(context.Context, Options) error {
	for i, e := range d.entries.All() {
		if d.claims[i].Component >= 0 || e.IsDir() {
			continue
		}
		p := shipped(e.Path())
		for _, s := range stores {
			if !strings.Contains(p, s.part) {
				continue
			}
			m := s.path.FindStringSubmatch(p)
			if m == nil {
				continue
			}
			if id, ok := languageID(s.system, word(m[1])); ok {
				d.claim(i, id, s.system, s.what+" package "+m[1])
				break
			}
		}
	}
	return nil
}

// condaPackage claims the files of a conda package. conda records each package in a JSON file, with paths relative to
// the environment. The error wraps [pkgdb.ErrBroken] if the record is not valid.
func (d *detection) condaPackage(ctx context.Context, i int, e rootfs.Entry) error {
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
