package judge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/frontend/judge"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

func TestMain(m *testing.M) { os.Exit(testhome.Tests{M: m}.Run()) }

// ask runs a judge.
func ask(t *testing.T, req judge.Request) judge.Answer {
	t.Helper()
	data, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := judge.Run(t.Context(), bytes.NewReader(data), &out); err != nil {
		t.Fatal(err)
	}
	line, answer, _ := strings.Cut(out.String(), "\n")
	var a judge.Answer
	if err := json.Unmarshal([]byte(answer), &a); err != nil || line != judge.Ready || strings.Count(answer, "\n") != 1 {
		t.Fatalf("the judge wrote %q, %v", out.String(), err)
	}
	if (len(a.Signatures) == 0) == (a.Reason == "") {
		t.Errorf("the answer is neither yes nor no: %+v", a)
	}
	return a
}

func TestAJudgeDecidesByTheRulesOfAHost(t *testing.T) {
	const issuer, email = "https://accounts.example", "me@example.com"
	ca := testca.New(t)
	reg := testreg.New(t)
	reg.ServeReferrers(testreg.Referrers{In: func(string) bool { return true }})
	sigstorefixture.RegistriesConf(t, reg)
	manifest := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `"}`)
	d := digest.FromBytes(manifest)
	index := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`)
	trusttest.Attach(t, reg, "os", d, ca.Sign(testca.Signature{
		Identity: email, Issuer: issuer, Payload: testca.Statement(d.Encoded()),
	}))
	image := sigstorefixture.Host + "/os"
	ruleFor := func(email string) string {
		return trusttest.Rules(t, map[string]*rules.Rule{image: {
			SignedBy: []rules.Signer{{OIDCIssuer: issuer, Identity: email}},
		}})
	}
	member := judge.Document{MediaType: ocispec.MediaTypeImageManifest, Raw: manifest}
	top := judge.Document{MediaType: ocispec.MediaTypeImageIndex, Raw: index}
	root := trusttest.File(t, ca.Root().JSON())
	for _, tt := range []struct {
		name string
		req  judge.Request
		says string // nothing if the image is admitted
	}{
		{"a manifest", judge.Request{Image: image + ":1", Top: member, RuleDir: ruleFor(email)}, ""},
		{"by its digest", judge.Request{Image: image + "@" + d.String(), Top: member, RuleDir: ruleFor(email)}, ""},
		{"a member of an index", judge.Request{Image: image + ":1", Top: top, Member: &member, RuleDir: ruleFor(email)}, ""},
		{"an index alone", judge.Request{Image: image + ":1", Top: top, RuleDir: ruleFor(email)}, "no signature was found"},
		{"another identity", judge.Request{Image: image + ":1", Top: member, RuleDir: ruleFor("you@example.com")},
			"another identity has signed"},
		{"another image", judge.Request{Image: sigstorefixture.Host + "/other:1", Top: member, RuleDir: ruleFor(email)},
			"this rule refuses every image of the scope"},
		{"rules that are gone", judge.Request{Image: image + ":1", Top: member, RuleDir: t.TempDir()},
			"the build has read rules for"},
		{"rules that came", judge.Request{Image: image + ":1", Top: member, RuleDir: ruleFor(email), Scopes: []string{}},
			"the build has read rules for"},
		{"a policy that is gone", judge.Request{Image: image + ":1", Top: member, RuleDir: ruleFor(email),
			Policy: "/nowhere/policy.json"}, "/nowhere/policy.json: no such file"},
		{"no authorities", judge.Request{Image: image + ":1", Top: member, RuleDir: ruleFor(email),
			TrustedRoot: "/nowhere/root.json"}, "reading the authorities of identities"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.req.TrustedRoot == "" {
				tt.req.TrustedRoot = root
			}
			if tt.req.Scopes == nil {
				tt.req.Scopes = []string{image}
			}
			if tt.req.Policy == "" {
				tt.req.Policy = trusttest.File(t, []byte(trusttest.RejectAll))
			}
			a := ask(t, tt.req)
			if tt.says != "" {
				if !strings.Contains(a.Reason, tt.says) {
					t.Errorf("the answer is %+v, want a reason that says %q", a, tt.says)
				}
				return
			}
			if len(a.Signatures) != 1 || a.Signatures[0].Signer != email || a.Signatures[0].Signed != d.String() {
				t.Errorf("the answer is %+v", a)
			}
		})
	}
}

func TestARefusalForLackOfCredentialsNamesTheSecret(t *testing.T) {
	reg := testreg.New(t)
	reg.Misbehave(testreg.Faults{User: "me", Password: "secret"})
	sigstorefixture.RegistriesConf(t, reg)
	a := ask(t, judge.Request{
		Image: sigstorefixture.Host + "/os:1", Top: judge.Document{Raw: []byte("{}")},
		RuleDir: trusttest.Rules(t, map[string]*rules.Rule{sigstorefixture.Host: {
			SignedBy: []rules.Signer{{OIDCIssuer: "https://accounts.example", Identity: "me@example.com"}},
		}}),
		TrustedRoot: trusttest.File(t, testca.New(t).Root().JSON()), Scopes: []string{sigstorefixture.Host},
		Policy: trusttest.File(t, []byte(trusttest.RejectAll)), AuthFile: filepath.Join(t.TempDir(), "none"),
	})
	if !strings.Contains(a.Reason, "--secret=id=ostree-ext-auth,src=") {
		t.Errorf("the reason is %q", a.Reason)
	}
}

func TestAQuestionThatCannotBeReadIsAnError(t *testing.T) {
	for _, question := range []string{"", "{", `{"image": 1}`} {
		if err := judge.Run(t.Context(), strings.NewReader(question), new(bytes.Buffer)); err == nil {
			t.Errorf("%q was answered", question)
		}
	}
	if err := judge.Run(t.Context(), strings.NewReader("{}"), broken{}); !errors.Is(err, errBroken) {
		t.Errorf("error %v, want that of the output", err)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

// Write implements [io.Writer].
func (broken) Write([]byte) (int, error) { return 0, errBroken }
