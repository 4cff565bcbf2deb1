//go:build containers_image_openpgp

package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// attachmentsOn has attachments looked for everywhere.
const attachmentsOn = "default-docker:\n  use-sigstore-attachments: true\n"

// fixture starts the registry with the images that cosign signed, with attachments switched on.
func fixture(t *testing.T) *testreg.Registry {
	t.Helper()
	configure(t, map[string]string{"registries.d/0.yaml": attachmentsOn})
	r := sigstorefixture.Load(t)
	sigstorefixture.RegistriesConf(t, r)
	return r
}

// testRule is a rule with the policy in which it is the default.
type testRule struct {
	*policy.Rule
	policy []byte
}

// rule returns the rule of a policy whose default is a list of requirements.
func rule(t *testing.T, requirements ...any) testRule {
	t.Helper()
	text, err := json.Marshal(map[string]any{"default": requirements})
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Rule(docker("registry.example/os/x"))
	if err != nil {
		t.Fatal(err)
	}
	return testRule{r, text}
}

// object is a JSON object.
type object map[string]any

// sigstoreSigned is a requirement with public keys of the fixture.
func sigstoreSigned(t *testing.T, identity object, keys ...int) object {
	var paths []string
	for _, k := range keys {
		paths = append(paths, sigstorefixture.PublicKey(t, k))
	}
	return object{"type": policyjson.SigstoreSigned, "keyPaths": paths, "signedIdentity": identity}
}

func exactRepository(name string) object {
	return object{"type": "exactRepository", "dockerRepository": name}
}

// documents returns the manifest of an image, after the index if there is one.
func documents(t *testing.T, ref imgref.ImageReference) []oci.Document {
	t.Helper()
	img, err := source.Open(t.Context(), imgref.Unverified(ref), source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
	if img.Index != nil {
		return []oci.Document{*img.Index, img.Top}
	}
	return []oci.Document{img.Top}
}

// evaluate judges a document by the first requirement of a rule. If it is refused, a host that pulls the image must
// refuse it as well, and have nothing of it afterwards.
func evaluate(t *testing.T, ref imgref.ImageReference, r testRule, doc oci.Document) (oci.Signature, error) {
	t.Helper()
	found, err := evaluateAlone(t, ref, r.Rule, doc)
	_, refused := errors.AsType[*policy.RefusedError](err)
	// Package keyed reads no registries.d, so it finds signatures that are not looked for.
	looked := err == nil || refused && !strings.Contains(err.Error(), "registries.d")
	if looked && r.Requirements[0].Type == policyjson.SigstoreSigned && ref.Transport == imgref.Registry {
		fromBytes(t, ref, r, doc, found, err)
	}
	if refused {
		host := trust.Options{Policy: trusttest.File(t, r.policy), RuleDirs: []string{t.TempDir()}}
		trusttest.Refused(t, ref, host, "")
	}
	return found, err
}

// fromBytes judges the same as evaluate with package keyed, which must come to the same verdict, unless it is stricter
// about the form of attachments and keys.
func fromBytes(
	t *testing.T, ref imgref.ImageReference, r testRule, doc oci.Document, want oci.Signature, refused error,
) {
	t.Helper()
	conf, err := os.ReadFile(os.Getenv("CONTAINERS_REGISTRIES_CONF"))
	if err != nil {
		t.Fatal(err)
	}
	location := regexp.MustCompile(`location = "(.*)"`).FindSubmatch(conf)
	if location == nil || strings.Contains(string(conf), "mirror") {
		return // package keyed reads no registries
	}
	name, err := reference.ParseNormalizedNamed(ref.Name)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) []byte {
		res, err := http.Get("http://" + string(location[1]) + "/v2/" + reference.Path(name) + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		data, err := io.ReadAll(io.LimitReader(res.Body, keyed.MaxManifestSize+1))
		if err != nil || res.StatusCode != http.StatusOK {
			return nil
		}
		return data
	}
	p, err := keyed.ParsePolicy(r.policy)
	if err != nil {
		t.Fatal(err)
	}
	rule, err := p.Rule(name)
	if err == nil {
		err = rule.UseKeys(os.ReadFile)
	}
	tag, tagErr := keyed.Tag(doc.Digest)
	if err := errors.Join(err, tagErr); err != nil {
		t.Fatal(err)
	}
	manifest := get("manifests/" + tag)
	if manifest == nil {
		return
	}
	attachment, err := keyed.ParseAttachment(manifest, doc.Digest)
	if errors.Is(err, keyed.ErrAttachment) {
		return
	} else if err != nil {
		t.Fatal(err)
	}
	payloads := map[digest.Digest][]byte{}
	for _, d := range attachment.Payloads() {
		if data := get("blobs/" + d.String()); data != nil {
			payloads[d] = data
		}
	}
	found, err := rule.Judge(name, attachment, payloads)
	switch {
	case (err == nil) != (refused == nil):
		t.Errorf("from bytes alone: %v; and otherwise: %v", err, refused)
	case err == nil && (found[0].Signer != strings.TrimSuffix(want.Signer, " (a key in the policy)") ||
		found[0].Issuer != want.Issuer):
		t.Errorf("from bytes alone: %+v; and otherwise: %+v", found[0], want)
	}
}

// evaluateAlone judges a document that is not the only one of its image, or of which there is no image.
func evaluateAlone(t *testing.T, ref imgref.ImageReference, r *policy.Rule, doc oci.Document) (oci.Signature, error) {
	t.Helper()
	img, err := policy.Open(t.Context(), ref, access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	}()
	return img.Evaluate(t.Context(), r.Requirements[0], r.String(), doc)
}

// refusal returns why a document was refused.
func refusal(t *testing.T, err error) *policy.RefusedError {
	t.Helper()
	refused, ok := errors.AsType[*policy.RefusedError](err)
	if !ok {
		t.Fatalf("a refusal was expected, and not: %v", err)
	}
	return refused
}

func TestEveryAttachmentOfCosignGetsTheExpectedVerdict(t *testing.T) {
	fixture(t)
	rows := 0
	for _, v := range sigstorefixture.Verdicts(t) {
		if v.Bundles {
			continue
		}
		rows++
		t.Run(v.String(), func(t *testing.T) {
			name := sigstorefixture.Name(v.Image)
			ref := docker(name + ":latest")
			r := rule(t, sigstoreSigned(t, exactRepository(name), v.Keys...))
			accepted := false
			for _, doc := range documents(t, ref) {
				s, err := evaluateAlone(t, ref, r.Rule, doc)
				if err != nil {
					t.Log(refusal(t, err))
					continue
				}
				accepted = true
				if s.Kind != oci.SignedAttachment || s.Signed != doc.Digest.String() || s.Rule != r.String() {
					t.Errorf("the signature is %+v", s)
				}
			}
			if accepted != v.Accept {
				t.Errorf("accepted is %v, and has to be %v", accepted, v.Accept)
			}
		})
	}
	if rows != 75 {
		t.Errorf("there were %d rows", rows)
	}
}

func TestTheSignerOfAnAttachmentIsTheKeyOfSeveral(t *testing.T) {
	fixture(t)
	for image, key := range map[string]int{"att1": 1, "att2": 2} {
		name := sigstorefixture.Name(image)
		ref := docker(name + ":latest")
		s, err := evaluate(t, ref, rule(t, sigstoreSigned(t, exactRepository(name), 1, 2)), documents(t, ref)[0])
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("sha256:%s (%s)", spki(t, sigstorefixture.PublicKey(t, key)), sigstorefixture.PublicKey(t, key))
		if s.Signer != want || s.Issuer != "" || s.On != "manifest" {
			t.Errorf("%s: the signature is %+v, and its signer has to be %s", image, s, want)
		}
	}
}
