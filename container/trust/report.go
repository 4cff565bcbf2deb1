package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// Report says whether an image would come in, and why. docs/formats.md specifies its JSON.
type Report struct {
	Image string `json:"image"`
	// Digest is that of the manifest, and Index that of the index that lists it. They are empty if they were not read.
	Digest digest.Digest `json:"digest,omitempty"`
	Index  digest.Digest `json:"index,omitempty"`
	// Admitted is whether the image comes in, and Reason says why it does not.
	Admitted bool   `json:"admitted"`
	Reason   string `json:"reason,omitempty"`
	// Rules say which rules decide, and what each of them asks for.
	Rules []RuleReport `json:"rules"`
	// Signatures are those by which the rules are fulfilled.
	Signatures []oci.Signature `json:"signatures,omitempty"`
	// Findings are what was found at the index and the manifest.
	Findings []*Finding `json:"findings,omitempty"`
	Advice   []string   `json:"advice,omitempty"`
	// Stored is set if the image was not looked at: the signatures are those that were verified when it was pulled.
	Stored bool `json:"stored,omitempty"`
}

// RuleReport describes a rule.
type RuleReport struct {
	File  string   `json:"file"`
	Scope string   `json:"scope"`
	Asks  []string `json:"asks"`
}

// Check says whether an image would come in. A reference that asks for nothing is treated as one that asks for
// signatures. An error means that this could not be found out; that the image is refused is part of the report.
//
// For a reference that names a remote, the beginning of the commit's layer is fetched.
func (d *Door) Check(
	ctx context.Context, ref imgref.OstreeImageReference, opts source.Options,
) (r *Report, err error) {
	r, err = d.explain(ref)
	if err != nil || r.Reason != "" {
		return r, err
	}
	strict := New(d.opts)
	strict.opts.Require = true
	opts.Admission = strict.Admit
	img, err := source.Open(ctx, ref, opts)
	var refused *RefusedError
	if errors.As(err, &refused) {
		r.Reason, r.Findings, r.Advice = refused.Error(), refused.Findings, refused.Advice
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	r.Digest = img.Top.Digest
	if img.Index != nil {
		r.Index = img.Index.Digest
	}
	if ref.Signature.Kind == imgref.OstreeRemote {
		if err := source.AdmitCommit(ctx, img); err != nil {
			r.Reason = err.Error()
			return r, ctx.Err()
		}
	}
	r.Admitted, r.Signatures = true, img.Signatures()
	return r, nil
}

// Stored says who signed a stored image, as recorded when it was pulled, and which rules decide today. Nothing is
// fetched.
func (d *Door) Stored(
	ref imgref.OstreeImageReference, manifest digest.Digest, signed []oci.Signature,
) (*Report, error) {
	r, err := d.explain(ref)
	if err != nil {
		return nil, err
	}
	r.Digest, r.Stored, r.Signatures = manifest, true, signed
	switch {
	case r.Reason != "":
	case len(signed) == 0:
		r.Reason = "no signature was verified when the image was pulled"
	default:
		if r.Reason, err = d.otherRules(ref, signed); err != nil {
			return nil, err
		}
	}
	r.Admitted = r.Reason == ""
	return r, nil
}

// otherRules says why signatures that were recorded do not fulfil the rules of today, if they were verified for others.
// The same image may have been pulled under another name, or for a remote.
func (d *Door) otherRules(ref imgref.OstreeImageReference, signed []oci.Signature) (reason string, err error) {
	var asked [][]string // of each list, one rule must have been fulfilled
	if ref.Signature.Kind == imgref.OstreeRemote {
		asked = append(asked, []string{remoteRule(ref.Signature.Remote)})
	} else {
		rule, err := d.decide(ref.Image)
		if err != nil {
			return "", err
		}
		if p := rule.policy; p != nil && !p.AcceptsAnything() {
			asked = append(asked, []string{p.String()})
			if rule.byPolicyKeys != nil {
				asked[0] = append(asked[0], rule.byPolicyKeys.String())
			}
		}
		if rule.own != nil {
			asked = append(asked, []string{rule.own.String()})
		}
	}
	for _, rules := range asked {
		if !slices.ContainsFunc(signed, func(s oci.Signature) bool { return slices.Contains(rules, s.Rule) }) {
			return "the signatures that were verified when the image was pulled fulfilled other rules", nil
		}
	}
	return "", nil
}

// explain says which rules decide about a reference. The reason is set if they decide without looking at the image.
func (d *Door) explain(ref imgref.OstreeImageReference) (*Report, error) {
	r := &Report{Image: ref.String(), Rules: []RuleReport{}}
	if ref.Signature.Kind == imgref.OstreeRemote {
		if _, err := d.remote(ref); err != nil {
			return nil, err
		}
		r.Rules = append(r.Rules, RuleReport{
			File: d.opts.Repo.Path(), Scope: "remote " + ref.Signature.Remote,
			Asks: []string{
				"signatures of the commit, as the remote is configured", "that it is the commit which the image's label names",
			},
		})
		return r, nil
	}
	rule, err := d.find(ref.Image)
	if errors.Is(err, policy.ErrNotFound) {
		r.Reason = err.Error()
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if p := rule.policy; p != nil {
		rr := RuleReport{File: p.File, Scope: p.Scope, Asks: []string{}}
		for _, req := range p.Requirements {
			rr.Asks = append(rr.Asks, req.String())
		}
		r.Rules = append(r.Rules, rr)
	}
	for _, own := range []*rules.Rule{rule.own, rule.byPolicyKeys} {
		if own != nil {
			r.Rules = append(r.Rules, reportOf(own))
		}
	}
	if _, err := d.decide(ref.Image); err != nil {
		r.Reason = err.Error()
	}
	return r, nil
}

func reportOf(r *rules.Rule) RuleReport {
	rr := RuleReport{File: r.File, Scope: "docker: " + r.Scope, Asks: []string{}}
	if r.BundlesByPolicyKeys {
		rr.Asks = append(rr.Asks, "bundles by the keys of policy.json count, too")
	}
	for i := range r.SignedBy {
		rr.Asks = append(rr.Asks, "a bundle by "+r.SignedBy[i].String())
	}
	return rr
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Image)
	line := func(name, text string) { fmt.Fprintf(&b, "  %-10s %s\n", name+":", printable.Line(text)) }
	if r.Index != "" {
		line("Index", r.Index.String())
	}
	if r.Digest != "" {
		line("Manifest", r.Digest.String())
	}
	for _, rule := range r.Rules {
		line("Rule", fmt.Sprintf("%s (%s)", rule.File, rule.Scope))
		for _, ask := range rule.Asks {
			fmt.Fprintf(&b, "  %-10s - %s\n", "", printable.Line(ask))
		}
	}
	for _, s := range r.Signatures {
		line("Signed by", s.String())
	}
	for _, f := range r.Findings {
		line("Found", fmt.Sprintf("%s %s: %s", f.On, f.Digest, f.Reason))
	}
	switch {
	case r.Admitted && r.Stored:
		line("Verdict", "admitted when it was pulled")
	case r.Admitted:
		line("Verdict", "admitted")
	case len(r.Findings) > 0:
		line("Verdict", "refused")
	default:
		line("Verdict", "refused: "+r.Reason)
	}
	for _, a := range r.Advice {
		line("Advice", a)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
