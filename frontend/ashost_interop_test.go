//go:build interop

package frontend_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// insecure is a registries.conf for a registry on loopback, which speaks plain HTTP.
func insecure(host string) string {
	return fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", host)
}

// judgedAsHost is a build from an image, with a directory of rules.
func judgedAsHost(image string, rules map[string]string) request {
	r := request{
		file:  syntax("single-layer verify=trust") + "FROM scratch\nCOPY --from=" + image + " / /\n",
		files: map[string]string{},
	}
	for file, content := range rules {
		r.files["trust/"+file] = content
	}
	return r
}

// What hosts make of the bundles that the real cosign signed is made of them by a build, too.
func TestInterop_ABuildAdmitsTheBundlesThatHostsAdmit(t *testing.T) {
	reg := sigstorefixture.Load(t)
	key, err := os.ReadFile(sigstorefixture.PublicKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range sigstorefixture.Verdicts(t) {
		if !v.Bundles || !slices.Equal(v.Keys, []int{1}) {
			continue
		}
		n++
		t.Run(v.Image, func(t *testing.T) {
			t.Parallel()
			image := reg.Host + "/os/" + v.Image
			r := judgedAsHost(image, map[string]string{
				"policy.json": fmt.Sprintf(`{"default":[{"type":"reject"}],"transports":{"docker":{%q:[{"type":`+
					`"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"exactRepository","dockerRepository":%q}}]}}}`,
					reg.Host, sigstorefixture.Name(v.Image)),
				"trust.d/os.yaml": fmt.Sprintf("docker: {%q: {bundlesByPolicyKeys: true}}\n", reg.Host),
				"registries.conf": insecure(reg.Host), "k": string(key),
				"registries.d/os.yaml": fmt.Sprintf("docker: {%q: {use-sigstore-attachments: true}}\n", reg.Host),
			})
			if !v.Accept {
				refusedBuild(t, env.daemon, r, "verify: refused by trust/policy.json of the build context: ")
				return
			}
			r.output = "type=local,dest=" + filepath.Join(t.TempDir(), "out")
			if out := env.daemon.build(t, r); !strings.Contains(out, "[verify] "+image) ||
				!strings.Contains(out, "is signed by sha256:") {
				t.Errorf("the build does not tell who signed:\n%s", out)
			}
		})
	}
	if n == 0 {
		t.Error("there are no verdicts")
	}
}

// pushTextTo pushes an image with one file to a registry.
func pushTextTo(t *testing.T, host, repository string) (image string, d digest.Digest) {
	t.Helper()
	ref, err := name.ParseReference(host + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	img := textImage(t, repository)
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	sum, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return host + "/" + repository, digest.Digest(sum.String())
}

func TestInterop_ABuildIsHeldToTheIdentitiesOfRules(t *testing.T) {
	const issuer = "https://token.actions.example"
	ca, other := testca.New(t), testca.New(t)
	reg := testreg.New(t)
	reg.ServeReferrers(testreg.Referrers{In: func(string) bool { return true }})
	signed, d := pushTextTo(t, reg.Host, "os/signed")
	unsigned, _ := pushTextTo(t, reg.Host, "os/unsigned")
	moved, movedDigest := pushTextTo(t, reg.Host, "os/moved")
	id := "https://github.com/o/os/.github/workflows/build.yml@refs/heads/main"
	bundle := ca.Sign(testca.Signature{Identity: id, Issuer: issuer, Payload: testca.Statement(d.Encoded())})
	trusttest.Attach(t, reg, "os/signed", d, bundle)
	trusttest.Attach(t, reg, "os/moved", movedDigest, bundle)
	rule := func(identity string) string {
		return fmt.Sprintf("docker:\n  %q:\n    signedBy: [{oidcIssuer: %s, identity: %q}]\n", reg.Host, issuer, identity)
	}
	for _, tt := range []struct {
		name, image string
		rules       map[string]string
		says        []string // nothing if the build works
	}{
		{"the identity", signed, nil, nil},
		{"no signature", unsigned, nil, []string{"image " + unsigned, "verify: refused by trust/etc/ostree-ext/trust.d of "}},
		{"a bundle of another image", moved, nil, []string{"image " + moved, "no bundle signs it", d.Encoded()[:12]}},
		{"another identity", signed, map[string]string{"etc/ostree-ext/trust.d/os.yaml": rule("https://github.com/x")},
			[]string{id}},
		{"other authorities", signed, map[string]string{"etc/ostree-ext/trusted_root.json": string(other.Root().JSON())},
			[]string{"verify: refused"}},
		{"no authorities", signed, map[string]string{"etc/ostree-ext/trusted_root.json": ""},
			[]string{"the trusted root cannot be used"}},
		{"a registry that needs HTTPS", signed, map[string]string{"etc/containers/registries.conf": ""},
			[]string{"HTTP"}},
		{"another scope", signed, map[string]string{"etc/ostree-ext/trust.d/os.yaml": strings.Replace(rule(id), reg.Host,
			reg.Host+"/elsewhere", 1)}, []string{"no rule is about it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules := map[string]string{
				"etc/ostree-ext/trust.d/os.yaml":   rule(id),
				"etc/ostree-ext/trusted_root.json": string(ca.Root().JSON()),
				"etc/containers/registries.conf":   insecure(reg.Host),
			}
			for file, content := range tt.rules {
				rules[file] = content
			}
			r := judgedAsHost(tt.image, rules)
			if len(tt.says) > 0 {
				refusedBuild(t, env.daemon, r, tt.says...)
				return
			}
			_, out := acceptedBuild(t, env.daemon, r)
			if want := "it is signed by " + id + " of " + issuer + ", as /etc/ostree-ext/trust.d/os.yaml"; !strings.Contains(
				out, want) {
				t.Errorf("the build does not say %q:\n%s", want, out)
			}
		})
	}
}

// gpgKey is a key of GPG with the file that has its public part.
func gpgKey(t *testing.T) (key *openpgp.Entity, public string) {
	t.Helper()
	key, err := openpgp.NewEntity("test", "", "test@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := key.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return key, b.String()
}

func TestInterop_ABuildIsHeldToSignaturesByGPG(t *testing.T) {
	reg := testreg.New(t)
	signed, d := pushTextTo(t, reg.Host, "gpg/signed")
	unsigned, _ := pushTextTo(t, reg.Host, "gpg/unsigned")
	me, mine := gpgKey(t)
	_, others := gpgKey(t)
	var message bytes.Buffer
	w, err := openpgp.Sign(&message, me, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(w, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},`+
		`"type":"atomic container signature"},"optional":{}}`, signed+":latest", d)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	file := "gpg/signed@sha256=" + d.Encoded() + "/signature-1"
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/"+file {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write(message.Bytes())
	}))
	defer store.Close()
	for _, tt := range []struct {
		name, image, lookaside, key string
		files                       map[string]string
		says                        []string // nothing if the build works
	}{
		{"on a web server", signed, store.URL, mine, nil, nil},
		{"in the directory", signed, "file:///var/lib/containers/sigstore", mine,
			map[string]string{"var/lib/containers/sigstore/" + file: message.String()}, nil},
		{"nowhere", signed, "file:///var/lib/containers/sigstore", mine, nil, []string{"image " + signed}},
		{"another image", unsigned, store.URL, mine, nil, []string{"image " + unsigned}},
		{"another key", signed, store.URL, others, nil, []string{"image " + signed}},
		{"a server that is gone", signed, "http://127.0.0.1:1", mine, nil, []string{"127.0.0.1:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules := map[string]string{
				"etc/containers/policy.json": fmt.Sprintf(`{"default":[{"type":"reject"}],"transports":{"docker":{%q:[`+
					`{"type":"signedBy","keyType":"GPGKeys","keyPath":"/etc/pki/me.gpg"}]}}}`, reg.Host),
				"etc/containers/registries.conf":      insecure(reg.Host),
				"etc/containers/registries.d/os.yaml": fmt.Sprintf("docker: {%q: {lookaside: %q}}\n", reg.Host, tt.lookaside),
				"etc/pki/me.gpg":                      tt.key,
			}
			for file, content := range tt.files {
				rules[file] = content
			}
			r := judgedAsHost(tt.image, rules)
			if len(tt.says) > 0 {
				refusedBuild(t, env.daemon, r, tt.says...)
				return
			}
			if _, out := acceptedBuild(t, env.daemon, r); !strings.Contains(out, fmt.Sprintf("%X", me.PrimaryKey.Fingerprint)) {
				t.Errorf("the build does not tell who signed:\n%s", out)
			}
		})
	}
}

// A registry that asks for a password gets that of the client for the image, and that of a secret for its bundles.
func TestInterop_BundlesOfAPrivateRegistryAreReadWithASecret(t *testing.T) {
	reg := testreg.New(t)
	reg.ServeReferrers(testreg.Referrers{In: func(string) bool { return true }})
	host := reg.Host
	image, d := pushTextTo(t, host, "os/private")
	reg.Misbehave(testreg.Faults{User: "me", Password: "secret"})
	ca := testca.New(t)
	trusttest.Attach(t, reg, "os/private", d, ca.Sign(testca.Signature{
		Identity: "me@example.com", Issuer: "https://accounts.example", Payload: testca.Statement(d.Encoded()),
	}))
	dir := t.TempDir()
	auth := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("me:secret")))
	writeFile(t, filepath.Join(dir, "config.json"), auth)
	t.Setenv("DOCKER_CONFIG", dir)
	r := judgedAsHost(image, map[string]string{
		"trust.d/os.yaml": fmt.Sprintf("docker: {%q: {signedBy: [{oidcIssuer: 'https://accounts.example', identity: "+
			"me@example.com}]}}\n", host),
		"trusted_root.json": string(ca.Root().JSON()), "registries.conf": insecure(host),
	})
	refusedBuild(t, env.daemon, r, "image "+image, "its bundles could not all be looked at",
		"--secret=id=ostree-ext-auth,src=")
	r.args = append(r.args, "--secret=id=ostree-ext-auth,src="+filepath.Join(dir, "config.json"))
	if _, out := acceptedBuild(t, env.daemon, r); !strings.Contains(out, "it is signed by me@example.com") {
		t.Errorf("the build does not tell who signed:\n%s", out)
	}
}

// What decides about images must not get lost on the way to the builder.
func TestInterop_RulesAreNotPassedOver(t *testing.T) {
	reg := testreg.New(t)
	reg.ServeReferrers(testreg.Referrers{In: func(string) bool { return true }})
	image, _ := pushTextTo(t, reg.Host, "os/lost")
	attach(t, image, 1, image+":latest")
	policy := fmt.Sprintf(`{"default":[{"type":"reject"}],"transports":{"docker":{%q:[{"type":"sigstoreSigned",`+
		`"keyPath":"/k"}]}}}`, reg.Host)
	rule := fmt.Sprintf("docker: {%q: {signedBy: [{keyPath: /other}]}}\n", reg.Host+"/os")
	for _, tt := range []struct {
		name  string
		files map[string]string
		links map[string]string
		says  []string // nothing if the build works
	}{
		{"no rules", nil, nil, nil},
		{"the directory is a link", nil, map[string]string{"trust": "there"}, nil},
		{"a rule", map[string]string{"trust.d/os.yaml": rule}, nil, []string{"no bundle signs it"}},
		{"a rule that .dockerignore excludes", map[string]string{"trust.d/os.yaml": rule, "../.dockerignore": "**/*.yaml\n"},
			nil, []string{"no bundle signs it"}},
		{"rules behind a link", map[string]string{"../shared/os.yaml": rule}, map[string]string{"trust/trust.d": "../shared"},
			[]string{`/trust.d has rules for [] on the builder, and the build has read rules for ["` + reg.Host + `/os"]`}},
		{"rules behind a link that leads out", nil, map[string]string{"trust/trust.d": "/nowhere"},
			[]string{"trust/trust.d is a symbolic link that leads out of the directory"}},
		{"rules of a host beside a policy that is alone", map[string]string{"etc/ostree-ext/trust.d/os.yaml": rule}, nil,
			[]string{"both trust/policy.json and trust/etc/ostree-ext/trust.d are in the build context"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := judgedAsHost(image, nil)
			r.dir = t.TempDir()
			at := filepath.Join(r.dir, "trust")
			if target := tt.links["trust"]; target != "" {
				at = filepath.Join(r.dir, target)
			}
			for name, content := range map[string]string{
				"policy.json": policy, "k": publicKey(t, 1), "other": publicKey(t, 2), "registries.conf": insecure(reg.Host),
			} {
				writeFile(t, filepath.Join(at, name), content)
			}
			for name, content := range tt.files {
				writeFile(t, filepath.Join(at, name), content)
			}
			for name, target := range tt.links {
				if err := os.Symlink(target, filepath.Join(r.dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if len(tt.says) > 0 {
				refusedBuild(t, env.daemon, r, tt.says...)
				return
			}
			acceptedBuild(t, env.daemon, r)
		})
	}
}
