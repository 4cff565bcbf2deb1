package trust

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// ErrRefused is wrapped by errors about images that are not signed as the rules ask. See [*RefusedError].
var ErrRefused = errors.New("the image is refused")

// RefusedError is the error for an image that is not signed as the rules ask. It wraps [ErrRefused].
type RefusedError struct {
	Ref imgref.OstreeImageReference
	// Rule says where the rules stand.
	Rule string
	// Findings are what was found at the index, if there is one, and at the manifest.
	Findings []*Finding
	// Advice says what the administrator may have to change, if that can be told.
	Advice []string
}

// Error implements error.
func (e *RefusedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v by %s", ErrRefused, e.Rule)
	for _, f := range e.Findings {
		fmt.Fprintf(&b, "; %s %s: %s", f.On, f.Digest, f.Reason)
	}
	for _, a := range e.Advice {
		b.WriteString("; " + a)
	}
	return b.String()
}

// Unwrap returns [ErrRefused].
func (e *RefusedError) Unwrap() error { return ErrRefused }

// Finding is what was found about one document.
type Finding struct {
	On     string `json:"on"` // "index" or "manifest"
	Digest string `json:"digest"`
	// Good are the signatures by which the rules are fulfilled.
	Good []oci.Signature `json:"-"`
	// Reason says why the rules are not fulfilled. It is empty if they are.
	Reason string `json:"reason,omitempty"`

	refused error // why a requirement of policy.json is not fulfilled
}

// fail notes why the document does not fulfil the rules. Signatures that fulfil a part of them do not count.
func (f *Finding) fail(reason string) { f.Reason, f.Good = reason, nil }

// judge examines the documents of one image.
type judge struct {
	door *Door
	ref  imgref.OstreeImageReference
	rule *decision
}

// document looks for the signatures of a document. An error means that they could not be read; that a signature is
// missing or wrong is a reason in the finding.
func (j *judge) document(ctx context.Context, doc oci.Document) (*Finding, error) {
	f := &Finding{On: kindOf(doc), Digest: doc.Digest.String()}
	if j.rule.policy != nil {
		if err := j.policy(ctx, doc, f); err != nil {
			return nil, fmt.Errorf("reading the signatures of %s: %w", j.ref.Image, err)
		}
	}
	if j.rule.own != nil && f.Reason == "" {
		if err := j.own(ctx, doc, f); err != nil {
			return nil, fmt.Errorf("reading the signatures of %s: %w", j.ref.Image, err)
		}
	}
	return f, nil
}

// policy evaluates the requirements of policy.json, all of which must be fulfilled.
func (j *judge) policy(ctx context.Context, doc oci.Document, f *Finding) (err error) {
	img, err := policy.Open(ctx, j.ref.Image, j.door.opts.Registry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	for _, req := range j.rule.policy.Requirements {
		if req.Type == policyjson.AcceptAnything {
			continue // others of the list ask for something, or our own rule does
		}
		s, err := img.Evaluate(ctx, req, j.rule.policy.File, doc)
		var refused *policy.RefusedError
		switch {
		case err == nil:
			s.On, s.Signed, s.Rule = f.On, f.Digest, j.rule.policy.String()
			f.Good = append(f.Good, s)
			continue
		case !errors.As(err, &refused):
			return err
		}
		f.refused = refused
		keys, err := j.policyKeys(&req)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			f.fail(refused.Reason)
			return nil
		}
		reason, err := j.search(ctx, doc, f, []signer{{keys: keys, rule: j.rule.byPolicyKeys.String()}})
		if err != nil {
			return err
		}
		if reason != "" {
			f.fail(refused.Reason + "; " + reason)
			return nil
		}
	}
	return nil
}

// policyKeys returns the keys of a requirement by which bundles count, too. If it also asks for an entry in a log,
// there are none: the entry in a bundle is not verified for keys.
func (j *judge) policyKeys(req *policyjson.Requirement) (keys []bundle.Key, err error) {
	logged := len(req.RekorKeyPaths) > 0 || len(req.RekorKeyDatas) > 0
	if j.rule.byPolicyKeys == nil || req.Type != policyjson.SigstoreSigned || logged {
		return nil, nil
	}
	for _, file := range req.KeyPaths {
		more, err := bundle.LoadKeys(file)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	for _, data := range req.KeyDatas {
		more, err := bundle.ParseKeys(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", j.rule.policy, err)
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

// own looks for a bundle of one of the signers of our own rule.
func (j *judge) own(ctx context.Context, doc oci.Document, f *Finding) error {
	signers, err := j.door.signers(j.rule.own)
	if err != nil {
		return err
	}
	reason, err := j.search(ctx, doc, f, signers)
	if reason != "" {
		f.fail(reason)
	}
	return err
}

// searchTime is how long bundles are looked for. Slow registries need some seconds.
const searchTime = 5 * time.Minute

var errSearchTime = fmt.Errorf("the registry did not show all bundles within %v", searchTime)

// search looks for a bundle of one of the signers. The reason says why there is none.
func (j *judge) search(ctx context.Context, doc oci.Document, f *Finding, signers []signer) (reason string, err error) {
	if len(signers) == 0 {
		return "the rules name nobody", nil
	}
	var good oci.Signature
	ctx, cancel := context.WithTimeoutCause(ctx, searchTime, errSearchTime)
	defer cancel()
	search := bundle.Find(j.ref.Image.Name, j.door.opts.Registry, doc.Digest)
	_, err = search.Verify(ctx, func(b *bundle.Bundle) error {
		var errs []error
		for i := range signers {
			found, err := signers[i].verify(b, doc.Digest)
			if err == nil {
				good = found
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if refused, ok := errors.AsType[*bundle.RefusedError](err); ok {
		return refused.Reason(), nil
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), errSearchTime) {
			err = errSearchTime
		}
		return "", err
	}
	good.On, good.Signed = f.On, f.Digest
	f.Good = append(f.Good, good)
	return "", nil
}

// refuse returns the error for an image whose documents do not fulfil the rules. The last finding is that of the
// manifest.
func (j *judge) refuse(findings ...*Finding) error {
	e := &RefusedError{Ref: j.ref, Rule: j.rule.String()}
	for _, f := range findings {
		if f == nil {
			continue
		}
		e.Findings = append(e.Findings, f)
		if f.refused == nil {
			continue
		}
		for _, a := range policy.Diagnose(j.ref.Image, j.rule.policy, f.refused) {
			if !slices.Contains(e.Advice, a) {
				e.Advice = append(e.Advice, a)
			}
		}
	}
	return e
}
