package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/docblocks"
)

// follow goes through the blocks of a document in their order. It runs those that are commands, and compares those
// between fences with what the last commands printed.
func follow(t *testing.T, blocks []docblocks.Block, run func(commands string) (output string, err error)) {
	t.Helper()
	if len(blocks) < 3 {
		t.Fatalf("only %d blocks were found", len(blocks))
	}
	var output string
	for _, b := range blocks {
		if b.Fenced {
			comparePrinted(t, b, output)
			continue
		}
		var err error
		if output, err = run(b.Text); err != nil {
			t.Fatalf("%s: %v\n%s\n%s", b, err, b.Text, output)
		}
	}
}

// comparePrinted compares what a document says that a command prints with what it prints. Numbers, digests and names of
// components may differ, since the tree of the test is not that of the document. All lines of the document are lines of
// the output, in this order. A line that is … stands for any.
func comparePrinted(t *testing.T, b docblocks.Block, output string) {
	t.Helper()
	printed := strings.Split(shape(output), "\n")
	next := 0
	for line := range strings.Lines(b.Text) {
		if line = strings.TrimSpace(line); line == "" || line == "…" {
			continue
		}
		for next < len(printed) && printed[next] != shape(line) {
			next++
		}
		if next == len(printed) {
			t.Errorf("%s: the command does not print %q here, but\n%s", b, line, output)
			return
		}
		next++
	}
}

var shapes = []struct {
	pattern *regexp.Regexp
	shape   string
}{
	{regexp.MustCompile(`(sha256:)?[0-9a-f]{64}|sha256:[0-9a-f]+…`), "DIGEST"},
	{regexp.MustCompile(`\b(apk|deb|file|sys|unowned)/[^\s,]+(, [a-z]+/[^\s,]+)*( and [0-9]+ more| and others)?`),
		"COMPONENTS"},
	{regexp.MustCompile(`\b[0-9]+(\.[0-9]+)*([ \x{a0}]([kMGT]?B|bytes?)\b)?`), "N"},
	{regexp.MustCompile(`\bN (file|layer)\b`), "N ${1}s"},
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`(?m)^ | $`), ""},
}

// shape returns a text without what depends on the tree.
func shape(text string) string {
	for _, s := range shapes {
		text = s.pattern.ReplaceAllString(text, s.shape)
	}
	return text
}

func TestShapesDifferWhereSentencesDo(t *testing.T) {
	t.Parallel()
	const text = "69 layers: 2 new; 59.5 MB because of deb/openssl, sys/pkgdb and 3 more (sha256:ab…)"
	for other, same := range map[string]bool{
		"1 layers: 10 new; 3 bytes  because of apk/app (sha256:cd…)":    true,
		"1 layers: 10 kept; 3 bytes because of apk/app (sha256:cd…)":    false,
		"1 layers: 10 new; 3 bytes because of apk/app":                  false,
		"1 layers: 10 new; nothing because of apk/app (sha256:cd…)":     false,
		"1 layers: 10 new; 3 bytes because of the update (sha256:cd…)":  false,
		"1 layers: 10 new; 3 bytes because of apk/app (" + "sha256:cd)": false,
	} {
		if (shape(text) == shape(other)) != same {
			t.Errorf("%q has the shape %q, and %q has %q", text, shape(text), other, shape(other))
		}
	}
}

// blocksOf returns the blocks of a document, or those below one of its headings.
func blocksOf(t *testing.T, file, heading string, leftOut func(docblocks.Block) bool) (found []docblocks.Block) {
	t.Helper()
	all, err := docblocks.Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	begin, end := 0, strings.Count(string(text), "\n")
	if heading != "" {
		before, after, ok := strings.Cut(string(text), "\n"+heading+"\n")
		if !ok {
			t.Fatalf("%s has no heading %s", file, heading)
		}
		begin = strings.Count(before, "\n") + 1
		part, _, _ := strings.Cut(after, "\n## ")
		end = begin + strings.Count(part, "\n") + 1
	}
	for _, b := range all {
		if b.File == file && b.Line > begin && b.Line <= end && !leftOut(b) {
			found = append(found, b)
		}
	}
	return found
}

// output runs a script of the shell and returns all that it prints.
func (n *newcomer) output(t *testing.T, script string) (string, error) {
	c := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	c.Dir, c.Env = n.dir, n.env
	out, err := c.CombinedOutput()
	return string(out), err
}

// somePackages makes a root filesystem of a Debian with small packages, what apt leaves behind, and files of nobody.
func somePackages(t *testing.T, root string) {
	t.Helper()
	files := map[string]string{
		"etc/hostname": "builder\n", "var/lib/dpkg/status-old": "old", "etc/passwd-": "old", "usr/bin/tool": "nobody's",
		"var/lib/apt/lists/archive_Packages": strings.Repeat("a package\n", 1000),
	}
	var status strings.Builder
	for i := range 20 {
		name := fmt.Sprintf("app%d", i)
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n", name)
		files["usr/lib/"+name+"/data"] = strings.Repeat(name, 10000)
		files["var/lib/dpkg/info/"+name+".list"] = "/.\n/usr\n/usr/lib\n/usr/lib/" + name + "\n/usr/lib/" + name + "/data\n"
	}
	files["var/lib/dpkg/status"] = status.String()
	if err := os.MkdirAll(filepath.Join(root, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheFirstPagesWork follows the first page for CI, and that for those who switch from another program. Whoever
// follows them has a root filesystem, a registry, and images that another program made.
func TestTheFirstPagesWork(t *testing.T) {
	t.Parallel()
	for _, page := range []struct{ file, heading, before string }{
		{"docs/start-ci.md", "", "ostree-ext container build -q --rootfs=rootfs docker://registry.example/app:build"},
		{"docs/switching.md", "## Try it first", "ostree-ext container build -q --prior=none --single-layer " +
			"--rootfs=rootfs docker://registry.example/app:1\nmkdir rootfs/opt && echo more >rootfs/opt/more\n" +
			"ostree-ext container build -q --prior=none --single-layer --rootfs=rootfs docker://registry.example/app:2"},
	} {
		t.Run(page.file, func(t *testing.T) {
			t.Parallel()
			n := newNewcomer(t)
			if err := os.RemoveAll(filepath.Join(n.dir, "rootfs")); err != nil {
				t.Fatal(err)
			}
			somePackages(t, filepath.Join(n.dir, "rootfs"))
			n.run(t, "what was there before", page.before)
			blocks := blocksOf(t, page.file, page.heading, func(b docblocks.Block) bool {
				return strings.HasPrefix(b.Text, "- uses: ")
			})
			follow(t, blocks, func(commands string) (string, error) {
				out, err := n.output(t, commands)
				t.Logf("$ %s%s", commands, out)
				return out, err
			})
		})
	}
}
