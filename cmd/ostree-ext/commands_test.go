package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commands returns all commands, including those that cobra adds.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(newRootCommand(&app{}))
	if len(all) < 25 {
		t.Fatalf("only %d commands found", len(all))
	}
	return all
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	for _, c := range commands(t) {
		if c.Short == "" {
			t.Errorf("%s has no summary", c.CommandPath())
		}
		if !c.HasSubCommands() && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no example of itself", c.CommandPath())
		}
	}
}

func TestHelpOfEveryCommandGoesToStandardOutput(t *testing.T) {
	for _, c := range commands(t) {
		var out, errOut bytes.Buffer
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		status := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errOut})
		if status != exitOK || !strings.Contains(out.String(), "Usage:") || errOut.Len() > 0 {
			t.Errorf("%s: status %d, standard error %q, help %q", args, status, &errOut, &out)
		}
	}
}

func TestEveryCommandHasAManualPage(t *testing.T) {
	dir := t.TempDir()
	var out, errOut bytes.Buffer
	status := run(t.Context(), []string{"man", "--directory", dir}, streams{out: &out, err: &errOut})
	if status != exitOK {
		t.Fatalf("status %d: %s", status, &errOut)
	}
	for _, c := range commands(t) {
		if c.Name() == "help" || hidden(c) {
			continue
		}
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil || !bytes.Contains(page, []byte(".SH SYNOPSIS")) {
			t.Errorf("%s: %v, %d bytes", c.CommandPath(), err, len(page))
		}
	}
}

// hidden reports whether a command is left out of help and manual pages.
func hidden(c *cobra.Command) bool { return c.Hidden || c.HasParent() && hidden(c.Parent()) }

// TestOperandErrorsFollowTheUsageLine checks that the parser understands every usage line: given too many arguments,
// each command with a limit must name the first that is too many.
func TestOperandErrorsFollowTheUsageLine(t *testing.T) {
	for _, c := range commands(t) {
		if c.HasSubCommands() || c.Name() == "help" || strings.HasSuffix(c.Use, "...") || strings.HasSuffix(c.Use, "...]") {
			continue
		}
		var out, errOut bytes.Buffer
		args := append(strings.Fields(c.CommandPath())[1:], "a", "b", "c", "d", "e")
		status := run(t.Context(), args, streams{out: &out, err: &errOut})
		if status != exitUsage || !strings.HasPrefix(errOut.String(), "error: unexpected argument: ") {
			t.Errorf("%s: status %d, %q", args, status, &errOut)
		}
	}
}
