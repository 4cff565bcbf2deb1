package component

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// dotnetHost matches the directory of a version of the library that finds the frameworks of .NET.
var dotnetHost = regexp.MustCompile(`^(.+)/host/fxr/[^/]+$`)

// dotnetInstallation claims an installation of .NET that was unpacked into its own directory. It has frameworks in
// several versions, tools to build programs, and the program that starts all of them.
func (d *detection) dotnetInstallation(_ context.Context, _ int, e rootfs.Entry) error {
	if e.Name != "libhostfxr.so" {
		return nil
	}
	m := dotnetHost.FindStringSubmatch(e.Dir)
	if m == nil || m[1] == "/usr" || m[1] == "/usr/local" {
		return nil
	}
	home := m[1]
	for _, kind := range []string{"shared", "packs"} {
		for _, framework := range d.directories(home + "/" + kind) {
			d.dotnetVersions(framework, "dotnet/"+word(path.Base(framework)))
		}
	}
	d.dotnetVersions(home+"/sdk", "dotnet/sdk")
	for _, dir := range []string{"sdk", "sdk-manifests", "templates", "metadata"} {
		d.claimBelow(home+"/"+dir, "dotnet/sdk", "dotnet", "tools of .NET in "+home)
	}
	d.claimBelow(home+"/host", "dotnet/host", "dotnet", "the host of .NET in "+home)
	for _, name := range []string{"dotnet", "LICENSE.txt", "ThirdPartyNotices.txt"} {
		d.claimPath(home+"/"+name, "dotnet/host", "dotnet", "the host of .NET in "+home)
	}
	return nil
}

// dotnetVersions claims the versions in a directory. Versions that are installed side by side have a component each,
// numbered by rank. The newest has no number.
func (d *detection) dotnetVersions(dir, id string) {
	versions := d.directories(dir)
	slices.SortFunc(versions, func(a, b string) int { return compareVersions(path.Base(b), path.Base(a)) })
	for n, version := range versions {
		ranked := id
		if n > 0 {
			ranked += fmt.Sprintf("#%d", n+1)
		}
		d.claimBelow(version, ranked, "dotnet", strings.TrimPrefix(id, "dotnet/")+" of .NET")
	}
}

// dotnetDeps is the list of the packages that a .NET program consists of.
type dotnetDeps struct {
	// Targets are the packages by platform and by NAME/VERSION.
	Targets map[string]map[string]dotnetAssets
	// Libraries says what a package is: a package of NuGet, a part of .NET, or a part of the program.
	Libraries map[string]struct{ Type string }
}

// dotnetAssets are the files of a package by their path in the package.
type dotnetAssets struct {
	Runtime, Native map[string]struct{}
	Resources       map[string]struct{ Locale string }
	RuntimeTargets  map[string]struct{}
}

// dotnetProgram claims the packages in the directory of a .NET program by the list NAME.deps.json. The error wraps
// [pkgdb.ErrBroken] if the list is not valid.
func (d *detection) dotnetProgram(ctx context.Context, _ int, e rootfs.Entry) error {
	program, ok := strings.CutSuffix(e.Path(), ".deps.json")
	if !ok {
		return nil
	}
	_, isProgram := d.x.Find(program + ".dll")
	if _, ok := d.x.Find(program + ".runtimeconfig.json"); !ok && !isProgram {
		return nil
	}
	data, err := d.readList(ctx, "dotnet", e.Path(), maxManifest)
	if err != nil {
		return err
	}
	// Decoding takes several times as much time and memory as reading.
	if err := d.listed(7 * len(data)); err != nil {
		return err
	}
	var deps dotnetDeps
	if err := decode(e.Path(), bytes.TrimPrefix(data, []byte("\ufeff")), &deps); err != nil {
		return fmt.Errorf("dotnet: %w", err)
	}
	for _, target := range slices.Sorted(maps.Keys(deps.Targets)) {
		for _, library := range slices.Sorted(maps.Keys(deps.Targets[target])) {
			id, ok := dotnetID(library, deps.Libraries[library].Type)
			if !ok {
				continue
			}
			name, _, _ := strings.Cut(library, "/")
			for _, file := range deps.Targets[target][library].published() {
				if err := d.listed(len(file)); err != nil {
					return err
				}
				d.claimPath(e.Dir+"/"+file, id, "dotnet", ".NET package "+name)
			}
		}
	}
	return nil
}

// dotnetID returns the ID of a package of a program, NAME/VERSION. It reports false for parts of the program itself.
func dotnetID(library, kind string) (id string, ok bool) {
	name, _, _ := strings.Cut(library, "/")
	switch kind {
	case "package":
		return languageID("nuget", strings.ToLower(name))
	case "runtimepack":
		// Programs that bring their own framework: runtimepack.Microsoft.NETCore.App.Runtime.linux-x64
		name, _, _ = strings.Cut(strings.TrimPrefix(name, "runtimepack."), ".Runtime.")
		return languageID("dotnet", name)
	}
	return "", false
}

// published returns the paths of the files relative to the program. All files for the platform are in one directory,
// translations in a directory for each language, and files for other platforms have their path in the package.
func (a dotnetAssets) published() (list []string) {
	for _, files := range []map[string]struct{}{a.Runtime, a.Native} {
		for p := range files {
			list = append(list, path.Base(p))
		}
	}
	for p, r := range a.Resources {
		list = append(list, path.Join(cmp.Or(r.Locale, path.Base(path.Dir(p))), path.Base(p)))
	}
	for p := range a.RuntimeTargets {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}
