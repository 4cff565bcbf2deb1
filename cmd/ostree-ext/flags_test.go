package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEveryFlagOccursInAScript checks that a script uses each flag of each command, so that new flags have a test.
// Lines that must exit with status 2 do not count, since they show that a flag is refused.
func TestEveryFlagOccursInAScript(t *testing.T) {
	seen := map[string]bool{}
	for _, args := range scriptedCommands(t) {
		c, rest, err := newRootCommand(&app{}).Find(args)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		for _, name := range flagsIn(c, rest) {
			seen[owner(c, name).CommandPath()+" --"+name] = true
		}
	}
	for _, c := range commands(t) {
		c.InitDefaultHelpFlag()
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if name := c.CommandPath() + " --" + f.Name; !seen[name] && !brought(c, f.Name) {
				t.Errorf("no script has %s", name)
			}
		})
	}
	if len(seen) < 100 {
		t.Errorf("only %d flags found in the scripts: %q", len(seen), slices.Sorted(maps.Keys(seen)))
	}
}

// owner returns the command that a flag belongs to.
func owner(c *cobra.Command, flag string) *cobra.Command {
	for c.HasParent() && c.NonInheritedFlags().Lookup(flag) == nil {
		c = c.Parent()
	}
	return c
}

// brought are the flags that cobra adds to every command, which TestHelpOfEveryCommandGoesToStandardOutput covers, and
// to the completion commands.
func brought(c *cobra.Command, flag string) bool {
	return flag == "help" || flag == "no-descriptions" && c.Parent().Name() == "completion"
}

// scriptedCommands returns the arguments of each line in the scripts that runs the program.
func scriptedCommands(t *testing.T) (all [][]string) {
	t.Helper()
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("got %d scripts, %v", len(scripts), err)
	}
	for _, name := range scripts {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		script, _, _ := strings.Cut(strings.ReplaceAll(string(data), "\\\n", " "), "\n-- ")
		for line := range strings.Lines(script) {
			before, after, ok := strings.Cut(line, "ostree-ext ")
			if ok && !strings.HasPrefix(before, "#") && before != "exits 2 " && before != "! " {
				all = append(all, strings.Fields(after))
			}
		}
	}
	return all
}

// flagsIn returns the names of the command's own flags among the arguments.
func flagsIn(c *cobra.Command, args []string) (names []string) {
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "--"); ok {
			name, _, _ = strings.Cut(name, "=")
			names = append(names, name)
			continue
		}
		if short, ok := strings.CutPrefix(arg, "-"); ok {
			for _, letter := range short {
				if f := c.Flags().ShorthandLookup(string(letter)); f != nil {
					names = append(names, f.Name)
				}
			}
		}
	}
	return names
}
