package setup

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"
)

var (
	// ErrOptions is wrapped by errors about options that are missing or do not go together.
	ErrOptions = errors.New("the options do not make a rule")
	// ErrConflict is wrapped by errors about files that already say something else about the same images. They are
	// changed if [Options.Replace] is set.
	ErrConflict = errors.New("nothing is replaced unasked")
	// ErrInvalid is wrapped by errors about files that the container tools would not read either.
	ErrInvalid = errors.New("this file is not valid, and images cannot be pulled with it")
)

// Options say who must have signed what.
type Options struct {
	Host Host
	// Scope are the images, see [ParseScope].
	Scope string
	// Name is that of the new files, without extension; if it is empty, it is made from the scope.
	Name string

	// Keys are the signers, any of which is enough: either keys of Sigstore or of OpenPGP.
	Keys []Key
	// NoBundles leaves it at attachments, which all container tools know: bundles of Sigstore by the keys do not count.
	NoBundles bool
	// Lookaside is the URL of the storage with signatures by keys of OpenPGP.
	Lookaside string

	// Issuer is the URL of an OpenID Connect provider, instead of keys. It needs either of the next two: what it calls
	// the signer, or a regular expression that matches the whole of that.
	Issuer, Identity, Expression string

	// Replace allows to replace what there is already about the same scope.
	Replace bool
}

// Action says what happens to a file.
type Action string

// The actions.
const (
	Create Action = "create"
	Change Action = "change"
	Keep   Action = "keep"
)

// A File is a file of a plan. The JSON form is documented in docs/formats.md.
type File struct {
	// Path is where it is on this machine, below [Host.Root].
	Path   string `json:"path"`
	Action Action `json:"action"`
	// Base is the file that a new one is a copy of, apart from the changes.
	Base string `json:"base,omitempty"`
	// Diff shows the changes, in the unified format.
	Diff string `json:"diff,omitempty"`
}

// A Plan says what is to be written.
type Plan struct {
	// Scope are the images.
	Scope string
	// Files are all files that have a part in it, in the order in which they are written.
	Files []File
	// Notes are what the administrator should know.
	Notes []string
	// NeedsTrustedRoot says that there is no file with the authorities of identities.
	NeedsTrustedRoot bool

	host    Host
	changes []change
}

// change is a file to write.
type change struct {
	path     string // on the host
	exists   bool
	old, new []byte // old is what the file has, nil if it does not exist
}

// Changes reports whether there is anything to write.
func (p *Plan) Changes() bool { return len(p.changes) > 0 }

// builder makes a plan.
type builder struct {
	opts   Options
	layout *layout
	plan   *Plan
}

// Make plans the files. Errors wrap [ErrOptions], [ErrScope], [ErrKey], [ErrConflict] or [ErrInvalid] if that is what
// is wrong.
func Make(opts Options) (*Plan, error) {
	openPGP, err := opts.check()
	if err != nil {
		return nil, err
	}
	opts.Name = cmp.Or(opts.Name, fileName(opts.Scope))
	if !plainName.MatchString(opts.Name) {
		return nil, fmt.Errorf("%w: %q cannot be the name of a file: choose another with --name", ErrOptions, opts.Name)
	}
	l, err := opts.Host.open()
	if err != nil {
		return nil, err
	}
	defer l.Close()
	b := &builder{opts, l, &Plan{Scope: opts.Scope, host: opts.Host}}
	if err := b.all(openPGP); err != nil {
		return nil, err
	}
	if opts.Host.User && b.plan.Changes() {
		b.note("these files count for this user alone: run the command as root for what the host pulls")
	}
	return b.plan, nil
}

// check returns an error if the options do not go together, and whether the keys are those of OpenPGP.
func (o *Options) check() (openPGP bool, err error) {
	fail := func(why string) (bool, error) { return false, fmt.Errorf("%w: %s", ErrOptions, why) }
	scope, err := ParseScope(o.Scope)
	if err != nil {
		return false, err
	}
	o.Scope = scope
	byIdentity := o.Issuer != "" || o.Identity != "" || o.Expression != ""
	switch {
	case len(o.Keys) == 0 && !byIdentity:
		return fail("name the signer: a key, or an issuer with an identity")
	case len(o.Keys) > 0 && byIdentity:
		return fail("the signer has either keys or an identity")
	case byIdentity && o.NoBundles:
		return fail("signatures by an identity are bundles")
	case byIdentity && o.Lookaside != "":
		return fail("a lookaside storage is for signatures by keys of OpenPGP")
	case byIdentity:
		return false, o.checkIdentity()
	}
	for i := range o.Keys {
		if err := o.Keys[i].check(); err != nil {
			return false, err
		}
		for _, other := range o.Keys[:i] {
			if other.openPGP != o.Keys[i].openPGP {
				return fail("keys of Sigstore and of OpenPGP in one rule would have to sign together: choose one kind")
			}
			if string(other.Data) == string(o.Keys[i].Data) {
				return fail(fmt.Sprintf("%s and %s are the same key", other.Name, o.Keys[i].Name))
			}
		}
	}
	openPGP = o.Keys[0].openPGP
	if o.Lookaside != "" {
		u, err := url.Parse(o.Lookaside)
		switch {
		case !openPGP:
			return fail("a lookaside storage is for signatures by keys of OpenPGP")
		case err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "file":
			return fail("a lookaside storage is a URL that begins with https://, http:// or file://")
		}
	}
	return openPGP, nil
}

func (o *Options) checkIdentity() error {
	fail := func(why string) error { return fmt.Errorf("%w: %s", ErrOptions, why) }
	u, err := url.Parse(o.Issuer)
	switch {
	case o.Issuer == "":
		return fail("an identity needs its issuer")
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return fail("the issuer is a URL such as https://token.actions.githubusercontent.com")
	case o.Identity == "" && o.Expression == "":
		return fail("an issuer alone is nobody: add an identity, or an expression for identities")
	case o.Identity != "" && o.Expression != "":
		return fail("choose either an identity or an expression for identities")
	}
	if o.Expression == "" {
		return nil
	}
	if _, err := regexp.Compile(o.Expression); err != nil {
		return fail(fmt.Sprintf("the expression for identities: %v", err))
	}
	whole, err := regexp.Compile(`\A(?:` + o.Expression + `)\z`)
	if err != nil {
		return fail(fmt.Sprintf("the expression for identities: %v", err))
	}
	if whole.MatchString("") || whole.MatchString("https://nobody.invalid/") {
		return fail(fmt.Sprintf("the expression %s accepts everybody: write out whom you mean", o.Expression))
	}
	return nil
}

// all plans all files. The policy comes last, so that nothing is asked for before the rest is there.
func (b *builder) all(openPGP bool) error {
	p, err := b.layout.readPolicy()
	if err != nil {
		return err
	}
	r, err := b.layout.readRules()
	if err != nil {
		return err
	}
	if len(b.opts.Keys) == 0 {
		b.aroundPolicy(p, true)
		return b.identity(r)
	}
	files, err := b.keys(openPGP)
	if err != nil {
		return err
	}
	if err := b.registries(openPGP); err != nil {
		return err
	}
	if err := b.bundles(r, openPGP || b.opts.NoBundles); err != nil {
		return err
	}
	if err := b.policy(p, requirementFor(openPGP, files)); err != nil {
		return err
	}
	b.aroundPolicy(p, false)
	return nil
}

// keys plans copies of the keys, and returns their paths on the host.
func (b *builder) keys(openPGP bool) ([]string, error) {
	suffix := ".pub"
	if openPGP {
		suffix = ".gpg"
	}
	var files []string
	for i, key := range b.opts.Keys {
		file := b.layout.keys + "/" + b.opts.Name
		if i > 0 {
			file += fmt.Sprintf("-%d", i+1)
		}
		file += suffix
		files = append(files, file)
		old, exists, err := b.layout.read(file)
		if err != nil {
			return nil, fmt.Errorf("reading a key: %w", err)
		}
		switch {
		case exists && string(old) == string(key.Data):
			b.keep(file)
			continue
		case exists && !b.opts.Replace:
			return nil, fmt.Errorf("%w: %s is there, and has another key than %s: give --replace if the new one is to stand "+
				"instead of it, both for two keys, or --name for another file", ErrConflict, b.layout.show(file), key.Name)
		}
		b.put(file, exists, "", old, key.Data)
	}
	return files, nil
}

// put plans to write a file. If base is not empty, old is the content of that file.
func (b *builder) put(path string, exists bool, base string, old, data []byte) {
	file := File{Path: b.layout.show(path), Action: Create}
	from, shown := "/dev/null", []byte(nil)
	switch {
	case exists:
		file.Action, from, shown = Change, file.Path, old
	case base != "":
		file.Base = b.layout.show(base)
		from, shown = file.Base, old
	}
	file.Diff = unified(from, shown, file.Path, data)
	if !exists {
		old = nil
	}
	b.plan.Files = append(b.plan.Files, file)
	b.plan.changes = append(b.plan.changes, change{path, exists, old, data})
}

// keep notes that a file has what is needed.
func (b *builder) keep(path string) {
	b.plan.Files = append(b.plan.Files, File{Path: b.layout.show(path), Action: Keep})
}

func (b *builder) note(format string, args ...any) {
	b.plan.Notes = append(b.plan.Notes, fmt.Sprintf(format, args...))
}

// unified returns the difference of two files as text.
func unified(oldName string, old []byte, newName string, data []byte) string {
	for _, content := range [][]byte{old, data} {
		if !utf8.Valid(content) || strings.ContainsRune(string(content), 0) {
			return fmt.Sprintf("Binary files %s and %s differ\n", oldName, newName)
		}
	}
	text := string(diff.Diff(oldName, old, newName, data))
	// The first line is the library's own.
	if _, rest, ok := strings.Cut(text, "\n"); ok {
		return rest
	}
	return text
}
