package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

func newManCommand(a *app, root *cobra.Command) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "man --directory=DIR",
		Short: "Write the manual pages",
		Long: `Writes one manual page per command into DIR. The pages have the same text as --help. Their date is
SOURCE_DATE_EPOCH, or 1970-01-01, so that two runs give the same bytes.`,
		Example: "  ostree-ext man --directory=man",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("--directory: %w", err)
			}
			var date time.Time
			if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
				secs, err := strconv.ParseInt(s, 10, 64)
				if err != nil {
					return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
				}
				date = time.Unix(secs, 0).UTC()
			} else {
				date = time.Unix(0, 0).UTC()
			}
			return writeManual(root, dir, date)
		},
	}
	c.Flags().StringVar(&dir, "directory", "", "`DIR` to write the pages to; it is created if necessary")
	required(c, "directory")
	return c
}

// writeManual writes the pages of c and of each command below it. It changes the flags, so the commands cannot be used
// any more.
func writeManual(c *cobra.Command, dir string, date time.Time) error {
	for _, child := range c.Commands() {
		if !child.IsAvailableCommand() || child.IsAdditionalHelpTopicCommand() {
			continue
		}
		if err := writeManual(child, dir, date); err != nil {
			return err
		}
	}
	c.InitDefaultHelpFlag()
	c.InheritedFlags().VisitAll(describe)
	c.NonInheritedFlags().VisitAll(describe)
	var page bytes.Buffer
	header := doc.GenManHeader{Section: "1", Source: "ostree-ext", Manual: "ostree-ext manual", Date: &date}
	if err := doc.GenMan(c, &header, &page); err != nil {
		return err
	}
	// What is left of flags without a value.
	text := bytes.ReplaceAll(page.Bytes(), []byte("\\fP=\n"), []byte("\\fP\n"))
	return os.WriteFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"), text, 0o644)
}

// described is the value of a flag as the manual shows it: the generator prints a default after the flag's name.
type described struct{ pflag.Value }

// Type implements [pflag.Value]. The generator puts quotes around the default of a string.
func (described) Type() string { return "" }

// describe makes the manual show the name of a flag's value, as the help does, and a default in the text only if it is
// the value that applies.
func describe(f *pflag.Flag) {
	if _, done := f.Value.(described); done {
		return
	}
	name, usage := pflag.UnquoteUsage(f)
	if f.NoOptDefVal != "" {
		name = ""
	}
	zero := []string{"", "0", "false", "[]"}
	if !slices.Contains(zero, f.DefValue) && !strings.Contains(usage, "(default") {
		usage += " (default " + f.DefValue + ")"
	}
	f.Value, f.Usage, f.DefValue, f.NoOptDefVal = described{f.Value}, usage, name, ""
}
