package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
)

// everything has each kind of requirement that is possible.
const everything = `{
	"default": [{"type": "reject"}],
	"transports": {
		"docker": {
			"": [{"type": "insecureAcceptAnything"}],
			"registry.example": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k.gpg"}],
			"registry.example/team": [{"type": "signedBy", "keyType": "GPGKeys", "keyPaths": ["/a", "/b"],
				"signedIdentity": {"type": "matchExact"}}],
			"registry.example/team/os": [
				{"type": "sigstoreSigned", "keyPaths": ["/1.pub", "/2.pub"], "rekorPublicKeyPath": "/rekor.pub",
					"signedIdentity": {"type": "remapIdentity", "prefix": "mirror.example", "signedPrefix": "registry.example"}},
				{"type": "signedBy", "keyType": "GPGKeys", "keyData": "AAAA"}
			],
			"registry.example/team/os:Stable": [{"type": "sigstoreSigned", "keyDatas": ["AAAA", "BBBB"]}],
			"*.example.com": [{"type": "sigstoreSigned",
				"fulcio": {"caPath": "/ca.pem", "oidcIssuer": "https://issuer", "subjectEmail": "me@example.com"},
				"rekorPublicKeyDatas": ["AAAA"], "signedIdentity": {"type": "matchRepository"}}],
			"pki.example": [{"type": "sigstoreSigned",
				"pki": {"caRootsPath": "/root.pem", "caIntermediatesPath": "/mid.pem", "subjectHostname": "build.example"},
				"signedIdentity": {"type": "exactReference", "dockerReference": "pki.example/os:1"}}]
		},
		"dir": {"": [{"type": "reject"}, {"type": "insecureAcceptAnything"}]},
		"oci": {"/srv/images": [{"type": "insecureAcceptAnything"}, {"type": "insecureAcceptAnything"}]},
		"containers-storage": {"": [{"type": "insecureAcceptAnything"}]},
		"docker-archive": {"": [{"type": "signedBaseLayer", "baseLayerIdentity": {"type": "exactRepository",
			"dockerRepository": "a.example/b"}}]},
		"unheard-of": {"scope": [{"type": "reject"}]}
	}
}`

func load(t *testing.T, text string) *policy.Policy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.json")
	write(t, file, text)
	p, err := policy.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheMostSpecificScopeCounts(t *testing.T) {
	p := load(t, everything)
	digest := "@sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		ref         imgref.ImageReference
		scope, text string
	}{
		{docker("elsewhere.example/os"), "docker", "insecureAcceptAnything"},
		{docker("registry.example/other/os:1"), "docker: registry.example", "signedBy with /k.gpg (matchRepoDigestOrExact)"},
		{docker("registry.example/team/other"), "docker: registry.example/team", "signedBy with /a or /b (matchExact)"},
		{docker("registry.example/teammate/os"), "docker: registry.example", "signedBy with /k.gpg (matchRepoDigestOrExact)"},
		{docker("registry.example/team/os"), "docker: registry.example/team/os",
			"sigstoreSigned with /1.pub or /2.pub (remapIdentity mirror.example to registry.example)"},
		{docker("registry.example/team/os" + digest), "docker: registry.example/team/os",
			"sigstoreSigned with /1.pub or /2.pub (remapIdentity mirror.example to registry.example)"},
		{docker("registry.example/team/os:Stable"), "docker: registry.example/team/os:Stable",
			"sigstoreSigned with what the policy itself has (matchRepoDigestOrExact)"},
		{docker("registry.example/team/os:Stable" + digest), "docker: registry.example/team/os",
			"sigstoreSigned with /1.pub or /2.pub (remapIdentity mirror.example to registry.example)"},
		{docker("registry.example:5000/team/os"), "docker", "insecureAcceptAnything"},
		{docker("a.b.example.com:5000/os"), "docker: *.example.com",
			"sigstoreSigned by me@example.com, for whom https://issuer vouches (matchRepository)"},
		{docker("example.com/os"), "docker", "insecureAcceptAnything"},
		{docker("pki.example/os:1"), "docker: pki.example",
			"sigstoreSigned by build.example, with a certificate of /root.pem (exactReference pki.example/os:1)"},
		{docker("busybox"), "docker", "insecureAcceptAnything"},
		{imgref.ImageReference{Transport: imgref.Dir, Name: t.TempDir()}, "dir", "reject"},
		{imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir() + ":tag"}, "default", "reject"},
		{imgref.ImageReference{Transport: imgref.OCIArchive, Name: filepath.Join(t.TempDir(), "x.tar")}, "default", "reject"},
		{imgref.ImageReference{Transport: imgref.DockerArchive, Name: "/x.tar"}, "docker-archive", "signedBaseLayer"},
		{imgref.ImageReference{Transport: imgref.ContainersStorage, Name: "localhost/os"}, "containers-storage",
			"insecureAcceptAnything"},
	} {
		r, err := p.Rule(c.ref)
		if err != nil {
			t.Errorf("%s: %v", c.ref, err)
			continue
		}
		if r.File != p.File || r.Scope != c.scope || r.Requirements[0].String() != c.text {
			t.Errorf("%s: got %q, %q; want %q, %q", c.ref, r.Scope, r.Requirements[0], c.scope, c.text)
		}
	}
}

func TestWhatARequirementSaysIsKept(t *testing.T) {
	p := load(t, everything)
	r, err := p.Rule(docker("registry.example/team/os"))
	if err != nil {
		t.Fatal(err)
	}
	first := r.Requirements[0]
	if !slices.Equal(first.KeyPaths, []string{"/1.pub", "/2.pub"}) || !slices.Equal(first.RekorKeyPaths,
		[]string{"/rekor.pub"}) ||
		first.Identity != (policyjson.Identity{Type: "remapIdentity", Prefix: "mirror.example",
			SignedPrefix: "registry.example"}) ||
		!strings.HasPrefix(string(first.Raw), `{"type": "sigstoreSigned"`) || len(r.Requirements) != 2 {
		t.Errorf("got %+v", r)
	}
	if r, err = p.Rule(docker("x.example.com/os")); err != nil {
		t.Fatal(err)
	}
	want := policyjson.Fulcio{CAPath: "/ca.pem", Issuer: "https://issuer", Subject: "me@example.com"}
	if f := r.Requirements[0].Fulcio; f == nil || f.CAPath != want.CAPath || f.Issuer != want.Issuer ||
		f.Subject != want.Subject {
		t.Errorf("fulcio: %+v, want %+v", f, want)
	}
}

func TestRulesThatAcceptOrRejectEverythingAreTold(t *testing.T) {
	const anything, reject = `{"type":"insecureAcceptAnything"}`, `{"type":"reject"}`
	const signed = `{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}`
	for list, want := range map[string][2]bool{
		anything:                  {true, false},
		anything + "," + anything: {true, false},
		reject:                    {false, true},
		anything + "," + reject:   {false, true},
		signed:                    {false, false},
		anything + "," + signed:   {false, false},
		signed + "," + reject:     {false, true},
	} {
		r, err := load(t, `{"default":[`+list+`]}`).Rule(docker("a.example/b"))
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{r.AcceptsAnything(), r.Rejects()}; got != want {
			t.Errorf("%s: got %v, want %v", list, got, want)
		}
	}
}

// wrongPolicies returns policies that are refused, with what the error says: the lines of testdata/wrong.tsv.
func wrongPolicies(t testing.TB) (all [][2]string) {
	t.Helper()
	data, err := os.ReadFile("testdata/wrong.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		says, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			t.Fatalf("there is no tab in %q", line)
		}
		all = append(all, [2]string{says, text})
	}
	return all
}

func TestMistakesInAPolicyAreErrors(t *testing.T) {
	t.Parallel()
	for _, c := range wrongPolicies(t) {
		want, text := c[0], c[1]
		_, err := policy.Parse([]byte(text))
		if !errors.Is(err, policy.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want an error that says %q", text, err, want)
		}
	}
}

func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.json")
	write(t, file, `{
  "default": [
    {"type": "reject"},
    {"type": "signedBy", "keypath": "/k"}
  ]
}
`)
	_, err := policy.Load(file)
	want := file + `: invalid policy: line 4, column 37: default[1].keypath: there is no such key: it is written "keyPath"`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v; want %s", err, want)
	}
}

func TestFilesThatCannotBeAPolicyAreErrors(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.json")
	write(t, large, `{"default":[{"type":"reject"}]}`+strings.Repeat(" ", 5<<20))
	for _, file := range []string{filepath.Join(dir, "absent"), dir, large} {
		if _, err := policy.Load(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := policy.Load(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestImagesOfWhichTheScopeIsUnknownHaveNoRule(t *testing.T) {
	p := load(t, `{"default":[{"type":"insecureAcceptAnything"}],"transports":{
		"containers-storage":{"[overlay@/var/lib/containers/storage]localhost/os":[{"type":"reject"}]}}}`)
	for _, ref := range []imgref.ImageReference{
		{Transport: imgref.ContainersStorage, Name: "localhost/os"},
		{Transport: imgref.DockerDaemon, Name: "os:latest"},
		docker("Registry.example/OS"), docker(""),
	} {
		if r, err := p.Rule(ref); err == nil {
			t.Errorf("%s: got the rule %v", ref, r)
		}
	}
	in := imgref.ImageReference{Transport: imgref.ContainersStorage,
		Name: "[overlay@/var/lib/containers/storage]localhost/os:1"}
	if r, err := p.Rule(in); err != nil || !r.Rejects() {
		t.Errorf("%s: got the rule %v, %v", in, r, err)
	}
}
