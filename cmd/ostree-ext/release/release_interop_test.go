//go:build interop

package main

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
	"github.com/ostree-ext/ostree-ext-go/internal/release"
)

func TestInterop_AReleaseHasAFileForEachProcessorAndWay(t *testing.T) {
	want := map[string]bool{"SHA256SUMS": true, "VERSION": true, "provenance.intoto.json": true}
	deb := map[string]string{"ppc64le": "ppc64el"}
	gnu := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}
	name := func(names map[string]string, arch string) string {
		if n, ok := names[arch]; ok {
			return n
		}
		return arch
	}
	for _, arch := range made.arches {
		for _, file := range []string{
			"ostree-ext-" + tag + "-linux-" + arch,
			"ostree-ext-" + tag + "-linux-" + arch + ".cdx.json",
			"ostree-ext-sh-" + tag + "-linux-" + arch + ".cdx.json",
			"ostree-ext-frontend-" + tag + "-linux-" + arch + ".cdx.json",
			"ostree-ext_1.98.7-1_" + name(deb, arch) + ".deb",
			"ostree-ext-1.98.7-1." + name(gnu, arch) + ".rpm",
			"ostree-ext_1.98.7-r1_" + name(gnu, arch) + ".apk",
			"ostree-ext-1.98.7-1-" + name(gnu, arch) + ".pkg.tar.zst",
		} {
			want[file] = true
		}
	}
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for file := range want {
		amd64 := strings.HasSuffix(file, "-amd64") || strings.Contains(file, "_amd64.") || strings.Contains(file, "x86_64")
		if file = strings.ReplaceAll(file, tag[1:], "1.2.3"); amd64 && !strings.Contains(string(readme), file) {
			t.Errorf("the README does not have %s", file)
		}
	}
	got := map[string]bool{}
	entries, err := os.ReadDir(made.dist)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			got[e.Name()] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if out := mustIn(t, made.dist, nil, "sha256sum", "--check", "--strict", "SHA256SUMS"); strings.Count(out, ": OK") !=
		len(want)-1 {
		t.Errorf("checked is\n%s", out)
	}
}

func TestInterop_TheProgramPrintsTheTag(t *testing.T) {
	var v struct{ Version, Revision string }
	if err := json.Unmarshal([]byte(must(t, native(), "version", "--json")), &v); err != nil {
		t.Fatal(err)
	}
	if v.Version != tag || v.Revision != made.commit {
		t.Errorf("got %+v, want %s of %s", v, tag, made.commit)
	}
}

func TestInterop_ProgramsNeedNoLibraries(t *testing.T) {
	for _, arch := range made.arches {
		f, err := elf.Open(dist("ostree-ext-" + tag + "-linux-" + arch))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s: the program has %s", arch, p.Type)
			}
		}
	}
}

// Two people with the same sources and the same Go get the same bytes.
func TestInterop_AReleaseIsTheSameWhereverItIsMade(t *testing.T) {
	other := filepath.Join(t.TempDir(), "another", "directory")
	must(t, "git", "clone", "--quiet", made.sources, other)
	env := []string{"TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "TMPDIR=" + t.TempDir()}
	if allArches() {
		env = append(env, "GOCACHE="+t.TempDir())
	}
	mustIn(t, other, env, "sh", "-c", `umask 077 && make -s release ARCH="$1"`, "sh", strings.Join(made.arches, ","))
	everything := func(string) bool { return true }
	here, err := release.Files(made.dist, everything)
	if err != nil {
		t.Fatal(err)
	}
	there, err := release.Files(filepath.Join(other, "dist"), everything)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(here, there); diff != "" {
		t.Error(diff)
	}
}

func TestInterop_ASecondReleaseReplacesTheFirstAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := output(made.sources, nil, "make", "-s", "release", "ARCH="+runtime.GOARCH, "DIST="+dir)
	if err == nil || !strings.Contains(err.Error(), "is not a release and would be deleted") {
		t.Errorf("got %v", err)
	}
}

func TestInterop_ASBOMNamesEachModuleOfTheProgram(t *testing.T) {
	info, err := buildinfo.ReadFile(native())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"std": strings.TrimPrefix(runtime.Version(), "go")}
	for _, dep := range info.Deps {
		want[dep.Path] = dep.Version
	}
	var bom struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct {
				Name, Version string
				Hashes        []struct{ Content string }
			}
		}
		Components []struct{ Name, Version string }
	}
	data, err := os.ReadFile(native() + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &bom); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range bom.Components {
		got[c.Name] = c.Version
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	sum, _, _ := strings.Cut(must(t, "sha256sum", native()), " ")
	main := bom.Metadata.Component
	if main.Name != "ostree-ext" || main.Version != tag || len(main.Hashes) != 1 || main.Hashes[0].Content != sum {
		t.Errorf("got %+v, want the program with the hash %s", main, sum)
	}
}

func TestInterop_TheProvenanceNamesTheCommitAndEachFile(t *testing.T) {
	var p struct {
		Type          string `json:"_type"`
		PredicateType string
		Subject       []release.Subject
		Predicate     struct {
			BuildDefinition struct {
				InternalParameters   struct{ Go string }
				ResolvedDependencies []struct {
					URI    string
					Digest map[string]string
				}
			}
		}
	}
	data, err := os.ReadFile(dist("provenance.intoto.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	if p.Type != "https://in-toto.io/Statement/v1" || p.PredicateType != "https://slsa.dev/provenance/v1" {
		t.Errorf("got a statement %s about %s", p.Type, p.PredicateType)
	}
	b := p.Predicate.BuildDefinition
	if len(b.ResolvedDependencies) == 0 || b.ResolvedDependencies[0].Digest["gitCommit"] != made.commit ||
		!strings.HasSuffix(b.ResolvedDependencies[0].URI, "@refs/tags/"+tag) ||
		b.InternalParameters.Go != runtime.Version() {
		t.Errorf("got %+v, want the commit %s and %s", b, made.commit, runtime.Version())
	}
	files, err := release.Files(made.dist, func(name string) bool {
		return !strings.Contains(name, "/") && name != "SHA256SUMS" && name != "provenance.intoto.json"
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range files {
		want[f.Name] = f.Digest["sha256"]
	}
	for _, name := range []string{command, frontend} {
		index, err := programs.ReadLayout(dist(imagesDir, name))
		if err != nil {
			t.Fatal(err)
		}
		digest, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		want["images/"+name] = digest.Hex
	}
	got := map[string]string{}
	for _, s := range p.Subject {
		got[s.Name] = s.Digest["sha256"]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
