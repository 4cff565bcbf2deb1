package request

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
)

// ErrOption is wrapped by errors about options that do not exist, have an invalid value, or do not go together.
var ErrOption = errors.New("invalid option")

// Error is an error about options. It wraps [ErrOption].
type Error struct {
	// Unknown is the name of an option that does not exist, or empty.
	Unknown string
	// Options are the names of the options that the error is about.
	Options []string
	// Value is the invalid value of the only option in Options, or nil.
	Value *string
	// Why says what is wrong and what to do. Names of options in it are in braces.
	Why string
}

// Error implements error. Options appear with their own names.
func (e *Error) Error() string {
	switch {
	case e.Unknown != "":
		return fmt.Sprintf("%v %q: there are %s", ErrOption, e.Unknown, strings.Join(Names(), ", "))
	case e.Value != nil:
		return fmt.Sprintf("%v: %s=%s: %s", ErrOption, e.Options[0], *e.Value, e.Why)
	}
	return fmt.Sprintf("%v: %s", ErrOption, e.Spell(func(name string) string { return name }))
}

// Unwrap returns [ErrOption].
func (e *Error) Unwrap() error { return ErrOption }

var braced = regexp.MustCompile(`\{[a-z-]+\}`)

// Spell returns Why, with each name of an option replaced by spell(name).
func (e *Error) Spell(spell func(name string) string) string {
	return braced.ReplaceAllStringFunc(e.Why, func(s string) string { return spell(s[1 : len(s)-1]) })
}

// Input is the kind of input of an image, as far as it is known.
type Input uint8

const (
	// Tree is a root filesystem.
	Tree Input = iota
	// Commit is a commit in a repository.
	Commit
	// Image is an image that was not opened yet.
	Image
	// ImageOfCommit is an image with a commit.
	ImageOfCommit
)

// Door is the interface that a request comes from.
type Door uint8

// The doors.
const (
	CommandLine Door = iota
	Frontend
)

// A rule describes options that do not go together.
type rule struct {
	why     string
	options []string
	wrong   func(o *Options, in Input) bool
	// applies reports whether the rule applies at a door.
	applies func(Door) bool
}

func anyDoor(Door) bool         { return true }
func atFrontend(d Door) bool    { return d == Frontend }
func atCommandLine(d Door) bool { return d == CommandLine }

// formatIs reports whether it is certain that the image will have a format.
func (o *Options) formatIs(format string, in Input) bool {
	switch {
	case o.Format != "":
		return o.Format == format
	case in == Commit, o.Prepare != "":
		return format == OSTree
	case in == Tree:
		return format == Plain
	case in == ImageOfCommit && o.keepsBase():
		return format == Plain
	case in == ImageOfCommit:
		return format == OSTree
	}
	return in == Image && o.keepsBase() && format == Plain
}

// rules are all rules. A rule about the format does not apply while the format is not known.
var rules = []rule{
	{"{ref} names a commit, which {format}=plain does not take: leave out one of them", []string{"ref", "format"},
		func(o *Options, in Input) bool { return in == Commit && o.Format == Plain }, anyDoor},
	{"{contentmeta} is for commits: give {ref}, too", []string{"contentmeta", "ref"},
		func(o *Options, in Input) bool { return in != Commit && o.ContentMeta != "" }, anyDoor},
	{"{copymeta} and {copymeta-opt} are for commits: give {ref}, too", []string{"copymeta", "copymeta-opt", "ref"},
		func(o *Options, in Input) bool { return in != Commit && len(o.CopyMeta)+len(o.CopyMetaOpt) > 0 }, anyDoor},
	{"{var} and {selinux} are for root filesystems, not for a commit", []string{"var", "selinux"},
		func(o *Options, in Input) bool { return in == Commit && (o.Var != "" || o.SELinux != "") }, anyDoor},
	{"{prune} is for root filesystems, not for a commit", []string{"prune"},
		func(o *Options, in Input) bool { return in == Commit && len(o.Prune) > 0 }, anyDoor},
	{"{var} and {selinux} are for {format}=ostree", []string{"var", "selinux", "format"},
		func(o *Options, in Input) bool { return o.formatIs(Plain, in) && (o.Var != "" || o.SELinux != "") }, anyDoor},
	{"{prepare} is for root filesystems, not for a commit", []string{"prepare", "ref"},
		func(o *Options, in Input) bool { return in == Commit && o.Prepare != "" }, anyDoor},
	{"{prepare} is for {format}=ostree: leave out one of them", []string{"prepare", "format"},
		func(o *Options, in Input) bool { return o.Format == Plain && o.Prepare != "" }, anyDoor},
	{"{prepare} moves the content of /var, so {var} has nothing to do: leave out one of them", []string{"prepare", "var"},
		func(o *Options, _ Input) bool { return o.Prepare != "" && o.Var != "" }, anyDoor},
	{"{keep-base} is for {format}=plain: a commit has no base", []string{"keep-base", "format"},
		func(o *Options, in Input) bool { return o.keepsBase() && o.formatIs(OSTree, in) }, anyDoor},
	{"{packing}=upstream is for commits: use {packing}=cost or {format}=ostree", []string{"packing", "format"},
		func(o *Options, in Input) bool { return o.formatIs(Plain, in) && o.Packing == "upstream" }, anyDoor},
	{"{rebalance} is for {packing}=cost", []string{"rebalance", "packing"},
		func(o *Options, _ Input) bool { return o.Packing == "upstream" && o.rebalances() }, anyDoor},
	{"{update-interval} is for {packing}=cost", []string{"update-interval", "packing"},
		func(o *Options, _ Input) bool { return o.Packing == "upstream" && o.UpdateInterval != "" }, anyDoor},
	{"{single-layer} and {max-layers}: choose one", []string{"single-layer", "max-layers"},
		func(o *Options, _ Input) bool { return o.SingleLayer && o.MaxLayers != 0 }, anyDoor},
	{"{single-layer} and {packing}: choose one", []string{"single-layer", "packing"},
		func(o *Options, _ Input) bool { return o.SingleLayer && o.Packing != "" }, anyDoor},
	{"{single-layer} and {mapping}: choose one", []string{"single-layer", "mapping"},
		func(o *Options, _ Input) bool { return o.SingleLayer && o.Mapping != "" }, anyDoor},
	{"{single-layer} and {rebalance}: choose one", []string{"single-layer", "rebalance"},
		func(o *Options, _ Input) bool { return o.SingleLayer && o.rebalances() }, anyDoor},
	{"{single-layer} and {update-interval}: choose one", []string{"single-layer", "update-interval"},
		func(o *Options, _ Input) bool { return o.SingleLayer && o.UpdateInterval != "" }, anyDoor},
	{"a single layer has no plan that could continue: leave out {single-layer} or {prior}",
		[]string{"single-layer", "prior"},
		func(o *Options, _ Input) bool { return o.SingleLayer && o.Prior != "" && o.Prior != "none" }, anyDoor},
	{"{rebalance} is for the layers of a prior image: leave out {rebalance} or {prior}=none",
		[]string{"rebalance", "prior"},
		func(o *Options, _ Input) bool { return o.Prior == "none" && o.rebalances() }, anyDoor},
	{"{contentmeta} says which content belongs together, and so does {mapping}: choose one",
		[]string{"contentmeta", "mapping"},
		func(o *Options, _ Input) bool { return o.ContentMeta != "" && o.Mapping != "" }, anyDoor},
	{"{single-layer} and {contentmeta}: choose one", []string{"single-layer", "contentmeta"},
		func(o *Options, _ Input) bool { return o.SingleLayer && o.ContentMeta != "" }, anyDoor},
	{"{compression-fast} and {compression-level}: choose one", []string{"compression-fast", "compression-level"},
		func(o *Options, _ Input) bool { return o.Fast && o.Level != 0 }, anyDoor},
	{"{compression}=none has no level: leave out {compression-level} and {compression-fast}",
		[]string{"compression", "compression-level", "compression-fast"},
		func(o *Options, _ Input) bool { return o.Compression == "none" && (o.Fast || o.Level != 0) }, anyDoor},
	{fmt.Sprintf("gzip has the levels 1 to %d: give {compression-level} one of them, or use {compression}=zstd",
		deflate.MaxLevel),
		[]string{"compression-level", "compression"}, func(o *Options, _ Input) bool {
			return (o.Compression == "" || o.Compression == "gzip") && o.Level > deflate.MaxLevel
		}, anyDoor},

	// The frontend takes the commit as options, the command line as arguments.
	{"{repo} says where the repository is, and {ref} which commit of it: give {ref}, too", []string{"repo", "ref"},
		func(o *Options, in Input) bool { return in != Commit && o.Repo != "" }, atFrontend},
	// BuildKit assembles the image itself, without annotations of layers.
	{"{keep-base} and {output}=layout: choose one, as the base's layers are not in a layout",
		[]string{"keep-base", "output"},
		func(o *Options, _ Input) bool { return o.keepsBase() && o.Output == OutputLayout }, atFrontend},
	{"{prior} is for {packing}=cost", []string{"prior", "packing"},
		func(o *Options, _ Input) bool { return o.Prior != "" && o.Prior != "none" && o.Packing == "upstream" }, atFrontend},
	// The command line can keep the commit.
	{"{store} is for {format}=ostree", []string{"store", "format"},
		func(o *Options, in Input) bool { return o.Store != "" && o.formatIs(Plain, in) }, atCommandLine},
	{"{write-ref} is for {store}: give the repository, too", []string{"write-ref", "store"},
		func(o *Options, _ Input) bool { return o.WriteRef != "" && o.Store == "" }, atCommandLine},
	{"{check-prior} is for the layers of a prior image: leave it out, or {single-layer} and {prior}=none",
		[]string{"check-prior", "single-layer", "prior"},
		func(o *Options, _ Input) bool { return o.CheckPrior && (o.SingleLayer || o.Prior == "none") }, atCommandLine},
}

// Check returns an error if options do not go together. It is called before anything is opened, with what is known
// about the input, and again when the input is open. The error is an [*Error].
func (o *Options) Check(door Door, in Input) error {
	for _, r := range rules {
		if r.applies(door) && r.wrong(o, in) {
			return &Error{Options: r.options, Why: r.why}
		}
	}
	return nil
}

// Resolve sets the format for an opened input, and checks again. An image with a commit becomes an image with a
// commit, unless the layers of a base stay.
func (o *Options) Resolve(door Door, in Input) error {
	switch {
	case o.Format != "":
	case o.formatIs(OSTree, in):
		o.Format = OSTree
	default:
		o.Format = Plain
	}
	return o.Check(door, in)
}
