package request

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
)

// Formats of images.
const (
	Plain  = "plain"
	OSTree = "ostree"
)

// Outputs of builds with BuildKit.
const (
	OutputImage  = "image"
	OutputLayout = "layout"
)

// Options are the options a user can set. They have the names of the command line's flags. The zero value is the
// default. [Options.Set] refuses invalid values, and [Options.Check] options that do not go together.
type Options struct {
	Format         string   `json:"format,omitempty"`
	Ref            string   `json:"ref,omitempty"`
	Repo           string   `json:"repo,omitempty"`
	SingleLayer    bool     `json:"single-layer,omitempty"`
	MaxLayers      int      `json:"max-layers,omitempty"`
	Packing        string   `json:"packing,omitempty"`
	Rebalance      string   `json:"rebalance,omitempty"`
	UpdateInterval string   `json:"update-interval,omitempty"`
	Strict         bool     `json:"strict,omitempty"`
	Compression    string   `json:"compression,omitempty"`
	Level          int      `json:"compression-level,omitempty"`
	Fast           bool     `json:"compression-fast,omitempty"`
	Var            string   `json:"var,omitempty"`
	SELinux        string   `json:"selinux,omitempty"`
	Prepare        string   `json:"prepare,omitempty"`
	CopyMeta       []string `json:"copymeta,omitempty"`
	CopyMetaOpt    []string `json:"copymeta-opt,omitempty"`
	Prune          []string `json:"prune,omitempty"`

	// The other fields name files and images, which the door opens. Names are not part of a cache key.
	Mapping     string `json:"-"`
	ContentMeta string `json:"-"`
	Prior       string `json:"-"`
	KeepBase    string `json:"-"`

	// Output and Verify are for the frontend; Verify names the policy that images must fulfil. The others are for the
	// command line: the repository that also keeps the commit, a ref to it, and whether the layers of the prior image are
	// read before they are kept.
	Output     string `json:"-"`
	Verify     string `json:"-"`
	Store      string `json:"-"`
	WriteRef   string `json:"-"`
	CheckPrior bool   `json:"-"`
}

// An option has a name, and a function that sets it.
type option struct {
	name string
	// values describes the valid values for people.
	values string
	set    func(*Options, string) error
}

// options are sorted by name.
var options = []option{
	{"compression", "gzip, zstd or none",
		parsed(func(o *Options) *string { return &o.Compression }, encapsulate.ParseCompression)},
	{"compression-fast", "true or false", boolean(func(o *Options) *bool { return &o.Fast })},
	{"compression-level", "a number from 1 to 22", number(func(o *Options) *int { return &o.Level }, 1, 22)},
	{"contentmeta", "a file", text(func(o *Options) *string { return &o.ContentMeta })},
	{"copymeta", "keys of the commit's metadata, separated by commas",
		list(func(o *Options) *[]string { return &o.CopyMeta })},
	{"copymeta-opt", "keys of the commit's metadata, separated by commas",
		list(func(o *Options) *[]string { return &o.CopyMetaOpt })},
	{"format", "plain or ostree", choice(func(o *Options) *string { return &o.Format }, Plain, OSTree)},
	{"keep-base", "true, false, or an image", text(func(o *Options) *string { return &o.KeepBase })},
	{"mapping", "a file", text(func(o *Options) *string { return &o.Mapping })},
	{"max-layers", "a number from 2 to 499",
		number(func(o *Options) *int { return &o.MaxLayers }, 2, plan.MaxLayersLimit)},
	{"output", "image or layout", choice(func(o *Options) *string { return &o.Output }, OutputImage, OutputLayout)},
	{"packing", "cost or upstream", parsed(func(o *Options) *string { return &o.Packing }, plan.ParsePacking)},
	{"prepare", "ostree", choice(func(o *Options) *string { return &o.Prepare }, OSTree)},
	{"prior", "an image, or none", text(func(o *Options) *string { return &o.Prior })},
	{"prune", "absolute paths, separated by commas; one that ends in a slash names the content of a directory",
		func(o *Options, v string) error { return o.SetPrune(strings.Split(v, ",")) }},
	{"rebalance", "never, auto or always", parsed(func(o *Options) *string { return &o.Rebalance }, plan.ParseRebalance)},
	{"ref", "a ref or checksum of the repository", text(func(o *Options) *string { return &o.Ref })},
	{"repo", "a directory of the last stage or of the context named repo",
		text(func(o *Options) *string { return &o.Repo })},
	{"selinux", "auto or off", choice(func(o *Options) *string { return &o.SELinux }, "auto", "off")},
	{"single-layer", "true or false", boolean(func(o *Options) *bool { return &o.SingleLayer })},
	{"strict", "true or false", boolean(func(o *Options) *bool { return &o.Strict })},
	{"update-interval", "7, 7d, 2w, weekly …",
		parsed(func(o *Options) *string { return &o.UpdateInterval }, plan.ParseInterval)},
	{"var", "keep or drop", choice(func(o *Options) *string { return &o.Var }, "keep", "drop")},
	{"verify", "a named build context, or a directory of the build context, that has policy.json",
		parsed(func(o *Options) *string { return &o.Verify }, parsePlace)},
}

// Names returns the names of all options, sorted.
func Names() []string {
	names := make([]string, 0, len(options))
	for _, o := range options {
		names = append(names, o.name)
	}
	return names
}

// Set sets an option. The error is an [*Error], which lists the valid values.
func (o *Options) Set(name, value string) error {
	i := slices.IndexFunc(options, func(c option) bool { return c.name == name })
	if i < 0 {
		return &Error{Unknown: name}
	}
	if err := options[i].set(o, value); err != nil {
		return &Error{Options: []string{name}, Value: &value, Why: "give " + options[i].values}
	}
	return nil
}

// rebalances reports whether layers of the prior image may be opened.
func (o *Options) rebalances() bool { return o.Rebalance != "" && o.Rebalance != "never" }

func (o *Options) keepsBase() bool { return o.KeepBase != "" && o.KeepBase != "false" }

// KeepsBase reports whether the layers of a base image stay as they are, and which image that is. "" is the image of
// FROM.
func (o *Options) KeepsBase() (ref string, keep bool) {
	if o.KeepBase == "true" {
		return "", true
	}
	return o.KeepBase, o.keepsBase()
}

var errValue = errors.New("no such value")

func text(field func(*Options) *string) func(*Options, string) error {
	return func(o *Options, v string) error {
		if v == "" {
			return errValue
		}
		*field(o) = v
		return nil
	}
}

// parsePlace accepts the name of a context or directory. A boolean word is taken for a mistake: without a policy,
// nothing could be verified.
func parsePlace(v string) (string, error) {
	if _, err := strconv.ParseBool(v); err == nil || v == "" || v == "none" {
		return "", errValue
	}
	return v, nil
}

func choice(field func(*Options) *string, values ...string) func(*Options, string) error {
	return func(o *Options, v string) error {
		if !slices.Contains(values, v) {
			return errValue
		}
		*field(o) = v
		return nil
	}
}

func parsed[T any](field func(*Options) *string, parse func(string) (T, error)) func(*Options, string) error {
	return func(o *Options, v string) error {
		_, err := parse(v)
		if err == nil {
			*field(o) = v
		}
		return err
	}
}

func boolean(field func(*Options) *bool) func(*Options, string) error {
	return func(o *Options, v string) error {
		b, err := strconv.ParseBool(v)
		*field(o) = b
		return err
	}
}

func number(field func(*Options) *int, least, most int) func(*Options, string) error {
	return func(o *Options, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return errValue
		}
		*field(o) = n
		return nil
	}
}

func list(field func(*Options) *[]string) func(*Options, string) error {
	return func(o *Options, v string) error {
		*field(o) = nil
		for key := range strings.SplitSeq(v, ",") {
			if key == "" {
				return errValue
			}
			*field(o) = append(*field(o), key)
		}
		return nil
	}
}
