package component

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo"
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
const derivation = `[0-9a-df-np-sv-z]{32}-([^/]+?)(?:-[^A-Za-z/][^/]*)?(?:/|$)`

var stores = []store{
	{"nix", "Nix", "/nix/store/", regexp.MustCompile(`^/nix/store/` + derivation)},
	{"guix", "Guix", "/gnu/store/", regexp.MustCompile(`^/gnu/store/` + derivation)},
	{"brew", "Homebrew", "/Cellar/", regexp.MustCompile(`^.*?/Cellar/([^/]+)/[^/]+/`)},
	{"snap", "snap", "/snap", regexp.MustCompile(`^(?:/var/lib/snapd)?/snap/([^/]+)/x?[0-9]+/`)},
	{"snap", "snap", "/snaps/", regexp.MustCompile(`^/var/lib/snapd/(?:seed/)?snaps/([^/]+)_x?[0-9]+\.snap$`)},
	{
		"flatpak", "Flatpak", "/flatpak/",
		regexp.MustCompile(`^/(?:var|usr)/(?:lib|share)/flatpak/(?:app|runtime)/([^/]+)/[^/]+/`),
	},
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
	data, err := d.x.ReadFile(ctx, e.Path(), maxRecordFile)
	if errors.Is(err, repo.ErrTooLarge) {
		return pkgdb.Broken("conda: %s has more than %d MiB", e.Path(), maxRecordFile>>20)
	}
	if err != nil {
		return err
	}
	if err := d.listed(len(data)); err != nil {
		return err
	}
	var meta struct {
		Name  string
		Files []string
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return fmt.Errorf("conda: %s: %w: %w", e.Path(), pkgdb.ErrBroken, err)
	}
	id, ok := languageID("conda", meta.Name)
	if !ok {
		return pkgdb.Broken("conda: %s: the package name %.100q is not valid", e.Path(), meta.Name)
	}
	reason := "conda package " + meta.Name
	for _, file := range meta.Files {
		if err := d.listed(len(file)); err != nil {
			return err
		}
		d.claimPath(home+"/"+file, id, "conda", reason)
	}
	d.claim(i, id, "conda", reason)
	return nil
}
