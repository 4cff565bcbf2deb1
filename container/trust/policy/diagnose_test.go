//go:build containers_image_openpgp

package policy_test

import (
	"crypto/x509"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// diagnose writes a policy to the user's configuration, with other files, judges a document by it, and returns what is
// said about the refusal.
func diagnose(t *testing.T, content object, files map[string]string, ref imgref.ImageReference,
	doc oci.Document) []string {
	t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"policy.json": string(text)}
	for name, text := range files {
		all[name] = text
	}
	configure(t, all)
	file, err := policy.Find("")
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Rule(ref)
	if err != nil {
		t.Fatal(err)
	}
	_, err = evaluateAlone(t, ref, r, doc)
	if err == nil {
		t.Fatal("the image is accepted")
	}
	return policy.Diagnose(ref, r, err)
}

func TestMistakesOfAdministratorsAreCalledByTheirName(t *testing.T) {
	r := registry(t)
	k, other, me := newPair(t), newPair(t), newPerson(t, nil)
	doc := publish(t, r, repository, "1", "")
	host := r.Host
	on := map[string]string{"registries.d/0.yaml": attachmentsOn}
	reject := []object{{"type": policyjson.Reject}}
	byDefault := func(q object) object { return object{"default": []object{q}} }
	scoped := func(transport, scope string) object {
		return object{"default": reject, "transports": object{transport: object{scope: []object{by(nil, k)}}}}
	}
	absent := filepath.Join(t.TempDir(), "absent.pub")
	wrongKind := filepath.Join(t.TempDir(), "key.gpg")
	write(t, wrongKind, string(me.ring))
	ca := newAuthority(t)
	cert, leaf := ca.certify(t, identity{email: "a@b.example", from: time.Now().Add(-time.Hour),
		to:    time.Now().Add(-time.Minute),
		usage: x509.ExtKeyUsageCodeSigning})
	signed := func(name string) layer { return k.sign(t, payload(t, name, doc.Digest)) }
	tagged := docker(name + ":1")
	for _, c := range []struct {
		name    string
		policy  object
		files   map[string]string
		layers  []layer
		ref     imgref.ImageReference
		say     string
		neither string // what must not be said
	}{
		{"use-sigstore-attachments is missing", byDefault(by(nil, k)), nil, nil, tagged,
			"Sigstore attachments of " + host + "/os/x are not looked for. Write this into such a file as " +
				"/etc/containers/registries.d/ostree-ext.yaml: docker: {\"" + host + "/os/x\": {use-sigstore-attachments: true}}.",
			"cosign 3"},
		{"a section does not have it", byDefault(by(nil, k)),
			map[string]string{"registries.d/me.yaml": "docker: {\"" + host + "/os\": {lookaside: \"file:///x\"}}"}, nil, tagged,
			"Add \"use-sigstore-attachments: true\" to the section " + host + "/os of ", ""},
		{"a section has it off", byDefault(by(nil, k)),
			map[string]string{"registries.d/me.yaml": "default-docker: {use-sigstore-attachments: false}"}, nil, tagged,
			"says \"use-sigstore-attachments: false\" in the section default-docker. Write \"true\"", ""},
		{"it is there for the name, and not for the place", byDefault(by(nil, k)),
			map[string]string{"registries.d/me.yaml": "docker: {registry.example: {use-sigstore-attachments: true}}"}, nil,
			tagged,
			"registries.conf has the image read from " + host + "/os/x", ""},
		{"a scope in two files", byDefault(by(nil, k)),
			map[string]string{"registries.d/1.yaml": attachmentsOn, "registries.d/2.yaml": attachmentsOn}, nil, tagged,
			"Remove the section default-docker from ", ""},
		{"signed by cosign 3 alone", byDefault(by(nil, k)), on, []layer{}, tagged, "If the image was signed with cosign 3",
			""},
		{"no lookaside", byDefault(signedBy(nil, me.file)), nil, nil, tagged,
			"No section of registries.d says where the simple signatures of " + host + "/os/x are", ""},
		{"a signature that names no tag", byDefault(by(nil, k)), on, []layer{signed(name)}, tagged,
			"Use \"signedIdentity\": {\"type\": \"matchRepository\"}. Then any signed image of the repository is accepted", ""},
		{"a signature for another tag", byDefault(by(nil, k)), on, []layer{signed(name + ":2")}, tagged,
			"The signature is for registry.example/os/x:2, and the image was asked for as registry.example/os/x:1. Sign it", ""},
		{"an image of a mirror", byDefault(by(nil, k)), on, []layer{signed("origin.example/os/x:1")}, tagged,
			"\"remapIdentity\", \"prefix\": \"registry.example/os/x\", \"signedPrefix\": \"origin.example/os/x\"", ""},
		{"an image of a mirror, without a tag", byDefault(by(nil, k)), on, []layer{signed("origin.example/os/x")}, tagged,
			"{\"type\": \"exactRepository\", \"dockerRepository\": \"origin.example/os/x\"}", "remapIdentity"},
		{"another repository than the policy has", byDefault(by(exactRepository("a.example/b"), k)), on,
			[]layer{signed(name)}, tagged,
			"The policy demands signatures for a.example/b, and this one is for " + name, ""},
		{"a key that was replaced", byDefault(object{"type": policyjson.SigstoreSigned, "keyPath": other.file}), on,
			[]layer{signed(name)}, tagged, "\"keyPaths\": [\"" + other.file + "\", \"…\"]", ""},
		{"keys that were replaced", byDefault(by(nil, other, newPair(t))), on, []layer{signed(name)}, tagged,
			"add the new one to the keys of the policy", ""},
		{"a key that is not there", byDefault(by(nil, pair{file: absent})), on, nil, tagged,
			"Put the public key into " + absent, ""},
		{"a key of the wrong kind", byDefault(by(nil, pair{file: wrongKind})), on, nil, tagged,
			"Replace " + wrongKind + " by the public key of who signs: it is an OpenPGP key", ""},
		{"an expired certificate", byDefault(object{"type": policyjson.SigstoreSigned, "signedIdentity": anyTag,
			"pki": object{"caRootsPath": ca.file, "subjectEmail": "a@b.example"}}), on,
			[]layer{leaf.sign(t, payload(t, name, doc.Digest)).with(certificateOfTheLeaf, pemOf(cert))}, tagged,
			"The certificate is not valid at the time that the clock of this host has", ""},
		{"a member by its digest", byDefault(by(nil, k)), on, []layer{}, docker(name + "@" + doc.Digest.String()),
			"If the index that lists the manifest is signed, and the manifest is not, name the image by its tag", ""},
		{"a scope without the registry", scoped("docker", "os/x"), on, nil, tagged,
			"The scope \"os/x\" does not cover the image, because scopes begin with the registry: write \"" + name + "\".", ""},
		{"a scope with another tag", scoped("docker", name+":2"), on, nil, tagged, "covers only the tag \"2\"", ""},
		{"a scope for another transport", scoped("atomic", "registry.example"), on, nil, tagged,
			"The scope \"registry.example\" is for the transport \"atomic\"", ""},
		{"a transport without signatures", byDefault(by(nil, k)), on, nil,
			imgref.ImageReference{Transport: imgref.OCIArchive, Name: absent}, "Name the image in the registry", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			attach(t, r, repository, doc.Digest, c.layers...)
			says := strings.Join(diagnose(t, c.policy, c.files, c.ref, doc), "\n")
			if !strings.Contains(says, c.say) || (c.neither != "" && strings.Contains(says, c.neither)) {
				t.Errorf("it says %q; want %q, and not %q", says, c.say, c.neither)
			}
		})
	}
}

func TestWhatIsFineIsNotCalledAMistake(t *testing.T) {
	r := registry(t)
	k := newPair(t)
	doc := publish(t, r, repository, "1", "")
	attach(t, r, repository, doc.Digest, newPair(t).sign(t, payload(t, name+":1", doc.Digest)))
	says := diagnose(t, object{"default": []object{{"type": policyjson.Reject}},
		"transports": object{"docker": object{name: []object{by(nil, k, newPair(t))}}}},
		map[string]string{"registries.d/0.yaml": attachmentsOn}, docker(name+":1"), doc)
	for _, s := range says {
		if !strings.Contains(s, "the key of who signs was replaced") && !strings.Contains(s, "The policy of this user") {
			t.Errorf("it says: %s", s)
		}
	}
	if says := policy.Diagnose(docker(name), nil, nil); len(says) > 0 {
		t.Errorf("about nothing, it says %q", says)
	}
	if says := policy.Diagnose(docker(name), nil, policy.ErrUnsupported); len(says) > 0 {
		t.Errorf("about a program without support, it says %q", says)
	}
}
