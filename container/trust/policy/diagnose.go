package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"go.podman.io/image/v5/docker/reference"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
)

// Diagnose returns what a person may have to change if an image was refused that should have been accepted: sentences
// about the configuration of the host, the most likely first. The error is that of [Find], [Load] or [Image.Evaluate],
// and the rule is nil if there is none. It reads files of the host, and nothing else.
func Diagnose(ref imgref.ImageReference, rule *Rule, err error) []string {
	d := &diagnosis{host: thisHost(), ref: ref, rule: rule}
	d.files(err)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		d.refused = refused
		switch {
		case refused.Requirement.Type == policyjson.Reject:
		case refused.Unsigned():
			d.unsigned()
		default:
			d.signed()
		}
		if ref.Transport == imgref.Registry {
			d.scopes()
		}
	}
	if rule != nil && err != nil {
		d.whichPolicy()
	}
	return d.says
}

type diagnosis struct {
	host    host
	ref     imgref.ImageReference
	rule    *Rule
	refused *RefusedError
	says    []string
}

func (d *diagnosis) sayf(format string, args ...any) {
	d.says = append(d.says, fmt.Sprintf(format, args...))
}

// files tells about files that cannot be used.
func (d *diagnosis) files(err error) {
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		what := "the section default-docker"
		if conflict.Scope != "" {
			what = fmt.Sprintf("the section %q", conflict.Scope)
		}
		d.sayf("Remove %s from %s or from %s. As long as both have it, no program of the container tools reads any image "+
			"from a registry.", what, conflict.Files[0], conflict.Files[1])
	}
	bad, ok := errors.AsType[*KeyError](err)
	switch {
	case !ok || bad.Path == "":
	case errors.Is(bad.Err, fs.ErrNotExist):
		d.sayf("Put the public key into %s, or name another file in the policy.", bad.Path)
	case errors.Is(bad.Err, fs.ErrPermission):
		d.sayf("Make %s readable for everybody with \"chmod a+r %s\", and its directories with \"chmod a+x\". "+
			"Public keys are not secret.", bad.Path, bad.Path)
	default:
		d.sayf("Replace %s by the public key of who signs: %v.", bad.Path, bad.Err)
	}
}

// unsigned tells why no signature may have been found.
func (d *diagnosis) unsigned() {
	q := d.refused.Requirement
	if d.ref.Transport != imgref.Registry {
		if d.ref.Transport != imgref.Dir {
			d.sayf("Name the image in the registry, where its signatures are: files of the transport %s have none.",
				transportName(d.ref))
		}
		return
	}
	conf, err := ReadRegistries()
	if err != nil {
		d.sayf("Correct registries.d: %v.", err)
		return
	}
	endpoints, err := access.Options{}.Endpoints(d.ref.Name)
	if err != nil {
		return // reading the image says more about it
	}
	if q.Type == policyjson.SignedBy {
		d.noLookaside(conf, endpoints)
	} else if !d.attachmentsOff(conf, endpoints) {
		d.sayf("If the image was signed with cosign 3, its signature is a bundle, and policy.json knows attachments only. " +
			"\"cosign sign --new-bundle-format=false\" makes one.")
	}
	if strings.Contains(d.ref.Name, "@") && d.refused.On == "manifest" {
		d.sayf("If the index that lists the manifest is signed, and the manifest is not, name the image by its tag or by "+
			"the digest of the index, instead of %s.", d.refused.Digest)
	}
}

// noLookaside tells that there is no address of simple signatures.
func (d *diagnosis) noLookaside(conf *Registries, endpoints []*access.Endpoint) {
	for _, e := range endpoints {
		if base, err := conf.lookaside(physical(e, d.ref.Name)); err != nil || base != "" {
			return
		}
	}
	last := endpoints[len(endpoints)-1]
	d.sayf("No section of registries.d says where the simple signatures of %s are. Write the address into such a file as "+
		"%s: docker: {%q: {lookaside: \"https://…\"}}.", last, exampleFile, last)
	if on, err := conf.attachments(physical(last, d.ref.Name)); err == nil && on {
		d.sayf("If the image was signed with cosign, the requirement has to be %s, with a public key in PEM.",
			policyjson.SigstoreSigned)
	}
}

// exampleFile is a file that messages name.
const exampleFile = "/etc/containers/registries.d/ostree-ext.yaml"

// attachmentsOff tells that attachments are not looked for. It reports whether that is so.
func (d *diagnosis) attachmentsOff(conf *Registries, endpoints []*access.Endpoint) bool {
	for _, e := range endpoints {
		if on, err := conf.attachments(physical(e, d.ref.Name)); err != nil || on {
			return false
		}
	}
	last := endpoints[len(endpoints)-1]
	name := physical(last, d.ref.Name)
	if on, err := conf.attachments(d.ref.Name); err == nil && on {
		d.sayf("registries.conf has the image read from %s, and registries.d says \"use-sigstore-attachments: true\" for "+
			"the image's own name only. The name of the place counts: add a section for it, docker: "+
			"{%q: {use-sigstore-attachments: true}}.", last, last)
		return true
	}
	sections, err := conf.Sections(name)
	if err != nil {
		return true
	}
	for _, s := range sections {
		what := "default-docker"
		if s.Scope != "" {
			what = s.Scope
		}
		switch {
		case s.Attachments != nil:
			d.sayf("%s says \"use-sigstore-attachments: false\" in the section %s. Write \"true\": no Sigstore attachment of "+
				"%s is looked for.", s.File, what, last)
			return true
		case s.Scope != "":
			d.sayf("Add \"use-sigstore-attachments: true\" to the section %s of %s. Without it, no Sigstore attachment of %s "+
				"is looked for.", what, s.File, last)
			return true
		}
	}
	d.sayf("Sigstore attachments of %s are not looked for. Write this into such a file as %s: docker: "+
		"{%q: {use-sigstore-attachments: true}}.", last, exampleFile, last)
	return true
}

// signed tells why signatures may not be accepted.
func (d *diagnosis) signed() {
	q := d.refused.Requirement
	said := map[string]bool{}
	for _, f := range d.refused.Found {
		var about func(Finding)
		var kind string
		switch {
		case f.Genuine:
			kind, about = "reference", d.otherReference
		case f.OtherKey && len(q.KeyPaths)+len(q.KeyDatas) > 0:
			kind, about = "key", d.otherKey
		case strings.Contains(f.Reason, "certificate has expired"):
			kind, about = "expired", d.expired
		}
		if about != nil && !said[kind] {
			said[kind] = true
			about(f)
		}
	}
}

// otherReference tells about a genuine signature for another reference than the identity rule demands.
func (d *diagnosis) otherReference(f Finding) {
	signed, err := reference.ParseNormalizedNamed(f.Reference)
	if err != nil {
		return
	}
	parsed, err := parse(d.ref)
	if err != nil {
		return
	}
	rule := d.refused.Requirement.Identity
	asked := parsed.DockerReference()
	switch {
	case rule.Reference != "":
		d.sayf("The policy demands signatures for %s, and this one is for %s. If that is right, name it in "+
			"\"signedIdentity\".", rule.Reference, f.Reference)
	case asked == nil:
		d.sayf("Images of the transport %s have no name to compare with the signed one. Use \"signedIdentity\": "+
			"{\"type\": \"exactRepository\", \"dockerRepository\": %q}.", transportName(d.ref), signed.Name())
	case asked.Name() != signed.Name() && reference.IsNameOnly(signed):
		d.sayf("The signature is for %s, and the image was asked for as %s. If that is right, use \"signedIdentity\": "+
			"{\"type\": \"exactRepository\", \"dockerRepository\": %q}.", f.Reference, asked, signed.Name())
	case asked.Name() != signed.Name():
		d.sayf("The signature is for %s, and the image was asked for as %s. If the latter is a mirror of the former, use "+
			"\"signedIdentity\": {\"type\": \"remapIdentity\", \"prefix\": %q, \"signedPrefix\": %q}, or name the mirror in "+
			"registries.conf and the image as it was signed.", f.Reference, asked, asked.Name(), signed.Name())
	case reference.IsNameOnly(signed):
		d.sayf("The signature names no tag, as cosign makes it, and the rule %s demands one. Use \"signedIdentity\": "+
			"{\"type\": \"matchRepository\"}. Then any signed image of the repository is accepted under any of its tags, "+
			"an older one as well.", rule.Type)
	default:
		d.sayf("The signature is for %s, and the image was asked for as %s. Sign it under that name too, or use "+
			"\"signedIdentity\": {\"type\": \"matchRepository\"}.", f.Reference, asked)
	}
}

// otherKey tells about a signature by a key that the policy does not have.
func (d *diagnosis) otherKey(Finding) {
	q := d.refused.Requirement
	if len(q.KeyPaths) == 1 && len(q.KeyDatas) == 0 {
		d.sayf("If the key of who signs was replaced, name the old and the new one: \"keyPaths\": [%q, \"…\"] in place of "+
			"\"keyPath\". One of several keys is enough.", q.KeyPaths[0])
		return
	}
	d.sayf("If the key of who signs was replaced, add the new one to the keys of the policy, of which one is enough.")
}

// expired tells about a certificate that is judged by the clock of this host.
func (d *diagnosis) expired(Finding) {
	d.sayf("The certificate is not valid at the time that the clock of this host has. If the clock is right, the image " +
		"has to be signed again: the requirement pki takes no note of when it was signed.")
}

// scopes tells about scopes of the policy that were meant for the image, but do not cover it.
func (d *diagnosis) scopes() {
	if d.rule == nil || (d.rule.Scope != "default" && d.rule.Scope != "docker") {
		return
	}
	p, err := Load(d.rule.File)
	if err != nil {
		return
	}
	parsed, err := parse(d.ref)
	if err != nil {
		return
	}
	name := parsed.DockerReference().Name()
	covers := func(scope string) bool {
		return scope == name || (scope != "" && strings.HasPrefix(name, strings.TrimSuffix(scope, "/")+"/"))
	}
	for _, transport := range slices.Sorted(maps.Keys(p.says.Transports)) {
		for _, scope := range slices.Sorted(maps.Keys(p.says.Transports[transport])) {
			base, tag, tagged := strings.Cut(scope, ":")
			switch {
			case scope == "":
			case transport != "docker":
				if covers(scope) {
					d.sayf("The scope %q is for the transport %q, and the image is in a registry: its transport is \"docker\".",
						scope, transport)
				}
			case tagged && base == name:
				d.sayf("The scope %q covers only the tag %q: write %q to cover the repository.", scope, tag, name)
			case strings.Contains(name+"/", "/"+scope+"/"):
				at := strings.Index(name+"/", "/"+scope+"/")
				d.sayf("The scope %q does not cover the image, because scopes begin with the registry: write %q.", scope,
					name[:at+1+len(scope)])
			}
		}
	}
}

// whichPolicy tells that there are other policies, which are not used.
func (d *diagnosis) whichPolicy() {
	unreadable, shadowed := d.host.passedOver(d.rule.File)
	for _, file := range unreadable {
		d.sayf("%s exists, but cannot be read, so that %s was used.", file, d.rule.File)
	}
	if len(shadowed) > 0 && filepath.Dir(d.rule.File) == d.host.userConfig() {
		d.sayf("The policy of this user, %s, was used, and not %s.", d.rule.File, shadowed[0])
	}
}
