package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// group makes a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(children...)
	makeGroup(c)
	return c
}

// makeGroup has c refuse whatever is not one of its commands.
func makeGroup(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		_ = cmd.Help()
		return usagef("%s needs a command", cmd.CommandPath())
	}
}

// unknownCommand is the error for a name that is no command of the group c.
func unknownCommand(c *cobra.Command, name string) error {
	hint := ""
	if like := c.SuggestionsFor(name); len(like) > 0 {
		hint = "; did you mean " + strings.Join(like, " or ") + "?"
	}
	return usagef("unknown command %q for %q%s", name, c.CommandPath(), hint)
}

// addStandardCommands adds cobra's help and completion now and not when the program runs, so that the rules of all other
// commands hold for them, too.
func addStandardCommands(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Example = "  ostree-ext help container encapsulate"
			c.Run, c.RunE = nil, help
		case "completion":
			makeGroup(c)
			for _, shell := range c.Commands() {
				shell.Example = "  " + shell.CommandPath() + " > FILE"
			}
		}
	}
}

// help prints the help of the command that args name.
func help(cmd *cobra.Command, args []string) error {
	c, rest, err := cmd.Root().Find(args)
	if err != nil {
		return &usageError{err}
	}
	if len(rest) > 0 {
		return unknownCommand(c, rest[0])
	}
	c.InitDefaultHelpFlag()
	return c.Help()
}

// strict gives c and each command below it the rules of the argument line: a mistake is a usage error, and an option that
// takes one value may be given once.
func strict(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	check := c.Args
	c.Args = func(cmd *cobra.Command, args []string) error {
		if check != nil {
			if err := check(cmd, args); err != nil {
				return operandError(cmd.Use, args, err)
			}
		}
		return exclusive(cmd.Flags())
	}
	once := func(f *pflag.Flag) {
		if _, list := f.Value.(pflag.SliceValue); !list {
			f.Value = &onceValue{Value: f.Value}
		}
	}
	c.PersistentFlags().VisitAll(once)
	c.LocalNonPersistentFlags().VisitAll(once)
	for _, child := range c.Commands() {
		strict(child)
	}
}

// flagError says in our words what is wrong with an option.
func flagError(err error) error {
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		if f := e.GetFlag(); f != nil {
			return usagef("--%s needs a value", f.Name)
		}
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		name := "--" + e.GetFlag().Name
		switch {
		case errors.Is(err, errRepeated):
			return usagef("%s may not be given more than once", name)
		case errors.Is(err, strconv.ErrSyntax):
			return usagef("invalid value '%s' for '%s': not a %s", e.GetValue(), name, kindOf(e.GetFlag().Value))
		case errors.Is(err, strconv.ErrRange):
			return usagef("invalid value '%s' for '%s': out of range", e.GetValue(), name)
		}
		return usagef("invalid value '%s' for '%s': %w", e.GetValue(), name, e.Unwrap())
	}
	return &usageError{err}
}

func kindOf(v pflag.Value) string {
	if v.Type() == "bool" {
		return "boolean"
	}
	return "number"
}

// operandPattern finds what is not an option in a usage line: NAME, NAME..., [NAME] or [NAME | OTHER]...
var (
	optionPattern  = regexp.MustCompile(`\(--[^)]*\)|\[--[^\]]*\]|--\S+`)
	operandPattern = regexp.MustCompile(`\[[^\]]*\](\.\.\.)?|\S+`)
)

// operandError says which of the arguments in the usage line are missing, or which one is too many.
func operandError(use string, args []string, err error) error {
	if _, ok := errors.AsType[*usageError](err); ok {
		return err
	}
	_, use, _ = strings.Cut(use, " ")
	operands := operandPattern.FindAllString(optionPattern.ReplaceAllString(use, ""), -1)
	required := slices.DeleteFunc(slices.Clone(operands), func(s string) bool { return strings.HasPrefix(s, "[") })
	switch {
	case len(args) < len(required):
		return usagef("missing argument: %s", strings.Join(required[len(args):], " "))
	case len(args) > len(operands):
		return usagef("unexpected argument: %s", args[len(operands)])
	}
	return &usageError{err}
}

// exclusive refuses options that were declared to exclude each other. Cobra does so as well, but later, and in words of its
// own that do not count as a usage error.
func exclusive(fs *pflag.FlagSet) error {
	var err error
	fs.VisitAll(func(f *pflag.Flag) {
		for _, names := range f.Annotations["cobra_annotation_mutually_exclusive"] {
			given := slices.DeleteFunc(strings.Fields(names), func(n string) bool { return !fs.Changed(n) })
			if len(given) > 1 {
				err = usagef("--%s: choose one", strings.Join(given, " and --"))
			}
		}
	})
	return err
}

var errRepeated = errors.New("given more than once")

// onceValue refuses a second value for an option that takes one: which of the two was meant is not for us to guess.
type onceValue struct {
	pflag.Value
	set bool
}

func (v *onceValue) Set(s string) error {
	if v.set {
		return errRepeated
	}
	v.set = true
	return v.Value.Set(s)
}

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
		f.Usage = fmt.Sprintf("%s (required)", f.Usage)
	}
}
