package policy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/internal/guarded"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// maxFile is the size above which a file of configuration is refused, in bytes.
const maxFile = 4 << 20

var (
	// ErrInvalid is wrapped by errors about the content of a policy.
	ErrInvalid = policyjson.ErrInvalid
	// ErrUnsupported is returned, or wrapped, where an image would have to be judged by a program that cannot do so.
	ErrUnsupported = errors.New("this program was built without support for the policies of container images, and " +
		"nothing is accepted without judging it: build it with go build -tags containers_image_openpgp, as make build does")
)

// Policy is a policy that was read.
type Policy struct {
	// File is where it was read.
	File string

	says *policyjson.Policy
	// circle is who may change the files that it names, or nil if that does not matter.
	circle *guarded.Circle
}

// Load reads a policy. It is strict, as the container tools are: keys that it does not know, keys that are there twice
// and empty lists are errors, which wrap [ErrInvalid]. If [Supported] is set, the policy also is one for
// go.podman.io/image.
//
// Others than root and the user may not be able to change the file, nor those that the rule for an image names
// ([Policy.Rule]): such an error wraps [guarded.ErrOpen]. A file in another place than [Find] looks may also belong to
// another user, whom the user trusted by naming it.
func Load(path string) (*Policy, error) {
	circle, err := circleOf(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	p.File, p.circle = path, &circle
	return p, nil
}

// circleOf returns who may change a policy.
func circleOf(path string) (guarded.Circle, error) {
	if !slices.Contains(thisHost().candidates(), path) {
		return guarded.Named(path)
	}
	return guarded.Ours(), guarded.Ours().Check(path)
}

// checkFiles checks that nobody else could change the files that requirements name. Those that are not there are told
// about where they are needed.
func (p *Policy) checkFiles(list []policyjson.Requirement) error {
	if p.circle == nil {
		return nil
	}
	for _, q := range list {
		for _, file := range q.Files() {
			if err := p.circle.Check(file); errors.Is(err, guarded.ErrOpen) {
				return fmt.Errorf("policy %s: %w", p.File, err)
			}
		}
	}
	return nil
}

// readFile reads a file of configuration.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %s", path, sizes.Format(maxFile))
	}
	return data, err
}

// Parse is [Load] for the content of a file. File is not set.
func Parse(data []byte) (*Policy, error) {
	says, err := policyjson.Parse(data)
	if err != nil {
		return nil, err
	}
	if err := accepted(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &Policy{says: says}, nil
}

// Rule is the part of a policy that counts for an image. Each of the requirements must be fulfilled.
type Rule struct {
	// File is where the policy was read.
	File string
	// Scope is the transport with the scope, such as "docker: quay.io/example", the transport alone for all its images,
	// or "default".
	Scope string
	// Requirements are never empty.
	Requirements []policyjson.Requirement
}

// String returns the file and the scope.
func (r *Rule) String() string { return r.File + ", " + r.Scope }

// Rule returns the rule for an image: that of the most specific scope, see [Scopes], else that of the transport, else
// the default of the policy. If another one is meant, but names the registry in another spelling, the error is a
// [*policyjson.SpellingError].
func (p *Policy) Rule(ref imgref.ImageReference) (*Rule, error) {
	transport := transportName(ref)
	lists := p.says.Transports[transport]
	if ref.Transport == imgref.DockerDaemon {
		_, err := parse(ref)
		return nil, err
	}
	scopes, err := Scopes(ref)
	if _, all := lists[""]; errors.Is(err, errStore) && (len(lists) == 0 || (all && len(lists) == 1)) {
		err = nil // which store it is makes no difference
	}
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", p.File, err)
	}
	scope, list, named, err := p.says.Rule(transport, scopes)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", p.File, err)
	}
	if err := p.checkFiles(list); err != nil {
		return nil, err
	}
	r := &Rule{File: p.File, Scope: "default", Requirements: list}
	if named {
		r.Scope = strings.TrimSuffix(transport+": "+scope, ": ")
	}
	return r, nil
}

// AcceptsAnything reports whether the rule accepts images without looking at signatures: nothing else than
// insecureAcceptAnything is required.
func (r *Rule) AcceptsAnything() bool {
	asks := func(q policyjson.Requirement) bool { return q.Type != policyjson.AcceptAnything }
	return !slices.ContainsFunc(r.Requirements, asks)
}

// Rejects reports whether the rule refuses every image, however it is signed.
func (r *Rule) Rejects() bool {
	rejects := func(q policyjson.Requirement) bool { return q.Type == policyjson.Reject }
	return slices.ContainsFunc(r.Requirements, rejects)
}
