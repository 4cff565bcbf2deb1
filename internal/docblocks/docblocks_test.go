package docblocks

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryBlockIsRunOrHasAReason(t *testing.T) {
	t.Parallel()
	all, err := Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	used := map[*entry]bool{}
	for _, b := range all {
		e := entryOf(b)
		if e == nil {
			t.Errorf("%s: let a test run it, and add it to the list", b)
			continue
		}
		used[e] = true
	}
	for i := range list {
		e := &list[i]
		if !used[e] {
			t.Errorf("%s has no block that begins with %q", e.file, e.begins)
		}
		if (e.pkg == "") == (e.why == "") {
			t.Errorf("%s: %q needs either a package or a reason", e.file, e.begins)
		}
	}
}

// TestThePackagesRunTheirBlocks checks that the packages in the list ask for their blocks.
func TestThePackagesRunTheirBlocks(t *testing.T) {
	t.Parallel()
	for pkg, constant := range map[string]string{CommandLine: "CommandLine", Peers: "Peers", Builds: "Builds"} {
		tests, err := filepath.Glob(filepath.Join("../..", pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		asks := slices.ContainsFunc(tests, func(name string) bool {
			data, err := os.ReadFile(name)
			return err == nil && strings.Contains(string(data), "docblocks.Of(t, \"") &&
				strings.Contains(string(data), "docblocks."+constant)
		})
		if !asks {
			t.Errorf("no test of %s runs its blocks", pkg)
		}
	}
}

// TestTheTargetsOfMakeExist checks the commands of make in all documents, in blocks and in the text.
func TestTheTargetsOfMakeExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^make ([a-z-]+)`)
	n := 0
	for _, b := range all {
		for _, m := range command.FindAllStringSubmatch(b.Text, -1) {
			n++
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s: the Makefile has no target %s", b, m[1])
			}
		}
	}
	if n == 0 {
		t.Error("no commands of make were found")
	}
	for _, line := range []string{"make demo", "make test", "make lint"} {
		if script, err := os.ReadFile("../../.ci/run"); err != nil || !strings.Contains(string(script), "\n"+line+"\n") {
			t.Errorf(".ci/run does not run %s: %v", line, err)
		}
	}
}

// waysToInstall returns the first command of each row of the table of ways to install.
func waysToInstall(t *testing.T, file string) (commands []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "| for | one line |\n|---|---|\n")
	if !found {
		t.Fatalf("%s has no table of ways to install", file)
	}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "`")
		if !strings.HasPrefix(line, "| ") || len(cells) < 3 {
			break
		}
		commands = append(commands, cells[1])
	}
	return commands
}

func TestTheReadmeAndTheDocumentInstallInTheSameWays(t *testing.T) {
	t.Parallel()
	short, long := waysToInstall(t, "README.md"), waysToInstall(t, "docs/install.md")
	for _, command := range short {
		if !slices.Contains(long, command) {
			t.Errorf("docs/install.md does not have %s", command)
		}
	}
	if len(short) < 7 {
		t.Errorf("the README has the ways %q only", short)
	}
}

func TestBlocksOfAText(t *testing.T) {
	t.Parallel()
	const text = "# Title\n\nText\n    not a block\n\n    one\n      two\n\n    three\n\nText\n\n```json\n{}\n```\n\n" +
		"* item\n  more\n\n      in a list\n      too\n\n  more of it\n\n    code?\n"
	var got []string
	for _, b := range blocks(text) {
		got = append(got, b.Text)
	}
	if want := []string{"one\n  two\n\nthree\n", "{}\n", "in a list\ntoo\n"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTheTestsThatDocumentsNameExist finds tests that were renamed.
func TestTheTestsThatDocumentsNameExist(t *testing.T) {
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+|Fuzz\w+)\(`)
	err := filepath.WalkDir("../..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(data, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range documents {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllSubmatch(data, -1) {
			if !there[string(m[1])] {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
}
