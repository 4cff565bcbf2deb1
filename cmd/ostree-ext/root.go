package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// app is what every command shares: the streams and the options that stand before any command.
type app struct {
	streams
	quiet bool
	debug bool
}

func newRootCommand(a *app) *cobra.Command {
	root := group("ostree-ext", "OSTree commits as container images, and back")
	root.Long = `ostree-ext turns an OSTree commit into a container image and such an image back into the same commit, byte for
byte. It needs neither libostree nor any other program.

Results go to standard output; messages and progress go to standard error.`
	root.Example = `  ostree-ext repo init --repo=repo --mode=bare-user
  ostree-ext repo commit --repo=repo --branch=exampleos/x86_64/stable rootfs/
  ostree-ext container encapsulate --repo=repo exampleos/x86_64/stable docker://registry.example/os:latest
  ostree-ext container unencapsulate --repo=host ostree-unverified-registry:registry.example/os:latest`
	root.PersistentPreRun = func(*cobra.Command, []string) { redirectLogs(a.logger()) }
	root.SilenceUsage, root.SilenceErrors, root.DisableAutoGenTag = true, true, true
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress, only results and errors")
	root.PersistentFlags().BoolVar(&a.debug, "debug", false, "log what is being done to standard error")
	root.AddCommand(
		newContainerCommand(a), newTarCommand(a), newRepoCommand(a), newDiffCommand(a),
		newManCommand(a, root), newVersionCommand(a),
	)
	strict(root)
	return root
}

// group makes a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
		}
		return nil
	}, RunE: func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		_ = cmd.Help()
		return usagef("%s needs a command", cmd.CommandPath())
	}}
	c.AddCommand(children...)
	return c
}

// strict gives each command below c the rules of the argument line: a mistake is a usage error, and an option that
// takes one value may be given once.
func strict(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &usageError{err}
			}
			return nil
		}
	}
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if _, list := f.Value.(pflag.SliceValue); !list {
			f.Value = &onceValue{Value: f.Value}
		}
	})
	for _, child := range c.Commands() {
		strict(child)
	}
}

// onceValue refuses a second value for an option that takes one: which of the two was meant is not for us to guess.
type onceValue struct {
	pflag.Value
	set bool
}

func (v *onceValue) Set(s string) error {
	if v.set {
		return fmt.Errorf("the option cannot be used more than once")
	}
	v.set = true
	return v.Value.Set(s)
}

// IsBoolFlag keeps the wrapped option's form: a boolean one needs no value.
func (v *onceValue) IsBoolFlag() bool { return v.Type() == "bool" }

// required makes options that a command cannot do without; their absence is a usage error.
func required(c *cobra.Command, names ...string) {
	run := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var missing []string
		for _, n := range names {
			if !cmd.Flags().Changed(n) {
				missing = append(missing, "--"+n)
			}
		}
		if len(missing) > 0 {
			return usagef("missing %s", strings.Join(missing, ", "))
		}
		return run(cmd, args)
	}
	for _, n := range names {
		f := c.Flags().Lookup(n)
		f.Usage += " (required)"
	}
}

// logger logs to standard error, at debug level where that is asked for.
func (a *app) logger() *slog.Logger {
	level := slog.LevelWarn
	if a.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}

// printf writes a result.
func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format, args...)
	return err
}

// printJSON writes a result for a program: one object, indented, with a newline.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printLine writes a result for a program: one object on one line.
func (a *app) printLine(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
