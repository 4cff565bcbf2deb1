// Package depcheck tests the direction of the project's dependencies.
package depcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ostree-ext/ostree-ext-go/"

// tags are those with which the program is built.
const tags = "-tags=containers_image_openpgp"

// plan lists every package of the module, from the top down: the rooms, which are the top-level directories, and the
// packages in them. A package with the name of its room is the directory itself. A package may only import packages of
// lines below its own. docs/architecture.md shows the same drawing.
const plan = `
cmd          ostree-ext  ostree-ext/image  ostree-ext/release  ostree-ext/sh  frontend
examples     examples  encapsulate  list  split  unencapsulate
internal     actions  depcheck  simulate/cmd
             simulate

frontend     image
             frontend
             judge  serve
             chunk

container    deploy  inodecheck  update  commandimage  trust/trusttest
             store
             container
             dest  trust  trust/setup  signer
             trust/rules
             source  dest/layout  dest/upload  diffids  flatten  trust/policy
             fetch  trust/bundle
             trust/keyless  trust/keyed
             access
             imgref  buildroot  trust/pubkey  trust/policyjson  trust/statement

encapsulate  report  request  programs  rechunk
             report/page
             plan
             advice
             encapsulate  advice/reason  sample
             oci  advice/archive
             progress

chunking     upstream
             chunking
             component  packing
             component/alpm  component/apk  component/chisel  component/dpkg  component/portage  component/rpm
             component/pkgdb  component/internal/treetest

tarfmt       derived
             plain
             overlay
             tarfmt

repo         selinux  sysroot  ima  cleanup
             rootfs  repotest  sign
             repo
             object
             gvariant  keyfile

internal     canonjson  ctxio  deflate  gobuild  guarded  heaplimit  hosttool  inflate  jsonkeys  output
             printable  release  sigstorefixture  sizes
             docblocks  fixtures  hosttree  testca  testfiles  testhome  testreg
             aptsources  jsonplace  testproc
`

// future are packages that have a place in the plan and need not exist yet.
var future = []string{
	"container/trust",
}

// below says which rooms the packages of a room may import.
var below = map[string][]string{
	"cmd":      {"frontend", "container", "encapsulate", "chunking", "tarfmt", "repo", "internal"},
	"examples": {"container", "encapsulate", "chunking", "tarfmt", "repo"},
	// The frontend judges images by the rules of hosts. Only its judge reads from registries.
	"frontend": {
		"container/dest/layout", "container/trust", "container/access", "container/imgref", "encapsulate", "chunking",
		"tarfmt", "repo", "internal",
	},
	"container":   {"encapsulate", "chunking", "tarfmt", "repo", "internal"},
	"encapsulate": {"chunking", "tarfmt", "repo", "internal"},
	"chunking":    {"repo", "internal"},
	"tarfmt":      {"repo", "internal"},
	"repo":        {"internal"},
	"internal":    {"chunking/packing"},
}

// allowed says which packages may import a module, and why others may not.
var allowed = []struct {
	module string
	by     []string
	why    string
}{
	{"go.podman.io/", []string{"container/access", "container/source", "container/trust/policy",
		"internal/sigstorefixture"},
		"one place fetches images, so that authentication, TLS and limits are handled once"},
	{"go.podman.io/image/v5/signature", []string{"container/trust/policy"},
		"it can be compiled only with the build tag, and all else has to work without"},
	{"github.com/sigstore/sigstore-go", []string{"container/trust/keyless"},
		"it is large, and only identities need it: keys are verified with the standard library"},
	{"github.com/google/go-containerregistry", []string{"encapsulate", "container", "internal/testreg", "frontend"},
		"the layers below know nothing of images"},
	{"github.com/opencontainers/", []string{"encapsulate", "container", "internal/testreg", "frontend", "cmd"},
		"the layers below know nothing of images"},
	{"github.com/moby/buildkit", []string{"frontend", "cmd/frontend"}, "only the frontend speaks to BuildKit"},
	{"golang.org/x/crypto/x509roots", []string{"container/commandimage", "cmd/frontend"},
		"programs use the authorities that their host trusts, and only images have none"},
	{"mvdan.cc/sh", []string{"cmd/ostree-ext/sh"}, "only the command's image needs a shell"},
	{"github.com/spf13/", []string{"cmd"}, "libraries have no flags"},
	{"github.com/vbauerster/mpb", []string{"cmd"}, "libraries report events and print nothing"},
	{"github.com/sirupsen/logrus", []string{"cmd"}, "libraries do not log"},
	{"log", []string{"cmd", "internal/testreg", "internal/simulate/cmd"}, "libraries return values and events"},
	{"log/slog", []string{"cmd"}, "libraries return values and events"},
	{"net", []string{"container", "encapsulate", "internal/output", "internal/testreg", "frontend", "cmd"},
		"a repository is local"},
	{"net/http", []string{"container", "encapsulate", "internal/testca", "internal/testreg", "frontend", "cmd"},
		"a repository is local"},
}

func TestImportsGoDownOnly(t *testing.T) {
	ranks := ranks(t)
	for _, p := range list(t) {
		own := strings.TrimPrefix(p.ImportPath, module)
		rank, ok := ranks[own]
		if !ok {
			t.Errorf("%s is not in the plan: give it a place there, in its room and below all that import it", own)
			continue
		}
		for _, imp := range p.Imports {
			if rel, ours := strings.CutPrefix(imp, module); ours {
				room := roomOf(own)
				if roomOf(rel) != room && !slices.ContainsFunc(below[room], func(dir string) bool { return within(rel, dir) }) {
					t.Errorf("%s imports %s, which is not for packages of %s", own, rel, room)
				}
				if ranks[rel] <= rank {
					t.Errorf("%s imports %s, which does not lie below it", own, rel)
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

func TestThePlanNamesWhatThereIs(t *testing.T) {
	there := map[string]bool{}
	for _, p := range list(t) {
		there[strings.TrimPrefix(p.ImportPath, module)] = true
	}
	for pkg := range ranks(t) {
		if !there[pkg] && !slices.Contains(future, pkg) {
			t.Errorf("the plan names %s, which does not exist", pkg)
		}
	}
}

func TestTheDocumentShowsThePlan(t *testing.T) {
	doc, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for line := range strings.Lines(strings.TrimSpace(plan)) {
		if line != "\n" {
			line = "    " + line
		}
		shown.WriteString(line)
	}
	if !strings.Contains(string(doc), shown.String()) {
		t.Errorf("docs/architecture.md does not have the drawing of the plan; want\n%s", shown.String())
	}
}

// Tests that open images or registries would otherwise depend on credentials and settings of whoever runs them.
func TestTestsOfImagesHaveAHomeOfTheirOwn(t *testing.T) {
	opens := []string{"internal/testreg", "internal/sigstorefixture", "container/trust/trusttest",
		"container/access", "container/source", "container/dest"}
	checked := 0
	for _, p := range list(t) {
		imports := append(p.TestImports, p.XTestImports...)
		if !slices.ContainsFunc(opens, func(o string) bool { return slices.Contains(imports, module+o) }) {
			continue
		}
		checked++
		if !slices.Contains(imports, module+"internal/testhome") {
			t.Errorf("the tests of %s do not use internal/testhome", p.ImportPath)
		}
	}
	if checked == 0 {
		t.Error("no such tests were found")
	}
}

// ranks returns the line of each package in the plan, counted from the top.
func ranks(t *testing.T) map[string]int {
	t.Helper()
	ranks := map[string]int{}
	room, n := "", 0
	for line := range strings.Lines(plan) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if line[0] != ' ' {
			room, fields = fields[0], fields[1:]
		}
		n++
		for _, name := range fields {
			pkg := room + "/" + name
			if name == room {
				pkg = room
			}
			if _, ok := ranks[pkg]; ok {
				t.Errorf("the plan names %s twice", pkg)
			}
			ranks[pkg] = n
		}
	}
	return ranks
}

// roomOf returns the top-level directory of a package.
func roomOf(pkg string) string {
	room, _, _ := strings.Cut(pkg, "/")
	return room
}

// absent says which modules must not be linked into a program, even indirectly.
var absent = []struct {
	program, module string
	why             string
}{
	{"cmd/ostree-ext", "github.com/moby/buildkit", "only the frontend speaks to BuildKit"},
	{"frontend/chunk", "go.podman.io/", "the builder fetches images, and the chunk step only writes directories"},
	{"frontend/serve", "github.com/ostree-ext/ostree-ext-go/container/access",
		"the frontend gets images through the builder"},
}

func TestProgramsLinkWhatTheyNeed(t *testing.T) {
	for _, rule := range absent {
		out, err := exec.Command("go", "list", "-deps", tags, module+rule.program).Output()
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

type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// list lists every package of the module. Tests may import anything, so they are listed apart.
func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", tags,
		module+"...").Output()
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
