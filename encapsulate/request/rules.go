package request

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
)

// ErrOption is wrapped by errors about options that do not exist, have no such value, or do not go together.
var ErrOption = errors.New("invalid option")

// Error is the error about options. It wraps [ErrOption].
type Error struct {
	// Unknown is the name of an option that does not exist, or else empty.
	Unknown string
	// Options are the names of those that are concerned.
	Options []string
	// Value is what the only one of them cannot be, or nil.
	Value *string
	// Why says what is wrong and what to do. Names of options in it stand in braces.
	Why string
}

// Error implements error, with the options by their names.
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

// Spell returns Why with the names of options as somebody else writes them.
func (e *Error) Spell(spell func(name string) string) string {
	return braced.ReplaceAllStringFunc(e.Why, func(s string) string { return spell(s[1 : len(s)-1]) })
}

// Input is what an image is made of, as far as that is known.
type Input uint8

const (
	// Tree is a root filesystem.
	Tree Input = iota
	// Commit is a commit in a repository.
	Commit
	// Image is an image that nobody has looked into yet.
	Image
	// ImageOfCommit is an image that holds a commit.
	ImageOfCommit
)

// Door is where a request comes from.
type Door uint8

// The doors.
const (
	CommandLine Door = iota
	Frontend
)

// A rule says which options do not go together.
type rule struct {
	why     string
	options []string
	wrong   func(o *Options, in Input) bool
	// only is the door for which the rule is; everywhere is for both.
	only func(Door) bool
}

func everywhere(Door) bool      { return true }
func atFrontend(d Door) bool    { return d == Frontend }
func atCommandLine(d Door) bool { return d == CommandLine }

// formatIs reports whether the image will surely have a format.
func (o *Options) formatIs(format string, in Input) bool {
	switch {
	case o.Format != "":
		return o.Format == format
	case in == Commit:
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

// rules are all there are. A rule that asks for the format says nothing while that is not known.
var rules = []rule{
	{"{ref} names a commit, which {format}=plain does not take: leave out one of them", []string{"ref", "format"},
		func(o *Options, in Input) bool { return in == Commit && o.Format == Plain }, everywhere},
	{"{contentmeta} is for commits: give {ref}, too", []string{"contentmeta", "ref"},
		func(o *Options, in Input) bool { return in != Commit && o.ContentMeta != "" }, everywhere},
	{"{copymeta} and {copymeta-opt} are for commits: give {ref}, too", []string{"copymeta", "copymeta-opt", "ref"},
		func(o *Options, in Input) bool { return in != Commit && len(o.CopyMeta)+len(o.CopyMetaOpt) > 0 }, everywhere},
	{"{var} and {selinux} are for root filesystems, not for a commit", []string{"var", "selinux"},
		func(o *Options, in Input) bool { return in == Commit && (o.Var != "" || o.SELinux != "") }, everywhere},
	{"{var} and {selinux} are for {format}=ostree", []string{"var", "selinux", "format"},
		func(o *Options, in Input) bool { return o.formatIs(Plain, in) && (o.Var != "" || o.SELinux != "") }, everywhere},
	{"{keep-base} is for {format}=plain: a commit has no base", []string{"keep-base", "format"},
		func(o *Options, in Input) bool { return o.keepsBase() && o.formatIs(OSTree, in) }, everywhere},
	{"{packing}=upstream is for commits: use {packing}=cost or {format}=ostree", []string{"packing", "format"},
		func(o *Options, in Input) bool { return o.formatIs(Plain, in) && o.Packing == "upstream" }, everywhere},
	{"{rebalance} is for {packing}=cost", []string{"rebalance", "packing"},
		func(o *Options, _ Input) bool {
			return o.Packing == "upstream" && o.Rebalance != "" && o.Rebalance != "never"
		}, everywhere},
	{"{update-interval} is for {packing}=cost", []string{"update-interval", "packing"},
		func(o *Options, _ Input) bool { return o.Packing == "upstream" && o.UpdateInterval != "" }, everywhere},
	{"{single-layer} and {max-layers}: choose one", []string{"single-layer", "max-layers"},
		func(o *Options, _ Input) bool { return o.SingleLayer && o.MaxLayers != 0 }, everywhere},
	{"{single-layer} and {contentmeta}: choose one", []string{"single-layer", "contentmeta"},
		func(o *Options, _ Input) bool { return o.SingleLayer && o.ContentMeta != "" }, everywhere},
	{"{compression-fast} and {compression-level}: choose one", []string{"compression-fast", "compression-level"},
		func(o *Options, _ Input) bool { return o.Fast && o.Level != 0 }, everywhere},
	{"{compression}=none has no level: leave out {compression-level} and {compression-fast}",
		[]string{"compression", "compression-level", "compression-fast"},
		func(o *Options, _ Input) bool { return o.Compression == "none" && (o.Fast || o.Level != 0) }, everywhere},
	{fmt.Sprintf("gzip has the levels 1 to %d: give {compression-level} one of them, or use {compression}=zstd", deflate.MaxLevel),
		[]string{"compression-level", "compression"}, func(o *Options, _ Input) bool {
			return (o.Compression == "" || o.Compression == "gzip") && o.Level > deflate.MaxLevel
		}, everywhere},

	// BuildKit's frontend names a commit by options, and the command line by arguments.
	{"{repo} says where the repository is, and {ref} which commit of it: give {ref}, too", []string{"repo", "ref"},
		func(o *Options, in Input) bool { return in != Commit && o.Repo != "" }, atFrontend},
	// What is given out is the builder's to put together, and it has no annotations of layers.
	{"{keep-base} and {output}=layout: choose one, as the base's layers are not in a layout", []string{"keep-base", "output"},
		func(o *Options, _ Input) bool { return o.keepsBase() && o.Output == OutputLayout }, atFrontend},
	{"{prior} is for {packing}=cost", []string{"prior", "packing"},
		func(o *Options, _ Input) bool { return o.Prior != "" && o.Prior != "none" && o.Packing == "upstream" }, atFrontend},
	// The command line can keep the commit.
	{"{store} is for {format}=ostree", []string{"store", "format"},
		func(o *Options, in Input) bool { return o.Store != "" && o.formatIs(Plain, in) }, atCommandLine},
	{"{write-ref} is for {store}: give the repository, too", []string{"write-ref", "store"},
		func(o *Options, _ Input) bool { return o.WriteRef != "" && o.Store == "" }, atCommandLine},
}

// Check reports options that do not go together. It is called before anything is opened, with what is known of the input, and
// once more where only the opened input tells. The error is an [*Error].
func (o *Options) Check(door Door, in Input) error {
	for _, r := range rules {
		if r.only(door) && r.wrong(o, in) {
			return &Error{Options: r.options, Why: r.why}
		}
	}
	return nil
}

// Resolve settles the format for an opened input, and checks once more. What is made of an image that holds a commit holds a
// commit again, unless the layers of a base stay.
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
