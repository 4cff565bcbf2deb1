//go:build interop

package frontend_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
)

func TestInterop_OnlyImagesThatThePolicyAdmitsAreBuiltFrom(t *testing.T) {
	signed, other := pushText(t, "verify/signed", "signed"), pushText(t, "verify/other", "other")
	unsigned := pushText(t, "verify/unsigned", "unsigned")
	debian := env.host + "/verify/debian"
	if err := pushImage("verify/debian", imageOf(t, "debian")); err != nil {
		t.Fatal(err)
	}
	signImage(t, signed, 1)
	signImage(t, other, 2)
	signImage(t, debian, 1)
	none := `it has no signature: there is no tag sha256-`
	layout := "oci-layout://store@" + pull(t, "verify/signed").digest
	for _, tt := range []struct {
		name, file string
		opts, args []string
		says       []string // nothing if the build works
	}{
		{"FROM a signed image", "FROM " + signed + "\n", nil, nil, nil},
		{"FROM an unsigned image", "FROM " + unsigned + "\n", nil, nil,
			[]string{"image " + unsigned + ":latest@sha256:", "verify: refused by policy.json of the context trust: ", none,
				`scope "docker: ` + env.host + `"`, "ostree-ext container sign attaches",
				"bundles count if a rule of trust.d says so"}},
		{"FROM an image of another key", "FROM " + other + "\n", nil, nil,
			[]string{"a signature is not by sha256:", "(key1.pub)"}},
		{"FROM an image elsewhere", "FROM localhost:1/x\n", nil, nil, []string{"connection refused"}},
		{"COPY --from a signed image", "FROM scratch\nCOPY --from=" + signed + " /text /\n", nil, nil, nil},
		{"COPY --from an unsigned image", "FROM " + signed + "\nCOPY --from=" + unsigned + " /text /\n", nil, nil,
			[]string{none}},
		{"RUN --mount=from an unsigned image",
			"FROM " + debian + "\nRUN --mount=from=" + unsigned + ",target=/m cp /m/text /\n", nil, nil, []string{none}},
		{"RUN --mount=from a signed image",
			"FROM " + debian + " AS b\nRUN --mount=from=" + signed + ",target=/m cp /m/text /\nFROM scratch\n" +
				"COPY --from=b /text /\n", nil, nil, nil},
		{"a stage that is not needed", "FROM " + unsigned + " AS unused\nFROM " + signed + "\n", nil, nil, nil},
		{"a stage that is needed", "FROM " + unsigned + " AS used\nFROM " + signed + "\nCOPY --from=used /text /\n", nil,
			nil, []string{none}},
		{"a named context of a signed image", "FROM base\n", []string{"context:base=docker-image://" + signed}, nil, nil},
		{"a named context of an unsigned image", "FROM base\n", []string{"context:base=docker-image://" + unsigned}, nil,
			[]string{none}},
		{"a name that a context replaces", "FROM " + signed + "\n",
			[]string{"context:" + signed + "=docker-image://" + unsigned}, nil, []string{none}},
		{"a layout of the client", "FROM base\n", []string{"context:base=" + layout}, nil,
			[]string{"is in a layout of the client"}},
		{"no image at all", "FROM scratch\nCOPY Containerfile /text\n", nil, nil, nil},
		{"the scanner of an SBOM", "FROM " + signed + "\n", []string{"attest:sbom=generator=" + env.host + "/scanner"}, nil,
			[]string{env.host + "/scanner:latest@sha256:", none}},
		{"a prior image in a layout", "FROM " + signed + "\n",
			[]string{"context:prior=" + layout}, nil,
			[]string{"prior image (use prior=none to build without it)", "is in a layout of the client"}},
		{"a repository in an unsigned image", "FROM scratch\n",
			[]string{"context:repo=docker-image://" + unsigned, "build-arg:OSTREE_EXT_REF=os"}, nil, []string{none}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := trusting(t, request{file: syntax("single-layer") + tt.file, opts: tt.opts, args: tt.args}, policyOf(byKey1))
			if strings.Contains(tt.name, "prior") {
				r.file = syntax("") + tt.file
			}
			if len(tt.says) > 0 {
				refusedBuild(t, env.daemon, r, tt.says...)
				return
			}
			text, out := acceptedBuild(t, env.daemon, r)
			if tt.name == "no image at all" {
				return
			}
			if text != "signed" {
				t.Errorf("the image has the text %q", text)
			}
			if want := "is signed by sha256:"; !strings.Contains(out, want) || !strings.Contains(out, "[verify] "+signed) {
				t.Errorf("the build does not tell who signed:\n%s", out)
			}
		})
	}
}

func TestInterop_APolicyThatCannotBeEvaluatedAdmitsNothing(t *testing.T) {
	signed := pushText(t, "verify/strict", "signed")
	signImage(t, signed, 1)
	for _, tt := range []struct {
		name, policy string
		says         []string
	}{
		{"reject", policyOf(`{"type":"reject"}`), []string{"refuses every image (reject)"}},
		{"anything", policyOf(`{"type":"insecureAcceptAnything"}`), []string{"accepts any image (insecureAcceptAnything)"}},
		{"a GPG key that is missing", policyOf(`{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}`),
			[]string{"/k: no such file"}},
		{"Fulcio", policyOf(`{"type":"sigstoreSigned","rekorPublicKeyPath":"r",` +
			`"fulcio":{"caPath":"c","oidcIssuer":"https://i","subjectEmail":"a@b.example"}}`),
			[]string{"there is no file r in the context trust"}},
		{"what nobody knows", policyOf(`{"type":"signedBy","keyType":"X509","keyPath":"k"}`), []string{"X509"}},
		{"no such key", policyOf(`{"type":"sigstoreSigned","keyPath":"/etc/pki/containers/x.pub"}`),
			[]string{"there is no file etc/pki/containers/x.pub in the context trust"}},
		{"a key outside", policyOf(`{"type":"sigstoreSigned","keyPath":"../../key1.pub/../../x"}`),
			[]string{"there is no file x in the context trust"}},
		{"a mistake", policyOf(`{"type":"sigstoreSigned","keypath":"key1.pub"}`),
			[]string{
				"verify: policy.json of the context trust: invalid policy",
				`keypath: there is no such key: it is written "keyPath"`,
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request{file: syntax("single-layer") + "FROM " + signed + "\n"}
			refusedBuild(t, env.daemon, trusting(t, r, tt.policy), tt.says...)
		})
	}
	from := syntax("single-layer") + "FROM " + signed + "\n"
	verify := func(value string) []string { return []string{"build-arg:OSTREE_EXT_VERIFY=" + value} }
	t.Run("no such directory", func(t *testing.T) {
		refusedBuild(t, env.daemon, request{file: from, opts: verify("trust")}, "verify: there is neither trust/policy.json",
			"in the build context")
	})
	t.Run("a policy in an image", func(t *testing.T) {
		refusedBuild(t, env.daemon, request{file: from,
			opts: append(verify("trust"), "context:trust=docker-image://"+signed)}, "the context must be a directory")
	})
	t.Run("rules about bundles with a mistake", func(t *testing.T) {
		refusedBuild(t, env.daemon, request{file: from, opts: verify("trust"), files: map[string]string{
			"trust/policy.json": policyOf(byKey1), "trust/trust.d/os.yaml": "docker: {x.example: {signedby: []}}\n",
		}}, "verify: trust/trust.d/os.yaml of the build context: ", "field signedby not found")
	})
	// The same image is admitted with a policy and keys in other places.
	for name, files := range map[string]map[string]string{
		"a directory of the build context": {"trust/policy.json": policyOf(byKey1), "trust/key1.pub": publicKey(t, 1)},
		"the directories of a host": {
			"trust/etc/containers/policy.json":       policyOf(`{"type":"sigstoreSigned","keyPath":"/etc/pki/k.pub"}`),
			"trust/etc/pki/k.pub":                    publicKey(t, 1),
			"trust/usr/share/containers/policy.json": "{}",
		},
		"a key in the policy": {"trust/policy.json": policyOf(`{"type":"sigstoreSigned","keyData":"` +
			base64.StdEncoding.EncodeToString([]byte(publicKey(t, 1))) + `"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			r := request{file: from, opts: verify("trust"), files: files}
			if text, _ := acceptedBuild(t, env.daemon, r); text != "signed" {
				t.Errorf("the image has the text %q", text)
			}
		})
	}
}

func TestInterop_ThePriorAndTheBaseImageMustBeAdmitted(t *testing.T) {
	base := pushText(t, "verify/base", "base")
	signImage(t, base, 1)
	r := request{
		file: syntax("") + "FROM " + base + "\nCOPY a /a\n", files: map[string]string{"a": "a"}, name: "verify/prior",
		opts: []string{"build-arg:SOURCE_DATE_EPOCH=" + epoch},
	}
	env.daemon.build(t, r)
	first := pull(t, r.name)
	prior := env.host + "/" + r.name
	with := func(options string) request {
		r := trusting(t, r, policyOf(byKey1))
		_, steps, _ := strings.Cut(r.file, "\n")
		r.file, r.name = syntax(options)+steps, "verify/next"
		return r
	}
	refusedBuild(t, env.daemon, with("prior="+prior), "prior image (use prior=none to build without it): verify: refused",
		prior+":latest@"+first.digest, "it has no signature")
	signImage(t, prior, 2)
	refusedBuild(t, env.daemon, with("prior="+prior), "a signature is not by sha256:")
	signImage(t, prior, 1) // beside the other
	out := env.daemon.build(t, with("prior="+prior))
	if !strings.Contains(out, "[verify] "+prior+":latest@"+first.digest+": it is signed by sha256:") {
		t.Errorf("the build does not tell who signed the prior image:\n%s", out)
	}
	if got := pull(t, "verify/next"); !slices.Equal(got.layers(), first.layers()) {
		t.Errorf("the layers of the prior image were not kept: %q, then %q", first.layers(), got.layers())
	}
	out = env.daemon.build(t, with("prior="+env.host+"/verify/absent"))
	if !strings.Contains(out, "there is no prior image") {
		t.Errorf("a prior image that does not exist yet is not only a warning:\n%s", out)
	}

	unsigned := pushText(t, "verify/otherbase", "unsigned")
	refusedBuild(t, env.daemon, with("prior=none keep-base="+unsigned), "keep-base: verify: refused", "image "+unsigned,
		"it has no signature")
	env.daemon.build(t, with("prior=none keep-base="+base))
	env.daemon.build(t, with("prior=none keep-base"))
	if got := pull(t, "verify/next").layers()[0]; got != pull(t, "verify/base").layers()[0] {
		t.Errorf("the base's layer was not kept, but is %s", got)
	}
}

// What the container tools make of the images that the real cosign signed is made of them by a build, too.
func TestInterop_ABuildAdmitsWhatTheContainerToolsAdmit(t *testing.T) {
	reg := sigstorefixture.Load(t)
	key, err := os.ReadFile(sigstorefixture.PublicKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range sigstorefixture.Verdicts(t) {
		if v.Bundles || !slices.Equal(v.Keys, []int{1}) {
			continue
		}
		n++
		t.Run(v.Image, func(t *testing.T) {
			t.Parallel()
			policy := fmt.Sprintf(`{"default":[{"type":"reject"}],"transports":{"docker":{%q:[{"type":"sigstoreSigned",`+
				`"keyPath":"k","signedIdentity":{"type":"exactRepository","dockerRepository":%q}}]}}}`, reg.Host,
				sigstorefixture.Name(v.Image))
			r := request{
				file: syntax("single-layer verify=trust") + "FROM scratch\nCOPY --from=" + reg.Host + "/os/" + v.Image +
					" / /\n",
				files: map[string]string{"trust/policy.json": policy, "trust/k": string(key)},
			}
			if !v.Accept {
				refusedBuild(t, env.daemon, r, "verify: refused by trust/policy.json of the build context: ")
				return
			}
			r.output = "type=local,dest=" + filepath.Join(t.TempDir(), "out")
			if out := env.daemon.build(t, r); !strings.Contains(out, "[verify] "+reg.Host+"/os/"+v.Image) {
				t.Errorf("the build does not tell who signed:\n%s", out)
			}
		})
	}
	if n == 0 {
		t.Error("there are no verdicts")
	}
}

// moving is a registry in which the tag latest of a repository moves as soon as it was asked for once.
type moving struct {
	repository, first, then string

	mu    sync.Mutex
	asked int
}

// ServeHTTP implements [http.Handler].
func (m *moving) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if at := "/v2/" + m.repository + "/manifests/"; req.URL.Path == at+"latest" {
		m.mu.Lock()
		tag := m.then
		if m.asked++; m.asked == 1 {
			tag = m.first
		}
		m.mu.Unlock()
		req.URL.Path = at + tag
	}
	env.registry.Config.Handler.ServeHTTP(w, req)
}

func TestInterop_ATagThatMovesAfterItWasJudgedMakesNoDifference(t *testing.T) {
	for tag, text := range map[string]string{"first": "signed", "then": "unsigned"} {
		if err := pushImage("verify/moving:"+tag, textImage(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	for name, build := range map[string]func(image string) (file string, opts []string){
		"FROM": func(image string) (string, []string) { return "FROM " + image + "\n", nil },
		"a named context": func(image string) (string, []string) {
			return "FROM base\n", []string{"context:base=docker-image://" + image}
		},
		"keep-base": func(image string) (string, []string) {
			return "FROM " + image + "\n", []string{"keep-base=true", "prior=none"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := &moving{repository: "verify/moving", first: "first", then: "then"}
			s := httptest.NewServer(m)
			defer s.Close()
			host := strings.TrimPrefix(s.URL, "http://")
			attach(t, env.host+"/verify/moving:first", 1, host+"/verify/moving:latest")
			file, opts := build(host + "/verify/moving")
			options := "single-layer"
			if name == "keep-base" {
				options = ""
			}
			r := request{file: syntax(options) + file, opts: opts}
			text, _ := acceptedBuild(t, env.daemon, trusting(t, r, strings.ReplaceAll(policyOf(byKey1), env.host, host)))
			if text != "signed" {
				t.Errorf("the image has the text %q, although another was judged", text)
			}
			// It has moved.
			refusedBuild(t, env.daemon, trusting(t, r, strings.ReplaceAll(policyOf(byKey1), env.host, host)),
				"it has no signature")
		})
	}
}

// sourcePolicy returns the option that gives a build a source policy of BuildKit with one rule.
func sourcePolicy(t testing.TB, action, selector, updates string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.json")
	rule := fmt.Sprintf(`{"action":%q,"selector":%s`, action, selector)
	if updates != "" {
		rule += `,"updates":{"identifier":"docker-image://` + updates + `"}`
	}
	writeFile(t, file, `{"rules":[`+rule+`}]}`)
	return []string{"--source-policy-file=" + file}
}

func TestInterop_SourcePoliciesOfBuildKitComeFirst(t *testing.T) {
	signed, unsigned := pushText(t, "verify/policy-good", "signed"), pushText(t, "verify/policy-bad", "unsigned")
	asked := pushText(t, "verify/policy-asked", "asked")
	signImage(t, signed, 1)
	bad := unsigned + ":latest@" + pull(t, "verify/policy-bad").digest
	exact := func(image string) string { return fmt.Sprintf(`{"identifier":"docker-image://%s"}`, image) }
	pinned := fmt.Sprintf(`{"identifier":"docker-image://%s:latest@*","matchType":"WILDCARD"}`, signed)
	// Only the definition has attributes.
	byAttribute := fmt.Sprintf(`{"identifier":"docker-image://%s:latest@*","matchType":"WILDCARD","constraints":[{"key":`+
		`"image.resolvemode","value":"pull","condition":"EQUAL"}]}`, signed)
	for _, tt := range []struct {
		name, image               string
		action, selector, updates string
		says                      []string // nothing if the build works
	}{
		{"what it denies", signed, "DENY", exact(signed + ":latest"), "", []string{"denied by policy"}},
		{"what it denies at the build", signed, "DENY", pinned, "", []string{"denied by policy"}},
		{"what becomes a signed image", asked, "CONVERT", exact(asked + ":latest"), signed + ":latest", nil},
		{"what becomes an unsigned image", signed, "CONVERT", exact(signed + ":latest"), unsigned + ":latest",
			[]string{"image " + bad, "it has no signature"}},
		{"what becomes an unsigned image at the build", signed, "CONVERT", pinned, bad,
			[]string{"image " + bad, "it has no signature"}},
		{"what loses its digest at the build", signed, "CONVERT", pinned, unsigned + ":latest",
			[]string{unsigned + ":latest without a digest"}},
		{"by an attribute", signed, "CONVERT", byAttribute, bad, []string{"image " + bad, "it has no signature"}},
		{"denied signatures", signed, "DENY", fmt.Sprintf(`{"identifier":"docker-image+blob://%s@*","matchType":"WILDCARD"}`,
			signed), "", []string{"its signatures cannot be read", "denied by policy"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := trusting(t, request{file: syntax("single-layer") + "FROM " + tt.image + "\n",
				opts: []string{"image-resolve-mode=pull"}}, policyOf(byKey1))
			r.args = append(r.args, sourcePolicy(t, tt.action, tt.selector, tt.updates)...)
			if len(tt.says) > 0 {
				refusedBuild(t, env.daemon, r, tt.says...)
				return
			}
			if text, _ := acceptedBuild(t, env.daemon, r); text != "signed" {
				t.Errorf("the image has the text %q", text)
			}
		})
	}
	t.Run("of a prior image", func(t *testing.T) {
		r := trusting(t, request{file: syntax("prior="+signed) + "FROM scratch\nCOPY Containerfile /\n"}, policyOf(byKey1))
		r.args = append(r.args, sourcePolicy(t, "CONVERT", exact(signed+":latest"), unsigned+":latest")...)
		refusedBuild(t, env.daemon, r, "prior image", "image "+bad, "it has no signature")
	})
	t.Run("by buildx", func(t *testing.T) {
		r := trusting(t, request{file: syntax("single-layer") + "FROM " + signed + "\n"}, policyOf(byKey1))
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "Containerfile"), r.file)
		file := strings.TrimPrefix(sourcePolicy(t, "CONVERT", exact(signed+":latest"), unsigned+":latest")[0],
			"--source-policy-file=")
		cmd := exec.CommandContext(t.Context(), env.buildx, "build", "--progress=plain", "--file="+dir+"/Containerfile",
			"--build-arg=OSTREE_EXT_VERIFY=trust", "--build-context=trust="+strings.TrimPrefix(r.args[0], "--local=trust="),
			"--output=type=local,dest="+dir+"/out", dir)
		cmd.Env = append(os.Environ(), "BUILDX_CONFIG="+t.TempDir(), "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY="+file,
			"BUILDX_BUILDER=verify")
		create := exec.CommandContext(t.Context(), env.buildx, "create", "--name=verify", "--driver=remote", env.daemon.addr)
		create.Env = cmd.Env
		if out, err := create.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "image "+bad) {
			t.Errorf("%v, want a refusal of %s:\n%s", err, bad, out)
		}
	})
}
