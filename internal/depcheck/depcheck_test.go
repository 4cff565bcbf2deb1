// Package depcheck tests the direction of the project's dependencies.
package depcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ostree-ext/ostree-ext-go/"

// layers are our packages from the bottom up. A package may import its own layer and those before it. The first
// matching entry applies.
var layers = [][]string{
	{
		"internal/canonjson", "internal/deflate", "internal/fixtures", "internal/heaplimit", "internal/inflate",
		"internal/output", "internal/progress", "internal/sizes", "internal/testfiles", "internal/testreg",
	},
	{"repo/gvariant", "repo/keyfile", "repo/object"}, {"repo"}, {"tarfmt"}, {"chunking"}, {"encapsulate"}, {"container"},
	{"frontend"}, {"cmd", "internal/simulate"},
}

// allowed says which packages may import a module, and why others may not.
var allowed = []struct {
	module string
	by     []string
	why    string
}{
	{"go.podman.io/", []string{"container/access", "container/source"},
		"one place fetches images, so that authentication, TLS and limits are handled once"},
	{"github.com/google/go-containerregistry", []string{"encapsulate", "container", "internal/testreg", "frontend"},
		"the layers below know nothing of images"},
	{"github.com/opencontainers/", []string{"encapsulate", "container", "internal/testreg", "frontend", "cmd"},
		"the layers below know nothing of images"},
	{"github.com/moby/buildkit", []string{"frontend", "cmd/frontend"}, "only the frontend speaks to BuildKit"},
	{"github.com/spf13/", []string{"cmd"}, "libraries have no flags"},
	{"github.com/vbauerster/mpb", []string{"cmd"}, "libraries report events and print nothing"},
	{"github.com/sirupsen/logrus", []string{"cmd"}, "libraries do not log"},
	{"log", []string{"cmd", "internal/testreg", "internal/simulate/cmd"}, "libraries return values and events"},
	{"log/slog", []string{"cmd"}, "libraries return values and events"},
	{"net", []string{"container", "encapsulate", "internal/output", "internal/testreg", "frontend", "cmd"},
		"a repository is local"},
	{"net/http", []string{"container", "encapsulate", "internal/testreg", "frontend", "cmd"}, "a repository is local"},
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, p := range list(t) {
		own := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			if rel, ours := strings.CutPrefix(imp, module); ours {
				if rank(rel) > rank(own) {
					t.Errorf("%s imports %s, which lies above it", own, rel)
				}
				continue
			}
			for _, rule := range allowed {
				if matches(imp, rule.module) && !slices.ContainsFunc(rule.by, func(by string) bool { return within(own, by) }) {
					t.Errorf("%s imports %s: %s", own, imp, rule.why)
				}
			}
		}
	}
}

// absent says which modules must not be linked into a program, even indirectly.
var absent = []struct {
	program, module string
	why             string
}{
	{"cmd/ostree-ext", "github.com/moby/buildkit", "only the frontend speaks to BuildKit"},
	{"cmd/frontend", "go.podman.io/", "the builder fetches images, and the frontend only writes directories"},
	{"cmd/frontend", "github.com/ostree-ext/ostree-ext-go/container/access",
		"the frontend speaks to registries through the builder"},
}

func TestProgramsLinkWhatTheyNeed(t *testing.T) {
	for _, rule := range absent {
		out, err := exec.Command("go", "list", "-deps", module+rule.program).Output()
		if err != nil {
			t.Fatal(err)
		}
		for dep := range strings.Lines(string(out)) {
			if strings.HasPrefix(dep, rule.module) {
				t.Errorf("%s links %s: %s", rule.program, strings.TrimSpace(dep), rule.why)
			}
		}
	}
}

// matches reports whether a rule applies to an import path. Standard packages are named exactly.
func matches(imp, rule string) bool {
	if strings.Contains(rule, ".") {
		return strings.HasPrefix(imp, rule)
	}
	return imp == rule
}

func within(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

// rank returns the position of a package's layer. A package without a layer may not be imported.
func rank(pkg string) int {
	for i, l := range layers {
		if slices.ContainsFunc(l, func(dir string) bool { return within(pkg, dir) }) {
			return i
		}
	}
	return len(layers)
}

type listed struct {
	ImportPath string
	Imports    []string
}

// list lists every package of the module, without tests, which may import anything.
func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var pkgs []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}
