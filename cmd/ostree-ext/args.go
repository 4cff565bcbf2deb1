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

// group returns a command that only has subcommands.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(children...)
	makeGroup(c)
	return c
}

// makeGroup makes c refuse arguments that are not one of its commands.
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

// unknownCommand returns the error for a name that is not a command of the group c.
func unknownCommand(c *cobra.Command, name string) error {
	if instead, ok := composeInstead[name]; ok && c.Name() == "compose" {
		return usagef("'compose %s' of rpm-ostree is not a command here: %s", name, instead)
	}
	hint := ""
	var like []string
	if name != "" { // every name is like that
		if like = c.SuggestionsFor(name); len(like) == 0 {
			like = elsewhere(c.Root(), name)
		}
	}
	if len(like) > 0 {
		hint = "; did you mean " + strings.Join(like, " or ") + "?"
	}
	return usagef("unknown command %q for %q%s", name, c.CommandPath(), hint)
}

// elsewhere returns the commands below c that have a name or one like it, with the names of their groups.
func elsewhere(c *cobra.Command, name string) (found []string) {
	for _, group := range c.Commands() {
		if !group.HasSubCommands() || group.Name() == "completion" {
			continue
		}
		for _, like := range group.SuggestionsFor(name) {
			found = append(found, "'"+group.CommandPath()+" "+like+"'")
		}
		found = append(found, elsewhere(group, name)...)
	}
	return found
}

// addStandardCommands adds cobra's help and completion commands. Cobra would add them when the program runs, which is
// too late for the rules of strict.
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

// help prints the help of the command that args names.
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

// strict applies the rules for arguments to c and each command below it: a mistake is a usage error, and an option with
// a single value may be given only once. lenient is set if arguments are parsed to complete them.
func strict(c *cobra.Command, lenient bool) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// Flags of a command that does not exist are unknown because of that.
		if args := c.Flags().Args(); len(args) > 0 && c.HasSubCommands() {
			return unknownCommand(c, args[0])
		}
		return flagError(c, err)
	})
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
		if _, list := f.Value.(pflag.SliceValue); !list && f.Value.Type() != "count" && !lenient {
			f.Value = &onceValue{Value: f.Value, mayBeEmpty: slices.Contains(mayBeEmpty, f.Name)}
		}
	}
	c.PersistentFlags().VisitAll(once)
	c.LocalNonPersistentFlags().VisitAll(once)
	for _, child := range c.Commands() {
		strict(child, lenient)
	}
}

// flagError returns a usage error with our own words for an error about an option.
func flagError(c *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok && len(e.GetSpecifiedName()) > 1 {
		return usagef("%w%s", err, likeFlag(c, e.GetSpecifiedName()))
	}
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
		case errors.Is(err, errEmpty):
			return usagef("%s needs a value, and '' is empty: give one, or leave %s out", name, name)
		case strings.HasPrefix(e.GetFlag().Value.Type(), "uint") && strings.HasPrefix(e.GetValue(), "-"):
			return usagef("invalid value '%s' for '%s': it may not be below 0", e.GetValue(), name)
		case errors.Is(err, strconv.ErrSyntax):
			return usagef("invalid value '%s' for '%s': not a %s", e.GetValue(), name, kindOf(e.GetFlag().Value))
		case errors.Is(err, strconv.ErrRange):
			return usagef("invalid value '%s' for '%s': out of range", e.GetValue(), name)
		}
		return usagef("invalid value '%s' for '%s': %w", e.GetValue(), name, e.Unwrap())
	}
	return &usageError{err}
}

// likeFlag returns a hint about a flag of c whose name is like the one that does not exist, or "".
func likeFlag(c *cobra.Command, name string) string {
	// Cobra compares names of commands only.
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	like := names.SuggestionsFor(name)
	if len(like) == 0 {
		return ""
	}
	return "; did you mean --" + strings.Join(like, " or --") + "?"
}

func kindOf(v pflag.Value) string {
	if v.Type() == "bool" {
		return "boolean"
	}
	return "number"
}

// The patterns match parts of a usage line. An operand is anything but an option: NAME, NAME..., [NAME] or [NAME |
// OTHER]...
var (
	optionPattern  = regexp.MustCompile(`\(--[^)]*\)|\[--[^\]]*\]|--\S+`)
	operandPattern = regexp.MustCompile(`\[[^\]]*\](\.\.\.)?|\S+`)
)

// operandError returns a usage error that names the missing arguments or the first that is too many.
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

// exclusive returns an error if options that exclude each other are given. Cobra checks this too, but later, and its
// error is not a usage error.
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

var (
	errRepeated = errors.New("given more than once")
	// A script passes an empty value if a variable is not set. It is not the same as no value.
	errEmpty = errors.New("empty")
)

// mayBeEmpty are the options whose value is free text.
var mayBeEmpty = []string{"subject", "body"}

// onceValue is a value that can be set only once, since it would be a guess which of two values is meant.
type onceValue struct {
	pflag.Value
	set        bool
	mayBeEmpty bool
}

func (v *onceValue) Set(s string) error {
	if v.set {
		return errRepeated
	}
	if s == "" && !v.mayBeEmpty {
		return errEmpty
	}
	v.set = true
	return v.Value.Set(s)
}

// required marks options as required. If one is missing, that is a usage error.
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
