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
}

// Load reads a policy. It is strict, as the container tools are: keys that it does not know, keys that are there twice
// and empty lists are errors, which wrap [ErrInvalid]. If [Supported] is set, the policy also is one for
// go.podman.io/image.
func Load(path string) (*Policy, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	p.File = path
	return p, nil
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
